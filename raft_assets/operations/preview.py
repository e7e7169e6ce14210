"""Finished RAFT rows of a few chunks, before a corpus is processed: the whole method in memory, nothing in the lake.

Every request is one that the lineage makes later, so what is asked here is stored and not paid again.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from raft_assets.core.errors import DataError
from raft_assets.core.identity import question_id
from raft_assets.core.tables import Chunk, QAPair, RaftRow
from raft_assets.dataset.distractors import DistractorPool
from raft_assets.dataset.rows import Assembly
from raft_assets.dataset.splits import SplitPlan
from raft_assets.documents.retrieval import VectorIndex
from raft_assets.llm.requests import Origin, Progress, UsageStats
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.pair_form import resolve_form
from raft_assets.operations.pair_maker import open_pair_generator
from raft_assets.operations.sources import index_chunks
from raft_assets.pairs.generation import first_round_plan
from raft_assets.pairs.reviews import read_reviews
from raft_assets.settings.domain import DatasetSettings, DomainSettings
from raft_assets.settings.domains import REVIEWS_FILE, domain_folder
from raft_assets.settings.endpoints import Role
from raft_assets.storage.lake import Lake

NO_VECTORS = VectorIndex([], np.empty((0, 0), np.float32))


@dataclass(frozen=True)
class Preview:
    """Rows, and the pairs that were rejected; `chunks` are all of the domain.

    `call_details`: why a call gave no usable answer, in the service's words, by the question_id of its pair; `refused`:
    why a chunk has no vector, by its id.
    """

    chunks: dict[str, Chunk]
    rows: list[RaftRow]
    rejected: list[QAPair]
    call_details: Mapping[str, str]
    refused: Mapping[str, str]
    usage_stats: dict[Role, UsageStats]


def preview_plan(chunks: Sequence[Chunk], settings: DomainSettings, count: int) -> list[tuple[Chunk, int]]:
    """Return the first `count` chunks that the lineage will ask about, with their numbers of questions.

    Raises DataError if there is none.
    """
    plan = first_round_plan(chunks, settings.questions)[:count]
    if not plan:
        raise DataError("questions.questions_per_chunk is 0, so no questions are asked: raise it to preview rows.")
    return plan


def preview_rows(
    models: ModelClients,
    domain: str,
    settings: DomainSettings,
    chunks: Sequence[Chunk],
    plan: Sequence[tuple[Chunk, int]],
    *,
    progress_of: Callable[[str], Callable[[Progress], None]],
) -> Preview:
    """Draft pairs, apply the gates and assemble rows; all rows are treated as training rows.

    `progress_of` announces what is done next, and returns a callback for the answers to its calls.
    """
    origin = Origin(domain=domain)
    index, of_chunks = NO_VECTORS, UsageStats()
    if needs_vectors(settings):
        embedded = progress_of(f"vectors of {len(chunks):,} chunks")
        with models.caller(Role.EMBEDDING, origin=origin, on_progress=embedded) as encoder:
            index = index_chunks(encoder, chunks)
            of_chunks = encoder.usage_stats
    reviews = read_reviews(domain_folder(models.project.data, domain) / REVIEWS_FILE)
    answered = progress_of(f"questions and answers about {len(plan):,} of {len(chunks):,} chunks")
    form = resolve_form(models, Lake.of(models.project), domain, settings, chunks, origin=origin, keep=False)
    # a preview is for somebody who waits: batches would be answered tomorrow
    with open_pair_generator(
        models, settings, index, form=form, chunks=chunks, origin=origin, live=True, on_progress=answered
    ) as maker:
        drafts = maker.draft_plan(plan)
        pairs = list(maker.judged(drafts, reviews))
        tallies = maker.usage_stats
    return Preview(
        {chunk.chunk_id: chunk for chunk in chunks},
        training_rows(pairs, chunks, index, settings.dataset),
        [pair for pair in pairs if not pair.accepted],
        {question_id(draft.chunk.chunk_id, draft.question): draft.call_detail for draft in drafts if draft.call_detail},
        index.refused,
        tallies | {Role.EMBEDDING: tallies[Role.EMBEDDING] + of_chunks},
    )


def training_rows(
    pairs: Sequence[QAPair], chunks: Sequence[Chunk], index: VectorIndex, settings: DatasetSettings
) -> list[RaftRow]:
    """Return the rows of the accepted pairs, all of them training rows; `chunks` are all of the domain."""
    pool = DistractorPool(chunks, vectors=index or None, near_duplicate=settings.near_duplicate)
    accepted = {pair.question_id: pair for pair in pairs if pair.accepted}
    return list(Assembly(accepted, pool, _train_only_plan(accepted.values()), settings).rows())


def describe_paid_calls(
    models: ModelClients, settings: DomainSettings, chunks: int, plan: Sequence[tuple[Chunk, int]]
) -> list[str]:
    """Describe the calls, at most, of roles that may cost money, in sentences; none where everything is free."""
    return [
        f"{role.value} ({models.endpoints[role].model} at {models.endpoints[role].service}): {said}"
        for role, said in _describe_calls(settings, chunks, plan)
        if role in models.endpoints and not models.endpoints[role].is_free
    ]


def needs_vectors(settings: DomainSettings) -> bool:
    """Return whether the passages are embedded: for the retrieval gate, or for hard distractors."""
    return settings.questions.retrieval_top_k > 0 or settings.dataset.distractor_kind == "hard"


def is_embedding_paid(models: ModelClients) -> bool:
    """Return whether vectors may cost money."""
    return not models.endpoints[Role.EMBEDDING].is_free


def _describe_calls(
    settings: DomainSettings, chunks: int, plan: Sequence[tuple[Chunk, int]]
) -> Iterator[tuple[Role, str]]:
    questions = sum(count for _, count in plan)
    probes = int(settings.questions.structured == "auto")
    parts = f"{len(plan):,} for questions, {questions:,} answers" + ", 1 to find out the form" * probes
    yield Role.TEACHER, f"at most {len(plan) + questions + probes:,} calls ({parts})"
    if needs_vectors(settings):
        yield Role.EMBEDDING, f"vectors of {chunks:,} passages and of at most {questions:,} questions"
    yield Role.JUDGE, f"at most {questions:,} calls"


def _train_only_plan(pairs: Iterable[QAPair]) -> SplitPlan:
    """Return a plan that trains on every chunk as a unit of its own, because splits need the whole corpus."""
    chunk_ids = sorted({pair.chunk_id for pair in pairs})
    return SplitPlan(
        unit_name="chunk",
        units={name: name for name in chunk_ids},
        splits=dict.fromkeys(chunk_ids, "train"),
        drop_reasons={},
        held_out=frozenset(),
        register={},
        dropped={},
    )
