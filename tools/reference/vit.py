"""What PyTorch, transformers and PEFT compute for a small ViT: the numbers that packages/model is tested against.

    pip install torch transformers peft safetensors pillow     (made with torch 1.13.1, transformers 4.40.2, peft 0.10.0)
    python tools/reference/vit.py tools/reference/vit

Writes a random base in Hugging Face layout, and reference.safetensors + reference.json with:
- pictures (u8), of the exact size, smaller and larger, and what ViTImageProcessor makes of them
- hidden states and logits of the base
- logits of the base with an adapter on layers 4 to 1 (rsLoRA, query and value) and its own head
- one stage of S3T as PEFT would train it: layers 4 and 3 frozen, layers 2 and 1 trained for ten steps of AdamW on two
  batches an epoch (four records, then two). The gradients of the first step, the loss of every step, the values afterwards
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor, get_linear_schedule_with_warmup

from start_values import KEY, uniform

CONFIG = dict(
    hidden_size=32,
    num_hidden_layers=5,
    num_attention_heads=4,
    intermediate_size=64,
    image_size=16,
    patch_size=4,
    num_channels=3,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    layer_norm_eps=1e-6,
)
LABELS, RECORDS, BATCH, EPOCHS = 5, 6, 4, 5
LORA = dict(rank=4, alpha=8, rslora=True, dropout=0, targets=["query", "value"])
TRAINING = dict(learningRate=0.01, weightDecay=0.1, clipNorm=1.0, schedule="linear", warmup=0)
FROZEN, TRAINED = [4, 3], [2, 1]


def main(folder: Path) -> None:
    torch.manual_seed(1)
    torch.set_num_threads(1)
    out: dict[str, torch.Tensor] = {}
    config = ViTConfig(**CONFIG, num_labels=LABELS)
    model = ViTForImageClassification(config).eval()
    with torch.no_grad():
        # transformers starts with near-zero weights, zero biases and unit norms; here everything shall matter.
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.15 + (1.0 if "layernorm" in name and name.endswith("weight") else 0.0))
    processor = ViTImageProcessor(size={"height": 16, "width": 16}, image_mean=[0.5, 0.4, 0.3], image_std=[0.2, 0.25, 0.3])
    model.save_pretrained(folder)
    processor.save_pretrained(folder)

    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 256, (RECORDS, 16, 16, 3), dtype=np.uint8)
    pixels = processor([p for p in pictures], return_tensors="pt")["pixel_values"]
    out["pictures"], out["pixels"] = torch.from_numpy(pictures), pixels
    for name, shape in {"small": (6, 10, 3), "large": (50, 37, 3)}.items():
        picture = rng.integers(0, 256, shape, dtype=np.uint8)
        out[name] = torch.from_numpy(picture)
        out[f"{name}.pixels"] = processor(picture, return_tensors="pt")["pixel_values"]
    labels = torch.tensor([0, 3, 1, 4, 2, 3])

    out["base.logits"] = model(pixels).logits
    out["base.hidden"] = torch.stack(model.vit(pixels, output_hidden_states=True).hidden_states[:-1])

    lora = LoraConfig(
        r=LORA["rank"],
        lora_alpha=LORA["alpha"],
        use_rslora=LORA["rslora"],
        lora_dropout=LORA["dropout"],
        target_modules=LORA["targets"],
        layers_to_transform=sorted(FROZEN + TRAINED),
        layers_pattern="layer",
        modules_to_save=["classifier"],
    )
    peft = get_peft_model(model, lora).eval()
    # The names PEFT writes to adapter_model.safetensors.
    named = {
        name.replace(".default", "").replace(".modules_to_save", ""): parameter
        for name, parameter in peft.named_parameters()
        if "lora_" in name or ".modules_to_save." in name
    }
    layer_of = lambda name: int(name.split("layer.")[1].split(".")[0]) if "lora_" in name else None
    head = [name for name in named if "classifier" in name]
    group = [
        f"base_model.model.vit.encoder.layer.{layer}.attention.attention.{target}.lora_{part}.weight"
        for layer in TRAINED
        for target in LORA["targets"]
        for part in "AB"
    ] + head
    assert all(name in named for name in group) and len(named) == 2 * (len(group) - 2) + 2, sorted(named)

    with torch.no_grad():
        for parameter in named.values():
            parameter.copy_(torch.randn_like(parameter) * 0.2)
    for name, parameter in named.items():
        out[f"adapter.{name}"] = parameter.detach().clone()
        parameter.requires_grad_(name in group)
    logits = peft(pixel_values=pixels).logits
    out["adapter.logits"] = logits
    loss = cross_entropy(logits, labels)
    out["adapter.loss"] = loss.reshape(1)
    for name, gradient in zip(group, torch.autograd.grad(loss, [named[n] for n in group])):
        out[f"gradient.{name}"] = gradient

    # The stage: the frozen group and its head as they are, A uniform, B zero.
    with torch.no_grad():
        for stream, name in enumerate(group[:-2]):
            value = named[name]
            value.copy_(uniform(value.shape, CONFIG["hidden_size"] ** -0.5, stream) if "lora_A" in name else torch.zeros_like(value))
    parameters = [named[name] for name in group]
    optimiser = torch.optim.AdamW(parameters, lr=TRAINING["learningRate"], weight_decay=TRAINING["weightDecay"])
    schedule = get_linear_schedule_with_warmup(optimiser, 0, EPOCHS * -(-RECORDS // BATCH))
    losses = []
    for epoch in range(EPOCHS):
        order = [(i + epoch) % RECORDS for i in range(RECORDS)]
        for start in range(0, RECORDS, BATCH):
            batch = order[start : start + BATCH]
            loss = cross_entropy(peft(pixel_values=pixels[batch]).logits, labels[batch])
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
        labels=labels.tolist(), losses=losses, lora=LORA, training={**TRAINING, "batchSize": BATCH, "epochs": EPOCHS},
        frozen=FROZEN, trained=TRAINED, key=KEY,
    )
    (folder / "reference.json").write_text(json.dumps(about, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
