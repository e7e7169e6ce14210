"""One process reads the files of all tests here."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raft_assets.core.tables import QuarantinedFile
from raft_assets.documents.reading import ReadDocument, read_document
from raft_assets.documents.reading_process import ReadingProcess
from raft_assets.settings.domains import list_documents

Read = Callable[[str, bytes], ReadDocument]
Refuse = Callable[[str, bytes], QuarantinedFile]


@pytest.fixture(scope="session")
def reading_process() -> Iterator[ReadingProcess]:
    with ReadingProcess() as process:
        yield process


@pytest.fixture
def read_any(tmp_path: Path, reading_process: ReadingProcess) -> Callable[[str, bytes], ReadDocument | QuarantinedFile]:
    def read_one(name: str, data: bytes) -> ReadDocument | QuarantinedFile:
        (tmp_path / name).write_bytes(data)
        (file,) = (file for file in list_documents(tmp_path) if file.path == name)
        return read_document(file, reading_process)

    return read_one


@pytest.fixture
def read_file(read_any: Callable[[str, bytes], ReadDocument | QuarantinedFile]) -> Read:
    """Returns the document that a file holds."""

    def read_one(name: str, data: bytes) -> ReadDocument:
        found = read_any(name, data)
        assert isinstance(found, ReadDocument), found
        return found

    return read_one


@pytest.fixture
def refuse_file(read_any: Callable[[str, bytes], ReadDocument | QuarantinedFile]) -> Refuse:
    """Returns why a file is in quarantine."""

    def refuse_one(name: str, data: bytes) -> QuarantinedFile:
        found = read_any(name, data)
        assert isinstance(found, QuarantinedFile), found
        assert found.detail.endswith(".")
        assert "\n" not in found.detail
        return found

    return refuse_one
