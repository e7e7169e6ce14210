"""Which data a student and an evaluation were made of, by hash: what leads from a score back to rows and files."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Any

from raft_assets.core.errors import DataError
from raft_assets.core.tables import RaftRow
from raft_assets.dataset.data_card import MANIFEST_FILE
from raft_assets.operations.kept_manifest import kept_manifest
from raft_assets.operations.rebuild import build_manifest
from raft_assets.settings.project import Project
from raft_assets.storage.lake import Lake


@dataclass(frozen=True)
class DataLinks:
    """The digest of the rows of `qa_dataset`, and the SHA-256 of files of the lake; empty where there is none.

    The files are `training_files/<domain>/train.jsonl` and `valid.jsonl`, and `data_card/<domain>/manifest.json`.
    """

    qa_dataset_digest: str
    train_file_hash: str
    valid_file_hash: str
    manifest_hash: str

    @property
    def record(self) -> dict[str, str]:
        """The links by name."""
        return asdict(self)


def data_links(project: Project, lake: Lake, domain: str) -> DataLinks:
    """Return the links to a domain's data as it is in the lake."""
    rows = lake.digest(RaftRow.table, domain)
    train, valid = (lake.read_lines("training_files", domain, f"{split}.jsonl") for split in ("train", "valid"))
    hashes = [sha256(content).hexdigest() if content else "" for content in (train, valid)]
    return DataLinks(rows, hashes[0], hashes[1], _manifest_hash(project, lake, domain))


def evaluation_links(project: Project, lake: Lake, domain: str, tuned: Mapping[str, Any]) -> DataLinks:
    """Return the links of an evaluation of the student in the record `finetuned_model`.

    Its training files are those that it was trained on; of a model that the user fine-tuned elsewhere they are unknown.
    """
    links = data_links(project, lake, domain)
    trained = {name: tuned.get(name, getattr(links, name)) for name in ("train_file_hash", "valid_file_hash")}
    return replace(links, **trained if tuned["job"] else dict.fromkeys(trained, ""))


def _manifest_hash(project: Project, lake: Lake, domain: str) -> str:
    """Return the hash of the manifest of the present rows, also before the data card is made that it stands beside."""
    manifest = kept_manifest(lake, domain)
    if manifest and manifest.digests[RaftRow.table] == lake.digest(RaftRow.table, domain):
        return sha256(lake.read_lines("data_card", domain, MANIFEST_FILE)).hexdigest()
    try:
        text = build_manifest(project, lake, domain).model_dump_json(indent=1)
    except DataError:  # a document has changed since: no manifest will be of these rows
        return ""
    return sha256(f"{text}\n".encode()).hexdigest()
