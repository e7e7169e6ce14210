"""Make a folder a project: what it needs is created, what is there stays as it is, and no document is moved.

What belongs here: which files, where, and what stands in the way. What is asked and printed is up to `cli/init`.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from raft_assets.core.errors import RaftError
from raft_assets.documents.readers.sniffing import KIND_BY_SUFFIX
from raft_assets.settings.domains import check_domain_name, domain_names, is_reserved
from raft_assets.settings.project import DEFAULT_PRESET, DOCUMENTS_PROJECT, WORKSPACE_FILE
from raft_assets.settings.shipped import EXAMPLE, example_domain

DATA, PRESETS = "data", "presets"
MAX_COUNTED = 10_000  # files; a folder with more is no set of documents that somebody chose
# of code and configuration as often as documents: a folder that holds nothing else isn't taken for one of documents
_UNDECIDED_KINDS = frozenset({"json", "jsonl", "csv", "tsv", "image"})
_UNDECIDED_STEMS = frozenset({"readme", "license", "licence", "changelog", "requirements"})
_MODULE = "raft_assets.definitions"


@dataclass(frozen=True)
class Part:
    """A file or folder of a project, by its path in it: created just now, or there before and left as it is."""

    path: str
    what: str
    is_new: bool


@dataclass(frozen=True)
class Plan:
    """What is to be made where. `documents`: the folder that becomes a domain, None for none; nothing in it changes."""

    folder: Path
    documents: Path | None = None
    name: str = ""  # of that domain

    @property
    def domains(self) -> list[str]:
        """The domains that the project has already."""
        return domain_names(self.folder / DATA) if (self.folder / DATA).is_dir() else []


def plan_project(folder: Path, documents: Path | None = None) -> Plan:
    """Return what to make of a folder, which need not exist; nothing is written yet.

    A folder that holds documents gets a project beside them, to which they are one domain. Raises RaftError where the
    folder is no place for a project, with what to do instead.
    """
    folder = folder.resolve()
    if _is_ours(folder):
        return _with_documents(folder, documents)
    if documents is None and _is_ours(folder / DOCUMENTS_PROJECT):
        return Plan(folder / DOCUMENTS_PROJECT)
    if around := next((parent for parent in folder.parents if (parent / WORKSPACE_FILE).is_file()), None):
        raise RaftError(
            f"{folder} is inside the project {around} ({WORKSPACE_FILE}), and a project can't hold another: put the "
            f"documents into a folder of {around / DATA}, or name a folder outside of it."
        )
    if documents is None and folder.is_dir() and has_documents(folder):
        documents, folder = folder, folder / DOCUMENTS_PROJECT
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise RaftError(
                f"{documents} holds documents, and its project would be {folder}, which is there and is none: name "
                f"another place, such as raft init ../my-project --documents {documents}."
            )
    return _with_documents(folder, documents)


def _is_ours(folder: Path) -> bool:
    """Return whether a folder is a project. Raises RaftError for one that is a project of Dagster's, not of ours."""
    file = folder / WORKSPACE_FILE
    if not file.is_file():
        return False
    if _MODULE not in file.read_text("utf-8", "replace"):
        raise RaftError(
            f"{file} is of another Dagster project: add the python_module {_MODULE} to it, or name another folder."
        )
    return True


def _with_documents(folder: Path, documents: Path | None) -> Plan:
    if documents is None:
        return Plan(folder)
    documents = documents.resolve()
    if not documents.is_dir():
        raise RaftError(f"{documents} is no folder: name the folder that holds the documents.")
    if documents in (Path(documents.anchor), Path.home().resolve()):
        raise RaftError(
            f"{documents} holds everything, not only documents: begin in the folder of the documents, or name it with "
            "--documents."
        )
    check_domain_name(documents.name)
    return Plan(folder, documents, documents.name)


def has_documents(folder: Path) -> bool:
    """Return whether a folder, or one in it, holds files that are documents beyond doubt, besides `data/`."""
    return any(
        KIND_BY_SUFFIX.get(file.suffix.casefold(), "json") not in _UNDECIDED_KINDS
        and file.stem.casefold() not in _UNDECIDED_STEMS
        for file in _files(folder, besides=(DATA, PRESETS, DOCUMENTS_PROJECT))
    )


def count_documents(folder: Path) -> int:
    """Return how many files of a folder have a reader, at most MAX_COUNTED."""
    return sum(file.suffix.casefold() in KIND_BY_SUFFIX for file in _files(folder, besides=(DOCUMENTS_PROJECT,)))


def _files(folder: Path, *, besides: tuple[str, ...]) -> Iterator[Path]:
    """Yield the files of a folder and its subfolders that could be documents, `besides` those of some subfolders."""
    count = 0
    for parent, folders, names in os.walk(folder):
        inside = Path(parent).relative_to(folder)
        left_out = besides if parent == str(folder) else ()
        folders[:] = [name for name in folders if name not in left_out and not is_reserved((inside / name).as_posix())]
        for name in names:
            if not is_reserved((inside / name).as_posix()):
                yield Path(parent, name)
                count += 1
        if count >= MAX_COUNTED:
            return


def make_project(plan: Plan, *, example: bool = False) -> list[Part]:
    """Create what is missing, and return every part with whether it is new.

    Raises RaftError, before anything is written, where a file is in the way; and where the folder can't be written.
    """
    _check_way(plan, example=example)
    try:
        return list(_make(plan, example=example))
    except OSError as error:
        raise RaftError(
            f"{error.filename or plan.folder} can't be written ({error.strerror or error}): name a folder that you may "
            "write, such as raft init ~/my-project."
        ) from error


def _check_way(plan: Plan, *, example: bool) -> None:
    """Raise RaftError where a file is in the place of a folder, or a folder in that of a file."""
    domain = [*([plan.name] if plan.documents else []), *([EXAMPLE] if example else [])]
    parts = (DATA, PRESETS, *(f"{DATA}/{name}" for name in domain))
    folders = [plan.folder, *(plan.folder / part for part in parts)]
    for folder in [*reversed(plan.folder.parents), *folders]:
        if (folder.exists() or folder.is_symlink()) and not folder.is_dir():
            raise RaftError(f"{folder} is a file, and the project needs a folder there: rename it, or name another.")
    for name in (WORKSPACE_FILE, ".env", ".gitignore", f"{PRESETS}/{DEFAULT_PRESET}.yaml"):
        if (plan.folder / name).is_dir():
            raise RaftError(f"{plan.folder / name} is a folder, and the project needs a file there: rename it.")


def _make(plan: Plan, *, example: bool) -> Iterator[Part]:
    folder = plan.folder
    yield Part(f"{DATA}/", "documents, a folder per domain", _make_folder(folder / DATA))
    _make_folder(folder / PRESETS)
    templates = (
        (WORKSPACE_FILE, WORKSPACE_FILE, "makes it a project: raft works anywhere in the folder", 0o666),
        (f"{PRESETS}/{DEFAULT_PRESET}.yaml", "default.yaml", "settings of the data", 0o666),
        (".env", "env", "other models than the embedded ones, keys, budgets", 0o600),
        (".gitignore", "gitignore", "what is made, and keys", 0o666),
    )
    for path, template, what, mode in templates:
        yield Part(path, what, _write_new(folder / path, template, mode))
    if plan.documents:
        target = folder / DATA / plan.name
        yield Part(f"{DATA}/{plan.name}", f"leads to {plan.documents}", _link(target, plan.documents))
    if example:
        target = folder / DATA / EXAMPLE
        yield Part(f"{DATA}/{EXAMPLE}", "the example: articles, and questions that people wrote", _copy_example(target))


def _make_folder(folder: Path) -> bool:
    is_new = not folder.is_dir()
    folder.mkdir(parents=True, exist_ok=True)
    return is_new


def _write_new(file: Path, template: str, mode: int) -> bool:
    """Write a file from its template; return False, and change nothing, where there is one."""
    content = (files("raft_assets.operations") / "project_files" / template).read_bytes()
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    return True


def _link(target: Path, documents: Path) -> bool:
    if target.exists():
        return False
    place: str | Path = documents
    if target.is_relative_to(documents):
        place = os.path.relpath(documents, target.parent)  # the whole may be moved or renamed
    try:
        target.symlink_to(place, target_is_directory=True)
    except (OSError, NotImplementedError) as error:
        raise RaftError(
            f"{target} can't be made a link to {documents} ({error}): copy the documents into a folder of that name."
        ) from error
    return True


def _copy_example(target: Path) -> bool:
    if target.exists():
        return False
    draft = target.with_name(f".{target.name}-{os.getpid()}")  # hidden, so that it is no domain while it is copied
    try:
        shutil.copytree(example_domain(), draft, ignore=shutil.ignore_patterns(".*"))
        draft.replace(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return True
