"""Purging a text: delete what was made from it in the lake, call store, results, caches and run history.

The next run makes everything else of the domain again. Stored answers are found by their content, so that those under
earlier settings and models go as well, and those about other documents stay paid.
"""

import json
import re
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Protocol

from raft_assets.core.errors import DataError
from raft_assets.core.jsonl import read_jsonl
from raft_assets.core.tables import ANSWERS, JudgedAnswer, QAPair, SourceDocument
from raft_assets.evaluation.report import render_index
from raft_assets.llm.background import run_coroutine
from raft_assets.llm.keys import EMBEDDING
from raft_assets.llm.store import StoredCall
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.process import claim_domain
from raft_assets.pairs.imported import ImportedPair
from raft_assets.pairs.reviews import Review
from raft_assets.settings.domains import (
    PAIRS_FILE,
    REVIEWS_FILE,
    check_domain_name,
    domain_folder,
    domain_names,
    list_documents,
)
from raft_assets.settings.endpoints import Role
from raft_assets.settings.project import Project
from raft_assets.storage.call_store import open_call_store
from raft_assets.storage.lake import Lake
from raft_assets.storage.results import ResultsStore

MIN_COMMON_WORDS = 8  # in a row: no two texts share them by chance, every quote of a sentence does
_WORD = re.compile(r"\w+")


class RunHistory(Protocol):
    """The run history: the domains that are registered, and the runs of each with samples of its text."""

    def domains(self) -> AbstractSet[str]:
        """Return the domains that are registered."""
        ...

    def forget_runs(self, domain: str) -> int:
        """Delete every run of a domain with its events and return their number."""
        ...

    def unregister(self, domain: str) -> None:
        """Remove a domain whose folder is gone."""
        ...


def purge(history: RunHistory, project: Project, domain: str, document: str | None = None) -> Iterator[str]:
    """Purge a domain, or one document of it that is no longer in its folder; yield a line per place.

    Texts of files that are in no domain any more, but still in the parsing cache, are purged as well.

    Raises DataError if the domain is unknown, the document is still in the folder, or a run works on the domain.
    """
    check_domain_name(domain)
    lake, results = Lake.of(project), ResultsStore.of(project)
    there = _domains_there(project)
    known = {*there, *history.domains(), *results.verdicts()}
    if domain not in known and not lake.exists("source_documents", domain):
        raise DataError(f"There is no domain {domain!r}. Known domains: {', '.join(sorted(known)) or 'none'}.")
    if document and domain in there and (domain_folder(project.data, domain) / document).exists():
        raise DataError(f"{document} is still in {domain!r}: delete it there first, then purge it.")
    claimed = claim_domain(project, domain)
    if claimed is None:
        raise DataError(f"A command is working on {domain!r}: wait until it ends, then purge.")
    try:
        lake.check_writable()  # an unreachable lake looks like an empty one: nothing is purged before it answers
        yield from _purge(history, project, domain, document, lake)
        if domain not in there:
            history.unregister(domain)
            project.clear_preset(domain)
    finally:
        claimed.close()


def forget_domain(history: RunHistory, project: Project, domain: str) -> None:
    """Unregister a domain whose folder is gone. What was made from it stays, and is there again if the folder returns.

    Raises DataError if the domain is not registered, its folder is there, or a command works on it.
    """
    if domain not in (known := history.domains()):
        raise DataError(f"No domain {domain!r} is registered. Registered: {', '.join(sorted(known)) or 'none'}.")
    if domain in _domains_there(project):
        raise DataError(f"{project.data / domain} is there: delete or move the folder first, then forget the domain.")
    claimed = claim_domain(project, domain)
    if claimed is None:
        raise DataError(f"A command is working on {domain!r}: wait until it ends, then forget the domain.")
    try:
        history.unregister(domain)
    finally:
        claimed.close()


def _domains_there(project: Project) -> list[str]:
    """Return the names of the domains that have a folder; none where the root itself was deleted."""
    return domain_names(project.data) if project.data.exists() else []


def _purge(history: RunHistory, project: Project, domain: str, document: str | None, lake: Lake) -> Iterator[str]:
    results = ResultsStore.of(project)
    pages = _read_pages(lake, domain, document)
    parsed = _cache_entries(project, {page.content_hash for page in pages})
    texts = [*(page.text for page in pages), *(text for file in parsed for text in _read_texts(file))]
    holds_text = _text_matcher([*texts, *_imported_texts(lake, domain, document)])
    for name, copies in _find_copies(project, domain, holds_text).items() if document else ():
        lines = ", ".join(map(str, copies))
        yield f"{name}: not touched; lines {lines} contain the text, delete them yourself"
    keys = _call_keys(lake, domain, document)
    with open_call_store(project) as store:
        forgotten = store.forget(lambda call: call.key in keys or _mentions_text(call, holds_text))
        yield f"call store: {forgotten} answers and vectors"
    models = ModelClients(project)
    if models.endpoints[Role.STUDENT].provider == "embedded":
        yield f"uploads: {run_coroutine(_delete_uploads(models, holds_text))} training files"
    else:
        yield f"uploads: not touched; delete the training files at {models.endpoints[Role.STUDENT].service} yourself"
    for file in [*parsed, project.home / "logs" / f"{domain}.log"]:
        file.unlink(missing_ok=True)
    # the assignment to splits holds hashes only, and the other documents keep theirs
    yield f"lake: {len(lake.purge(domain, keep=('splits', 'pair_form', 'document_ids') if document else ()))} files"
    yield f"results: {results.purge(domain)} evaluations"
    lake.write_index(render_index(results.verdicts()))
    yield f"run history: {history.forget_runs(domain)} runs with their samples"


def _read_pages(lake: Lake, domain: str, document: str | None) -> list[SourceDocument]:
    if not lake.exists("source_documents", domain):
        return []
    return [page for page in lake.rows(SourceDocument, domain) if document in (None, page.path)]


def _cache_entries(project: Project, chosen: set[str]) -> list[Path]:
    """Return entries of the parsing cache for the chosen contents and for contents that are in no domain any more."""
    held = {
        file.content_hash
        for name in _domains_there(project)
        for file in list_documents(domain_folder(project.data, name))
    } - chosen
    return [file for file in (project.home / "cache" / "parsed").glob("*.json") if file.name.split("-")[0] not in held]


def _read_texts(file: Path) -> list[str]:
    """Return the texts of an entry of the parsing cache."""
    return [section["text"] for section in json.loads(file.read_text("utf-8")).get("sections", [])]


def _call_keys(lake: Lake, domain: str, document: str | None) -> set[str]:
    """Return keys of the calls behind the present tables that asked about the text."""
    if not lake.exists("qa_pairs", domain):
        return set()
    pairs = [pair for pair in lake.rows(QAPair, domain) if _belongs_to_document(pair, document)]
    questions = {pair.question_id for pair in pairs}
    chunks = {pair.chunk_id for pair in pairs if document != PAIRS_FILE}
    answers = [
        answer
        for model in ANSWERS.values()
        if lake.exists(model.table, domain)
        for answer in lake.rows(model, domain)
        if document is None or answer.question_id in questions or not chunks.isdisjoint(answer.document_chunk_ids)
    ]
    judged = {
        row.call
        for row in (lake.rows(JudgedAnswer, domain) if lake.exists("judged_answers", domain) else ())
        if document is None or row.question_id in questions
    }
    of_pairs = {key for pair in pairs for key in (pair.question_call, pair.answer_call, pair.judge_call)}
    return of_pairs | judged | {answer.call for answer in answers}


def _belongs_to_document(pair: QAPair, document: str | None) -> bool:
    """Return whether a pair is purged with the document; imported pairs are purged with their file, too."""
    return document in (None, pair.path) or (document == PAIRS_FILE and pair.is_imported)


def _imported_texts(lake: Lake, domain: str, document: str | None) -> list[str]:
    """Return questions and answers of the domain's imported pairs, where these are to be purged."""
    if document not in (None, PAIRS_FILE) or not lake.exists("qa_pairs", domain):
        return []
    pairs = (pair for pair in lake.rows(QAPair, domain) if pair.is_imported)
    return [text for pair in pairs for text in (pair.question, pair.answer)]


def _find_copies(project: Project, domain: str, holds_text: Callable[[str], bool]) -> dict[str, list[int]]:
    """Return the lines of imported pairs and reviews that contain the text.

    These files are the user's, like the documents.
    """
    if domain not in _domains_there(project):
        return {}
    folder = domain_folder(project.data, domain)
    lines_of = {
        PAIRS_FILE: [
            number
            for number, pair in read_jsonl(folder / PAIRS_FILE, ImportedPair)
            if holds_text(pair.oracle) or holds_text(pair.answer)
        ],
        REVIEWS_FILE: [
            number for number, review in read_jsonl(folder / REVIEWS_FILE, Review) if holds_text(review.note)
        ],
    }
    return {name: numbers for name, numbers in lines_of.items() if numbers}


def _text_matcher(texts: list[str]) -> Callable[[str], bool]:
    """Return a function that says whether a text shares `MIN_COMMON_WORDS` consecutive words with one of the texts."""
    wanted = {shingle for text in texts for shingle in _shingles(text)}
    return lambda text: not wanted.isdisjoint(_shingles(text))


def _shingles(text: str) -> Iterator[tuple[str, ...]]:
    words = _WORD.findall(text.casefold())
    for start in range(len(words) - MIN_COMMON_WORDS + 1):
        yield tuple(words[start : start + MIN_COMMON_WORDS])


def _mentions_text(call: StoredCall, holds_text: Callable[[str], bool]) -> bool:
    # a vector doesn't show its text, and costs next to nothing: all of them go
    return call.kind == EMBEDDING or holds_text(call.payload.decode("utf-8", "replace"))


async def _delete_uploads(models: ModelClients, holds_text: Callable[[str], bool]) -> int:
    """Delete training files at the student's service that contain the text, and return their number."""
    deleted = 0
    async with models.client(Role.STUDENT) as client:
        async for file in client.files.list(purpose="fine-tune"):
            if holds_text((await client.files.content(file.id)).text):
                await client.files.delete(file.id)
                deleted += 1
    return deleted
