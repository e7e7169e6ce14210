"""The door for Python: from a folder of documents to training rows, scores and answers, in a notebook or a script.

What belongs here: a thin, typed layer over the plain functions of the rooms, whose names `raft_assets` offers. No
Dagster, no state of a run, no printing. Every paid call goes through the project's call store, limits and budgets as
those of `raft run` do, so that the same call is paid once, whoever makes it first.

Models are called on a loop of their own thread (`llm/background.py`), so that these functions work where a loop is
running already, as in a notebook.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, overload

from raft_assets.core.errors import DataError, RaftError
from raft_assets.core.identity import normalize
from raft_assets.core.near_misses import did_you_mean
from raft_assets.core.tables import (
    PAGED_KINDS,
    Chunk,
    EvaluatedModel,
    GoldenQuestion,
    ModelAnswer,
    QAPair,
    QuarantinedFile,
    RaftRow,
    Score,
    SourceDocument,
)
from raft_assets.dataset.formats import Container, ExportFormat, write_export
from raft_assets.dataset.rows import assemble_rows
from raft_assets.documents.document_languages import count_languages
from raft_assets.documents.reading import ReadDocument
from raft_assets.documents.retrieval import VectorIndex
from raft_assets.llm.requests import Origin, Progress
from raft_assets.operations.asking import AskedQuestion, DomainAsker, SearchedPassages
from raft_assets.operations.chunk_form import recorded_chunk_form
from raft_assets.operations.golden_coverage import coverage_in_project, questions_of_folder, refuse_without_training
from raft_assets.operations.held_out import keep_unleaked
from raft_assets.operations.languages import check_languages
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.pair_form import resolve_form, tells_languages
from raft_assets.operations.pair_maker import open_pair_generator
from raft_assets.operations.preview import NO_VECTORS, needs_vectors, preview_plan, training_rows
from raft_assets.operations.remembered_relations import remembered_relations
from raft_assets.operations.sources import chunk_documents, index_chunks, read_sources
from raft_assets.operations.splits import read_register
from raft_assets.operations.student_form import resolve_student_form
from raft_assets.pairs.imported import imported_drafts, read_imported_pairs
from raft_assets.pairs.reviews import read_reviews
from raft_assets.settings.domain import DomainSettings
from raft_assets.settings.domains import PAIRS_FILE, REVIEWS_FILE, check_domain_name, domain_folder, domain_names
from raft_assets.settings.endpoints import Role
from raft_assets.settings.project import Project
from raft_assets.storage.lake import Lake
from raft_assets.storage.mirror import refresh

if TYPE_CHECKING:
    import pandas as pd

    from raft_assets.evaluation.arms import EvaluationItem
    from raft_assets.evaluation.verdict import Verdict
    from raft_assets.operations.evaluation import AskedDocuments

__all__ = [
    "Chunks",
    "Documents",
    "Evaluation",
    "Pairs",
    "RaftError",
    "Rows",
    "Session",
    "ask",
    "assemble",
    "chunk",
    "evaluate",
    "export",
    "generate_pairs",
    "read_documents",
]

T = TypeVar("T")

OnProgress = Callable[
    [str, int, int | None], None
]  # what is done, how many items are done, how many there are if known
Model = Literal["baseline", "student", "both"]
MODELS: tuple[str, ...] = get_args(Model)


class Session:
    """A project as a notebook or a script uses it: its settings, services, stored answers and budget.

    `project`: its folder; by default RAFT_PROJECT, or the nearest folder upwards that holds `workspace.yaml`, or the
    working directory. Where no role is configured, the embedded provider answers, offline and for nothing.
    `variables` come before the process's own, such as `{"TEACHER_OPENAI_BASE_URL": "http://127.0.0.1:8000/v1",
    "TEACHER_OPENAI_DEPLOYMENT": "qwen3"}`; keys are better off in the project's `.env`. `budget`: US dollars that the
    calls of this session may cost; BudgetReachedError is raised before they cost more. `on_progress` is called with
    what is done, how many items are done and how many there are (None where that isn't known); it must be quick.

    Raises SettingsError for a setting that is wrong.
    """

    def __init__(
        self,
        project: str | Path | None = None,
        *,
        variables: Mapping[str, str] | None = None,
        budget: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> None:
        process = {**os.environ, **(variables or {})}
        if budget is not None:
            process["RAFT_BUDGET_RUN"] = str(budget)
        self.project = Project.load(Path(project) if project is not None else None, process)
        self.on_progress = on_progress
        self._command = f"python {secrets.token_hex(4)}"  # whose calls count for the budget

    def __repr__(self) -> str:
        return f"Session({str(self.project.folder)!r})"

    @property
    def domains(self) -> list[str]:
        """The domains of the project: the folders of its `data/`."""
        problems = refresh(self.project)
        return [name for name in domain_names(self.project.data) if name not in problems]

    def open_domain(self, documents: str | Path) -> tuple[ModelClients, str]:
        """Return a domain of the project by its name, or any folder of documents as a domain of its own.

        Raises DataError if there is none, or if the folder has the name of another domain of the project.
        """
        name = normalize(str(documents).rstrip("/"))
        known = self.domains if self.project.data_address or self.project.data.is_dir() else []
        if isinstance(documents, str) and name in known:
            return self._clients(self.project), name
        folder = Path(documents).expanduser().resolve()
        if not folder.is_dir():
            raise DataError(
                f"There is no folder {folder}, and no domain {str(documents)!r} in {self.project.documents}."
                f"{did_you_mean(str(documents), known)} Name a folder of documents, or one of the project's domains: "
                f"{', '.join(known) or 'none'}."
            )
        check_domain_name(folder.name)
        name = normalize(folder.name)
        if folder.parent == self.project.data:
            return self._clients(self.project), name
        if name in known:  # what the lake keeps under that name is of the other one
            raise DataError(
                f"{folder} has the name of a domain in {self.project.documents}, and what is kept of them would be "
                "mixed: rename one of them, or open the folder in a project of its own: Session('another-folder')."
            )
        return self._clients(replace(self.project, data=folder.parent, data_address=None)), name

    def _clients(self, project: Project) -> ModelClients:
        return ModelClients(project, command=self._command)


@dataclass(frozen=True)
class _Corpus:
    """The domain that rows are of, which they hand on: its models, its documents and what is kept of it."""

    session: Session
    models: ModelClients
    domain: str
    documents: Sequence[ReadDocument]

    @property
    def project(self) -> Project:
        return self.models.project

    @property
    def settings(self) -> DomainSettings:
        return self.project.settings(self.domain).values  # noqa: PD011 - no frame

    @property
    def folder(self) -> Path:
        return domain_folder(self.project.data, self.domain)

    @property
    def lake(self) -> Lake:
        return Lake.of(self.project)

    @property
    def origin(self) -> Origin:
        return Origin(domain=self.domain)

    @cached_property
    def languages(self) -> Mapping[str, int]:
        return count_languages(page for document in self.documents for page in document.pages)

    @property
    def paged(self) -> frozenset[str]:
        return frozenset(document.doc_id for document in self.documents if document.kind in PAGED_KINDS)

    def check_languages(self, *roles: Role) -> None:
        check_languages(self.project, self.domain, self.languages, roles)

    def progress(self, what: str, total: int | None = None) -> Callable[[Progress], None] | None:
        show = self.session.on_progress
        if show is None:
            return None
        return lambda now: show(what, now.answered, total)


class _Table(Sequence[T]):
    """Rows in memory, shown as a table in a notebook; `to_pandas()` is a frame of them."""

    def __init__(self, rows: Iterable[T], corpus: _Corpus) -> None:
        self._rows = tuple(rows)
        self.corpus = corpus

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"<{len(self):,} {type(self).__name__.lower()} of {self.corpus.domain!r}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows; pandas escapes the text."""
        return str(self.to_pandas()._repr_html_())  # type: ignore[operator]

    def to_pandas(self) -> pd.DataFrame:
        """Return the rows as a pandas frame."""
        import pandas as pd

        return pd.DataFrame([self._record(row) for row in self._rows])

    @staticmethod
    def _record(row: Any) -> dict[str, Any]:
        record: dict[str, Any] = row.model_dump()
        return record


class Documents(_Table[ReadDocument]):
    """What `read_documents` read; `quarantined` are the files that could not be read, with the reason of each."""

    def __init__(self, rows: Iterable[ReadDocument], corpus: _Corpus, quarantined: Sequence[QuarantinedFile]) -> None:
        super().__init__(rows, corpus)
        self.quarantined = quarantined

    @staticmethod
    def _record(row: ReadDocument) -> dict[str, Any]:
        return {
            "path": row.path,
            "kind": row.kind,
            "title": row.title,
            "parts": len(row.pages),
            "characters": len(row.document_text),
            "text": row.document_text,
        }

    @property
    def pages(self) -> list[SourceDocument]:
        """The pages and sections of all documents, as the table `source_documents` holds them."""
        return [page for document in self for page in document.pages]


class Chunks(_Table[Chunk]):
    """What `chunk` cut: passages, as the table `chunks` holds them."""

    @cached_property
    def vectors(self) -> VectorIndex:
        """Their vectors by the EMBEDDING role, asked for once."""
        show = self.corpus.progress("vectors", len(self))
        with self.corpus.models.caller(Role.EMBEDDING, origin=self.corpus.origin, on_progress=show) as encoder:
            return index_chunks(encoder, self)

    @cached_property
    def golden(self) -> list[GoldenQuestion]:
        """The questions that people wrote (`questions.jsonl` of the folder), resolved to these chunks."""
        return questions_of_folder(self.corpus.project, self.corpus.domain, self.corpus.documents, self)


class Pairs(_Table[QAPair]):
    """What `generate_pairs` made, with the verdict of every gate; rejected pairs stay, with a reason."""

    def __init__(self, rows: Iterable[QAPair], chunks: Chunks) -> None:
        super().__init__(rows, chunks.corpus)
        self.chunks = chunks

    @property
    def accepted(self) -> list[QAPair]:
        """The pairs that passed every gate that counts."""
        return [pair for pair in self if pair.accepted]

    @property
    def rejected(self) -> list[QAPair]:
        """The others; `reason` is the gate's code and `gates` what each said."""
        return [pair for pair in self if not pair.accepted]


class Rows(_Table[RaftRow]):
    """What `assemble` made: RAFT rows, as the table `qa_dataset` holds them."""

    def __init__(self, rows: Iterable[RaftRow], pairs: Pairs) -> None:
        super().__init__(rows, pairs.corpus)
        self.pairs = pairs


@dataclass(frozen=True)
class Evaluation:
    """What models answered to the evaluation's questions, and how that scores.

    `verdict` compares student and baseline; None where one of them was asked alone.
    """

    answers: Sequence[ModelAnswer] = field(repr=False)
    scores: Sequence[Score] = field(repr=False)
    verdict: Verdict | None

    def summary(self) -> pd.DataFrame:
        """Return the mean of every metric, a row per source, arm and metric, a column per model."""
        from raft_assets.evaluation.summary import score_frame, sort_for_display

        by = ["source", "arm", "metric"]
        means = score_frame(self.scores).pivot_table(index=by, columns="evaluated", values="value", aggfunc="mean")
        means.columns.name = None
        return sort_for_display(means.reset_index())

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return str(self.summary()._repr_html_())  # type: ignore[operator]


def read_documents(documents: str | Path, *, session: Session | None = None) -> Documents:
    """Read a folder of documents, or a domain of the project by its name.

    What can't be read is in `.quarantined` with the reason, and the others go on. The folder's `domain.yaml`,
    `questions.jsonl`, `pairs.jsonl` and `reviews.jsonl` count as they do for a domain, and are no documents. Raises
    DataError if there is no such folder or nothing in it can be read.

    >>> documents = raft_assets.read_documents("my-documents")
    >>> documents[0].title, documents.quarantined
    """
    session = session or Session()
    models, domain = session.open_domain(documents)
    sources = read_sources(models.project, domain)
    return Documents(
        sources.documents, _Corpus(session, models, domain, sources.documents), quarantined=sources.quarantined
    )


def chunk(documents: Documents) -> Chunks:
    """Cut documents into passages, by the settings `chunks` of the domain or preset; the same text, the same chunks.

    With `chunks.boundaries: semantic` the EMBEDDING role is asked, else nothing is.

    >>> chunks = raft_assets.chunk(documents)
    >>> chunks[0].passage, chunks[0].tokens
    """
    corpus = _expect(documents, Documents, "chunk", "read_documents").corpus
    settings = corpus.settings.chunks
    return Chunks(
        chunk_documents(
            corpus.models,
            settings,
            corpus.documents,
            form=recorded_chunk_form(corpus.lake, corpus.domain, settings),
            origin=corpus.origin,
            on_progress=corpus.progress("sentences with a vector"),
            has_languages=tells_languages(corpus.models, corpus.lake, corpus.domain),
        ),
        corpus,
    )


def generate_pairs(chunks: Chunks, *, limit: int | None = None) -> Pairs:
    """Have the TEACHER write questions and answers about chunks, and check every pair by all quality gates.

    `limit`: ask about so many chunks only, evenly drawn from all documents, as `raft preview -n` does: a look before a
    corpus is paid for. Answers are stored: whatever is asked again, here or by `raft run`, costs nothing. Pairs of the
    folder's `pairs.jsonl` go through the same gates, and `reviews.jsonl` counts. Raises SettingsError for documents in
    a language that the models don't know, DataError where golden questions leave nothing to train on, and
    EndpointError as a call does.

    >>> pairs = raft_assets.generate_pairs(chunks, limit=20)
    >>> len(pairs.accepted), [pair.reason for pair in pairs.rejected]
    """
    corpus = _expect(chunks, Chunks, "generate_pairs", "chunk").corpus
    models, domain, settings = corpus.models, corpus.domain, corpus.settings
    corpus.check_languages(Role.TEACHER)
    if limit is None:
        refuse_without_training(coverage_in_project(corpus.project, domain, chunks.golden, chunks))
    elif limit < 1:
        raise DataError(f"limit is {limit}: ask about at least one chunk, or leave it out to ask about all.")
    reviews = read_reviews(corpus.folder / REVIEWS_FILE)
    index = chunks.vectors if needs_vectors(settings) else NO_VECTORS
    form = resolve_form(models, corpus.lake, domain, settings, chunks, origin=corpus.origin, keep=False)
    # whoever calls this waits for it: batches would be answered tomorrow
    with open_pair_generator(
        models,
        settings,
        index,
        form=form,
        chunks=chunks,
        origin=corpus.origin,
        live=True,
        on_progress=corpus.progress("answers of the teacher"),
    ) as generator:
        if limit is None:
            drafts = generator.drafts(chunks)
            drafts.extend(imported_drafts(read_imported_pairs(corpus.folder / PAIRS_FILE), chunks))
        else:
            drafts = generator.draft_plan(preview_plan(chunks, settings, limit))
        return Pairs(generator.judged(drafts, reviews), chunks)


def assemble(pairs: Pairs, *, splits: bool = True) -> Rows:
    """Make RAFT rows of the accepted pairs: each question among distractors, with the answer to learn. Asks no teacher.

    Splits share nothing, and passages of golden questions are held out of training, as in a run. `splits=False`: every
    row is a training row, for a look at few pairs. Raises DataError where the pairs are too few for training and
    evaluation.

    >>> rows = raft_assets.assemble(pairs)
    >>> [row.question for row in rows if row.split == "train"]
    """
    chunks, corpus = _expect(pairs, Pairs, "assemble", "generate_pairs").chunks, pairs.corpus
    settings = corpus.settings.dataset
    if not splits:
        index = chunks.vectors if needs_vectors(corpus.settings) else NO_VECTORS
        return Rows(training_rows(pairs, chunks, index, settings), pairs)
    assembly = assemble_rows(
        pairs,
        chunks,
        chunks.vectors if settings.distractor_kind == "hard" else None,
        chunks.golden,
        settings,
        read_register(corpus.lake, corpus.domain, settings),
        relate=remembered_relations(corpus.project, corpus.domain),
    )
    return keep_unleaked(assembly, chunks.golden, settings.protocol, lambda rows: Rows(rows, pairs))


def export(rows: Rows, target: str | Path, *, form: ExportFormat = "hf", container: Container = "jsonl") -> list[Path]:
    """Write a file per split into a folder, and return the files; `datasets.load_dataset(target)` reads them.

    `form`: "hf" and "eval" as RAFT's own scripts write them, "chat" and "completion" training files with exactly the
    prompts that the evaluation renders. `container`: "jsonl" or "parquet".

    >>> raft_assets.export(rows, "out", form="chat")
    """
    corpus = _expect(rows, Rows, "export", "assemble").corpus
    _check_choice("form", form, get_args(ExportFormat))
    _check_choice("container", container, get_args(Container))
    return write_export(
        rows,
        form,
        container,
        Path(target).expanduser(),
        settings=resolve_student_form(corpus.project, corpus.lake, corpus.domain, keep=False),
        oracles={chunk.chunk_id: chunk.passage for chunk in rows.pairs.chunks},
    )


def evaluate(rows: Rows, *, model: Model = "baseline") -> Evaluation:
    """Ask a model the evaluation's questions under every arm, and score its answers.

    The questions are those of the eval split and the folder's `questions.jsonl`. `model`: the BASELINE role, the
    domain's student that `raft run` trained and deployed, or both, which gives a verdict. Judged metrics are left to a
    run. Raises DataError where there are no questions or no student, SettingsError for a language that the models
    don't know, and EndpointError as a call does.

    >>> raft_assets.evaluate(rows).summary()
    """
    from raft_assets.evaluation.metrics import score_answer
    from raft_assets.evaluation.provenance import paths_of_questions
    from raft_assets.evaluation.verdict import decide_verdict
    from raft_assets.operations.evaluation import AskedDocuments, evaluation_items

    corpus, chunks = _expect(rows, Rows, "evaluate", "assemble").corpus, rows.pairs.chunks
    _check_choice("model", model, MODELS)
    asker = _asker(chunks)
    asked = asker.choose_models("baseline" if model == "baseline" else "student")
    if model == "both":
        asked = ["baseline", *asked]
    asker.check(asked)
    settings = resolve_student_form(corpus.project, corpus.lake, corpus.domain, keep=False)
    documents = AskedDocuments(chunks, rows.pairs)
    items, _ = evaluation_items(
        corpus.models,
        settings,
        rows,
        chunks.golden,
        chunks,
        chunks.vectors,
        documents=documents,
        origin=corpus.origin,
        relate=remembered_relations(corpus.project, corpus.domain),
    )
    if not items:
        raise DataError(
            "There is nothing to evaluate: no row is of the eval split and no golden question is known. Assemble with "
            "splits, from more pairs, or write questions.jsonl into the folder of the documents."
        )
    answers = [answer for one in asked for answer in _answers(corpus, asker, one, items, settings, documents)]
    scores = [score for answer in answers for score in score_answer(answer)]
    asked_about = paths_of_questions(answers, rows.pairs, chunks.golden, chunks)
    rule = settings.verdict
    verdict = (
        decide_verdict(
            scores, answers, draws=rule.bootstrap_draws, guard_margin=rule.guard_margin, document_of=asked_about
        )
        if len(asked) > 1
        else None
    )
    return Evaluation(answers, scores, verdict)


def _answers(  # noqa: PLR0917 - who is asked, what, and how
    corpus: _Corpus,
    asker: DomainAsker,
    evaluated: EvaluatedModel,
    items: Sequence[EvaluationItem],
    settings: DomainSettings,
    documents: AskedDocuments,
) -> list[ModelAnswer]:
    from raft_assets.operations.evaluation import answer_items

    with corpus.models.caller(
        Role(evaluated.upper()),
        origin=corpus.origin,
        deployed=asker.deployed if evaluated == "student" else None,
        live=True,
        on_progress=corpus.progress(f"answers of the {evaluated}", len(items)),
    ) as caller:
        model = asker.name_of(evaluated)
        return list(answer_items(caller, items, settings, documents, evaluated=evaluated, model=model))


def ask(
    passages: Chunks | str, question: str, *, model: Model | None = None, session: Session | None = None
) -> AskedQuestion:
    """Ask a question of your own about chunks, or about a domain that `raft run` has read, by its name.

    The passages that retrieval finds are shown to the newest student of the domain, or before there is one, to the
    baseline. The answer has `.final_answer`, `.replies` with reasoning, quotes and cost, and `.passages` with document
    and page. `session` is for a domain's name; chunks have theirs. Raises DataError for an empty question or where the
    student is asked for and there is none, and EndpointError as a call does.

    >>> raft_assets.ask(chunks, "Who signs off a crane lift?").final_answer
    """
    if model is not None:
        _check_choice("model", model, MODELS)
    if isinstance(passages, str):
        models, domain = (session or Session()).open_domain(passages)
        asker = DomainAsker(models, domain)
    else:
        asker = _asker(_expect(passages, Chunks, "ask", "chunk"))
    asked = asker.choose_models(model)
    asker.check(asked)
    return asker.ask(question, asked)


def _asker(chunks: Chunks) -> DomainAsker:
    """Return what asks about chunks that may not be in the lake."""
    corpus = chunks.corpus
    passages = SearchedPassages(
        {chunk.chunk_id: chunk for chunk in chunks},
        chunks.vectors,
        paged=lambda: corpus.paged,
        languages=lambda: corpus.languages,
    )
    return DomainAsker(corpus.models, corpus.domain, passages)


Made = TypeVar("Made", bound=_Table[Any])


def _expect(value: object, kind: type[Made], function: str, maker: str) -> Made:
    """Return the value, which another function of this module made. Raises DataError for anything else."""
    if not isinstance(value, kind):
        raise DataError(f"{function}() takes what {maker}() returned, not a {type(value).__name__}.")
    return value


def _check_choice(name: str, value: str, allowed: Sequence[str]) -> None:
    """Raise DataError for a value that is not among the allowed ones."""
    if value not in allowed:
        raise DataError(f"{name} is {value!r}; allowed is {', '.join(allowed)}.{did_you_mean(str(value), allowed)}")
