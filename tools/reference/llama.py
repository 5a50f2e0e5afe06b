"""What PyTorch, transformers and PEFT compute for small Llamas: the numbers that packages/model is tested against.

    pip install torch transformers peft safetensors     (made with torch 2.8.0, transformers 5.24.0, peft 0.21.2)
    python tools/reference/llama.py tools/reference/llama

Writes two random bases in Hugging Face layout, llama2 (a head of its own) and llama3 (scaled rotary frequencies, tied head), and
for each a reference.safetensors + reference.json with:
- texts of several lengths, filled up on the right, of which some tokens do not count (label -100)
- hidden states, logits and loss of the base, and its greedy continuation of a prompt
- the same with an adapter on layers 3 to 1 (rsLoRA, all seven targets), and the gradient of every one of its parameters
- one stage of S3T as PEFT would train it: layer 3 frozen, layers 2 and 1 trained for ten steps of AdamW on two batches an epoch
  (four texts, then two). The loss of every step, the values afterwards
"""

import json
import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM, get_linear_schedule_with_warmup

from start_values import KEY, uniform

SHAPE = dict(
    vocab_size=128,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    bos_token_id=1,
    eos_token_id=2,
    attn_implementation="eager",
)
CONFIGS = dict(
    llama2=dict(
        max_position_embeddings=64,
        rms_norm_eps=1e-5,
        tie_word_embeddings=False,
        rope_parameters=dict(rope_type="default", rope_theta=10000.0),
    ),
    llama3=dict(
        max_position_embeddings=1024,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        # Of the four frequencies of a head of width 8 one stays, one is blended, two are divided.
        rope_parameters=dict(
            rope_type="llama3",
            rope_theta=500000.0,
            factor=8.0,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position_embeddings=256,
        ),
    ),
)
TARGETS = dict(
    q_proj="self_attn", k_proj="self_attn", v_proj="self_attn", o_proj="self_attn",
    gate_proj="mlp", up_proj="mlp", down_proj="mlp",
)  # fmt: skip
TOKENS, LENGTHS, BATCH, EPOCHS = 12, [12, 9, 7, 12, 5, 10], 4, 5
RECORDS = len(LENGTHS)
# Tokens at the start of a text that are not learnt: its prompt.
PROMPTS = [4, 1, 3, 0, 2, 5]
LORA = dict(rank=4, alpha=8, rslora=True, dropout=0, targets=list(TARGETS))
TRAINING = dict(learningRate=0.01, weightDecay=0.1, clipNorm=1.0, schedule="linear", warmup=0)
FROZEN, TRAINED = [3], [2, 1]
PROMPT, CONTINUATION = [1, 17, 99, 4, 62], 20


def continuation(model) -> list[int]:
    """Greedy. Where two tokens are nearly as likely, another rounding might choose the other: there are no such places."""
    ids = list(PROMPT)
    for _ in range(CONTINUATION):
        best = model(input_ids=torch.tensor([ids])).logits[0, -1].topk(2)
        assert best.values[0] - best.values[1] > 1e-3, best
        ids.append(best.indices[0].item())
    return ids[len(PROMPT) :]


def write(folder: Path, config: LlamaConfig) -> None:
    torch.manual_seed(1)
    out: dict[str, torch.Tensor] = {}
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2 + (1.0 if "norm" in name else 0.0))
    model.save_pretrained(folder)

    ids = torch.randint(3, config.vocab_size, (RECORDS, TOKENS))
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for row, (length, prompt) in enumerate(zip(LENGTHS, PROMPTS)):
        ids[row, length:] = 0
        mask[row, :length] = 1
        labels[row, prompt:length] = ids[row, prompt:length]
    out["ids"], out["labels"] = ids.to(torch.int32), labels.to(torch.int32)
    batch = dict(input_ids=ids, attention_mask=mask, labels=labels)

    base = model(**batch, output_hidden_states=True)
    out["base.hidden"] = torch.stack(base.hidden_states[:-1])
    out["base.logits"], out["base.loss"] = base.logits, base.loss.reshape(1)
    continued = dict(base=continuation(model))

    lora = LoraConfig(
        task_type="CAUSAL_LM",
        r=LORA["rank"],
        lora_alpha=LORA["alpha"],
        use_rslora=LORA["rslora"],
        lora_dropout=LORA["dropout"],
        target_modules=LORA["targets"],
        layers_to_transform=sorted(FROZEN + TRAINED),
        layers_pattern="layers",
    )
    peft = get_peft_model(model, lora).eval()
    # The names PEFT writes to adapter_model.safetensors.
    named = {name.replace(".default", ""): p for name, p in peft.named_parameters() if "lora_" in name}
    names = lambda layers: [
        f"base_model.model.model.layers.{layer}.{part}.{target}.lora_{matrix}.weight"
        for layer in layers
        for target, part in TARGETS.items()
        for matrix in "AB"
    ]
    everything, group = names(FROZEN + TRAINED), names(TRAINED)
    assert set(named) == set(everything), sorted(named)

    with torch.no_grad():
        for name in everything:
            named[name].copy_(torch.randn_like(named[name]) * 0.2)
            out[f"adapter.{name}"] = named[name].detach().clone()
    adapted = peft(**batch)
    out["adapter.logits"], out["adapter.loss"] = adapted.logits, adapted.loss.reshape(1)
    for name, gradient in zip(everything, torch.autograd.grad(adapted.loss, [named[n] for n in everything])):
        out[f"gradient.{name}"] = gradient
    continued["adapter"] = continuation(peft)

    # The stage: the frozen group as it is, A uniform, B zero.
    with torch.no_grad():
        for stream, name in enumerate(group):
            value = named[name]
            value.copy_(uniform(value.shape, value.shape[1] ** -0.5, stream) if "lora_A" in name else torch.zeros_like(value))
    for name in everything:
        named[name].requires_grad_(name in group)
    parameters = [named[name] for name in group]
    optimiser = torch.optim.AdamW(parameters, lr=TRAINING["learningRate"], weight_decay=TRAINING["weightDecay"])
    schedule = get_linear_schedule_with_warmup(optimiser, 0, EPOCHS * -(-RECORDS // BATCH))
    losses = []
    for epoch in range(EPOCHS):
        order = [(i + epoch) % RECORDS for i in range(RECORDS)]
        for start in range(0, RECORDS, BATCH):
            rows = order[start : start + BATCH]
            loss = peft(**{name: value[rows] for name, value in batch.items()}).loss
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, TRAINING["clipNorm"])
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
    for name in group:
        out[f"trained.{name}"] = named[name].detach().clone()

    save_file({name: tensor.detach().contiguous() for name, tensor in out.items()}, folder / "reference.safetensors")
    about = dict(
        lengths=LENGTHS, prompt=PROMPT, continued=continued, losses=losses, lora=LORA,
        training={**TRAINING, "batchSize": BATCH, "epochs": EPOCHS}, frozen=FROZEN, trained=TRAINED, key=KEY,
    )  # fmt: skip
    (folder / "reference.json").write_text(json.dumps(about, indent=2) + "\n")


def write_tokenizer(folder: Path) -> None:
    """A tokenizer.json whose tokens are the characters that can be printed, and the end of a line."""
    # A byte-level vocabulary writes a space and the end of a line as letters of their own.
    characters = ["\u0120", "\u010a", *(chr(code) for code in range(33, 127))]
    special = ["<unk>", "<s>", "</s>"]
    vocabulary = {token: i for i, token in enumerate([*special, *characters])}
    start = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    sequences = [{"Sequence": {"id": name, "type_id": 0}} for name in ("A", "B")]
    flags = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    tokenizer = dict(
        version="1.0",
        truncation=None,
        padding=None,
        added_tokens=[dict(id=i, content=token, **flags) for i, token in enumerate(special)],
        normalizer=None,
        pre_tokenizer=dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True),
        post_processor=dict(
            type="TemplateProcessing",
            single=[start, sequences[0]],
            pair=[start, *sequences],
            special_tokens={"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        ),
        decoder=dict(type="ByteLevel", add_prefix_space=True, trim_offsets=True, use_regex=True),
        model=dict(type="BPE", dropout=None, unk_token="<unk>", vocab=vocabulary, merges=[]),
    )
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer) + "\n")


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    for name, config in CONFIGS.items():
        write(folder / name, LlamaConfig(**SHAPE, **config))
        write_tokenizer(folder / name)
        # Not part of what is compared.
        (folder / name / "generation_config.json").unlink(missing_ok=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
