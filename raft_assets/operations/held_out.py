"""Rows whose training shares nothing with evaluation: written so, and checked again just before a model is trained."""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from raft_assets.core.progress import track
from raft_assets.core.row_file import DiskBackedRows
from raft_assets.core.tables import Chunk, GoldenQuestion, RaftRow
from raft_assets.dataset.leakage import LeakageError, check_leakage
from raft_assets.dataset.rows import Assembly
from raft_assets.settings.domain import Protocol
from raft_assets.storage.lake import Lake, WriteResult

T = TypeVar("T")

MAX_PASSES = 4  # over the rows; what is lost may make other text rare enough to count, hardly ever twice

log = logging.getLogger(__name__)


def write_rows(
    lake: Lake, domain: str, assembly: Assembly, golden: Sequence[GoldenQuestion], protocol: Protocol
) -> WriteResult:
    """Write the rows of `keep_unleaked`; raises what it raises."""
    return keep_unleaked(assembly, golden, protocol, lambda rows: lake.write(RaftRow, domain, rows))


def keep_unleaked(
    assembly: Assembly, golden: Sequence[GoldenQuestion], protocol: Protocol, keep: Callable[[Iterable[RaftRow]], T]
) -> T:
    """Keep the rows without those that the check, by a measure of its own, finds in training and in evaluation.

    `keep` is called anew with fewer rows where the check fails at the end of them. Raises LeakageError if rows share
    something whatever is lost, DataError if none is left to train on.
    """
    for _ in range(MAX_PASSES - 1):
        try:
            return keep(check_leakage(assembly.rows(), golden, assembly.chunks, protocol))
        except LeakageError as error:
            if not assembly.leave_out(error.leaks):
                raise
            log.warning("Training shares text with evaluation that joined no splits, and loses these rows: %s", error)
    return keep(check_leakage(assembly.rows(), golden, assembly.chunks, protocol))


def check_leakage_in_lake(lake: Lake, domain: str, protocol: Protocol) -> None:
    """Raise LeakageError if the domain's rows share anything between evaluation and training.

    Rows that were edited, and golden questions that were added after the rows, are detected before they train a model.
    """
    passages = DiskBackedRows(Chunk, lake.rows(Chunk, domain), lambda chunk: chunk.chunk_id)
    golden = list(lake.rows(GoldenQuestion, domain))
    rows = track("rows checked for leaks", lake.rows(RaftRow, domain), lake.count(RaftRow.table, domain))
    for _ in check_leakage(rows, golden, passages, protocol):
        pass
