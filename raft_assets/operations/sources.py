"""Reading a domain's documents and cutting them into chunks, for the lineage, previews and estimates alike."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from raft_assets.core.errors import DataError, EndpointError
from raft_assets.core.progress import track
from raft_assets.core.tables import Chunk, QuarantinedFile, RefusedChunk, SourceDocument
from raft_assets.core.vectors import Embedding, NoVector, Vector
from raft_assets.documents.chunking import STEADY, ChunkForm, GapSimilarity, chunk_document
from raft_assets.documents.document_languages import tell_languages, with_language
from raft_assets.documents.identities import KnownDocument
from raft_assets.documents.readers.sniffing import READABLE
from raft_assets.documents.reading import ReadDocument, group_into_documents, read_documents
from raft_assets.documents.retrieval import VectorIndex
from raft_assets.documents.semantic_boundaries import embedding_similarity
from raft_assets.llm.caller import Caller
from raft_assets.llm.requests import NO_REQUESTER, Origin, Progress
from raft_assets.operations.document_ids import known_documents
from raft_assets.operations.model_clients import ModelClients
from raft_assets.settings.domain import ChunkSettings
from raft_assets.settings.domains import domain_folder
from raft_assets.settings.endpoints import Role
from raft_assets.settings.project import Project
from raft_assets.storage.lake import Lake
from raft_assets.storage.mirror import documents_of

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
    files, pages, quarantined = documents_of(project, domain), list[SourceDocument](), list[QuarantinedFile]()
    max_file_mb = project.settings(domain).values.documents.max_file_mb
    memo = project.home / "cache" / "parsed"
    known = known_documents(Lake.of(project), domain, files)
    place_of = {document.path: place for place, document in enumerate(known)}
    files.sort(key=lambda file: place_of[file.path])  # stable: of two with one name, the first stays the first
    ids = {document.path: document.doc_id for document in known}
    documents = read_documents(files, ids=ids, memo=memo, max_file_mb=max_file_mb)
    for read in track("documents read", documents, len(files)):
        if isinstance(read, QuarantinedFile):
            quarantined.append(read)
            on_quarantined(read)
        else:
            pages.extend(read.pages)
    if pages:
        pages = tell_languages(pages, project.settings(domain).values.documents.language)
    else:
        reasons = "".join(f"; {file.path}: {file.reason}" for file in quarantined[:QUARANTINED_SHOWN])
        raise DataError(
            f"No document of {domain!r} could be read ({len(quarantined)} quarantined{reasons}). Put documents into "
            f"{domain_folder(project.data, domain)}: {READABLE}."
        )
    return DomainSources(pages, quarantined, known)


def chunk_documents(
    models: ModelClients,
    settings: ChunkSettings,
    documents: Iterable[ReadDocument],
    *,
    form: ChunkForm = STEADY,
    origin: Origin = NO_REQUESTER,
    on_progress: Callable[[Progress], None] | None = None,
    has_languages: bool = True,
) -> list[Chunk]:
    """Cut the documents into chunks; semantic boundaries call the EMBEDDING role.

    `form` is that of the domain's chunks (`operations/chunk_form`). `has_languages`: whether chunks of the domain have
    a language (`pair_form.tells_languages`).
    """

    def cut(document: ReadDocument, likeness: GapSimilarity | None = None) -> Iterable[Chunk]:
        chunks = chunk_document(document, settings, form=form, likeness=likeness)
        return with_language(document, chunks) if has_languages else chunks

    documents = track("documents cut", documents)
    if settings.boundaries == "structure":
        return [chunk for document in documents for chunk in cut(document)]
    with models.caller(Role.EMBEDDING, origin=origin, on_progress=on_progress) as encoder:
        return [chunk for document in documents for chunk in cut(document, _likeness(encoder, document))]


def _likeness(encoder: Caller, document: ReadDocument) -> Callable[[Sequence[str]], list[float]]:
    return embedding_similarity(partial(encoder.embed, documents_of=lambda _: (document.path,)))


def embed_chunks(caller: Caller, chunks: Sequence[Chunk]) -> Iterator[tuple[Chunk, Embedding]]:
    """Yield each chunk, in order, with its vector, or why it has none.

    Raises EndpointError if none of them has one: without any, nothing downstream can retrieve.
    """
    paths = defaultdict[str, set[str]](set)
    for chunk in chunks:
        paths[chunk.passage].add(chunk.path)
    refused = list[NoVector]()
    embedded = caller.embed((chunk.passage for chunk in chunks), documents_of=lambda passage: paths[passage])
    for chunk, embedding in zip(chunks, embedded, strict=True):
        if isinstance(embedding, NoVector):
            refused.append(embedding)
        yield chunk, embedding
    if refused and len(refused) == len(chunks):
        raise EndpointError(f"No chunk has a vector. Of the first one: {refused[0].reason}")


def index_chunks(caller: Caller, chunks: Sequence[Chunk]) -> VectorIndex:
    """Embed the chunks and return them with their vectors, in memory; raises EndpointError as `embed_chunks` does."""
    vectors, refused = dict[str, Vector](), dict[str, str]()
    for chunk, embedding in embed_chunks(caller, chunks):
        if isinstance(embedding, NoVector):
            refused[chunk.chunk_id] = embedding.reason
        else:
            vectors[chunk.chunk_id] = embedding
    table = np.array([*vectors.values()], np.float32) if vectors else np.empty((0, 0), np.float32)
    return VectorIndex([*vectors], table, refused)


def to_refused_chunk(chunk: Chunk, refusal: NoVector) -> RefusedChunk:
    """Return the row about a chunk that has no vector."""
    return RefusedChunk(chunk_id=chunk.chunk_id, path=chunk.path, page_from=chunk.page_from, reason=refusal.reason)
