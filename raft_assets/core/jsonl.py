"""The JSON Lines files that people and imports put into a domain, every line validated against a model."""

import json
from collections.abc import Iterator
from os.path import lexists
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, StringConstraints, ValidationError

from raft_assets.core.errors import DataError

NonEmptyText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
M = TypeVar("M", bound=BaseModel)


def read_jsonl(file: Path, model: type[M]) -> Iterator[tuple[int, M]]:
    """Yield line numbers, from 1, and lines; nothing if there is no file.

    Raises DataError with file, line and field.
    """
    if not lexists(file):
        return
    try:
        lines = file.read_text("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 at byte {error.start}: save it as UTF-8.") from error
    except OSError as error:
        raise DataError(f"{file} can't be read ({error.strerror}).") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield number, _parse_line(line, model, f"{file}, line {number}")


def validate_as(value: object, model: type[M], where: str, *, part: str = "field") -> M:
    """Return the value as the model; raises DataError with the part (field, column) and the problem."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in problem["loc"])
        raise DataError(f"{where}{f', {part} {field}' if field else ''}: {problem['msg']}; fix it there.") from error


def _parse_line(line: str, model: type[M], where: str) -> M:
    try:
        value = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{where} is not valid JSON ({error}): fix that line.") from error
    return validate_as(value, model, where)
