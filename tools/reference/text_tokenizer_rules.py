"""What the tokenizers package makes of the rules that a tokenizer.json may have: what packages/model is tested against.

    pip install tokenizers sentencepiece                (made with tokenizers 0.23.3, sentencepiece 0.2.3)
    python tools/reference/text_tokenizer_rules.py tools/reference/tokenizers

Takes the two tokenizers of text_tokenizers.py with other rules, and trains three more on its texts: a BPE with a Prepend normalizer as
LLaMA's, a byte-level BPE that has merged runs of letters and takes digits one by one, and a Unigram with SentencePiece's table of characters as XLM-R's. Writes
rules.json: of each the fields of tokenizer.json that differ from the base, and by topic [first, second or null, ids, types, text]. The
text is that of the ids without special tokens.
"""

import io
import json
import random
import sys
import tempfile
from pathlib import Path

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

folder = Path(sys.argv[1])
random.seed(7)
BASES = {name: json.loads((folder / name / "tokenizer.json").read_text()) for name in ("bert", "roberta")}
TEXT = [case[0] for case in json.loads((folder / "bert" / "reference.json").read_text())["single"][60:]]

PIECES = [
    "light", "day", " ", "  ", "\n", "\t", "new", "New", "NEW", "word", "words", "_word", "wörd", "lst", "rst", "<sp>", "<SP>", "<s>", "</s>", "<unk>", "<mask>", "[MASK]", "[mask]", "é", "É",
    "Zu\u0308rich", "\u0301", "\u0344", "\u061c", "\u200d", "\u200b", "\ufeff", "\u0085", "\u00a0", "한국", "각ᆨ", "東京", "\U00020000", "\U0002b830", "\U0002f800", "👨‍👩‍👧‍👦", "👍🏽", "🇩🇪", "हिन्दी", "ไทย", "مرحبا",
    "ά", "ΑΣ ΟΔΟΣ", "①", "½", "ﬁ", "ｶﾞ", "\u08d3", "\u1734", "\u2e52", "\u0890", "eeee", "abab", "'s", "...", "1", "٣", "▁", "\x00", "\x7f", "__proto__",
]
FUZZ = ["".join(random.choices(PIECES, k=random.randint(1, 7))) for _ in range(80)]
ADDED = ["new", " new", "new ", "a new day", "NEW New new", "renew news", "newnew", "word", "a word.", "words", "keyword", "_word word_", "word1", "éword", "word\u0301", "word word", "lst", " \n lst  x", "a  lst  lst b", "rst", "rst  \t x", " rst rst", "lst rst lst",
         "<sp>", "<SP>", "a<SP>b", "<Sp>", "É", "é", "día É", "<s>new</s>", "ΑΣ", "ας", "\u00a0lst\u3000rst\u2003x"]


def changed(base, make):
    """The fields of a tokenizer that are not those of its base, and the tokenizer."""
    tokenizer = Tokenizer.from_str(json.dumps(base))
    make(tokenizer)
    rules = json.loads(tokenizer.to_str())
    return {field: value for field, value in rules.items() if base.get(field) != value}, Tokenizer.from_str(json.dumps(rules))


def add(tokenizer):
    tokenizer.add_tokens([AddedToken("new"), AddedToken("word", single_word=True), AddedToken("lst", lstrip=True), AddedToken("rst", rstrip=True, normalized=False), AddedToken("ασ")])
    tokenizer.add_special_tokens([AddedToken("<SP>"), AddedToken("É", normalized=True, special=True)])


def prepend():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    specials = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % byte for byte in range(256)]
    tokenizer.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=450, special_tokens=specials, limit_alphabet=60, show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)])
    rules = json.loads(tokenizer.to_str())
    rules["added_tokens"] = [{**token, "normalized": True} for token in rules["added_tokens"][:3]]
    return rules


def runs():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    texts = [letter * count for letter in ("e", "ab", "aba", "o", " ") for count in (2, 3, 4, 5, 7, 8, 12, 16) for _ in range(20 - count)]
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=310, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    return json.loads(tokenizer.to_str())


# A part of SentencePiece's nmt_nfkc, which itself takes a quarter of a megabyte.
TABLE = {
    "\t": " ", "\n": " ", "\u00a0": " ", "\u200b": " ", "\u200e": " ", "\ufeff": " ", "\u3000": " ", "\x7f": "", "①": "1", "½": "1⁄2", "ﬁ": "fi", "ｶ": "カ", "ｶﾞ": "ガ", "\u0344": "\u0308\u0301", "u\u0308": "ü", "e\u0301": "é",
    "\u0340": "\u0300", "각ᆨ": "갂", "\u0958": "क़", "か\u3099": "が", "\U0002f800": "丽", "ﷺ": "صلى الله عليه وسلم", "\u00b4": " \u0301",
}


def charsmap():
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as table:
        for source, target in TABLE.items():
            table.write(" ".join("%X" % ord(c) for c in source) + "\t" + " ".join("%X" % ord(c) for c in target) + "\n")
        table.flush()
        out = io.BytesIO()
        texts = TEXT + ["東京 한국 ü é ガ が 1 2 fi 🇩🇪 👍 👩 मनदी"] * 3
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(texts), model_writer=out, vocab_size=260, model_type="unigram", normalization_rule_tsv=table.name, character_coverage=0.998, bos_id=0, pad_id=1, eos_id=2, unk_id=3, minloglevel=2)
    model = sentencepiece_model_pb2.ModelProto.FromString(out.getvalue())
    tokenizer = Tokenizer(models.Unigram([(piece.piece, piece.score) for piece in model.pieces], 3, False))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.add_special_tokens([AddedToken("<s>"), AddedToken("<pad>"), AddedToken("</s>"), AddedToken("<unk>"), AddedToken("<mask>", lstrip=True)])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return json.loads(tokenizer.to_str())


def cases(tokenizer, texts):
    special = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    found = []
    for text in texts:
        pair = text if isinstance(text, tuple) else (text, None)
        result = tokenizer.encode(*pair)
        found.append([*pair, result.ids, result.type_ids, tokenizer.decode([id for id in result.ids if id not in special], skip_special_tokens=False)])
    return found


def without_processor(tokenizer):
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)


PAIRS = [("light", "day"), ("", "day"), ("light", ""), ("And God said", "Let there be light")]
content = {}


def write(name, base, made, topics):
    rules, tokenizer = made
    content[name] = dict(base=base, rules=rules, topics={topic: cases(tokenizer, texts) for topic, texts in topics.items()})


def whole(rules):
    return rules, Tokenizer.from_str(json.dumps(rules))


SPACES = ["a\n\u0085's", "a\u0085's", "\u0085 b", "a \u0085", "a\ufeff's", "\ufeff b", "a\u2028 b", "a\u180e's"]
DIGITS = ["  ½", "a  ½ b", "12  34", "  ٣", "  Ⅷ", "²³", "1a2"]
MARKS = [f"a{chr(mark)}b" for mark in (0x300, 0x5B0, 0x7FD, 0x897, 0x8D3, 0x8E3, 0x1734, 0x180F, 0x1AC5, 0x1DF6, 0x1DFC, 0x111C9, 0x1171E, 0x11A01, 0x1E000, 0x1E944, 0xE0100)]
SIGNS = [f"a{chr(sign)}b" for sign in (0x61D, 0x890, 0x8E2, 0x110BD, 0x110CD, 0x13430, 0x166D, 0x2E42, 0x2E43, 0x2E52, 0x2E53, 0x1B4E, 0x10D6E, 0x11A9A, 0x85, 0xFEFF, 0x180E, 0xE000, 0x378)]
IDEOGRAPHS = [f"a{chr(code)}b" for code in (0x3400, 0x4DC0, 0x4E00, 0xF900, 0x20000, 0x2A6DF, 0x2A6E0, 0x2B820, 0x2B920, 0x2F800, 0x30000)]
write("bert", "bert", changed(BASES["bert"], lambda _: None), {"ideographs": IDEOGRAPHS, "marks": MARKS, "signs": SIGNS, "mixed": FUZZ})
write("bert with added tokens", "bert", changed(BASES["bert"], add), {"added tokens": ADDED, "mixed": FUZZ})
write("roberta with added tokens", "roberta", changed(BASES["roberta"], add), {"added tokens": ADDED, "white space": SPACES, "mixed": FUZZ})
write("roberta without special tokens", "roberta", changed(BASES["roberta"], without_processor), {"pairs": PAIRS})
CHATS = ["<s>[INST] light [/INST] day </s><s>[INST] x", "</s>", "a</s>", "a </s>", "<s> a", "light<unk>you", "<s><s>", " <s>", "\u00e9東"]
write("prepend", None, whole(prepend()), {"added tokens": CHATS, "mixed": FUZZ, "pairs": PAIRS})
RUNS = [letter * count for letter in ("e", "ab", "aba", "o", "eo") for count in (*range(1, 25), 59, 120, 121, 200)]
write("runs", None, whole(runs()), {"runs": RUNS, "digits": DIGITS, "pairs": PAIRS})
GRAPHEMES = ["a\u200db", "\u200d", "a\u0344b", "\u0344", "a\u061cb", "👨‍👩‍👧‍👦", "👍🏽", "🇩🇪🇩", "①\u0301", "ﬁ\u0301", "½\u20e3", "ｶﾞ", "Zu\u0308rich", "u\u0308\u0301", "각ᆨ", "か\u3099", "क़", "a\r\nb", "\ufeffa", "\u00a0\u0301", "ﷺ", "a\u007fb", "light\u200bday", "<mask> a <mask>", "▁▁a"]
write("charsmap", None, whole(charsmap()), {"graphemes": GRAPHEMES, "mixed": FUZZ, "pairs": PAIRS})
(folder / "rules.json").write_text(json.dumps(content, ensure_ascii=True, separators=(",", ":")) + "\n")
