"""The register of splits that a domain has, by which its next rows stay where they are."""

from collections.abc import Mapping
from typing import Any

from raft_assets.operations.kept_manifest import kept_manifest
from raft_assets.storage.lake import Lake


def read_splits(lake: Lake, domain: str) -> Mapping[str, Any]:
    """Return the lake's record, or where it is gone, what the manifest says of it; empty where nothing is known."""
    if lake.exists("splits", domain, ".json"):
        return lake.read_record("splits", domain)
    manifest = kept_manifest(lake, domain)
    return manifest.splits if manifest else {}
