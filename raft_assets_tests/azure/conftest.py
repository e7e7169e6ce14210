"""A subscription for the tests of a module."""

from collections.abc import Iterator

import pytest

from raft_assets_tests.azure.cloud import Cloud, cloud

pytest.importorskip("azure.mgmt.cognitiveservices", reason="the extra raft-assets[azure]")


@pytest.fixture
def azure() -> Iterator[Cloud]:
    """An Azure subscription with nothing deployed by us."""
    with cloud() as found:
        yield found
