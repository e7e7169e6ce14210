"""Groups of settings: which asset reads them, and whose model matters to them.

The one table behind the external assets `domain_settings/*`, the dependencies of assets on them, and what a manifest
holds and `raft rebuild` compares. A group is an asset of its own, so that a change makes exactly its readers stale.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from raft_assets.settings.domain import DomainSettings
from raft_assets.settings.endpoints import Role

ROWS = ("source_documents", "chunks", "chunk_embeddings", "golden_questions", "qa_pairs", "qa_dataset")  # in order


@dataclass(frozen=True)
class GroupReaders:
    """`readers` are the assets that read the group, in the order of the lineage; `roles` those whose model matters."""

    readers: tuple[str, ...]
    roles: tuple[Role, ...] = ()

    @property
    def determines_rows(self) -> bool:
        """Whether the rows of a dataset depend on the group: its first reader is one of the assets that make them."""
        return self.readers[0] in ROWS


_ANSWERS = ("baseline_answers", "student_answers")
SETTINGS_GROUPS: Mapping[str, GroupReaders] = {
    "documents": GroupReaders(("source_documents", "data_card")),
    "chunks": GroupReaders(("chunks", "data_card")),
    "embedding": GroupReaders(("chunk_embeddings", "data_card"), (Role.EMBEDDING,)),
    "prompt": GroupReaders(("qa_pairs", "training_files", "data_card", "deployment", *_ANSWERS)),
    "questions": GroupReaders(("qa_pairs", "data_card"), (Role.TEACHER, Role.JUDGE)),
    "dataset": GroupReaders(("qa_dataset", "data_card", *_ANSWERS)),
    "student": GroupReaders(("training_files", "finetuned_model", "deployment", *_ANSWERS)),
    "training_files": GroupReaders(("training_files", "data_card"), (Role.STUDENT,)),
    "training": GroupReaders(("finetuned_model",), (Role.STUDENT,)),
    "baseline": GroupReaders(("baseline_answers",), (Role.BASELINE,)),
    "evaluation": GroupReaders(_ANSWERS),
    "judging": GroupReaders(("judged_answers",), (Role.JUDGE,)),
    "verdict": GroupReaders(("eval_scores", "eval_report")),
}
ROW_GROUPS = frozenset(name for name, group in SETTINGS_GROUPS.items() if group.determines_rows)


def groups_read_by(asset: str) -> tuple[str, ...]:
    """Return the groups that an asset reads."""
    return tuple(name for name, group in SETTINGS_GROUPS.items() if asset in group.readers)


def roles_of(name: str, values: DomainSettings) -> tuple[Role, ...]:
    """Return the roles whose model matters to a group with these values."""
    if name == "chunks" and values.chunks.boundaries == "semantic":
        return (Role.EMBEDDING,)
    return SETTINGS_GROUPS[name].roles
