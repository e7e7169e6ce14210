"""How many tokens a text has to the student: by its own tokenizer where the user named one, else by the nearest known.

The tokenizer is the `tokenizer.json` of an open model, read by the `tokenizers` package without torch. It is named by
`STUDENT_TOKENIZER`, a folder or the file itself.
"""

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Literal

from raft_assets.core.errors import SettingsError
from raft_assets.operations.model_clients import token_counter
from raft_assets.settings.domain import Tokenizer
from raft_assets.settings.endpoints import Endpoint
from raft_assets.settings.project import Project

TOKENIZER_VARIABLE = "STUDENT_TOKENIZER"
FILE = "tokenizer.json"
SHOWN_DIGITS = 12  # hexadecimal, of the file's hash


def student_tokenizer(
    project: Project, student: Endpoint, chosen: Literal["auto"] | Tokenizer
) -> tuple[str, Callable[[str], int]]:
    """Return the name of what counts, and a function that counts a text's tokens.

    `chosen`: `training_files.tokenizer` of the domain; another value than `auto` is obeyed. Raises SettingsError.
    """
    if chosen != "auto":
        return chosen, token_counter(project, chosen)
    file = tokenizer_file(project)
    if file is None:
        return student.tokenizer, token_counter(project, student.tokenizer)
    return f"{FILE} {tokenizer_sha256(file)[:SHOWN_DIGITS]}", _counter(file)


def tokenizer_file(project: Project) -> Path | None:
    """Return the student's own tokenizer, None where none is named. Raises SettingsError for one that isn't there."""
    named = project.environment.get(TOKENIZER_VARIABLE)
    if named is None:
        return None
    path = (project.folder / Path(named).expanduser()).resolve()
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise SettingsError(
            f"{TOKENIZER_VARIABLE} is {named}, and there is no {file}: name a model's folder, or its {FILE}."
        )
    return file


def tokenizer_sha256(file: Path) -> str:
    """Return the hash of a tokenizer; a file that hasn't changed is read once by a process."""
    found = file.stat()
    return _sha256_of(file, found.st_size, found.st_mtime_ns)


@lru_cache
def _sha256_of(file: Path, size: int, changed_ns: int) -> str:  # noqa: ARG001 - size and time are part of the key
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _counter(file: Path) -> Callable[[str], int]:
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise SettingsError(
            f"{TOKENIZER_VARIABLE} needs the extra local: pip install 'raft-assets[local]' (9 MB, without torch)."
        ) from None
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:
        raise SettingsError(f"{file} can't be read as a tokenizer: {error}.") from error
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
