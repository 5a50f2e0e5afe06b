"""Small GGUF files and what they hold, by the package of llama.cpp: the numbers that packages/model is tested against.

    pip install gguf numpy tokenizers       (made with gguf 0.19.0, numpy 2.4.6, tokenizers 0.23.3)
    python tools/reference/gguf.py tools/reference/gguf

Writes formats.gguf, one tensor of each format, blocks of any bytes with finite scales among them, with formats.f32: what the
package makes of them, tensor after tensor in the order of the file. And llama.gguf, a Llama of two layers with grouped heads
whose query and key are permuted as llama.cpp does for its rotation, with llama.f32: the same tensors as transformers has them.
And tokenizer.gguf, the vocabulary of the byte-level BPE of text_tokenizers.py, with tokenizer.json: what the tokenizers package makes
of texts with it, split in each of the ways that the reader knows.
"""

import json
import sys
from pathlib import Path

# This file has the name of the package, which must not find it.
sys.path.pop(0)

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import GGUFWriter
from gguf.quants import dequantize, quantize
from tokenizers import Regex, Tokenizer, pre_tokenizers

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(4)


def wild(kind, rows, blocks):
    """Blocks of random bytes, their scales random finite halves, subnormal ones too."""
    scales = {Type.Q4_0: 1, Type.Q4_1: 2, Type.Q8_0: 1}[kind]
    data = {Type.Q4_0: 16, Type.Q4_1: 16, Type.Q8_0: 32}[kind]
    half = rng.integers(0, 0x7C00, (rows, blocks, scales), dtype=np.uint16) | (
        rng.integers(0, 2, (rows, blocks, scales), dtype=np.uint16) << 15
    )
    quants = rng.integers(0, 256, (rows, blocks, data), dtype=np.uint8)
    return np.concatenate([half.view(np.uint8), quants], axis=2).reshape(rows, -1)


def formats():
    writer = GGUFWriter(folder / "formats.gguf", "test")
    writer.add_bool("test.bool", True)
    writer.add_uint64("test.u64", 2**63 + 1)
    writer.add_int64("test.i64", -(2**40))
    writer.add_int8("test.i8", -3)
    writer.add_float64("test.f64", 0.1)
    writer.add_string("test.text", "grüße 🙂")
    writer.add_array("test.words", ["a", "", "ß"])
    writer.add_array("test.numbers", [1, -2, 3])
    expected = []
    normal = rng.standard_normal((3, 5)).astype(np.float32)
    writer.add_tensor("plain", normal)
    expected.append(normal)
    half = np.concatenate([normal.astype(np.float16).ravel(), np.array([6e-8, -6e-5, 65504, 0, -0.0], np.float16)])
    writer.add_tensor("half", half.reshape(4, 5))
    expected.append(half.astype(np.float32))
    brain = quantize(normal, Type.BF16)
    writer.add_tensor("brain", brain, raw_dtype=Type.BF16)
    expected.append(dequantize(brain, Type.BF16))
    for kind in (Type.Q4_0, Type.Q4_1, Type.Q8_0):
        tame = quantize(rng.standard_normal((4, 96)).astype(np.float32), kind)
        for name, stored in ((f"{kind.name}.tame", tame), (f"{kind.name}.wild", wild(kind, 8, 4))):
            writer.add_tensor(name, stored, raw_dtype=kind)
            expected.append(dequantize(stored, kind))
    finish(writer)
    np.concatenate([values.ravel() for values in expected]).astype("<f4").tofile(folder / "formats.f32")


def permute(weights, heads):
    """Rows (half, i) of each head to (i, half): what convert_hf_to_gguf.py does to query and key."""
    return weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:]).swapaxes(1, 2).reshape(weights.shape)


def llama():
    hidden, heads, kv, inner, vocab, layers = 32, 4, 2, 64, 24, 2
    writer = GGUFWriter(folder / "llama.gguf", "llama")
    writer.add_block_count(layers)
    writer.add_context_length(128)
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(50000.0)
    writer.add_vocab_size(vocab)
    names, expected = [], []

    def tensor(name, stored_name, shape, rotated=None):
        values = rng.standard_normal(shape).astype(np.float32)
        writer.add_tensor(stored_name, values if rotated is None else permute(values, rotated))
        names.append(name)
        expected.append(values.ravel())

    tensor("model.embed_tokens.weight", "token_embd.weight", (vocab, hidden))
    for i in range(layers):
        here, there = f"model.layers.{i}", f"blk.{i}"
        tensor(f"{here}.input_layernorm.weight", f"{there}.attn_norm.weight", (hidden,))
        tensor(f"{here}.self_attn.q_proj.weight", f"{there}.attn_q.weight", (hidden, hidden), heads)
        tensor(f"{here}.self_attn.k_proj.weight", f"{there}.attn_k.weight", (hidden // 2, hidden), kv)
        tensor(f"{here}.self_attn.v_proj.weight", f"{there}.attn_v.weight", (hidden // 2, hidden))
        tensor(f"{here}.self_attn.o_proj.weight", f"{there}.attn_output.weight", (hidden, hidden))
        tensor(f"{here}.post_attention_layernorm.weight", f"{there}.ffn_norm.weight", (hidden,))
        tensor(f"{here}.mlp.gate_proj.weight", f"{there}.ffn_gate.weight", (inner, hidden))
        tensor(f"{here}.mlp.up_proj.weight", f"{there}.ffn_up.weight", (inner, hidden))
        tensor(f"{here}.mlp.down_proj.weight", f"{there}.ffn_down.weight", (hidden, inner))
    tensor("model.norm.weight", "output_norm.weight", (hidden,))
    finish(writer)
    (folder / "llama.json").write_text(json.dumps(names) + "\n")
    np.concatenate(expected).astype("<f4").tofile(folder / "llama.f32")


LLAMA_3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def tokenizer():
    source = folder.parent / "tokenizers" / "roberta"
    stored = json.loads((source / "tokenizer.json").read_text())
    vocabulary = sorted(stored["model"]["vocab"], key=stored["model"]["vocab"].get)
    special = {token["content"] for token in stored["added_tokens"]}
    writer = GGUFWriter(folder / "tokenizer.gguf", "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary)
    writer.add_token_types([3 if token in special else 1 for token in vocabulary])
    writer.add_token_merges([" ".join(merge) for merge in stored["model"]["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    finish(writer)
    texts = [case[0] for case in json.loads((source / "reference.json").read_text())["single"][:110]]
    ways = {
        "gpt-2": (False, pre_tokenizers.ByteLevel(add_prefix_space=False)),
        "smollm": (False, pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)])),
        "llama-bpe": (True, pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA_3), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])),
    }
    content = {}
    for name, (ignore_merges, split) in ways.items():
        model = dict(stored["model"], ignore_merges=ignore_merges)
        one = Tokenizer.from_str(json.dumps(dict(stored, model=model, post_processor=None)))
        one.pre_tokenizer = split
        content[name] = [one.encode(text).ids for text in texts]
    (folder / "tokenizer.json").write_text(json.dumps(dict(texts=texts, ids=content), separators=(",", ":")) + "\n")


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


formats()
llama()
tokenizer()
