"""What was made and is gone or damaged: files of the lake, and evaluations of the results store.

Dagster remembers that an asset was made; whether what it made is still there is looked up here.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Self

from raft_assets.core.tables import QuarantinedFile
from raft_assets.dataset.data_card import CARD_FILE, CARD_JSON_FILE, MANIFEST_FILE
from raft_assets.evaluation.answers_page import ANSWERS_TABLE
from raft_assets.settings.project import Project
from raft_assets.storage.lake import Lake
from raft_assets.storage.results import OPEN_TIMEOUT_S, ResultsStore

SCORES = "eval_scores"  # the asset whose data is in the results store
# asset to its files in the lake: the folder, and what follows the domain
_FILES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "source_documents": (("source_documents", ".parquet"), (QuarantinedFile.table, ".parquet")),
    "chunks": (("chunks", ".parquet"),),
    "chunk_embeddings": (("chunk_embeddings", ".parquet"),),
    "golden_questions": (("golden_questions", ".parquet"),),
    "qa_pairs": (("qa_pairs", ".parquet"),),
    "qa_dataset": (("qa_dataset", ".parquet"), ("splits", ".json")),
    "training_files": (
        ("training_files", "/train.jsonl"),
        ("training_files", "/valid.jsonl"),
        ("training_files", ".json"),
    ),
    "data_card": tuple(("data_card", f"/{name}") for name in (CARD_FILE, CARD_JSON_FILE, MANIFEST_FILE)),
    "finetuned_model": (("finetuned_model", ".json"),),
    "deployment": (("deployment", ".json"),),
    "baseline_answers": (("baseline_answers", ".parquet"),),
    "student_answers": (("student_answers", ".parquet"),),
    "judged_answers": (("judged_answers", ".parquet"),),
    SCORES: (),
    "eval_report": (("eval_report", ".html"), (ANSWERS_TABLE, ".html")),
}


@dataclass(frozen=True)
class Losses:
    """What there is of all domains: names of files in the lake, and (domain, run) of the evaluations."""

    lake: Lake
    files: AbstractSet[str]
    in_lake: AbstractSet[tuple[str, str]]
    in_results: AbstractSet[tuple[str, str]]

    @classmethod
    def find(cls, project: Project, wait_s: float = OPEN_TIMEOUT_S) -> Self:
        """Look at the lake and the results store, once for all domains.

        `wait_s`: how long a program that holds the results store is waited for. Raises RaftError where one of them
        can't be read.
        """
        lake = Lake.of(project)
        return cls(lake, lake.files(), lake.evaluations(), ResultsStore.of(project).runs(wait_s))

    def of(self, domain: str) -> dict[str, str]:
        """Return the assets of a domain of which something is not there, each with a sentence of what."""
        found = dict[str, str]()
        for asset, files in _FILES.items():
            names = [f"{folder}/{domain}{end}" for folder, end in files]
            if gone := [name for name in names if name not in self.files]:
                found[asset] = f"{gone[0]} is not in the lake"
            elif damaged := next(filter(self.lake.is_damaged, names), None):
                found[asset] = f"{damaged} is damaged"
        kept = {run for name, run in self.in_lake if name == domain}
        recorded = {run for name, run in self.in_results if name == domain}
        if not recorded or kept - recorded:
            found[SCORES] = "its evaluation is not in the results store"
        return found
