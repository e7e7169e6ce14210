"""Proof, just before a model is trained, that training shares nothing with evaluation."""

from raft_assets.core.row_file import Shelf
from raft_assets.core.tables import Chunk, GoldenQuestion, RaftRow
from raft_assets.dataset.rows import without_leaks
from raft_assets.settings.domain import DatasetSettings
from raft_assets.storage.lake import Lake


def check_held_out(lake: Lake, domain: str, settings: DatasetSettings) -> None:
    """Raises LeaksError where the domain's rows share anything between evaluation and training.

    Rows that were changed by hand, and golden questions that came after the rows, are found before they train a model.
    """
    passages = Shelf(Chunk, lake.rows(Chunk, domain), lambda chunk: chunk.chunk_id)
    golden = list(lake.rows(GoldenQuestion, domain))
    for _ in without_leaks(lake.rows(RaftRow, domain), golden, passages, settings):
        pass
