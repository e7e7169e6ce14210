"""Rows that are too many for memory: kept in a file and read by their id."""

import tempfile
import weakref
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Generic, TypeVar

from raft_assets.core.errors import DataError
from raft_assets.core.tables import Row

CACHED_ROWS = 1 << 12  # rows kept in memory: a row's distractors are compared, then shown

R = TypeVar("R", bound=Row)


class DiskBackedRows(Mapping[str, R], Generic[R]):
    """The rows by id, in the order in which they came. Memory holds the ids and 8 bytes of each row.

    The file is in the folder of temporary files and is deleted with this object. Raises DataError for an id that two
    rows have.
    """

    def __init__(self, model: type[R], rows: Iterable[R], id_of: Callable[[R], str]) -> None:
        self._model = model
        self._positions: dict[str, int] = {}
        self._starts = array("Q", [0])
        # unbuffered: a buffer is discarded at every seek
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - open as long as this object lives
        weakref.finalize(self, self._file.close)
        # made here: the cache of a decorated method would keep every instance alive
        self._cached = lru_cache(CACHED_ROWS)(self._read)
        for position, row in enumerate(rows):
            if self._positions.setdefault(id_of(row), position) != position:
                raise DataError(f"Two {model.__name__} rows have the id {id_of(row)}: materialize their table again.")
            self._starts.append(self._starts[-1] + self._file.write(row.model_dump_json().encode()))

    def __getitem__(self, name: str) -> R:
        return self._cached(self._positions[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._positions)

    def __len__(self) -> int:
        return len(self._positions)

    def __contains__(self, name: object) -> bool:
        return name in self._positions

    def _read(self, position: int) -> R:
        start, end = self._starts[position], self._starts[position + 1]
        self._file.seek(start)
        return self._model.model_validate_json(self._file.read(end - start))
