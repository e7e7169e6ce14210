"""Paid calls on object storage: segments that are only ever added, each whole or absent.

A store that uses them keeps its file as a spool: an answer is durable on this disk before it is used, and goes into a
segment with others soon after. What a process that died left in its spool is found when the next one opens it.
"""

import base64
import contextlib
import gzip
import json
import time
import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from upath import UPath

from raft_assets.core.atomic import publish

SUFFIX = ".jsonl.gz"
DELETED_AT_ONCE = 16


class Segments:
    """The segments under an address (`abfs://...`, or any that fsspec opens, or a folder)."""

    def __init__(self, address: str, options: dict[str, Any]) -> None:
        self.address = address
        self._root: UPath = UPath(address, **options)

    def names(self) -> set[str]:
        """Return every existing segment."""
        self._root.fs.invalidate_cache()
        return {file.name for file in self._root.glob(f"*{SUFFIX}")} if self._root.is_dir() else set()

    def read(self, name: str) -> list[tuple[Any, ...]]:
        """Return the rows of a segment, with bytes restored."""
        lines = gzip.decompress((self._root / name).read_bytes()).decode("utf-8").splitlines()
        return [read_entry(line) for line in lines]

    def write(self, rows: Iterable[Sequence[Any]]) -> str:
        """Write the rows into a new segment and return its name."""
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex}{SUFFIX}"
        text = "".join(write_entry(row) + "\n" for row in rows)
        packed = gzip.compress(text.encode("utf-8"), mtime=0)
        self._root.fs.makedirs(self._root.path, exist_ok=True)
        publish(self._root / name, lambda draft: draft.write_bytes(packed))
        return name

    def delete(self, *names: str) -> None:
        """Remove segments, several at once; a missing one is not an error."""
        with ThreadPoolExecutor(DELETED_AT_ONCE) as pool:
            list(pool.map(self._delete, names))

    def _delete(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._root.fs.rm_file((self._root / name).path)


def write_entry(row: Sequence[Any]) -> str:
    """Return a row as JSON on one line of ASCII."""
    return json.dumps([_to_json_value(value) for value in row])


def read_entry(text: str) -> tuple[Any, ...]:
    """Return the row, with bytes restored."""
    return tuple(map(_from_json_value, json.loads(text)))


def _to_json_value(value: Any) -> Any:
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _from_json_value(value: Any) -> Any:
    return base64.b64decode(value["base64"]) if isinstance(value, dict) else value
