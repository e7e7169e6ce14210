"""Documents that lie in a container (`RAFT_DATA` is an address), as a folder of this machine that may vanish.

Readers go on with `Project.data`. It is brought up to date before they read: a listing, and a file is fetched and
hashed once for each version (etag) of it. What people add by a command is written to the address. Names in a container
are untrusted: a document's content lies under its hash, so that no name becomes a path. Where `RAFT_DATA` is a folder,
everything here does nothing.
"""

import itertools
import os
import shutil
import threading
import time
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from hashlib import file_digest
from pathlib import Path

from raft_assets.core.atomic import write_bytes
from raft_assets.core.errors import DataError, RaftError
from raft_assets.core.identity import short_digest
from raft_assets.core.locks import try_lock
from raft_assets.core.progress import track
from raft_assets.settings.domains import (
    MIRRORED_DOCUMENTS,
    RESERVED_NAMES,
    DocumentFile,
    FileHashCache,
    MirroredFile,
    check_domain_name,
    domain_folder,
    find_path_problem,
    is_reserved,
    list_documents,
    read_mirror,
    write_mirror,
)
from raft_assets.settings.project import Project
from raft_assets.storage.containers import ChangedError, Container, RemoteFile, open_container

DOMAINS_AT_ONCE, FETCHED_AT_ONCE = 8, 16  # waiting for the network, not for a processor
LOOK_S = 0.05  # between two tries for a folder that another process fills, which may take minutes
SAVE_EVERY = 64  # fetched documents: what a process that is killed fetches again
KEPT_FREE = 500_000_000  # bytes of the disk that documents never fill


def refresh(project: Project, *, documents: bool = False, within_s: float | None = None) -> dict[str, RaftError]:
    """Bring every domain up to date and return what is wrong with some; `documents`: their documents as well.

    Domains whose documents aren't all fetched after `within_s` seconds are among them; the next call goes on. Raises
    DataError where the address can't be reached, and then nothing has changed.
    """
    if project.data_address is None:
        return {}
    return _Mirror(project, project.data_address).refresh(documents=documents, within_s=within_s)


def refresh_domain(project: Project, domain: str, *, documents: bool = False) -> None:
    """Bring one domain up to date.

    Raises DataError where that can't be done, and SettingsError where its settings say nothing about its documents.
    """
    if project.data_address is not None:
        _Mirror(project, project.data_address).refresh_domain(domain, documents=documents)


def documents_of(project: Project, domain: str, memo: FileHashCache | None = None) -> list[DocumentFile]:
    """Return the documents of a domain as they are now; raises as `refresh_domain` and `list_documents` do."""
    refresh_domain(project, domain, documents=True)
    return list_documents(domain_folder(project.data, domain), memo)


@contextmanager
def edited(project: Project, domain: str, name: str) -> Iterator[Path]:
    """Yield a file of a domain to be read and changed, such as its questions; to an address it is written at the end.

    Raises DataError where it can't be written there, or was changed there meanwhile: then nothing is changed.
    """
    if project.data_address is None:
        yield domain_folder(project.data, domain) / name
        return
    mirror = _Mirror(project, project.data_address)
    with mirror.edited(mirror.spelling_of(domain), name) as file:
        yield file


def check_writable(project: Project) -> None:
    """Write to the address and delete it again. Raises DataError where that can't be done."""
    if project.data_address is not None:
        probe, container = ".raft-doctor", open_container(project.data_address, project.environment)
        with suppress(ChangedError):  # another one looks at this moment, and can write
            container.put(probe, b"raft doctor checks whether this can be written", replaces=None)
            container.delete(probe)


@dataclass(frozen=True)
class _Difference:
    """What a folder lacks of the files that are there. `kept`: what it has in their present version."""

    kept: dict[str, MirroredFile]
    own: list[RemoteFile]  # to be fetched: settings, questions and others that are no documents
    documents: list[RemoteFile]  # to be fetched, as far as the limit on their size allows


class _Mirror:
    def __init__(self, project: Project, address: str) -> None:
        self._project, self._address, self._root = project, address, project.data
        self._space, self._promised = threading.Lock(), 0  # bytes that are about to be fetched

    @property
    def _container(self) -> Container:
        return open_container(self._address, self._project.environment)

    def refresh(self, *, documents: bool, within_s: float | None) -> dict[str, RaftError]:
        container, until = self._container, None if within_s is None else time.monotonic() + within_s
        found, problems = _sort_files(container.list())
        self._root.mkdir(parents=True, exist_ok=True)
        gone = {folder.name for folder in self._root.iterdir() if not folder.name.startswith(".")} - found.keys()
        for name in found:  # one without settings and questions needs nothing else before its documents are read
            (self._root / name).mkdir(exist_ok=True)
        changed = [name for name, files in found.items() if not self._is_current(name, files, documents=documents)]
        with ThreadPoolExecutor(DOMAINS_AT_ONCE) as domains, ThreadPoolExecutor(FETCHED_AT_ONCE) as pool:
            filling = _Filling(container, pool, until)
            update = partial(self._update, filling, documents=documents)
            work = {domains.submit(update, name): name for name in [*changed, *sorted(gone)]}
            try:
                for done in as_completed(work):
                    try:
                        done.result()
                    except RaftError as error:
                        problems[unicodedata.normalize("NFC", work[done])] = error
            except BaseException:  # such as Ctrl-C: what isn't begun is left
                domains.shutdown(wait=False, cancel_futures=True)
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return problems

    def refresh_domain(self, domain: str, *, documents: bool) -> None:
        name = self.spelling_of(domain)
        with ThreadPoolExecutor(FETCHED_AT_ONCE) as pool:
            filling = _Filling(self._container, pool)
            self._update(filling, name, documents=documents)

    def spelling_of(self, domain: str) -> str:
        """Return a domain's name in the Unicode form in which the container spells it."""
        with suppress(DataError):
            return domain_folder(self._root, domain).name
        problems = self.refresh(documents=False, within_s=None)
        if domain in problems:
            raise problems[domain]
        return domain_folder(self._root, domain).name

    @contextmanager
    def edited(self, name: str, file_name: str) -> Iterator[Path]:
        container, folder = self._container, self._root / name
        file = folder / file_name
        with self._locked(name), ThreadPoolExecutor(1) as pool:
            self._fill(_Filling(container, pool), name, documents=False)
            domain_folder(self._root, name)  # raises where it is gone
            before, known = _read(file), read_mirror(folder)
            try:
                yield file
                if (after := _read(file)) != before and after is not None:
                    replaced = known[file_name].etag if file_name in known else None
                    etag = container.put(f"{name}/{file_name}", after, replaces=replaced)
                    write_mirror(folder, known | {file_name: MirroredFile(etag, len(after))})
            except BaseException:
                if before is None:
                    file.unlink(missing_ok=True)
                else:
                    write_bytes(file, before)
                raise

    @contextmanager
    def _locked(self, name: str, until: float | None = None) -> Iterator[None]:
        """Hold a folder while it is filled, which may take minutes; raises _LateError where it isn't had in time."""
        file = self._root / ".locks" / short_digest(name)
        while (held := try_lock(file)) is None:
            self._check_time(name, until)
            time.sleep(LOOK_S)
        try:
            yield
        finally:
            os.close(held)

    def _check_time(self, name: str, until: float | None) -> None:
        if until is not None and time.monotonic() > until:
            raise _LateError(
                f"The documents of {name!r} are still being fetched from {self._address}: the next look goes on with "
                "them."
            )

    def _update(self, filling: "_Filling", name: str, *, documents: bool) -> None:
        self._check_time(name, filling.until)
        # listed under the lock: of two processes the later one has the newer listing
        with self._locked(name, filling.until):
            self._fill(filling, name, documents=documents)

    def _fill(self, filling: "_Filling", name: str, *, documents: bool) -> None:
        """Make a domain's folder what its files are now; without `documents` these stay as they were."""
        folder = self._root / name
        start, container = f"{name}/", filling.container
        files = {file.path.removeprefix(start): file for file in container.list(start)}
        if not files:
            shutil.rmtree(folder, ignore_errors=True)
            return
        folder.mkdir(parents=True, exist_ok=True)
        drafts = folder / ".drafts"
        shutil.rmtree(drafts, ignore_errors=True)  # of a process that was killed
        difference = self._compare(name, files, read_mirror(folder), documents=False)
        mirrored = difference.kept
        for file_name in RESERVED_NAMES - files.keys():
            (folder / file_name).unlink(missing_ok=True)
        with self._reserved(name, sum(file.size for file in difference.own)):
            for file in difference.own:
                drafts.mkdir(exist_ok=True)
                container.fetch(file, drafts / "own")
                file_name = file.path.removeprefix(start)
                (drafts / "own").replace(folder / file_name)
                mirrored[file_name] = MirroredFile(file.etag, file.size)
        if documents:  # settings say which of them are too large
            difference = self._compare(name, files, mirrored, documents=True)
            mirrored = difference.kept
        try:
            if difference.documents:
                self._fetch_documents(filling, name, difference.documents, mirrored)
        finally:
            if mirrored != read_mirror(folder):
                write_mirror(folder, mirrored)
            shutil.rmtree(drafts, ignore_errors=True)
            if documents:
                _delete_others(folder / MIRRORED_DOCUMENTS, mirrored.values())

    def _fetch_documents(
        self, filling: "_Filling", name: str, files: list[RemoteFile], mirrored: dict[str, MirroredFile]
    ) -> None:
        """Fetch documents into their folder, and note each of them in `mirrored`."""
        folder, start = self._root / name, f"{name}/"
        largest = self._largest(name)
        mirrored |= {
            file.path.removeprefix(start): MirroredFile(file.etag, file.size) for file in files if file.size > largest
        }
        wanted = [file for file in files if file.size <= largest]
        (folder / MIRRORED_DOCUMENTS).mkdir(exist_ok=True)
        (folder / ".drafts").mkdir(exist_ok=True)

        def fetch(file: RemoteFile, draft: Path) -> str:
            self._check_time(name, filling.until)
            filling.container.fetch(file, draft)
            with draft.open("rb") as stream:
                content_hash = file_digest(stream, "sha256").hexdigest()
            draft.replace(folder / MIRRORED_DOCUMENTS / content_hash)
            return content_hash

        def note(file: RemoteFile, content_hash: str) -> None:
            mirrored[file.path.removeprefix(start)] = MirroredFile(file.etag, file.size, content_hash)

        with self._reserved(name, sum(file.size for file in wanted)):
            drafts = (folder / ".drafts" / str(number) for number in itertools.count())
            work = {filling.pool.submit(fetch, file, draft): file for file, draft in zip(wanted, drafts, strict=False)}
            try:
                for count, done in enumerate(track("documents fetched", as_completed(work), len(work)), start=1):
                    note(work[done], done.result())
                    if count % SAVE_EVERY == 0:
                        write_mirror(folder, mirrored)
            finally:
                for left in work:
                    left.cancel()
                for left, file in work.items():  # those under way end, and count
                    if not left.cancelled() and left.exception() is None:
                        note(file, left.result())

    @contextmanager
    def _reserved(self, name: str, size: int) -> Iterator[None]:
        """Hold room on the disk. Raises DataError, before anything is fetched, where there is too little."""
        with self._space:
            free = shutil.disk_usage(self._root).free - self._promised - KEPT_FREE
            if size > max(free, 0):
                raise DataError(
                    f"What is to be fetched of {name!r} at {self._address} has {size / 1e6:,.0f} MB, and there is room "
                    f"for {max(free, 0) / 1e6:,.0f} MB in {self._project.home}: put RAFT_HOME on a larger disk, or "
                    "lower documents.max_file_mb."
                )
            self._promised += size
        try:
            yield
        finally:
            with self._space:
                self._promised -= size

    def _is_current(self, name: str, files: Mapping[str, RemoteFile], *, documents: bool) -> bool:
        known = read_mirror(self._root / name)
        difference = self._compare(name, files, known, documents=documents)
        return not difference.own and not difference.documents and difference.kept == known

    def _compare(
        self, name: str, files: Mapping[str, RemoteFile], known: Mapping[str, MirroredFile], *, documents: bool
    ) -> _Difference:
        """Compare the files that are there with those that are `known` here; without `documents` these are kept."""
        folder, own = self._root / name, RESERVED_NAMES
        stored, found = _names_in(folder / MIRRORED_DOCUMENTS), _Difference({}, [], [])
        if not documents:
            found.kept.update({path: file for path, file in known.items() if path not in own})
        for path, file in files.items():
            before = known.get(path)
            is_same = before is not None and (before.etag, before.size) == (file.etag, file.size)
            if path in own:
                if before and is_same and _has_size(folder / path, file.size):
                    found.kept[path] = before
                else:
                    found.own.append(file)
            elif documents and (problem := _problem(file, path)) is not None:
                if problem:
                    found.kept[path] = MirroredFile(file.etag, file.size, refused=problem)
                elif before and is_same and (before.content_hash in stored or self._is_left_out(name, before)):
                    found.kept[path] = before
                else:
                    found.documents.append(file)
        return found

    def _is_left_out(self, name: str, file: MirroredFile) -> bool:
        """Return whether a document was too large to be fetched and is so still."""
        try:
            return not file.content_hash and file.size > self._largest(name)
        except RaftError:  # told where the domain's settings are read
            return True

    def _largest(self, name: str) -> int:
        """Return the bytes that a document of a domain may have."""
        return self._project.settings(name).values.documents.max_file_mb * 1_000_000


class _LateError(DataError):
    """The time of a look is over."""


@dataclass(frozen=True)
class _Filling:
    """What folders are filled with, until when."""

    container: Container
    pool: ThreadPoolExecutor
    until: float | None = None  # of the monotonic clock


def _sort_files(listed: Iterable[RemoteFile]) -> tuple[dict[str, dict[str, RemoteFile]], dict[str, RaftError]]:
    """Return the files of each folder by name, and the folders that can't be a domain.

    Folders that differ in case or Unicode form alone are one on some disks: the first of them counts.
    """
    found: dict[str, dict[str, RemoteFile]] = defaultdict(dict)
    spelled, problems = dict[str, str](), dict[str, RaftError]()
    for file in listed:
        name, slash, path = file.path.partition("/")
        if not slash or name in problems or (name.startswith(".") and name not in (".", "..")):
            continue
        if name not in found:
            first = spelled.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
            try:
                _check_folder(name, first)
            except DataError as error:
                problems[name] = error
                continue
        found[name][path] = file
    return dict(found), problems


def _check_folder(name: str, first: str) -> None:
    """Raise DataError where a folder can't be a domain; `first`: that of its name in any case and Unicode form."""
    check_domain_name(name)
    if first != name:
        raise DataError(
            f"The folders {first!a} and {name!a} in the container are one folder on some disks, so only the first is a "
            "domain: rename one of them."
        )


def _problem(file: RemoteFile, path: str) -> str | None:
    """Return why a document is not fetched; empty where it is, None where the file is no document."""
    parts = path.split("/")
    if file.size == 0 and not parts[-1]:  # stands for a folder
        return None
    leads_elsewhere = not {"", ".", ".."}.isdisjoint(parts)
    return None if is_reserved(path) and not leads_elsewhere else find_path_problem(path)


def _read(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


def _has_size(file: Path, size: int) -> bool:
    return file.is_file() and file.stat().st_size == size


def _names_in(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()} if folder.is_dir() else set()


def _delete_others(folder: Path, files: Iterable[MirroredFile]) -> None:
    """Delete the documents that are no longer there."""
    kept = {file.content_hash for file in files}
    for name in _names_in(folder) - kept:
        (folder / name).unlink(missing_ok=True)
