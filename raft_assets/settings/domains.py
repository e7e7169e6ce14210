"""Which folders are domains, which of their files are documents, and what those files hash to.

What belongs here: names, reserved names and content hashes. Opening a file to parse it belongs in `documents/reading`.
"""

import contextlib
import hashlib
import json
import os
import sqlite3
import stat
import time
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import NamedTuple, Self

from raft_assets.core.atomic import write_text
from raft_assets.core.errors import DataError

QUESTIONS_FILE, PAIRS_FILE, REVIEWS_FILE = "questions.jsonl", "pairs.jsonl", "reviews.jsonl"
SETTINGS_FILE = "domain.yaml"
RESERVED_NAMES = frozenset(
    {QUESTIONS_FILE, PAIRS_FILE, REVIEWS_FILE, SETTINGS_FILE}
)  # at the top of a domain, read by this product
MIRROR_FILE = ".mirror.json"  # in a folder that mirrors one of a container: what is there, by its path
MIRRORED_DOCUMENTS = ".documents"  # beside it: the documents, by their hash, whatever names they have there
JUNK_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx"})  # left by Windows and macOS
JUNK_PREFIXES = ("~$", ".~lock.")  # lock files of Word and LibreOffice
JUNK_SUFFIXES = ("~", ".swp", ".swo", ".tmp", ".crdownload", ".part")  # editors and unfinished downloads
MAX_DOMAIN_BYTES = 200  # a partition key is also part of file names, of at most 255 bytes on every common file system
MAX_NAME_BYTES = 255  # of a file on every common file system
# a file changed this recently may change again within one tick of the file system's clock
MIN_CACHEABLE_AGE_NS = 2_000_000_000
HASH_BLOCK = 1 << 20  # bytes

_CREATE = """CREATE TABLE IF NOT EXISTS hashes (device INTEGER, inode INTEGER, size INTEGER, mtime_ns INTEGER,
    ctime_ns INTEGER, content_hash TEXT, PRIMARY KEY (device, inode))"""
_SELECT_HASH = """SELECT content_hash FROM hashes
    WHERE device = ? AND inode = ? AND size = ? AND mtime_ns = ? AND ctime_ns = ?"""
_INSERT_HASH = "INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True)
class DocumentFile:
    """A file that is a document of its domain, readable or not; `content_hash` is empty if it can't be opened."""

    path: str  # relative to the domain, NFC, with forward slashes
    absolute: Path
    size: int  # bytes
    content_hash: str  # SHA-256, 64 hex digits
    refusal: str = ""  # why one is not to be read, for its name


@dataclass(frozen=True)
class MirroredFile:
    """A file of a container as this machine knows it. A document has the hash of its content once it was fetched."""

    etag: str
    size: int  # bytes
    content_hash: str = ""
    refused: str = ""  # why it is not fetched, for its name


class FileState(NamedTuple):
    """What changes when a file changes; times in nanoseconds."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class FileHashCache:
    """Hashes of files whose inode, size and times haven't changed; a file that may be deleted at any time.

    Use it in a `with` statement: new hashes are written at the end, in one transaction.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._pending: dict[FileState, str] = {}

    def __enter__(self) -> Self:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._open()
        except sqlite3.DatabaseError:  # broken, or of another program: only time is lost
            self.file.unlink()
            self._open()
        return self

    def __exit__(self, *_: object) -> None:
        if not self._pending:  # a transaction for each of a thousand domains would take longer than looking at them
            self._connection.close()
            return
        # on a full disk they are not kept: only time is lost
        with contextlib.closing(self._connection), contextlib.suppress(sqlite3.OperationalError):
            if self._pending:  # a transaction without rows writes to the disk as well
                with self._connection:
                    rows = [(*state, content_hash) for state, content_hash in self._pending.items()]
                    self._connection.executemany(_INSERT_HASH, rows)
        self._pending = {}

    def get(self, state: FileState) -> str | None:
        """Return the hash of the file in exactly this state, if it is known."""
        row = self._connection.execute(_SELECT_HASH, state).fetchone()
        return row[0] if row else None

    def put(self, state: FileState, content_hash: str) -> None:
        """Keep the hash, unless the file changed so recently that it may change again without showing it."""
        if time.time_ns() - state.mtime_ns > MIN_CACHEABLE_AGE_NS:
            self._pending[state] = content_hash

    def _open(self) -> None:
        self._connection = sqlite3.connect(self.file, timeout=30)
        self._connection.execute(_CREATE)


def list_documents(folder: Path, memo: FileHashCache | None = None) -> list[DocumentFile]:
    """Return the documents of a domain folder and its subfolders, sorted by path.

    Files that `memo` knows aren't read, nor are those that were fetched from a container. Raises DataError for a folder
    that can't be read, whose documents would otherwise count as deleted.
    """
    if (folder / MIRROR_FILE).exists():
        return _mirrored_documents(folder)
    documents = []
    for file in _regular_files(folder):
        status = file.stat()
        path = _to_nfc_path(file.relative_to(folder).as_posix())
        documents.append(DocumentFile(path, file, status.st_size, _content_hash(file, status, memo)))
    return sorted(documents, key=lambda document: (document.path, os.fsencode(document.absolute)))


def read_mirror(folder: Path) -> dict[str, MirroredFile]:
    """Return what a folder mirrors, by path; nothing where it isn't told, so that all of it is fetched again."""
    try:
        told = json.loads((folder / MIRROR_FILE).read_text("utf-8"))
        return {path: MirroredFile(*parts) for path, parts in told.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def write_mirror(folder: Path, files: dict[str, MirroredFile]) -> None:
    """Write down what a folder mirrors."""
    write_text(folder / MIRROR_FILE, json.dumps({path: astuple(file) for path, file in files.items()}))


def _mirrored_documents(folder: Path) -> list[DocumentFile]:
    documents = []
    for path, file in sorted(read_mirror(folder).items()):
        if file.refused or not is_reserved(path):
            refusal = f"{file.refused}; rename it in the container." if file.refused else ""
            absolute = folder / MIRRORED_DOCUMENTS / (file.content_hash or "none")
            documents.append(DocumentFile(printable_path(path), absolute, file.size, file.content_hash, refusal))
    return sorted(documents, key=lambda document: document.path)


def find_path_problem(path: str) -> str:
    """Return why a path in a container is no name for a document; empty where it is one."""
    parts = path.split("/")
    if not {"", ".", ".."}.isdisjoint(parts):
        return "The name has an empty part or one of dots alone, which leads elsewhere"
    if "\\" in path or any(_is_control(character) for character in path):
        return "The name holds a backslash, control characters or characters that are not unicode"
    if any(len(part.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES for part in parts):
        return f"A part of the name is longer than {MAX_NAME_BYTES} bytes"
    return ""


def printable_path(path: str) -> str:
    """Return a path in NFC as it can be shown and stored: control characters are escaped."""
    shown = "".join(ascii(character)[1:-1] if _is_control(character) else character for character in path)
    return unicodedata.normalize("NFC", shown)


def is_reserved(path: str) -> bool:
    """Return whether a path relative to its domain can't be a document.

    Such paths are hidden, reserved, or left behind by a program.
    """
    parts = path.split("/")
    if path in RESERVED_NAMES or any(part.startswith(".") for part in parts):
        return True
    return any(_is_junk(part.casefold()) for part in parts)


def domain_names(root: Path) -> list[str]:
    """Return the names of the domains in `root` (NFC), sorted.

    Hidden folders and those of `invalid_domain_folders` are left out.
    """
    return sorted(_domain_folders(root)[0])


def invalid_domain_folders(root: Path) -> dict[str, DataError]:
    """Return the folders of `root` that can't be domains, with the reason.

    Either the name is not allowed, or the folder is one of two spellings of a name.
    """
    return _domain_folders(root)[1]


def gone_domains(root: Path, registered: Collection[str]) -> list[str]:
    """Return the registered domains whose folders are gone from `root`, sorted.

    None while `root` holds no domain at all: so looks a disk that is not mounted. A link that leads nowhere is there.
    """
    entries = _entries(root)
    if not _sort_entries(root, entries)[0]:
        return []
    return sorted(set(registered) - {unicodedata.normalize("NFC", entry.name) for entry in entries})


def domain_folder(root: Path, name: str) -> Path:
    """Return the folder of a domain, in whatever Unicode form the disk spells it.

    Raises DataError if there is none.
    """
    folder = root / name
    if name.isascii() and not _find_name_problem(name) and folder.is_dir():
        return folder  # such a name has one spelling: the others need not be listed
    folders, invalid = _domain_folders(root)
    if name in invalid:
        raise invalid[name]
    if (found := folders.get(unicodedata.normalize("NFC", name))) is None:
        raise DataError(
            f"There is no domain {name!r} in {root}: create the folder {root / name} and put its documents there."
        )
    return found


def check_domain_name(name: str) -> None:
    """Check that a name can be a domain's: it is also a partition key and a file name.

    Raises DataError with the reason.
    """
    problem = _find_name_problem(name)
    if problem:
        raise DataError(f"The folder name {name!r} can't be a domain: {problem}. Rename the folder.")


def _find_name_problem(name: str) -> str:
    if not name.strip():
        return "it is empty"
    if len(name.encode("utf-8", "surrogatepass")) > MAX_DOMAIN_BYTES:
        return f"it is longer than {MAX_DOMAIN_BYTES} bytes"
    if any(map(_is_control, name)):
        return "it has control characters or characters that are not unicode"
    if name.startswith("."):
        return "it begins with a dot, which hides it"
    # Dagster writes a range of partitions as a...b, and a list of them with commas
    forbidden = next((text for text in ("...", ",", "/", "\\") if text in name), None)
    return f"it contains {forbidden!r}" if forbidden else ""


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}


def _domain_folders(root: Path) -> tuple[dict[str, Path], dict[str, DataError]]:
    """Return the folders of domains by name, and those that can't be a domain."""
    return _sort_entries(root, _entries(root))


def _sort_entries(root: Path, entries: list[Path]) -> tuple[dict[str, Path], dict[str, DataError]]:
    folders: dict[str, Path] = {}
    invalid: dict[str, DataError] = {}
    for folder in entries:
        try:
            if folder.name.startswith(".") or not folder.is_dir():
                continue
        except OSError as error:
            invalid[folder.name] = _unreadable(folder, error)
            continue
        name = unicodedata.normalize("NFC", folder.name)
        try:
            check_domain_name(folder.name)
        except DataError as error:
            invalid[folder.name] = error
            continue
        if name in folders:
            spellings = " and ".join(ascii(path.name) for path in (folders[name], folder))
            invalid[folder.name] = DataError(
                f"The folders {spellings} in {root} have the same name in two Unicode spellings: merge them or "
                "rename one."
            )
            continue
        folders[name] = folder
    return folders, invalid


def _entries(root: Path) -> list[Path]:
    """Return what is in `root`, sorted; raises DataError where there is no such folder or it can't be read."""
    try:
        if root.is_dir():
            return sorted(root.iterdir())
    except OSError as error:
        raise _unreadable(root, error) from error
    raise DataError(
        f"There is no folder {root}: create it with one folder of documents per domain, or begin with raft init."
    )


def _unreadable(folder: Path, error: OSError) -> DataError:
    return DataError(f"{folder} can't be read ({error.strerror}): make it readable; nothing of it counts as deleted.")


def _raise_unreadable(error: OSError) -> None:
    raise _unreadable(Path(error.filename), error) from error


def _regular_files(folder: Path) -> Iterator[Path]:
    """Yield files without reserved names.

    Devices, pipes and broken links are no documents; linked folders aren't entered, nor is a project that stands among
    the documents to which its domain is a link.
    """
    project = folder.parent.parent.resolve() if folder.is_symlink() else None
    for parent, folders, names in os.walk(folder, onerror=_raise_unreadable):
        inside = Path(parent).relative_to(folder)
        folders[:] = [
            name
            for name in folders
            if not is_reserved((inside / name).as_posix()) and (not project or Path(parent, name).resolve() != project)
        ]
        for name in names:
            file = Path(parent, name)
            if not is_reserved((inside / name).as_posix()) and _is_regular(file):
                yield file


def _is_regular(file: Path) -> bool:
    try:
        return stat.S_ISREG(file.stat().st_mode)
    except OSError:
        return False


def _is_junk(name: str) -> bool:
    return name in JUNK_FILES or name.startswith(JUNK_PREFIXES) or name.endswith(JUNK_SUFFIXES)


def _to_nfc_path(path: str) -> str:
    """Return the path in NFC; bytes that are not UTF-8 become U+FFFD, otherwise no table could hold the path."""
    return unicodedata.normalize("NFC", os.fsencode(path).decode("utf-8", "replace"))


def _content_hash(file: Path, status: os.stat_result, memo: FileHashCache | None) -> str:
    if memo is None:
        return _hash_file(file)
    state = FileState(
        status.st_dev,
        _to_signed(status.st_ino),
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )
    if known := memo.get(state):
        return known
    content_hash = _hash_file(file)
    if content_hash:
        memo.put(state, content_hash)
    return content_hash


def _to_signed(inode: int) -> int:
    """Return the inode as SQLite can store it: network file systems use all 64 bits."""
    return inode - (1 << 64) if inode >= 1 << 63 else inode


def _hash_file(file: Path) -> str:
    state = hashlib.sha256()
    try:
        with file.open("rb") as stream:
            while block := stream.read(HASH_BLOCK):
                state.update(block)
    except OSError:
        return ""  # stays a document: reading quarantines it with the reason
    return state.hexdigest()
