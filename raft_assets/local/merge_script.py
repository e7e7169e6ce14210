"""A step of `raft export --merged`, run by the interpreter of local models: base and adapter become one model.

`merge_script.py BASE ADAPTER TARGET`: https://huggingface.co/docs/peft/developer_guides/model_merging
"""

import sys


def merge(base: str, adapter: str, target: str) -> None:
    """Write the merged weights as safetensors, with the base's tokenizer; no code out of a model is run."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    safe = {"trust_remote_code": False, "local_files_only": True}
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16, use_safetensors=True, **safe)
    merged = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    merged.save_pretrained(target, safe_serialization=True)
    AutoTokenizer.from_pretrained(base, **safe).save_pretrained(target)


if __name__ == "__main__":
    merge(*sys.argv[1:4])
