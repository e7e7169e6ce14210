"""The chat template as training and serving use it, in a file: an engine of another make renders the same prompts."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .base_model import find_base
from .job import RefusedError


def main(arguments: Sequence[str]) -> int:
    """Write the file; return 1, with a sentence on stderr, where the model can't be read."""
    parser = argparse.ArgumentParser(prog="template.py", description="Writes a model's chat template.")
    parser.add_argument("model", type=Path)
    parser.add_argument("file", type=Path)
    options = parser.parse_args(arguments)
    try:
        base = find_base(options.model)
        options.file.write_text(base.chat_form(base.tokenizer()).template_for_others, "utf-8")
    except RefusedError as refusal:
        sys.stderr.write(f"{refusal.message}\n")
        return 1
    return 0
