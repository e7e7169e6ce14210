"""The manifest in the lake, which says how a domain's rows were made where what they were made of is gone."""

from pydantic import ValidationError

from raft_assets.dataset.data_card import MANIFEST_FILE
from raft_assets.dataset.manifest import Manifest
from raft_assets.storage.lake import Lake


def kept_manifest(lake: Lake, domain: str) -> Manifest | None:
    """Return the manifest beside the domain's data card; None where there is none that this version reads."""
    content = lake.read_lines("data_card", domain, MANIFEST_FILE)
    try:
        return Manifest.model_validate_json(content) if content else None
    except ValidationError:
        return None
