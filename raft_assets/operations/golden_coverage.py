"""What golden questions can decide and what they cost training, known before any model is asked."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from raft_assets.core.errors import DataError
from raft_assets.core.identity import normalize
from raft_assets.core.tables import Chunk, GoldenQuestion
from raft_assets.dataset.golden import golden_chunk_ids, read_golden_questions, resolve_golden_questions
from raft_assets.dataset.related_chunks import Relate, find_related_chunks
from raft_assets.documents.reading import ReadDocument
from raft_assets.evaluation.verdict import MIN_CLUSTERS
from raft_assets.evaluation.wording import count_noun
from raft_assets.operations.document_ids import former_paths_of
from raft_assets.operations.remembered_relations import remembered_relations
from raft_assets.settings.domain import DatasetSettings
from raft_assets.settings.domains import QUESTIONS_FILE, domain_folder
from raft_assets.settings.project import Project
from raft_assets.storage.lake import Lake


@dataclass(frozen=True)
class GoldenCoverage:
    """Golden questions that decide the verdict, and what is left to train on.

    `questions`: distinct ones with an answer whose evidence was found. `passages`: distinct chunks that they are about.
    `held_out`: chunks that train on nothing because of any golden question, with their near-duplicates and what shares
    text with them. `chunks`: all of the domain.
    """

    questions: int
    passages: int
    held_out: int
    chunks: int

    @property
    def can_decide(self) -> bool:
        """Whether a verdict can be reached: on these questions, or where there are none, on generated ones."""
        return not self.questions or self.passages >= MIN_CLUSTERS

    @property
    def can_train(self) -> bool:
        """Whether a chunk is left to train on."""
        return self.held_out < self.chunks

    @property
    def sentence(self) -> str:
        """What it comes to, and what to do about it."""
        if not self.questions:
            return (
                "No golden question has an answer with evidence, so the verdict will be on questions that the teacher "
                f"wrote. Write questions about at least {MIN_CLUSTERS} passages: raft questions sheet."
            )
        told = f"{count_noun(self.questions, 'question')} about {count_noun(self.passages, 'passage')}"
        missing = MIN_CLUSTERS - self.passages
        if missing > 0:
            told += (
                f": fewer than {MIN_CLUSTERS} passages, so no verdict on people's questions is possible; write "
                f"questions about {missing} more"
            )
        else:
            told += ": enough for a verdict"
        if not self.held_out:
            return f"{told}. Training may show all {self.chunks:,} chunks (dataset.protocol: seen_passages)."
        if self.can_train:
            return f"{told}. {self.held_out:,} of {self.chunks:,} chunks are held out of training."
        return (
            f"{told}. All {self.chunks:,} chunks are held out, so nothing is left to train on: add documents, or set "
            "dataset.protocol: seen_passages, which lets passages of golden questions train with other questions."
        )


def golden_coverage(
    golden: Sequence[GoldenQuestion],
    chunks: Mapping[str, Chunk],
    settings: DatasetSettings,
    *,
    relate: Relate = find_related_chunks,
) -> GoldenCoverage:
    """Return what the resolved golden questions of a domain can decide; `chunks` are all of the domain, by id."""
    deciding = {
        (normalize(one.question).casefold(), one.oracle_chunk_ids[0])
        for one in golden
        if one.answerable and one.oracle_chunk_ids
    }
    evidence = golden_chunk_ids(golden)
    held_out = frozenset[str]()
    if evidence and settings.protocol == "unseen_passages":
        held_out = relate(chunks, settings.near_duplicate).relatives(evidence)
    return GoldenCoverage(
        questions=len(deciding),
        passages=len({chunk_id for _, chunk_id in deciding}),
        held_out=len(held_out & chunks.keys()),
        chunks=len(chunks),
    )


def coverage_of_questions(
    project: Project, domain: str, documents: Iterable[ReadDocument], chunks: Sequence[Chunk]
) -> GoldenCoverage:
    """Return what the questions that are in the domain's folder now can decide.

    Raises DataError if the file can't be read.
    """
    return coverage_in_project(project, domain, questions_of_folder(project, domain, documents, chunks), chunks)


def coverage_in_project(
    project: Project, domain: str, golden: Sequence[GoldenQuestion], chunks: Iterable[Chunk]
) -> GoldenCoverage:
    """Return what resolved questions of a domain can decide, by its settings and what is remembered of its chunks."""
    settings, by_id = project.settings(domain).values.dataset, {chunk.chunk_id: chunk for chunk in chunks}
    return golden_coverage(golden, by_id, settings, relate=remembered_relations(project, domain))


def questions_of_folder(
    project: Project, domain: str, documents: Iterable[ReadDocument], chunks: Iterable[Chunk]
) -> list[GoldenQuestion]:
    """Return the questions that are in the domain's folder now, resolved to their chunks.

    Raises DataError if the file can't be read.
    """
    written = read_golden_questions(domain_folder(project.data, domain) / QUESTIONS_FILE)
    documents = list(documents) if written else []
    renamed = former_paths_of(Lake.of(project), domain, documents)
    return resolve_golden_questions(written, documents, chunks, renamed=renamed)


def refuse_without_training(coverage: GoldenCoverage) -> None:
    """Raise DataError where golden questions leave nothing to train on, before a teacher is paid for pairs."""
    if not coverage.can_train:
        raise DataError(f"No pairs are generated, because none of them could train: {coverage.sentence}")
