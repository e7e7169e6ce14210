"""The check, just before a model is trained, that training shares nothing with evaluation."""

from raft_assets.core.progress import track
from raft_assets.core.row_file import DiskBackedRows
from raft_assets.core.tables import Chunk, GoldenQuestion, RaftRow
from raft_assets.dataset.leakage import check_leakage
from raft_assets.settings.domain import Protocol
from raft_assets.storage.lake import Lake


def check_leakage_in_lake(lake: Lake, domain: str, protocol: Protocol) -> None:
    """Raise LeakageError if the domain's rows share anything between evaluation and training.

    Rows that were edited, and golden questions that were added after the rows, are detected before they train a model.
    """
    passages = DiskBackedRows(Chunk, lake.rows(Chunk, domain), lambda chunk: chunk.chunk_id)
    golden = list(lake.rows(GoldenQuestion, domain))
    rows = track("rows checked for leaks", lake.rows(RaftRow, domain), lake.count(RaftRow.table, domain))
    for _ in check_leakage(rows, golden, passages, protocol):
        pass
