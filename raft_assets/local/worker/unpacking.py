"""From a GGUF file to a folder of safetensors: what is then loaded in seconds, by every library, and merged.

transformers reads the tokenizer out of a GGUF file piece by piece, again for configuration, tokenizer and weights, and
dequantises all weights each time: two minutes of computing for a vocabulary of 262,144, at every start of a worker or
an engine. Weights are written in the type that they are computed with here, so nothing is rounded that wasn't before.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .base_model import BaseModel, choose_device, choose_dtype, find_base
from .chat import ChatForm
from .job import RefusedError

# what a tokenizer that was written and read again may do to a text: spaces, line ends, special tokens, other scripts
SAMPLE = "Who\u2019s there?\n\n  Two  spaces, 3.5 \u00b5m, \u6f22\u5b57 \U0001f987 <ANSWER>: <DOCUMENT>x</DOCUMENT>"


def unpack(base: BaseModel, target: Path) -> None:
    """Write configuration, tokenizer, template and weights. Raises RefusedError where they aren't read back equal."""
    tokenizer = base.tokenizer()
    form = base.chat_form(tokenizer)
    model = base.load(dtype=choose_dtype("auto", choose_device("auto")), device="cpu")
    model.hf_quantizer = None  # the weights aren't quantised any more, and a quantiser refuses to write them
    model.config.__dict__.pop("quantization_config", None)
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    written = find_base(target)
    again = written.chat_form(written.tokenizer())
    if _describe(form) != _describe(again):
        raise RefusedError("invalid_model", f"The tokenizer of {base.name} isn't the same when it is read again.")


def _describe(form: ChatForm) -> tuple[object, ...]:
    text = form.prompt([{"role": "system", "content": SAMPLE}, {"role": "user", "content": SAMPLE}])
    return form.tokens(text), form.end_ids, form.template_sha256


def main(arguments: Sequence[str]) -> int:
    """Write the folder; return 1, with a sentence on stderr, where that can't be done."""
    parser = argparse.ArgumentParser(prog="unpack.py", description="Writes a GGUF file's model as safetensors.")
    parser.add_argument("file", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    try:
        unpack(find_base(options.file), options.folder)
    except RefusedError as refusal:
        sys.stderr.write(f"{refusal.message}\n")
        return 1
    return 0
