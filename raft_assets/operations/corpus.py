"""A domain's documents and chunks before a run: for what is estimated, checked or asked again without being written."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from raft_assets.core.tables import Chunk, SourceDocument
from raft_assets.documents.reading import ReadDocument, group_into_documents
from raft_assets.operations.chunk_form import recorded_chunk_form
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.pair_form import tells_languages
from raft_assets.operations.sources import chunk_documents, read_sources
from raft_assets.storage.lake import Lake


@dataclass(frozen=True)
class Corpus:
    """The documents of a domain and the chunks that they are cut into."""

    documents: Sequence[ReadDocument]
    chunks: Sequence[Chunk]


def read_corpus(models: ModelClients, domain: str, *, fresh: Collection[str] = ()) -> Corpus:
    """Return what is in the lake where documents and chunks are among the `fresh` assets, else read and cut it.

    It is cut by structure: boundaries by embedding would cost money. Raises DataError if no document can be read.
    """
    project, lake = models.project, Lake.of(models.project)
    if {"source_documents", "chunks"}.issubset(fresh):
        pages = lake.rows(SourceDocument, domain)
        return Corpus(list(group_into_documents(pages)), list(lake.rows(Chunk, domain)))
    structure = project.settings(domain).values.chunks.model_copy(update={"boundaries": "structure"})
    documents = read_sources(project, domain).documents
    form = recorded_chunk_form(lake, domain, structure)
    has_languages = tells_languages(models, lake, domain)
    return Corpus(documents, chunk_documents(models, structure, documents, form=form, has_languages=has_languages))
