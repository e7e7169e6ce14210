"""Base and adapter become one model.

https://huggingface.co/docs/peft/developer_guides/model_merging
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from .base_model import find_base


def merge(base: Path, adapter: Path, target: Path) -> None:
    """Write the merged weights as safetensors, with the base's tokenizer; no code out of a model is run.

    A base without a chat template gets the one that the student was trained with.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        base, dtype=torch.bfloat16, use_safetensors=True, trust_remote_code=False, local_files_only=True
    )
    PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(target, safe_serialization=True)
    found = find_base(base)
    tokenizer = found.tokenizer()
    tokenizer.chat_template = tokenizer.chat_template or found.chat_form(tokenizer).template
    tokenizer.save_pretrained(target)


def main(arguments: Sequence[str]) -> int:
    """Write the merged model."""
    parser = argparse.ArgumentParser(prog="merge.py", description="Writes base and adapter as one model.")
    for name in ("base", "adapter", "target"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args(arguments)
    merge(options.base, options.adapter, options.target)
    return 0
