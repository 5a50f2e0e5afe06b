"""As peft_exchange.py, for Llamas: what PEFT makes of an adapter that packages/model exported, and one that PEFT saved.

    pip install torch transformers peft safetensors     (made with torch 2.8.0, transformers 5.24.0, peft 0.21.2)
    S3T_WRITE_REFERENCE=1 npx vitest run src/peft/peft-reference.test.ts     (in packages/model: writes peft/llama and others)
    python tools/reference/peft_llama.py

Writes peft/saved-llama, as PeftModel.save_pretrained does, and peft/reference-llama.safetensors: the logits of PEFT with each of
the two on the texts of llama/llama2, every token seen.
"""

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from peft_exchange import HERE, names_of

BASE = HERE / "llama" / "llama2"


def main():
    torch.manual_seed(1)
    torch.set_num_threads(1)
    ids = load_file(BASE / "reference.safetensors")["ids"].long()
    base_model = lambda: LlamaForCausalLM.from_pretrained(BASE, attn_implementation="eager").eval()
    out = {}
    with torch.no_grad():
        bare = base_model()
        before = bare(input_ids=ids).logits
        exported = HERE / "peft" / "llama"
        model = PeftModel.from_pretrained(bare, exported).eval()
        made = {n.replace(".default", "") for n, _ in model.named_parameters() if ".lora_" in n}
        assert made == names_of(exported), made ^ names_of(exported)
        out["llama.logits"] = model(input_ids=ids).logits
        assert (out["llama.logits"] - before).abs().max() > 0.1

        lora = LoraConfig(
            task_type="CAUSAL_LM",
            r=3,
            lora_alpha=6,
            lora_dropout=0.1,
            target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
            layers_to_transform=[1, 3],
        )
        model = get_peft_model(base_model(), lora).eval()
        model.peft_config["default"].base_model_name_or_path = "tools/reference/llama/llama2"
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn_like(parameter) * 0.2)
        out["saved-llama.logits"] = model(input_ids=ids).logits
        model.save_pretrained(HERE / "peft" / "saved-llama")
        (HERE / "peft" / "saved-llama" / "README.md").unlink()
    save_file({n: logits.contiguous() for n, logits in out.items()}, HERE / "peft" / "reference-llama.safetensors")


if __name__ == "__main__":
    main()
