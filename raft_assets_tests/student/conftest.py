"""What tests of training share."""

from typing import Any

import pytest

from raft_assets_tests.azure.cloud import cloud


@pytest.fixture
def azure(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("azure.identity", reason="the extra raft-assets[azure]")
    with cloud(within_process=True) as found:
        for name, value in found.variables.items():
            monkeypatch.setenv(name, value)
        yield found
