"""The register of splits that a domain has, by which its next rows stay where they are."""

from collections.abc import Mapping
from typing import Any

from raft_assets.dataset.splits import drawn_by
from raft_assets.operations.kept_manifest import kept_manifest
from raft_assets.settings.domain import DatasetSettings
from raft_assets.storage.lake import Lake


def read_splits(lake: Lake, domain: str) -> Mapping[str, Any]:
    """Return the lake's record, or where it is gone, what the manifest says of it; empty where nothing is known."""
    if lake.exists("splits", domain, ".json"):
        return lake.read_record("splits", domain)
    manifest = kept_manifest(lake, domain)
    return manifest.splits if manifest else {}


def read_register(lake: Lake, domain: str, settings: DatasetSettings) -> Mapping[str, str]:
    """Return the split of each unit; none where other shares or another seed ask for other splits."""
    splits = read_splits(lake, domain)
    return splits["register"] if splits.get("drawn_by") == drawn_by(settings) else {}
