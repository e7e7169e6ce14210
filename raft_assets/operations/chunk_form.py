"""The form of a domain's chunks: which of its sections are divided evenly, as versions before 0.3.0 did with all.

It is found before a domain is cut for the first time by this version, and kept with its chunks, so that text that
doesn't change keeps its chunks and nothing about them is asked again. Any other section is cut steadily (ADR 0044).
"""

from collections import defaultdict
from typing import Any

from raft_assets.core.tables import Chunk, SourceDocument
from raft_assets.documents.chunking import EVEN, STEADY, ChunkForm, find_even_sections
from raft_assets.documents.reading import group_into_documents
from raft_assets.operations.kept_manifest import kept_manifest
from raft_assets.settings.domain import ChunkSettings
from raft_assets.storage.lake import Lake

RECORD = "chunk_form"  # of the lake


def recorded_chunk_form(lake: Lake, domain: str, settings: ChunkSettings) -> ChunkForm:
    """Return the form of the domain's chunks: as it is kept, else as its chunks show it. Writes nothing."""
    if lake.exists(RECORD, domain, ".json"):
        return _form_of(lake.read_record(RECORD, domain))
    if lake.exists(Chunk.table, domain) and lake.exists(SourceDocument.table, domain):
        return ChunkForm(_sections_of_before(lake, domain, settings))
    manifest = kept_manifest(lake, domain)
    return _form_of(manifest.chunk_form) if manifest else STEADY


def keep_chunk_form(lake: Lake, domain: str, form: ChunkForm) -> None:
    """Keep the form."""
    lake.write_record(RECORD, domain, _record_of(form))


def chunk_form_record(lake: Lake, domain: str) -> dict[str, Any]:
    """Return what a manifest says of the form: nothing where all sections are divided evenly."""
    return lake.read_record(RECORD, domain) if lake.exists(RECORD, domain, ".json") else {}


def restore_chunk_form(lake: Lake, domain: str, record: dict[str, Any]) -> None:
    """Write down the form of a manifest as the domain's own."""
    lake.write_record(RECORD, domain, record)


def _form_of(record: dict[str, Any]) -> ChunkForm:
    return ChunkForm(frozenset(record.get("evenly", ()))) if record.get("steady") else EVEN


def _record_of(form: ChunkForm) -> dict[str, Any]:
    return {} if form.evenly is None else {"steady": True, "evenly": sorted(form.evenly)}


def _sections_of_before(lake: Lake, domain: str, settings: ChunkSettings) -> frozenset[str]:
    """Return the sections that the domain's chunks show to have been divided evenly, with these settings."""
    texts = defaultdict[str, set[str]](set)
    for chunk in lake.rows(Chunk, domain):
        texts[chunk.doc_id].add(chunk.text)
    return frozenset(
        section
        for document in group_into_documents(lake.rows(SourceDocument, domain))
        for section in find_even_sections(document, settings, texts[document.doc_id])
    )
