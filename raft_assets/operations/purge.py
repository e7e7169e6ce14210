"""Purging a text: delete what was made from it in the lake, call store, results, caches, run history and at services.

The next run makes everything else of the domain again; answers about other documents stay paid. Everything that later
steps need to find what is left is deleted last, and a purge that was begun is recorded until it has ended: after a kill
the same command goes on.
"""

import json
import shlex
from collections import defaultdict
from collections.abc import Collection, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

from raft_assets.core.errors import DataError, EndpointError, RaftError
from raft_assets.core.identity import digest
from raft_assets.core.jsonl import read_jsonl
from raft_assets.core.near_misses import did_you_mean
from raft_assets.core.ports import VersionedRecord, newest_of_all
from raft_assets.core.tables import QAPair, QuarantinedFile, SourceDocument
from raft_assets.dataset.golden import GoldenQuestionInput
from raft_assets.evaluation.report import render_index
from raft_assets.llm.background import run_coroutine
from raft_assets.llm.batches import FOLDER as BATCHES
from raft_assets.llm.batches import BatchRecord, read_batch_records
from raft_assets.operations.batches import collect_batches_of
from raft_assets.operations.chosen_presets import clear_preset
from raft_assets.operations.document_ids import RECORD as DOCUMENT_IDS
from raft_assets.operations.document_ids import former_paths
from raft_assets.operations.document_names import recognise_document
from raft_assets.operations.hosting import open_hosting
from raft_assets.operations.model_clients import ModelClients, embedded_provider
from raft_assets.operations.process import claim_domain, records_of
from raft_assets.operations.purged_calls import HoldsText, PurgedCalls, keys_of_tables, other_names, text_matcher
from raft_assets.operations.remembered_relations import relations_file
from raft_assets.operations.report_pages import copies_of
from raft_assets.operations.service_files import (
    FoundFiles,
    Wanted,
    cancel_batches,
    count_files,
    delete_files,
    delete_student,
    find_files,
)
from raft_assets.operations.tracking import LoggedRuns
from raft_assets.operations.trained import TrainedStudent, forget_student, leave_student, trained_students
from raft_assets.pairs.imported import ImportedPair
from raft_assets.pairs.reviews import Review
from raft_assets.settings.domains import (
    PAIRS_FILE,
    QUESTIONS_FILE,
    REVIEWS_FILE,
    DocumentFile,
    FileHashCache,
    check_domain_name,
    domain_folder,
    domain_names,
)
from raft_assets.settings.endpoints import Endpoint, Role
from raft_assets.settings.project import Project
from raft_assets.storage.call_store import open_call_store
from raft_assets.storage.lake import EVALUATIONS, Lake
from raft_assets.storage.mirror import documents_of, refresh
from raft_assets.storage.results import ResultsStore
from raft_assets.student.finetuning import FOLDER as JOBS

PURGES = "purges"  # of the records: what was begun and has not ended
OWN_FILES = (PAIRS_FILE, QUESTIONS_FILE, REVIEWS_FILE)  # of a domain: not documents, and purged like them
# evaluations keep their numbers; splits, ids of documents and names of sections are hashes only, and the other
# documents keep theirs
KEPT_WITH_DOCUMENTS = (EVALUATIONS, DOCUMENT_IDS, "splits", "pair_form", "student_form", "chunk_form")


class RunHistory(Protocol):
    """The run history: the domains that are registered, and the runs of each with samples of its text."""

    def domains(self) -> AbstractSet[str]:
        """Return the domains that are registered."""
        ...

    def runs(self, domain: str) -> list[str]:
        """Return the ids of a domain's runs."""
        ...

    def forget(self, domain: str) -> int:
        """Delete every run of a domain with its events, and what was observed of it; return the number of runs."""
        ...

    def unregister(self, domain: str) -> None:
        """Remove a domain whose folder is gone."""
        ...


@dataclass(frozen=True)
class _AtService:
    """What lies at the service of a role; `problem` is why it can't be said."""

    role: Role
    endpoint: Endpoint
    found: FoundFiles
    problem: str = ""


@contextmanager
def open_purge(
    history: RunHistory, project: Project, domain: str, document: str | None = None, *, students: bool = False
) -> Iterator["Purge"]:
    """Prepare the purge of a domain, or of one document of it that is no longer in its folder. Deletes nothing.

    `students`: those that were trained on the text go as well. The domain is claimed until the block ends. Raises
    DataError if the domain or the document is unknown, the document is still in the folder, or a run works on the
    domain, and SettingsError if the lake can't be written.
    """
    check_domain_name(domain)
    refresh(project)
    with open_call_store(project) as store:
        store.gather()
    _check_domain(history, project, domain)
    claimed = claim_domain(project, domain)
    if claimed is None:
        raise DataError(f"A command is working on {domain!r}: wait until it ends, then purge.")
    try:
        Lake.of(project).check_writable()  # an unreachable lake looks like an empty one
        chosen = None if document is None else _choose_document(project, domain, document)
        yield Purge(history, project, domain, chosen, students=students)
    finally:
        claimed.close()


class Purge:
    """A purge of a domain or of a document: `listing` says what will go, `run` deletes it, and `left` what is left."""

    def __init__(
        self, history: RunHistory, project: Project, domain: str, document: str | None, *, students: bool
    ) -> None:
        self._history, self._project, self._domain, self._document = history, project, domain, document
        self._with_students = students
        self._is_there = domain in _domains_there(project)
        self._lake, self._results = Lake.of(project), ResultsStore.of(project)
        former = (old for old, present in former_paths(self._lake, domain).items() if present == document)
        self._named = None if document is None else frozenset([document, *former])
        self._models, self._records = ModelClients(project), records_of(project)
        self._logged = LoggedRuns(project, domain)
        self._began = VersionedRecord(self._records, _purge_name(domain, document))
        self.left: list[str] = []

    def listing(self) -> Iterator[str]:
        """Yield what will be deleted, by domain and asset, with numbers, and what is not touched."""
        names = " and ".join(sorted(self._documents or ()))
        what = "everything that was made" if self._document is None else f"what was made from {names}"
        if self._began.read() is not None:
            yield f"{self._domain}: a purge was begun and has not ended; this one goes on with it"
        yield f"{self._domain}: {what} will be deleted"
        with open_call_store(self._project) as store:
            counted = self._calls.count(store.calls())
        by_asset = ", ".join(f"{count:,} of {asset}" for asset, count in sorted(counted.items())) or "none"
        kept = f"; {self._calls.shared:,} more stay, for which another domain asked" if self._calls.shared else ""
        yield f"  call store: {by_asset}{kept}"
        files = [table for table, _ in self._lake.files_of(self._domain, keep=self._kept)]
        tables = (f"{table} ({self._lake.count(table, self._domain):,} rows)" for table in dict.fromkeys(files))
        again = "" if self._document is None else "; the next run makes them again without it"
        yield f"  lake: {', '.join(tables) or 'nothing'}{again}"
        yield f"  results: the texts of {self._results.count_texts(self._domain)} evaluations, whose numbers stay"
        yield f"  run history: {len(self._history.runs(self._domain))} runs with their events and logs"
        yield f"  caches and logs: {len([file for file in self._files if file.exists()])} files"
        for place in self._services:
            told = f"not known ({place.problem})" if place.problem else count_files(place.found)
            yield f"  {place.endpoint.service}: {told}"
        yield from (f"  {line}" for line in self._logged.listing())
        yield from self._listed_students()
        yield from (f"  {line}" for line in self._untouched())

    def run(self) -> Iterator[str]:
        """Delete it; yield a line per place. What could not be deleted is in `left`, and the purge has not ended then.

        Raises DataError where a database is in use.
        """
        began = {"domain": self._domain, "document": self._document}
        self._began.change(lambda content: content or json.dumps(began, ensure_ascii=False).encode())
        for prepared in (self._calls, self._services, self._students, self._files):  # before what they read is gone
            assert prepared is not None
        yield from self._delete_at_services()
        yield from self._delete_students()
        yield from self._logged.delete()
        self.left += self._logged.left
        with open_call_store(self._project) as store:
            yield f"call store: {store.forget(self._calls.holds):,} answers and vectors"
        yield f"results: texts of {self._results.remove_texts(self._domain)} evaluations"
        for run in self._history.runs(self._domain):
            (self._project.progress / f"{run}.json").unlink(missing_ok=True)
        yield f"run history: {self._history.forget(self._domain)} runs with their samples"
        yield f"lake: {len(self._lake.purge(self._domain, keep=self._kept))} files"
        self._write_index()
        files = [file for file in self._files if file.exists()]
        for file in files:
            file.unlink()
        yield f"caches and logs: {len(files)} files"
        if not self.left:
            self._end()

    def _end(self) -> None:
        """Delete what told where the text was."""
        for student in self._shared_students:
            leave_student(self._records, student.training_hash, self._domain)
        for record in self._batches:
            VersionedRecord(self._records, f"{BATCHES}/{record.name}").delete()
        with open_call_store(self._project) as store:
            for document in self._documents or (None,):
                store.forget_sources(self._domain, document)
        if not self._is_there and self._document is None:
            self._history.unregister(self._domain)
            clear_preset(self._project, self._domain)
        self._began.delete()

    def _has(self, table: str) -> bool:
        return self._lake.exists(table, self._domain)

    @property
    def _kept(self) -> Collection[str]:
        """The tables that stay."""
        return (EVALUATIONS,) if self._document is None else KEPT_WITH_DOCUMENTS

    # ------------------------------------------------------------ what will go

    @cached_property
    def _documents(self) -> frozenset[str] | None:
        """The document under every name that it had; None for the domain."""
        if self._named is None:
            return None
        there = _documents_there(self._project, self._domain)
        gone = _former_documents(self._project, self._domain) - there - self._named
        with open_call_store(self._project) as store:
            names = other_names(self._domain, gone, store.sources(), store.calls(), self._holds_text) if gone else set()
        return self._named | names

    @cached_property
    def _files(self) -> list[Path]:
        """Files of this machine: the texts of documents as they were read, logs, copies of reports."""
        home, name = self._project.home, self._domain
        own = [home / "logs" / f"{name}.log", relations_file(self._project, name), *copies_of(self._project, name)]
        provider = embedded_provider(self._project)
        begun = [*(home / "cache" / "parsed").glob(".*.part"), *provider.unfinished_files()]
        return [*self._parsed, *own, *(file for file in begun if self._holds_text(_read_any(file)))]

    @cached_property
    def _parsed(self) -> list[Path]:
        """Entries of the parsing cache for contents that no other document has, in whatever domain."""
        held = _held_contents(self._project, self._lake, self._domain, self._named)
        entries = (self._project.home / "cache" / "parsed").glob("*.json")
        return [file for file in entries if file.name.split("-")[0] not in held]

    @cached_property
    def _holds_text(self) -> HoldsText:
        """Say whether a text is one of the documents', as far as the lake and the parsing cache have them."""
        pages = self._lake.rows(SourceDocument, self._domain) if self._has(SourceDocument.table) else ()
        texts = [page.text for page in pages if self._named is None or page.path in self._named]
        texts += [text for file in self._parsed for text in _read_texts(file)]
        return text_matcher([*texts, *_imported_texts(self._lake, self._domain, self._named)])

    @cached_property
    def _calls(self) -> PurgedCalls:
        with open_call_store(self._project) as store:
            return PurgedCalls(
                self._domain,
                self._documents,
                store.sources(),
                table_keys=keys_of_tables(self._lake, self._domain, self._documents),
                holds_text=self._holds_text,
            )

    @cached_property
    def _batches(self) -> list[BatchRecord]:
        return [record for record in read_batch_records(self._records) if self._takes_batch(record)]

    def _takes_batch(self, record: BatchRecord) -> bool:
        of_domain = self._document is None and record.domain == self._domain
        return of_domain or not self._calls.keys.isdisjoint(record.keys)

    @cached_property
    def _shared_students(self) -> list[TrainedStudent]:
        """The students of the text that other domains have as well, because they were trained on the same."""
        of_text = (one for one in trained_students(self._records) if one.is_of(self._domain, self._documents))
        return [student for student in of_text if student.other_domains(self._domain)]

    @cached_property
    def _students(self) -> list[TrainedStudent]:
        """The students that were trained on the text alone; one of a version before is known by its domain only."""
        kept = {student.training_hash: student for student in trained_students(self._records)}
        if self._lake.exists("finetuned_model", self._domain, ".json"):
            record = self._lake.read_record("finetuned_model", self._domain)
            if record["job"] and record["training_hash"] not in kept:
                service = self._models.endpoints[Role.STUDENT].service
                models = (record["model"], *(point["model"] for point in record.get("checkpoints", ())))
                of = {self._domain: tuple(self._documents or ())}
                before = TrainedStudent(
                    training_hash=record["training_hash"],
                    service=service,
                    documents=of,
                    job=record["job"],
                    models=models,
                )
                kept[before.training_hash] = before
        of_text = (student for student in kept.values() if student.is_of(self._domain, self._documents))
        return [student for student in of_text if not student.other_domains(self._domain)]

    @cached_property
    def _services(self) -> list[_AtService]:
        """What lies at the services at which batches or students of the project were made."""
        records = {record.name: record for record in read_batch_records(self._records)}
        known = list(trained_students(self._records))
        wanted = Wanted(
            self._calls.keys,
            {name: self._takes_batch(record) for name, record in records.items()},
            (),
            {student.training_hash: False for student in known}
            | {student.training_hash: True for student in self._students},
            self._holds_text,
        )
        used = {record.service for record in records.values()} | {student.service for student in known}
        used |= {student.service for student in self._students}
        places = dict[str, _AtService]()
        for role, endpoint in self._models.endpoints.items():
            if endpoint.service in places or not (endpoint.service in used or endpoint.provider == "embedded"):
                continue
            ids = [record.batch for record in self._batches if record.service == endpoint.service and record.batch]
            places[endpoint.service] = self._look(role, endpoint, replace(wanted, batch_ids=ids))
        return list(places.values())

    def _look(self, role: Role, endpoint: Endpoint, wanted: Wanted) -> _AtService:
        nothing = FoundFiles()
        if endpoint.provider == "azureml":
            return _AtService(
                role,
                endpoint,
                nothing,
                problem="delete the data assets raft-train-* and raft-valid-* and students' models in its studio",
            )

        async def look() -> FoundFiles:
            async with self._models.client(role) as client:
                return await find_files(client, wanted)

        try:
            return _AtService(role, endpoint, run_coroutine(look()))
        except RaftError as error:
            return _AtService(role, endpoint, nothing, problem=str(error))

    def _listed_students(self) -> Iterator[str]:
        for student in self._shared_students:
            others = " and ".join(map(repr, student.other_domains(self._domain)))
            yield f"  students: {', '.join(student.models)} at {student.service} stays: it is of {others} as well"
        for student in self._students:
            if not (student.models or student.job):
                continue
            names = ", ".join(student.models) or f"the model of job {student.job}"
            if self._with_students:
                yield f"  students: {names} at {student.service}, with its deployments"
            else:
                yield (
                    f"  students: {names} at {student.service} was trained on it and stays; to delete it as well: "
                    f"{self.command} --students"
                )

    @property
    def command(self) -> str:
        """The command that does this purge."""
        return f"{_command(self._domain, self._document)}{' --students' if self._with_students else ''}"

    def _untouched(self) -> Iterator[str]:
        """Yield the files of the user that contain the text."""
        if self._document is not None and self._is_there:
            for name, copies in _find_copies(self._project, self._domain, self._holds_text).items():
                lines = ", ".join(map(str, copies))
                yield f"{name}: not touched; lines {lines} contain the text, delete them yourself"

    # ------------------------------------------------------------ deleting

    def _delete_at_services(self) -> Iterator[str]:
        for record in self._batches:
            if record.service not in {place.endpoint.service for place in self._services}:
                self.left.append(
                    f"batch {record.batch} is at {record.service}, for which no role is configured: configure it again"
                )
        for place in self._services:
            if place.endpoint.provider == "azureml":
                yield f"{place.endpoint.service}: {place.problem}"
                continue
            try:
                waiting = self._delete_at(place)
            except EndpointError as error:
                self.left.append(f"files at {place.endpoint.service}: {error}")
                continue
            self.left += [f"batch {name} is still being cancelled by {place.endpoint.service}" for name in waiting]
            yield f"{place.endpoint.service}: {count_files(place.found)}"

    def _delete_at(self, place: _AtService) -> list[str]:
        """Delete what was found and return the batches that the service is still cancelling; raises EndpointError."""
        if place.problem:
            raise EndpointError(place.problem)

        async def cancel() -> None:
            async with self._models.client(place.role) as client:
                await cancel_batches(client, place.found)

        async def delete() -> list[str]:
            async with self._models.client(place.role) as client:
                return await delete_files(client, place.found)

        run_coroutine(cancel())
        models = {(record.role, record.model) for record in self._batches if record.service == place.endpoint.service}
        for role, model in sorted(models) if self._document is not None else ():
            if role in self._models.endpoints:  # what has arrived about other documents is kept
                collect_batches_of(self._models, role, model)
        return run_coroutine(delete())

    def _delete_students(self) -> Iterator[str]:
        for student in self._students:
            is_trained = bool(student.models or self._job_of(student))
            if is_trained and not self._with_students:
                continue
            if is_trained:
                try:
                    self._delete_student(student)
                except RaftError as error:
                    self.left.append(f"student {', '.join(student.models) or student.job}: {error}")
                    continue
                yield f"students: {', '.join(student.models) or self._job_of(student)}"
            forget_student(self._records, student.training_hash)
            VersionedRecord(self._records, f"{JOBS}/{student.training_hash}").delete()

    def _job_of(self, student: TrainedStudent) -> str:
        """Return the student's job; of a run that was killed, the submission knows it."""
        content = VersionedRecord(self._records, f"{JOBS}/{student.training_hash}").read()
        return student.job or ("" if content is None else str(json.loads(content)["job"]))

    def _delete_student(self, student: TrainedStudent) -> None:
        endpoint = self._models.endpoints[Role.STUDENT]
        if endpoint.service != student.service:
            raise EndpointError(f"it is at {student.service}; configure STUDENT for it and run the same purge again")
        with open_hosting(self._project) as hosting:
            for hosted in hosting.all() if hosting else ():
                if hosted.training_hash == student.training_hash and hosting:
                    hosting.delete(hosted.name)
        if endpoint.provider == "azureml":
            return

        async def delete() -> None:
            async with self._models.client(Role.STUDENT) as client:
                await delete_student(client, student, self._job_of(student))

        run_coroutine(delete())

    def _write_index(self) -> None:
        """Write the index over all reports anew, of those that are there."""
        verdicts = self._results.verdicts()
        there = self._lake.domains("eval_report", ".html")
        self._lake.write_index(render_index({name: verdict for name, verdict in verdicts.items() if name in there}))


def forget_domain(history: RunHistory, project: Project, domain: str) -> None:
    """Unregister a domain whose folder is gone. What was made from it stays, and is there again if the folder returns.

    Raises DataError if the domain is not registered, its folder is there, or a command works on it.
    """
    if domain not in (known := history.domains()):
        raise DataError(
            f"No domain {domain!r} is registered.{did_you_mean(domain, known)} Registered: "
            f"{', '.join(sorted(known)) or 'none'}."
        )
    refresh(project)
    if domain in _domains_there(project):
        raise DataError(
            f"{project.documents}/{domain} is there: delete or move the folder first, then forget the domain."
        )
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


def _check_domain(history: RunHistory, project: Project, domain: str) -> None:
    """Raise DataError for a domain of which nothing is known."""
    lake = Lake.of(project)
    known = {*_domains_there(project), *history.domains(), *ResultsStore.of(project).verdicts()}
    if domain in known or lake.files_of(domain) or domain in _begun_purges(project):
        return
    if any(student.is_of(domain, None) for student in trained_students(records_of(project))):
        return
    with open_call_store(project) as store:
        if any(source.domain == domain for source in store.sources()):
            return
    meant = did_you_mean(domain, known)
    raise DataError(f"There is no domain {domain!r}.{meant} Known domains: {', '.join(sorted(known)) or 'none'}.")


def _begun_purges(project: Project) -> dict[str, list[str | None]]:
    """Return the documents whose purge was begun and has not ended, by domain; None for the domain itself."""
    found: dict[str, list[str | None]] = defaultdict(list)
    for begun in map(json.loads, newest_of_all(records_of(project), PURGES)):
        found[begun["domain"]].append(begun["document"])
    return found


def unfinished_purges(project: Project) -> dict[str, list[str]]:
    """Return the commands that end the purges that were begun and have not ended, by domain."""
    return {
        domain: [_command(domain, document) for document in documents]
        for domain, documents in _begun_purges(project).items()
    }


def _command(domain: str, document: str | None) -> str:
    named = "" if document is None else f" --document {shlex.quote(document)}"
    return f"raft purge {shlex.quote(domain)}{named}"


def _purge_name(domain: str, document: str | None) -> str:
    """Return the name of the record of a purge that was begun."""
    return f"{PURGES}/{digest('purge', domain, *(() if document is None else (document,)))[:20]}"


def _choose_document(project: Project, domain: str, given: str) -> str:
    """Return the document of a domain that a path names, which is no longer in its folder; raises DataError."""
    folder = domain_folder(project.data, domain) if domain in _domains_there(project) else project.data / domain
    there = _documents_there(project, domain) | {name for name in OWN_FILES if (folder / name).exists()}
    chosen = recognise_document(given, folder, there | _former_documents(project, domain) | set(OWN_FILES))
    present = former_paths(Lake.of(project), domain).get(chosen, chosen)
    if present in there:
        name = chosen if present == chosen else f"{chosen}, now {present},"
        raise DataError(f"{name} is still in {domain!r}: delete it there first, then purge it.")
    return chosen


def _documents_there(project: Project, domain: str) -> set[str]:
    return {file.path for file in _list_documents(project, domain)} if domain in _domains_there(project) else set()


def _former_documents(project: Project, domain: str) -> set[str]:
    """Return the documents that a domain has or had, as far as anything remembers them."""
    lake = Lake.of(project)
    known = ResultsStore.of(project).document_paths(domain)
    if lake.exists(SourceDocument.table, domain):
        known |= {page.path for page in lake.rows(SourceDocument, domain)}
    if lake.exists(QuarantinedFile.table, domain):
        known |= {file.path for file in lake.rows(QuarantinedFile, domain)}
    known |= {path for one in trained_students(records_of(project)) for path in one.documents.get(domain, ())}
    with open_call_store(project) as store:
        known |= {source.document for source in store.sources() if source.domain == domain and source.document}
    return known | {document for document in _begun_purges(project).get(domain, ()) if document}


def _list_documents(project: Project, domain: str) -> list[DocumentFile]:
    with FileHashCache(project.home / "cache" / "hashes.sqlite") as memo:
        return documents_of(project, domain, memo)


def _held_contents(project: Project, lake: Lake, domain: str, documents: Collection[str] | None) -> set[str]:
    """Return the contents of other documents: in the folders, and in the lake, as of a folder that is not mounted."""

    def is_other(name: str, path: str) -> bool:
        return name != domain or (documents is not None and path not in documents)

    held = {
        file.content_hash
        for name in _domains_there(project)
        for file in _list_documents(project, name)
        if is_other(name, file.path)
    }
    for _, table in lake.datasets(SourceDocument.table):
        rows = table.to_table(columns=["domain", "path", "content_hash"]).to_pylist()
        held |= {row["content_hash"] for row in rows if is_other(row["domain"], row["path"])}
    return held


def _read_any(file: Path) -> str:
    """Return what a process that was killed left in a file."""
    content = file.read_bytes().decode("utf-8", "replace")
    return content.replace("\\n", "\n")  # as JSON writes the ends of lines


def _read_texts(file: Path) -> list[str]:
    """Return the texts of an entry of the parsing cache."""
    return [section["text"] for section in json.loads(file.read_text("utf-8")).get("sections", [])]


def _imported_texts(lake: Lake, domain: str, documents: Collection[str] | None) -> list[str]:
    """Return questions and answers of the domain's imported pairs, where these are to be purged."""
    if (documents is not None and PAIRS_FILE not in documents) or not lake.exists("qa_pairs", domain):
        return []
    pairs = (pair for pair in lake.rows(QAPair, domain) if pair.is_imported)
    return [text for pair in pairs for text in (pair.question, pair.answer)]


def _find_copies(project: Project, domain: str, holds_text: HoldsText) -> dict[str, list[int]]:
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
        QUESTIONS_FILE: [
            number
            for number, question in read_jsonl(folder / QUESTIONS_FILE, GoldenQuestionInput)
            if any(map(holds_text, (question.question, *question.answers, *question.evidence)))
        ],
        REVIEWS_FILE: [
            number for number, review in read_jsonl(folder / REVIEWS_FILE, Review) if holds_text(review.note)
        ],
    }
    return {name: numbers for name, numbers in lines_of.items() if numbers}
