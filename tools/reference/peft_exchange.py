"""What PEFT makes of adapters that packages/model exported, and adapters that PEFT saved, for packages/model to read.

    pip install torch "transformers<5" peft safetensors      (made with torch 2.15.0, transformers 4.57.6, peft 0.18.1)
    S3T_WRITE_REFERENCE=1 npx vitest run src/peft/peft-reference.test.ts     (in packages/model: writes peft/vit-names and others)
    python tools/reference/peft_exchange.py

transformers 5 gave the modules of a ViT other names; adapters for published checkpoints have those of transformers 4.
Writes peft/saved-vit and peft/saved-roberta, as PeftModel.save_pretrained does, and peft/reference.safetensors: the logits of
PEFT with every adapter there, on the records of vit/ and roberta/.
"""

import json
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification

HERE = Path(__file__).parent
EXPORTED = {"vit-names": "vit", "vit-paths": "vit", "roberta": "roberta"}
SAVED = {
    "saved-vit": ("vit", dict(modules_to_save=["classifier"])),
    "saved-roberta": ("roberta", dict(task_type="SEQ_CLS", layers_to_transform=[1, 3])),
}


def base_model(name):
    kind = AutoModelForImageClassification if name == "vit" else AutoModelForSequenceClassification
    return kind.from_pretrained(HERE / name).eval()


def inputs_of(name):
    if name == "vit":
        return dict(pixel_values=load_file(HERE / "vit" / "reference.safetensors")["pixels"])
    rows = json.loads((HERE / name / "reference.json").read_text())
    return dict(input_ids=torch.tensor(rows["ids"]), attention_mask=torch.tensor(rows["mask"]))


def names_of(folder):
    with safe_open(folder / "adapter_model.safetensors", "pt") as file:
        return set(file.keys())


def main():
    torch.manual_seed(1)
    torch.set_num_threads(1)
    out = {}
    with torch.no_grad():
        for name, base in EXPORTED.items():
            bare = base_model(base)
            before = bare(**inputs_of(base)).logits
            model = PeftModel.from_pretrained(bare, HERE / "peft" / name).eval()
            # Every adapter that PEFT made was in the file: no layer more was found than exported.
            made = {n.replace(".default", "") for n, _ in model.named_parameters() if ".lora_" in n}
            assert made == {n for n in names_of(HERE / "peft" / name) if ".lora_" in n}, name
            out[f"{name}.logits"] = model(**inputs_of(base)).logits
            assert (out[f"{name}.logits"] - before).abs().max() > 0.1
        for name, (base, options) in SAVED.items():
            lora = LoraConfig(r=3, lora_alpha=6, lora_dropout=0.1, target_modules=["query", "value"], **options)
            model = get_peft_model(base_model(base), lora).eval()
            model.peft_config["default"].base_model_name_or_path = f"tools/reference/{base}"
            for parameter_name, parameter in model.named_parameters():
                if "lora_" in parameter_name or ".modules_to_save." in parameter_name:
                    parameter.copy_(torch.randn_like(parameter) * 0.2)
            out[f"{name}.logits"] = model(**inputs_of(base)).logits
            model.save_pretrained(HERE / "peft" / name)
            (HERE / "peft" / name / "README.md").unlink()
    save_file({name: logits.contiguous() for name, logits in out.items()}, HERE / "peft" / "reference.safetensors")


if __name__ == "__main__":
    main()
