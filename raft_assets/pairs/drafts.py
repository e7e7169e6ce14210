"""Drafts that are too many for memory: kept in a file, and read in the order in which they were put in."""

import json
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import fields

from raft_assets.core.tables import Chunk
from raft_assets.pairs.questions import Draft

READ_BYTES = 1 << 20  # of the file that are in memory while drafts are read
_STORED = tuple(field.name for field in fields(Draft) if field.name != "chunk")


class DraftFile:
    """Drafts on disk. Memory holds the chunks that they are about, which whoever made the drafts has anyway.

    The file is in the folder of temporary files and is deleted with this object. Several readers may be at different
    places; what is added after a reader began is read by it as well.
    """

    def __init__(self, drafts: Iterable[Draft] = ()) -> None:
        self._chunks: list[Chunk] = []
        self._number_of: dict[int, int] = {}  # by identity: the list keeps every chunk alive
        self._count = 0
        self._end = 0  # of what is written, in bytes
        # unbuffered: readers see what is written
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - open as long as this object lives
        weakref.finalize(self, self._file.close)
        self.extend(drafts)

    def __len__(self) -> int:
        return self._count

    def extend(self, drafts: Iterable[Draft]) -> None:
        """Add drafts at the end."""
        for draft in drafts:
            line = json.dumps(self._fields(draft)).encode() + b"\n"
            self._file.seek(self._end)
            self._file.write(line)
            self._end += len(line)
            self._count += 1

    def __iter__(self) -> Iterator[Draft]:
        place, rest = 0, b""
        while place < self._end:
            self._file.seek(place)
            block = self._file.read(min(READ_BYTES, self._end - place))
            place += len(block)
            *lines, rest = (rest + block).split(b"\n")
            yield from map(self._read, lines)

    def _fields(self, draft: Draft) -> list[object]:
        number = self._number_of.setdefault(id(draft.chunk), len(self._chunks))
        if number == len(self._chunks):
            self._chunks.append(draft.chunk)
        return [number, *(getattr(draft, name) for name in _STORED)]

    def _read(self, line: bytes) -> Draft:
        number, *values = json.loads(line)
        return Draft(chunk=self._chunks[number], **dict(zip(_STORED, values, strict=True)))
