"""A step of `raft export --merged`, run by the interpreter of local models: base and adapter become one model.

`merge_script.py BASE ADAPTER TARGET`: https://huggingface.co/docs/peft/developer_guides/model_merging
"""

import sys
from pathlib import Path


def merge(base: str, adapter: str, target: str) -> None:
    """Write the merged weights as safetensors, with the base's tokenizer; no code out of a model is run."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = Path(base)
    safe = {"trust_remote_code": False, "local_files_only": True}
    gguf = {"gguf_file": source.name} if source.is_file() else {}
    folder = str(source.parent if gguf else source)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, **gguf, **safe)
    merged = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    merged.save_pretrained(target, safe_serialization=True)
    AutoTokenizer.from_pretrained(folder, **gguf, **safe).save_pretrained(target)


if __name__ == "__main__":
    merge(*sys.argv[1:4])
