"""Two small tokenizers and what the tokenizers package makes of many strings: what packages/model is tested against.

    pip install tokenizers transformers jinja2          (made with tokenizers 0.23.3, transformers 5.24.0)
    python tools/reference/text_tokenizers.py tools/reference/tokenizers

Trains on public-domain text (Lincoln, Gettysburg 1863; Shakespeare, Sonnet 18; Genesis 1, King James) a WordPiece as BERT's and
a byte-level BPE as RoBERTa's, and writes for each its tokenizer.json and reference.json: the ids, segments and mask of single
texts, of pairs, of truncated ones. And chat.json: a chat template and what transformers renders of it.
"""

import json
import random
import sys
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
random.seed(4)

TEXT = """Four score and seven years ago our fathers brought forth on this continent, a new nation, conceived in Liberty, and dedicated to the proposition that all men are created equal.
Now we are engaged in a great civil war, testing whether that nation, or any nation so conceived and so dedicated, can long endure. We are met on a great battle-field of that war.
We have come to dedicate a portion of that field, as a final resting place for those who here gave their lives that that nation might live. It is altogether fitting and proper that we should do this.
Shall I compare thee to a summer's day? Thou art more lovely and more temperate:
Rough winds do shake the darling buds of May, And summer's lease hath all too short a date;
Sometime too hot the eye of heaven shines, And often is his gold complexion dimm'd;
So long as men can breathe or eyes can see, So long lives this, and this gives life to thee.
In the beginning God created the heaven and the earth. And the earth was without form, and void; and darkness was upon the face of the deep.
And God said, Let there be light: and there was light. And God saw the light, that it was good: and God divided the light from the darkness.
And God called the light Day, and the darkness he called Night. And the evening and the morning were the first day.
""".splitlines()

ODD = [
    "", " ", "a", "  two  spaces ", "\ttab\nline\r\n", "don't can't I'll we've he'd she's I'm they're", "It's 3.14159, or 22/7?!", "1234567890 12 345",
    "CamelCase snake_case kebab-case", "e-mail: a.b@example.org; https://example.org/x?y=1&z=%20", "naïve café résumé coöperate Ångström", "Zürich, Straße, ÆSIR œuvre",
    "日本語の文章", "中文 and English mixed 中文", "한국어 문장", "Привет, мир!", "مرحبا بالعالم", "שלום עולם", "Ελληνικά ΣΊΣΥΦΟΣ", "हिन्दी", "ไทย",
    "🙂", "🙂🙂 ok 👩‍👩‍👧 family", "🇩🇪 flag", "e\u0301 combining", "\u00a0nbsp\u2003em\u3000wide", "zero\u200bwidth", "soft\u00adhyphen", "…—–“quotes”‘single’",
    "[CLS] special [SEP] [MASK] [UNK] [PAD]", "<s> special </s> <mask> <unk> <pad>", "a<mask>b", "a[MASK]b", " <mask> ", "x" * 120, "ab " * 60, "!!!???...", "$5 €6 £7 ¥8", "2³ x² H₂O ½",
    "ﬁ ligature ﬀ", "ｆｕｌｌｗｉｄｔｈ", "İstanbul ıŞık", "\u0000null\u0007bell", "tab\tbetween", "end with space ", " start with space", "new\n\nlines\n", "ǅ ǆ", "Ⅻ roman", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "'s 's'S 'T",
]
words = " ".join(TEXT).split()
MADE = [" ".join(random.choices(words, k=random.randint(1, 24))) for _ in range(110)]
MADE += ["".join(random.choices("abcdefghij XYZ0123.,;:!?-'\"()éü", k=random.randint(1, 40))) for _ in range(60)]
SINGLE = ODD + TEXT + MADE
PAIRS = [(random.choice(SINGLE), random.choice(SINGLE)) for _ in range(60)] + [("", ""), ("a", ""), ("", "b")]
CUT = [(random.choice(MADE + TEXT), random.choice([None, *MADE, *TEXT]), random.choice([4, 5, 7, 8, 12, 13, 20]), strategy) for strategy in ("longest_first", "only_first") for _ in range(50)]


def bert():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(TEXT, trainers.WordPieceTrainer(vocab_size=400, special_tokens=specials, show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def roberta():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def encoded(tokenizer, text, pair=None):
    result = tokenizer.encode(text, pair)
    return [result.ids, result.type_ids]


def reference(name, tokenizer, pad):
    where = folder / name
    where.mkdir(exist_ok=True)
    tokenizer.save(str(where / "tokenizer.json"), pretty=False)
    single = [[text, *encoded(tokenizer, text)] for text in SINGLE]
    pairs = [[*pair, *encoded(tokenizer, *pair)] for pair in PAIRS]
    plain = [[text, tokenizer.encode(text, add_special_tokens=False).ids] for text in ODD]
    decoded = [[ids, tokenizer.decode(ids)] for _, ids, _ in single[-120:-60]]
    cut = []
    for text, pair, length, strategy in CUT:
        tokenizer.enable_truncation(length, strategy=strategy)
        try:
            cut.append([text, pair, length, strategy, *encoded(tokenizer, text, pair)])
        except BaseException as error:
            cut.append([text, pair, length, strategy, None, str(error)])
    tokenizer.no_truncation()
    tokenizer.enable_truncation(12)
    tokenizer.enable_padding(length=12, pad_id=pad[0], pad_token=pad[1])
    batch = [[text, *(lambda e: [e.ids, e.attention_mask, e.type_ids])(tokenizer.encode(text))] for text in MADE[:20]]
    content = dict(single=single, pairs=pairs, plain=plain, decoded=decoded, cut=cut, batch=batch)
    (where / "reference.json").write_text(json.dumps(content, ensure_ascii=True, separators=(",", ":")) + "\n")


TEMPLATE = """{%- if messages[0]['role'] == 'system' -%}{{ '<|system|>' + messages[0]['content'] + eos_token }}{%- set rest = messages[1:] -%}{%- else -%}{%- set rest = messages -%}{%- endif -%}
{%- for message in rest -%}
    {%- if message['role'] not in ['user', 'assistant'] -%}{{ raise_exception('no role ' + message['role']) }}{%- endif -%}
    {{ '<|' + message['role'] + '|>\\n' + message['content'] | trim + eos_token + '\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|assistant|>\\n' }}{%- endif -%}"""


def chat(tokenizer):
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    talks = [
        [{"role": "user", "content": " Hello "}],
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is light?"}, {"role": "assistant", "content": "Day."}, {"role": "user", "content": "Über\n'quotes' <b>"}],
    ]
    cases = [
        dict(messages=talk, generate=generate, text=fast.apply_chat_template(talk, chat_template=TEMPLATE, tokenize=False, add_generation_prompt=generate))
        for talk in talks
        for generate in (False, True)
    ]
    (folder / "chat.json").write_text(json.dumps(dict(template=TEMPLATE, cases=cases), indent=1) + "\n")


reference("bert", bert(), (0, "[PAD]"))
reference("roberta", roberta(), (1, "<pad>"))
chat(roberta())
