"""QA pairs by the project's models: what the asset `qa_pairs` and `raft preview` both do.

The method is in `pairs.generation` and `pairs.gates`; here it meets the roles that ask, embed and judge.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

from raft_assets.core.progress import track
from raft_assets.core.tables import Chunk, QAPair
from raft_assets.documents.retrieval import RetrievalRanks, VectorIndex
from raft_assets.llm.caller import Caller
from raft_assets.llm.requests import NO_REQUESTER, Origin, Progress, UsageStats
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.pair_form import PairForm
from raft_assets.pairs.drafts import DraftFile
from raft_assets.pairs.gates import NO_REVIEWS, Vocabulary, apply_gates
from raft_assets.pairs.generation import draft_pairs, draft_round
from raft_assets.pairs.questions import Draft
from raft_assets.pairs.reviews import Review
from raft_assets.settings.domain import DomainSettings
from raft_assets.settings.endpoints import Role


class PairGenerator:
    """Drafts pairs and applies the gates; `judge` is None where that role isn't configured."""

    def __init__(
        self,
        teacher: Caller,
        encoder: Caller,
        judge: Caller | None,
        settings: DomainSettings,
        index: VectorIndex,
        *,
        form: PairForm,
        chunks: Sequence[Chunk],
    ) -> None:
        self._teacher = teacher
        self._encoder = encoder
        self._judge = judge
        self._settings = settings
        self._form = form
        self._chunks = {chunk.chunk_id: chunk for chunk in chunks}
        self._vocabulary = Vocabulary(chunk.passage for chunk in track("passages read", chunks, len(chunks)))
        top_k = settings.questions.retrieval_top_k
        self._documents_of = dict[str, tuple[str, ...]]()  # by question
        embed = partial(encoder.embed, documents_of=lambda question: self._documents_of[question])
        self._ranks = RetrievalRanks(index, embed, top_k) if top_k else None
        # a pair of theirs would be rejected for it: nothing is asked about them
        self._left_out = index.refused.keys() if top_k else frozenset[str]()

    def drafts(self, chunks: Sequence[Chunk]) -> DraftFile:
        """Draft pairs of all chunks, up to the target.

        Pairs that the gates accept count, whatever a reviewer said of them later. Where retrieval is a gate, chunks
        without a vector are left out.
        """
        return draft_pairs(
            [chunk for chunk in chunks if chunk.chunk_id not in self._left_out],
            self._settings.questions,
            ask=self._teacher.ask,
            accepted=lambda drafts: sum(pair.accepted for pair in self.judged(drafts)),
            instructions=self._settings.prompt.instructions,
            structured=self._form.structured,
        )

    def draft_plan(self, plan: Sequence[tuple[Chunk, int]]) -> DraftFile:
        """Draft pairs of some chunks, with the number of questions to ask of each."""
        instructions = self._settings.prompt.instructions
        return DraftFile(
            draft_round(
                [(chunk, count) for chunk, count in plan if chunk.chunk_id not in self._left_out],
                self._settings.questions,
                ask=self._teacher.ask,
                instructions=instructions,
                structured=self._form.structured,
            )
        )

    def judged(self, drafts: DraftFile, reviews: Mapping[str, Review] = NO_REVIEWS) -> Iterator[QAPair]:
        """Return the drafts with the verdict of every gate, sorted by question_id."""
        if self._ranks:
            self._ranks.look_up(self._asked(drafts))
        return apply_gates(
            drafts,
            settings=self._settings.questions,
            rank_of=self._ranks.rank_of if self._ranks else None,
            retrieved_instead=self._retrieved_instead,
            reason_without_vector=self._ranks.reason_without if self._ranks else lambda *_: "",
            ask_judge=self._judge.ask if self._judge else None,
            reviews=reviews,
            vocabulary=self._vocabulary,
            gate_set=self._form.gate_set,
        )

    def _retrieved_instead(self, question: str, chunk_id: str) -> list[Chunk]:
        found = self._ranks.retrieved_instead(question, chunk_id) if self._ranks else []
        return [self._chunks[name] for name in found]

    def _asked(self, drafts: Iterable[Draft]) -> Iterator[tuple[str, str]]:
        """Yield every question with the chunk that it is about, and remember its documents before it is embedded."""
        shared: dict[tuple[str, ...], tuple[str, ...]] = {}  # each once, however many questions it has
        for draft in drafts:
            if draft.question:
                documents = tuple(sorted({*self._documents_of.get(draft.question, ()), *draft.documents}))
                self._documents_of[draft.question] = shared.setdefault(documents, documents)
                yield draft.question, draft.chunk.chunk_id

    @property
    def usage_stats(self) -> dict[Role, UsageStats]:
        """Usage by role."""
        stats = {Role.TEACHER: self._teacher.usage_stats, Role.EMBEDDING: self._encoder.usage_stats}
        return stats | ({Role.JUDGE: self._judge.usage_stats} if self._judge else {})


@contextmanager
def open_pair_generator(
    models: ModelClients,
    settings: DomainSettings,
    index: VectorIndex,
    *,
    form: PairForm,
    chunks: Sequence[Chunk],
    origin: Origin = NO_REQUESTER,
    live: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Iterator[PairGenerator]:
    """Open a pair generator for a domain's settings; `index` and `chunks` contain all chunks of the domain.

    `live`: make calls at once even where a role uses batches.
    """
    with ExitStack() as stack:
        teacher = stack.enter_context(models.caller(Role.TEACHER, origin=origin, live=live, on_progress=on_progress))
        encoder = stack.enter_context(models.caller(Role.EMBEDDING, origin=origin))
        judge = None
        if Role.JUDGE in models.endpoints:
            judge = stack.enter_context(models.caller(Role.JUDGE, origin=origin, live=live, on_progress=on_progress))
        yield PairGenerator(teacher, encoder, judge, settings, index, form=form, chunks=chunks)
