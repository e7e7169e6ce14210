"""The files of the provider: uploads and results, each under an id of its own, equal contents stored once.

On disk: `files/<id>.json` describes a file, `blobs/<sha256>` holds its content. Two processes may use the folder at the
same time. Machines that share it have the same files: a content is fetched when it is asked for.
"""

import hashlib
import os
import re
import secrets
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, BinaryIO, Literal

from pydantic import BaseModel, ConfigDict

from raft_assets.core.atomic import write_text
from raft_assets.core.locks import exclusive_lock
from raft_assets.core.ports import SharedFiles
from raft_assets.provider.errors import bad_request, not_found
from raft_assets.provider.stored import list_shared, parse_stored, read_shared
from raft_assets.provider.unshared import UNSHARED

MAX_FILE_BYTES = 512 << 20  # OpenAI's
Purpose = Literal["fine-tune", "fine-tune-results", "batch", "batch_output"]
UPLOAD_PURPOSES: tuple[Purpose, ...] = ("fine-tune", "batch")  # what a client may say that a file is for
_ID = re.compile(r"file-[0-9a-f]{24}")


class StoredFile(BaseModel):
    """A file of the provider."""

    model_config = ConfigDict(frozen=True)

    id: str
    filename: str
    purpose: Purpose
    bytes: int
    sha256: str
    created_ns: int

    def as_api(self) -> dict[str, Any]:
        """Return OpenAI's `file` object."""
        shown = self.model_dump(include={"id", "filename", "purpose", "bytes"})
        return shown | {"object": "file", "created_at": self.created_ns // 10**9, "status": "processed"}


class FileStore:
    """Creates, lists, reads and deletes files."""

    def __init__(self, folder: Path, shared: SharedFiles = UNSHARED) -> None:
        self._files, self._blobs = folder / "files", folder / "blobs"
        self._shared = shared
        self._lock = folder / "files.lock"  # while it is held, no blob appears or disappears

    def create(self, content: BinaryIO, *, filename: str, purpose: Purpose, file_id: str | None = None) -> StoredFile:
        """Store a content; a given id replaces the file that has it."""
        self._blobs.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._blobs, prefix=".", suffix=".part", delete=False) as copy:
            temporary = Path(copy.name)
            shutil.copyfileobj(content, copy, 1 << 20)
            size = copy.tell()
        with temporary.open("rb") as written:
            sha256 = hashlib.file_digest(written, "sha256").hexdigest()
        stored = StoredFile(
            id=file_id or f"file-{secrets.token_hex(12)}",
            filename=filename,
            purpose=purpose,
            bytes=size,
            sha256=sha256,
            created_ns=time.time_ns(),
        )
        with exclusive_lock(self._lock):
            os.replace(temporary, self._blobs / sha256)  # noqa: PTH105 - the name says that an equal blob is replaced
            write_text(self._record_path(stored.id), stored.model_dump_json())
        self.share(stored.id)
        return stored

    def share(self, file_id: str) -> None:
        """Give the other machines a file that is here."""
        if found := self._read(self._record_path(file_id)):
            self._shared.publish(_blob_name(found.sha256))
            self._shared.publish(_record_name(file_id))

    def get(self, file_id: str) -> StoredFile:
        """Return the file; raises ApiError (404)."""
        found = self._find(file_id) if _ID.fullmatch(file_id) else None
        if found is None:
            raise not_found("File object", file_id)
        return found

    def content(self, file_id: str) -> Path:
        """Return the path of the file's content, which is fetched if it isn't here; raises ApiError (404)."""
        sha256 = self.get(file_id).sha256
        if not self._record_path(file_id).is_file():
            self._shared.fetch(_record_name(file_id))
        if not (self._blobs / sha256).is_file():
            self._shared.fetch(_blob_name(sha256))
        return self._blobs / sha256

    def all(self, *, purpose: str | None, order: str) -> list[StoredFile]:
        """Return every file, newest first unless `order` is `asc`."""
        if order not in ("asc", "desc"):
            raise bad_request("Invalid 'order': expected 'asc' or 'desc'.", param="order", code="invalid_value")
        here = [file for path in self._files.glob("file-*.json") if (file := self._read(path))]
        known = {_record_name(file.id) for file in here}
        elsewhere = list_shared(StoredFile, self._shared, "files", lambda name: name not in known)
        wanted = [file for file in [*here, *elsewhere] if purpose in (None, file.purpose)]
        return sorted(wanted, key=lambda file: (file.created_ns, file.id), reverse=order == "desc")

    def delete(self, file_id: str) -> None:
        """Remove the file, and its content unless another file has the same; raises ApiError (404)."""
        with exclusive_lock(self._lock):
            sha256 = self.get(file_id).sha256
            self._shared.forget(_record_name(file_id))
            self._record_path(file_id).unlink(missing_ok=True)
            if all(file.sha256 != sha256 for file in self.all(purpose=None, order="desc")):
                self._shared.forget(_blob_name(sha256))
                (self._blobs / sha256).unlink(missing_ok=True)

    def _record_path(self, file_id: str) -> Path:
        return self._files / f"{file_id}.json"

    def _find(self, file_id: str) -> StoredFile | None:
        """Return the file, from here or from another machine."""
        return self._read(self._record_path(file_id)) or read_shared(StoredFile, self._shared, _record_name(file_id))

    def _read(self, path: Path) -> StoredFile | None:
        """Return the file; None if another process has just deleted it, or if it is not one of the provider's."""
        try:
            return parse_stored(StoredFile, path.read_bytes())
        except FileNotFoundError:
            return None


def _record_name(file_id: str) -> str:
    return f"files/{file_id}.json"


def _blob_name(sha256: str) -> str:
    return f"blobs/{sha256}"
