"""OpenAI's vocabularies of byte pairs: the tokens of a text, and how many bytes each has.

What texts are cut and counted by is in `documents/chunking` and `embedded/tokens`.
"""

import base64
import functools
import gzip
import sys
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_PACKAGE, _BINDING = "bpe_openai", "bpe_openai._bindings"


def encode(text: str, vocabulary: str) -> list[int]:
    """Return the tokens of a text; what looks like a special token is plain text, half a character is U+FFFD."""
    tokenizer = load_tokenizer(vocabulary)
    try:
        tokens: list[int] = tokenizer.encode(text)
    except UnicodeEncodeError:
        tokens = tokenizer.encode(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    return tokens


@functools.cache
def token_bytes(vocabulary: str) -> npt.NDArray[np.int64]:
    """Return the length of every ordinary token in bytes, by its id."""
    with gzip.open(_folder() / "data" / f"{vocabulary}.tiktoken.gz", "rt", encoding="ascii") as lines:
        entries = [line.split() for line in lines]
    lengths = np.zeros(len(entries), np.int64)
    for token, number in entries:
        lengths[int(number)] = len(base64.b64decode(token))
    return lengths


@functools.cache
def load_tokenizer(vocabulary: str) -> Any:
    """Return the tokenizer of bpe-openai's binding, which has the vocabulary compiled in.

    The package around it is left out: on import it unpacks all its vocabularies into dictionaries, 0.6 s and 80 MB of
    each process, and it rejects texts of a million characters.
    """
    if (module := sys.modules.get(_BINDING)) is None:
        spec = PathFinder.find_spec(_BINDING, [str(_folder())])
        if spec is None or spec.loader is None:
            raise ModuleNotFoundError(f"{_BINDING} is missing: install raft-assets with its dependencies")
        module = sys.modules[_BINDING] = module_from_spec(spec)
        spec.loader.exec_module(module)
    return module.tokenizer_for_encoding(vocabulary)


def _folder() -> Path:
    spec: ModuleSpec | None = find_spec(_PACKAGE)  # finds the package without running it
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{_PACKAGE} is missing: install raft-assets with its dependencies")
    return Path(spec.origin).parent
