"""Documents in a container or bucket: listed, fetched and written in the version (etag) that was seen.

Azure Blob is asked by its own library: it tells a missing container from an empty one, takes every name as it is, and
keeps its conditions. Any other address is opened by fsspec. What becomes of the files is in `storage/mirror`.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from upath import UPath

from raft_assets.core.errors import DataError, RaftError, SettingsError
from raft_assets.core.identity import digest
from raft_assets.llm.azure_sign_in import storage_sign_in
from raft_assets.settings.blob import parse_blob_address, storage_options
from raft_assets.settings.environment import Environment

if TYPE_CHECKING:
    from azure.storage.blob import BlobProperties

# an account that doesn't answer is given up within 20 s: a look at the documents has a minute, and comes again
AZURE_OPTIONS: dict[str, Any] = {"retry_total": 2, "initial_backoff": 1, "increment_base": 2, "connection_timeout": 5}
_SIGNATURE = re.compile(r"(?i)\bsig=[^&\s'\"]+")  # of a shared access signature, as libraries may repeat it
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")  # as file systems call them
_MISSING_BLOB = "BlobNotFound"


class ChangedError(DataError):
    """A file isn't there any more in the version that was seen."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a container. `etag` is another one whenever the file was written."""

    path: str  # below the address, as it is spelled there
    size: int  # bytes
    etag: str


class Container(Protocol):
    """The files below an address. Every method raises DataError where the address can't be used."""

    def list(self, folder: str = "") -> Iterator[RemoteFile]:
        """Yield the files below a folder, which ends in a slash; of all without one."""
        ...

    def fetch(self, file: RemoteFile, target: Path) -> None:
        """Write the file to `target`; raises ChangedError where it is another one by now."""
        ...

    def put(self, path: str, content: bytes, *, replaces: str | None) -> str:
        """Write a file in the place of the version `replaces` (None: of nothing), and return its etag.

        Raises ChangedError where something else is there.
        """
        ...

    def delete(self, path: str) -> None:
        """Delete a file that is there."""
        ...


def open_container(address: str, environment: Environment) -> Container:
    """Open an address; the credentials are those of the environment or `.env`, else of who is signed in."""
    try:
        with _told(address):
            if parse_blob_address("RAFT_DATA", address, environment):
                return _AzureContainer(address, environment)
            return _FsspecContainer(address)
    except ImportError as error:
        raise SettingsError(f"{address} needs another library ({error}): install raft-assets[azure].") from error


@contextmanager
def _told(address: str) -> Iterator[None]:
    """Say in a sentence what a library says of an address, and that nothing is taken for deleted."""
    try:
        yield
    except (RaftError, ImportError):
        raise
    except Exception as error:  # noqa: BLE001 - of whatever library opens the address
        first_line = (str(error).splitlines() or [""])[0]
        reason = _SIGNATURE.sub("sig=…", first_line)[:200].rstrip(".")
        raise DataError(
            f"The documents at {address} can't be reached ({type(error).__name__}: {reason}); nothing of them counts "
            "as deleted. Check RAFT_DATA, that the container exists, and that you may read it (the role Storage Blob "
            "Data Reader; Contributor to add questions and reviews)."
        ) from None


class _AzureContainer:
    def __init__(self, address: str, environment: Environment) -> None:
        from azure.storage.blob import ContainerClient

        place = parse_blob_address("RAFT_DATA", address, environment)
        assert place is not None
        options = storage_options(address, environment, storage_sign_in)
        self._address, self._root = address, f"{place.folder}/" if place.folder else ""
        if connection := options.get("connection_string"):
            self._client = ContainerClient.from_connection_string(connection, place.container, **AZURE_OPTIONS)
        else:
            credential = options.get("account_key") or options.get("sas_token") or options["credential"]
            url = f"https://{place.account}.blob.core.windows.net"
            self._client = ContainerClient(url, place.container, credential=credential, **AZURE_OPTIONS)

    def list(self, folder: str = "") -> Iterator[RemoteFile]:
        with _told(self._address):
            for blob in self._client.list_blobs(name_starts_with=f"{self._root}{folder}", include=["metadata"]):
                if not _is_folder(blob):
                    yield self._to_file(blob)

    def _to_file(self, blob: "BlobProperties") -> RemoteFile:
        return RemoteFile(blob.name.removeprefix(self._root), blob.size, blob.etag.strip('"'))

    def fetch(self, file: RemoteFile, target: Path) -> None:
        from azure.core import MatchConditions
        from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError

        with _told(self._address):
            try:
                content = self._client.download_blob(
                    f"{self._root}{file.path}", etag=f'"{file.etag}"', match_condition=MatchConditions.IfNotModified
                )
                with target.open("wb") as stream:
                    content.readinto(stream)
            except ResourceModifiedError as error:
                raise _changed(self._address, file.path) from error
            except ResourceNotFoundError as error:
                if _code(error) != _MISSING_BLOB:
                    raise
                raise _changed(self._address, file.path) from error

    def put(self, path: str, content: bytes, *, replaces: str | None) -> str:
        from azure.core import MatchConditions
        from azure.core.exceptions import ResourceExistsError, ResourceModifiedError

        with _told(self._address), self._client.get_blob_client(f"{self._root}{path}") as blob:
            try:
                if replaces is None:
                    written = blob.upload_blob(content)
                else:
                    written = blob.upload_blob(
                        content, overwrite=True, etag=f'"{replaces}"', match_condition=MatchConditions.IfNotModified
                    )
            except (ResourceExistsError, ResourceModifiedError) as error:
                raise _changed(self._address, path) from error
        return str(written["etag"]).strip('"')

    def delete(self, path: str) -> None:
        with _told(self._address):
            self._client.delete_blob(f"{self._root}{path}")


class _FsspecContainer:
    """An address of another kind. It has no conditions, so a file is looked at before or after."""

    def __init__(self, address: str) -> None:
        root: UPath = UPath(address)
        self._address, self._files, self._root = address, root.fs, root.path.rstrip("/")

    def list(self, folder: str = "") -> Iterator[RemoteFile]:
        with _told(self._address):
            self._files.invalidate_cache()  # other programs write and delete as well
            found = self._files.find(f"{self._root}/{folder}".rstrip("/"), detail=True)
            start = self._root.lstrip("/")
            for name, about in found.items():
                yield _to_file(name.lstrip("/").removeprefix(start).lstrip("/"), about)

    def _look(self, path: str) -> RemoteFile | None:
        with _told(self._address):
            self._files.invalidate_cache()
            try:
                return _to_file(path, self._files.info(f"{self._root}/{path}"))
            except FileNotFoundError:
                return None

    def fetch(self, file: RemoteFile, target: Path) -> None:
        with _told(self._address):
            try:
                self._files.get_file(f"{self._root}/{file.path}", str(target))
            except FileNotFoundError as error:
                raise _changed(self._address, file.path) from error
            # the version before and after is one, so what was read in between is of it
            if self._look(file.path) != file or target.stat().st_size != file.size:
                raise _changed(self._address, file.path)

    def put(self, path: str, content: bytes, *, replaces: str | None) -> str:
        with _told(self._address):
            if self._version_of(path) != replaces:
                raise _changed(self._address, path)
            self._files.pipe_file(f"{self._root}/{path}", content)
            return self._version_of(path) or ""

    def delete(self, path: str) -> None:
        with _told(self._address):
            self._files.rm_file(f"{self._root}/{path}")

    def _version_of(self, path: str) -> str | None:
        found = self._look(path)
        return found.etag if found else None


def _to_file(path: str, about: Mapping[str, Any]) -> RemoteFile:
    """Return a file by what a file system tells of it. Raises DataError where that shows no change."""
    etag = about.get("etag") or about.get("ETag")
    times = [str(_to_seconds(about[name])) for name in _TIMES if about.get(name)]
    if not etag and not times:
        raise DataError(
            f"{path!a} has neither an etag nor a time, so no change of it could be seen: use another service."
        )
    return RemoteFile(path, int(about["size"] or 0), str(etag).strip('"') if etag else digest(*times))


def _to_seconds(moment: Any) -> Any:
    """Return a time as a number: one file system tells it in several forms."""
    return moment.timestamp() if isinstance(moment, datetime) else moment


def _code(error: Exception) -> str:
    """Return the service's code of an error, which its library adds to the exception; empty where there is none."""
    code = getattr(error, "error_code", None) or ""
    return str(getattr(code, "value", code))


def _is_folder(blob: "BlobProperties") -> bool:
    """Return whether a blob stands for a folder, as in an account with a hierarchical namespace."""
    told = {name.lower(): value.lower() for name, value in (blob.metadata or {}).items()}
    return "true" in (told.get("hdi_isfolder"), told.get("is_directory"))


def _changed(address: str, path: str) -> ChangedError:
    return ChangedError(f"{path!a} at {address} was changed by somebody else at this moment: run the same again.")
