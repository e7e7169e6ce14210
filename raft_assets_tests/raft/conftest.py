"""The shipped domains, read once for all tests."""

from pathlib import Path

import pytest

from raft_assets.raft.files import domain_folder, domain_names, list_documents
from raft_assets.raft.reading import ReadDocument, read_documents
from raft_assets.raft.tables import QuarantinedFile

SHIPPED_DATA = Path(__file__).parents[2] / "data"


@pytest.fixture(scope="session")
def shipped() -> dict[str, list[ReadDocument | QuarantinedFile]]:
    """What reading the shipped domains gives, by domain."""
    return {
        name: list(read_documents(list_documents(domain_folder(SHIPPED_DATA, name))))
        for name in domain_names(SHIPPED_DATA)
    }


@pytest.fixture(scope="session")
def shipped_documents(shipped: dict[str, list[ReadDocument | QuarantinedFile]]) -> dict[str, list[ReadDocument]]:
    """The documents of the shipped domains, by domain."""
    return {
        name: [result for result in results if isinstance(result, ReadDocument)] for name, results in shipped.items()
    }
