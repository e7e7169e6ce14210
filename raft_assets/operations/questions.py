"""Golden questions that people write: the sheet for them, what becomes of its rows, and what a verdict still needs.

Documents are read as they are now, so that questions can be written before the first run. Nothing is asked of a model
but suggestions.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from raft_assets.core.locks import exclusive_lock
from raft_assets.core.prompt_contract import is_verbatim_quote, parse_answer
from raft_assets.core.similarity import letters
from raft_assets.core.tables import PAGED_KINDS, Chunk, GoldenQuestion
from raft_assets.dataset.golden import (
    GoldenQuestionInput,
    append_golden_questions,
    golden_chunk_ids,
    read_golden_questions,
    resolve_golden_questions,
)
from raft_assets.dataset.question_sheet import (
    QuestionChecker,
    RowRefusedError,
    SheetRow,
    Suggestion,
    draw_passages,
)
from raft_assets.dataset.related_chunks import RelatedChunks
from raft_assets.documents.document_languages import count_languages
from raft_assets.evaluation.verdict import MIN_CLUSTERS
from raft_assets.llm.requests import Origin, Progress, Request
from raft_assets.llm.usage import max_usage
from raft_assets.operations.asking import describe_dollars, place_of
from raft_assets.operations.corpus import read_corpus
from raft_assets.operations.document_ids import former_paths_of
from raft_assets.operations.estimate import TYPICAL_QUESTION
from raft_assets.operations.golden_coverage import GoldenCoverage, coverage_in_project
from raft_assets.operations.languages import check_languages
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.pair_form import recorded_form
from raft_assets.operations.remembered_relations import remembered_relations
from raft_assets.pairs.generation import draft_round
from raft_assets.pairs.questions import classify_question, question_request, teacher_answer_request
from raft_assets.pairs.structured import structured_answer_request, structured_question_request
from raft_assets.settings.domains import QUESTIONS_FILE, domain_folder
from raft_assets.settings.endpoints import Role
from raft_assets.storage.lake import Lake
from raft_assets.storage.mirror import edited

ASSET = "questions"  # as the ledger names suggestions


@dataclass(frozen=True)
class AddedQuestions:
    """What became of the rows of a sheet, by their numbers; `notes` say which evidence is written otherwise now."""

    added: Sequence[GoldenQuestionInput]
    refused: Mapping[int, str]
    notes: Mapping[int, str]
    known: Sequence[int]
    empty: int
    total: int


@dataclass(frozen=True)
class QuestionsCheck:
    """What a domain's questions come to; `unresolved`: those whose evidence was not found, with the reason."""

    coverage: GoldenCoverage
    unanswerable: int
    without_evidence: int
    unresolved: Mapping[str, str]
    documents: Mapping[str, int]  # path to questions about it, of every document

    @property
    def missing_passages(self) -> int:
        """How many passages more a verdict on people's questions needs."""
        return max(0, MIN_CLUSTERS - self.coverage.passages)


class DomainQuestions:
    """The questions of a domain beside its documents, which are read and cut once.

    Raises DataError where no document or line can be read.
    """

    def __init__(self, models: ModelClients, domain: str) -> None:
        self.models, self.domain = models, domain
        self.file = domain_folder(models.project.data, domain) / QUESTIONS_FILE
        self.settings = models.project.settings(domain).values
        self._written = read_golden_questions(self.file)
        corpus = read_corpus(models, domain)
        self._documents, self._chunks = corpus.documents, corpus.chunks
        self._renamed = former_paths_of(Lake.of(models.project), domain, corpus.documents)

    def passages_to_ask_about(self, count: int) -> list[Chunk]:
        """Return passages that no question holds out of training yet, over all documents, and not two of one text."""
        taken = set(self._related.relatives(golden_chunk_ids(self._resolved)))
        chosen = list[Chunk]()
        for chunk in draw_passages(self._chunks, taken, len(self._chunks)):
            if chunk.chunk_id not in taken and len(chosen) < count:
                chosen.append(chunk)
                taken |= self._related.relatives([chunk.chunk_id])
        return chosen

    @cached_property
    def places(self) -> dict[str, str]:
        """The pages or sections of every passage in words, by chunk id."""
        paged = {document.doc_id for document in self._documents if document.kind in PAGED_KINDS}
        return {chunk.chunk_id: place_of(chunk, is_paged=chunk.doc_id in paged) for chunk in self._chunks}

    def add(self, rows: Sequence[SheetRow]) -> AddedQuestions:
        """Check the rows and append the questions; a row that is refused or there already changes nothing else."""
        checker = QuestionChecker(self._documents, self._chunks, self.places, self._renamed)
        refused, notes, made = dict[int, str](), dict[int, str](), dict[int, GoldenQuestionInput]()
        for row in rows:
            if not row.is_empty:
                try:
                    made[row.number], note = checker.to_question(row)
                except RowRefusedError as reason:
                    refused[row.number] = str(reason)
                else:
                    notes |= {row.number: note} if note else {}
        for number, one in zip(made, self._resolve(list(made.values())), strict=True):
            if one.status not in ("resolved", "unanswerable"):
                refused[number] = one.detail
        project = self.models.project
        with (
            exclusive_lock(project.home / "locks" / "questions.lock"),
            edited(project, self.domain, QUESTIONS_FILE) as file,
        ):
            written = read_golden_questions(file)
            # an id is that of its row: a question that was reworded in the file since is there already as well
            asked = {name for question in written for name in (question.id, letters(question.question))}
            new, known = list[GoldenQuestionInput](), list[int]()
            for number, question in made.items():
                names = {question.id, letters(question.question)}
                if number not in refused and not asked.isdisjoint(names):
                    known.append(number)
                elif number not in refused:
                    asked |= names
                    new.append(question)
            if new:
                append_golden_questions(file, new)
        noted = {number: note for number, note in notes.items() if number not in refused and number not in known}
        return AddedQuestions(
            new,
            dict(sorted(refused.items())),
            noted,
            known,
            sum(row.is_empty for row in rows),
            len(written) + len(new),
        )

    def check(self) -> QuestionsCheck:
        """Return what the questions come to, and which of them don't count."""
        golden = self._resolve(read_golden_questions(self.file))
        path_of = {chunk.chunk_id: chunk.path for chunk in self._chunks}
        covered = Counter(path_of[one.oracle_chunk_ids[0]] for one in golden if one.oracle_chunk_ids)
        return QuestionsCheck(
            coverage_in_project(self.models.project, self.domain, golden, self._chunks),
            unanswerable=sum(not one.answerable for one in golden),
            without_evidence=sum(one.status == "no_evidence" for one in golden),
            unresolved={one.question_id: one.detail for one in golden if one.detail},
            documents={document.path: covered[document.path] for document in self._documents},
        )

    def describe_paid_suggestions(self, passages: Sequence[Chunk]) -> list[str]:
        """Describe what suggestions cost at most, in a sentence; none where the teacher is free."""
        endpoint = self.models.endpoints[Role.TEACHER]
        if endpoint.is_free:
            return []
        price = self.models.prices.of(endpoint)
        costs = [price.of(max_usage(request.body)) for chunk in passages for request in self._requests(chunk)]
        known = [cost for cost in costs if cost is not None]
        most = "price unknown" if len(known) < len(costs) else f"at most {describe_dollars(sum(known))}"
        return [f"TEACHER ({endpoint.model} at {endpoint.service}): at most {len(costs):,} calls, {most}"]

    def suggest(
        self, passages: Sequence[Chunk], *, on_progress: Callable[[Progress], None] | None = None
    ) -> dict[str, Suggestion]:
        """Ask the teacher for a question about each passage and its answer; those that can't be used are left out.

        Raises SettingsError where the teacher doesn't know the language, and EndpointError as a call does.
        """
        languages = count_languages(page for document in self._documents for page in document.pages)
        check_languages(self.models.project, self.domain, languages, [Role.TEACHER])
        origin = Origin(asset=ASSET, domain=self.domain)
        with self.models.caller(Role.TEACHER, origin=origin, live=True, on_progress=on_progress) as teacher:
            drafts = draft_round(
                [(chunk, 1) for chunk in passages],
                self.settings.questions,
                ask=teacher.ask,
                instructions=self.settings.prompt.instructions,
                structured=self._is_structured,
            )
            made = dict[str, Suggestion]()
            for draft in drafts:
                answer = parse_answer(draft.answer)
                kind = classify_question(draft.question, draft.chunk.kind, draft.chunk.language)
                if draft.question and kind != "cloze" and answer.final_answer and not answer.abstained:
                    quotes = [quote for quote in answer.quotes if is_verbatim_quote(quote, draft.chunk.text)]
                    evidence = quotes[0] if quotes else ""
                    made[draft.chunk.chunk_id] = Suggestion(draft.question, answer.final_answer, evidence)
        return made

    def _requests(self, chunk: Chunk) -> tuple[Request, Request]:
        """Return the requests of a suggestion, that for the answer with a typical question."""
        questions, instructions = self.settings.questions, self.settings.prompt.instructions
        if self._is_structured:
            asked = structured_question_request(chunk, 1, questions)
            return asked, structured_answer_request(TYPICAL_QUESTION, chunk, questions, instructions)
        asked = question_request(chunk, 1, questions)
        return asked, teacher_answer_request(TYPICAL_QUESTION, chunk, questions, instructions)

    @cached_property
    def _is_structured(self) -> bool:
        return recorded_form(self.models, Lake.of(self.models.project), self.domain, self._chunks).structured

    @cached_property
    def _related(self) -> RelatedChunks:
        relate = remembered_relations(self.models.project, self.domain)
        return relate({chunk.chunk_id: chunk for chunk in self._chunks}, self.settings.dataset.near_duplicate)

    @cached_property
    def _resolved(self) -> list[GoldenQuestion]:
        return self._resolve(self._written)

    def _resolve(self, questions: Collection[GoldenQuestionInput]) -> list[GoldenQuestion]:
        return resolve_golden_questions(questions, self._documents, self._chunks, renamed=self._renamed)
