"""Reading a domain's documents and cutting them into chunks, for the lineage, previews and estimates alike."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from raft_assets.core.errors import DataError, EndpointError
from raft_assets.core.tables import Chunk, QuarantinedFile, SourceDocument
from raft_assets.documents.chunking import chunk_document
from raft_assets.documents.identities import KnownDocument
from raft_assets.documents.reading import ReadDocument, group_into_documents, read_documents
from raft_assets.documents.semantic_boundaries import embedding_similarity
from raft_assets.llm.caller import Caller, TextRefusedError
from raft_assets.llm.requests import NO_REQUESTER, Origin, Progress
from raft_assets.operations.document_ids import known_documents
from raft_assets.operations.model_clients import ModelClients
from raft_assets.settings.domain import ChunkSettings
from raft_assets.settings.domains import domain_folder, list_documents
from raft_assets.settings.endpoints import Role
from raft_assets.settings.project import Project
from raft_assets.storage.lake import Lake

QUARANTINED_SHOWN = 3  # of the files that an error names


@dataclass(frozen=True)
class DomainSources:
    """The contents of a domain's folder: pages and sections of readable files, and the quarantined ones."""

    pages: list[SourceDocument]
    quarantined: list[QuarantinedFile]
    known: list[KnownDocument]  # every document of the folder, readable or not, in the order in which they are read

    @property
    def documents(self) -> list[ReadDocument]:
        """The documents with their pages."""
        return list(group_into_documents(self.pages))


def read_sources(
    project: Project, domain: str, on_quarantined: Callable[[QuarantinedFile], None] = lambda _: None
) -> DomainSources:
    """Read the documents; `on_quarantined` gets every file that can't be read, as soon as that is known.

    A document that was renamed has the id and the place that it had before. Raises DataError if no document can be
    read.
    """
    folder, pages, quarantined = domain_folder(project.data, domain), list[SourceDocument](), list[QuarantinedFile]()
    max_file_mb = project.settings(domain).values.documents.max_file_mb
    files, memo = list_documents(folder), project.home / "cache" / "parsed"
    known = known_documents(Lake.of(project), domain, files)
    place_of = {document.path: place for place, document in enumerate(known)}
    files.sort(key=lambda file: place_of[file.path])  # stable: of two with one name, the first stays the first
    ids = {document.path: document.doc_id for document in known}
    for read in read_documents(files, ids=ids, memo=memo, max_file_mb=max_file_mb):
        if isinstance(read, QuarantinedFile):
            quarantined.append(read)
            on_quarantined(read)
        else:
            pages.extend(read.pages)
    if not pages:
        reasons = "".join(f"; {file.path}: {file.reason}" for file in quarantined[:QUARANTINED_SHOWN])
        raise DataError(
            f"No document of {domain!r} could be read ({len(quarantined)} quarantined{reasons}). Put pdf, docx, md, "
            f"txt, html or json files into {folder}."
        )
    return DomainSources(pages, quarantined, known)


def chunk_documents(
    models: ModelClients,
    settings: ChunkSettings,
    documents: Iterable[ReadDocument],
    *,
    origin: Origin = NO_REQUESTER,
    on_progress: Callable[[Progress], None] | None = None,
) -> list[Chunk]:
    """Cut the documents into chunks; semantic boundaries call the EMBEDDING role."""
    if settings.boundaries == "structure":
        return [chunk for document in documents for chunk in chunk_document(document, settings)]
    with models.caller(Role.EMBEDDING, origin=origin, on_progress=on_progress) as encoder:
        likeness = embedding_similarity(encoder.embed)
        return [chunk for document in documents for chunk in chunk_document(document, settings, likeness=likeness)]


def embed_chunks(caller: Caller, chunks: Sequence[Chunk]) -> Iterator[np.ndarray]:
    """Yield the vector of each chunk, in order. Raises EndpointError, which names a chunk that isn't embedded."""
    try:
        yield from caller.embed(chunk.passage for chunk in chunks)
    except TextRefusedError as refused:
        chunk = next(chunk for chunk in chunks if chunk.passage == refused.text)
        place = f"{chunk.path}, characters {chunk.start:,} to {chunk.end:,}"
        raise EndpointError(f"Chunk {chunk.chunk_id} ({place}) has no vector. {refused}") from None
