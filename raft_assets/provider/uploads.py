"""Uploads in parts: files that are too large for one request are sent piece by piece and put together here.

On disk: `uploads/<id>/upload.json` describes an upload, beside it lie its parts until they are put together. API:
https://platform.openai.com/docs/api-reference/uploads
"""

import hashlib
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from raft_assets.core.atomic import write_text
from raft_assets.core.locks import exclusive_lock
from raft_assets.provider.bodies import CompleteUploadRequest, UploadRequest
from raft_assets.provider.errors import ApiError, bad_request, not_found
from raft_assets.provider.files import MAX_FILE_BYTES, FileStore, Purpose, StoredFile

MAX_PART_BYTES = 64 << 20  # OpenAI's
EXPIRES_S = 3600  # OpenAI's
BLOCK_BYTES = 1 << 20
_ID, _PART_ID = re.compile(r"upload_[0-9a-f]{24}"), re.compile(r"part_[0-9a-f]{24}")


class Upload(BaseModel):
    """An upload; `bytes` is what its parts must add up to, `file` the id of the file that they became."""

    model_config = ConfigDict(frozen=True)

    id: str
    created_ns: int
    filename: str
    purpose: Purpose
    bytes: int
    status: Literal["pending", "completed", "cancelled"] = "pending"
    file: str | None = None

    @property
    def expires_at(self) -> int:
        """Unix time from which on an upload that is still pending is over."""
        return self.created_ns // 10**9 + EXPIRES_S

    @property
    def is_expired(self) -> bool:
        """Whether it was left unfinished for too long."""
        return self.status == "pending" and time.time() >= self.expires_at

    def as_api(self, file: StoredFile | None = None) -> dict[str, Any]:
        """Return OpenAI's `upload` object, with the file that it has become."""
        return {
            "id": self.id,
            "object": "upload",
            "bytes": self.bytes,
            "created_at": self.created_ns // 10**9,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "expired" if self.is_expired else self.status,
            "expires_at": self.expires_at,
            "file": file.as_api() if file else None,
        }


class UploadService:
    """Takes the parts of uploads and puts them together as files of `files`."""

    def __init__(self, folder: Path, files: FileStore) -> None:
        self._folder, self._files = folder / "uploads", files

    def create(self, request: UploadRequest) -> Upload:
        """Begin an upload; raises ApiError (400) for a file that is larger than the provider takes."""
        if request.bytes > MAX_FILE_BYTES:
            raise bad_request(
                f"The file is larger than {MAX_FILE_BYTES >> 20} MB.", param="bytes", code="file_too_large"
            )
        for other in self._folder.glob("upload_*"):
            if self._read(other.name).is_expired:
                self._drop_parts(other.name)
        upload = Upload(
            id=f"upload_{secrets.token_hex(12)}",
            created_ns=time.time_ns(),
            filename=request.filename,
            purpose=request.purpose,
            bytes=request.bytes,
        )
        return self._save(upload)

    def add_part(self, upload_id: str, content: BinaryIO, size: int) -> dict[str, Any]:
        """Keep a part of that size and return OpenAI's `upload.part` object; raises ApiError (400, 404, 413)."""
        self._pending(upload_id)
        if size > MAX_PART_BYTES:
            raise ApiError(413, f"A part is at most {MAX_PART_BYTES >> 20} MB.", param="data", code="file_too_large")
        part = f"part_{secrets.token_hex(12)}"
        with (self._folder / upload_id / part).open("wb") as kept:
            shutil.copyfileobj(content, kept, BLOCK_BYTES)
        return {"id": part, "object": "upload.part", "created_at": int(time.time()), "upload_id": upload_id}

    def complete(self, upload_id: str, request: CompleteUploadRequest) -> dict[str, Any]:
        """Make a file of the parts in their order and return the upload; raises ApiError (400, 404)."""
        self._pending(upload_id)
        with exclusive_lock(self._folder / upload_id / "lock"):
            upload = self._pending(upload_id)
            with tempfile.TemporaryFile() as whole:
                self._join(upload, request.part_ids, whole)
                self._check(upload, whole, request.md5)
                file = self._files.create(whole, filename=upload.filename, purpose=upload.purpose)
            done = self._save(upload.model_copy(update={"status": "completed", "file": file.id}))
            self._drop_parts(upload_id)
        return done.as_api(file)

    def cancel(self, upload_id: str) -> Upload:
        """End an upload and drop its parts; raises ApiError (400, 404)."""
        upload = self._save(self._pending(upload_id).model_copy(update={"status": "cancelled"}))
        self._drop_parts(upload_id)
        return upload

    def _pending(self, upload_id: str) -> Upload:
        """Return an upload that takes parts."""
        upload = self._read(upload_id)
        status = upload.as_api()["status"]
        if status != "pending":
            raise bad_request(f"The upload {upload_id} is {status}.", code="invalid_upload_status")
        return upload

    def _join(self, upload: Upload, part_ids: Sequence[str], whole: BinaryIO) -> None:
        for part in part_ids:
            path = self._folder / upload.id / part
            if not _PART_ID.fullmatch(part) or not path.is_file():
                raise bad_request(f"The upload has no part {part[:80]!r}.", param="part_ids", code="invalid_value")
            with path.open("rb") as content:
                shutil.copyfileobj(content, whole, BLOCK_BYTES)

    @staticmethod
    def _check(upload: Upload, whole: BinaryIO, md5: str | None) -> None:
        size = whole.tell()
        if size != upload.bytes:
            raise bad_request(
                f"The parts have {size:,} bytes together, and the upload was announced with {upload.bytes:,}.",
                param="part_ids",
                code="invalid_value",
            )
        whole.seek(0)
        checksum = hashlib.md5(usedforsecurity=False)
        while md5 and (block := whole.read(BLOCK_BYTES)):
            checksum.update(block)
        if md5 and checksum.hexdigest() != md5:
            raise bad_request("The parts have another checksum than 'md5'.", param="md5", code="invalid_value")
        whole.seek(0)

    def _drop_parts(self, upload_id: str) -> None:
        for part in (self._folder / upload_id).glob("part_*"):
            part.unlink(missing_ok=True)

    def _save(self, upload: Upload) -> Upload:
        write_text(self._folder / upload.id / "upload.json", upload.model_dump_json())
        return upload

    def _read(self, upload_id: str) -> Upload:
        if _ID.fullmatch(upload_id):
            try:
                return Upload.model_validate_json((self._folder / upload_id / "upload.json").read_bytes())
            except (FileNotFoundError, ValidationError) as error:
                raise not_found("upload", upload_id) from error
        raise not_found("upload", upload_id)
