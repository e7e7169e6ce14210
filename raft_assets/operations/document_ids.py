"""The documents that a domain is known to have, as the lake keeps them, so that a renamed one keeps its id.

What belongs here: reading and writing the record. Which file is which document is decided in `documents/identities`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from raft_assets.core.tables import SourceDocument
from raft_assets.documents.identities import KnownDocument, identify_documents
from raft_assets.documents.reading import ReadDocument
from raft_assets.operations.kept_manifest import kept_manifest
from raft_assets.settings.domains import DocumentFile
from raft_assets.storage.lake import Lake

RECORD = "document_ids"  # of the lake


def known_documents(lake: Lake, domain: str, files: Sequence[DocumentFile]) -> list[KnownDocument]:
    """Return what the files are, by what the lake knows of the domain. Writes nothing."""
    return identify_documents(files, _read(lake, domain))


def keep_documents(lake: Lake, domain: str, documents: Sequence[KnownDocument]) -> None:
    """Keep the documents that the domain has now."""
    lake.write_record(RECORD, domain, {"documents": [document.record for document in documents]})


def former_paths(lake: Lake, domain: str) -> dict[str, str]:
    """Return the present path by each path that a document had before."""
    return {old: document.path for document in _read(lake, domain) for old in document.paths[:-1]}


def former_paths_of(lake: Lake, domain: str, documents: Iterable[ReadDocument]) -> dict[str, str]:
    """Return the path of each document by those that it had before, also where it was renamed since the last run."""
    present = {document.doc_id: document.path for document in documents}
    return {
        old: present[known.doc_id]
        for known in _read(lake, domain)
        if known.doc_id in present
        for old in known.paths
        if old != present[known.doc_id]
    }


def renamed_documents(lake: Lake, domain: str) -> list[dict[str, Any]]:
    """Return what a manifest says: the documents whose id doesn't follow from their path alone."""
    return [document.record for document in _read(lake, domain) if not document.is_as_first_seen]


def restore_documents(lake: Lake, domain: str, renamed: Sequence[Mapping[str, Any]]) -> None:
    """Restore a manifest's documents; the others are found again by their paths."""
    keep_documents(lake, domain, [KnownDocument.of(record) for record in renamed])


def _read(lake: Lake, domain: str) -> list[KnownDocument]:
    if lake.exists(RECORD, domain, ".json"):
        return [KnownDocument.of(record) for record in lake.read_record(RECORD, domain)["documents"]]
    if not lake.exists(SourceDocument.table, domain):
        manifest = kept_manifest(lake, domain)
        return [KnownDocument.of(record) for record in manifest.renamed] if manifest else []
    # of a version before 0.3.0, which kept no record
    rows = {row.doc_id: row for row in lake.rows(SourceDocument, domain)}
    return [KnownDocument(row.doc_id, (row.path,), row.content_hash) for row in rows.values()]
