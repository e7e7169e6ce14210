"""Source documents, chunks and their embeddings."""

from collections import Counter
from collections.abc import Iterator

import dagster as dg

from raft_assets.core.languages import ENGLISH
from raft_assets.core.progress import track
from raft_assets.core.tables import PAGED_KINDS, Chunk, ChunkEmbedding, QuarantinedFile, RefusedChunk, SourceDocument
from raft_assets.core.vectors import NoVector
from raft_assets.defs.describe import counts_table, describe_calls, describe_table, losses_table, token_histogram
from raft_assets.defs.lineage_asset import check_result, check_spec, lineage_asset, origin_of
from raft_assets.defs.observation import DOCUMENTS
from raft_assets.defs.progress import log_progress
from raft_assets.documents.chunking import CHUNKING_VERSION, find_oversized_chunks
from raft_assets.documents.document_languages import count_languages
from raft_assets.documents.readers.left_out import describe_reason, left_out_by_reason, reading_losses
from raft_assets.documents.reading import READING_VERSION, group_into_documents
from raft_assets.llm.caller import Caller
from raft_assets.operations.chunk_form import keep_chunk_form, recorded_chunk_form
from raft_assets.operations.document_ids import keep_documents
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.pair_form import tells_languages
from raft_assets.operations.sources import chunk_documents, embed_chunks, read_sources, to_refused_chunk
from raft_assets.settings.endpoints import Role
from raft_assets.settings.project import Project
from raft_assets.storage.lake import Lake

MAX_LOSSES_SHOWN = 20  # documents whose left-out words are listed in the catalog, those with the largest share first
READ_SPEC = check_spec("every_file_was_read", "source_documents", "No file is in quarantine.")
CHUNK_SPEC = check_spec(
    "chunks_keep_their_maximum", "chunks", "No chunk is longer than chunk_size tokens.", blocking=True
)


@lineage_asset(stage="documents", kinds={"parquet"}, code_version=READING_VERSION, deps=[DOCUMENTS], checks=[READ_SPEC])
def source_documents(
    context: dg.AssetExecutionContext, project: dg.ResourceParam[Project], lake: dg.ResourceParam[Lake]
) -> dg.MaterializeResult[None]:
    """Pages and sections of every readable document.

    A file that can't be read is listed in the quarantine table with the reason. Of those that are read, the words that
    their text leaves out are counted by reason (header, footer, references, navigation and others).
    """
    domain = context.partition_key

    def warn(file: QuarantinedFile) -> None:
        context.log.warning("quarantined %s (%s): %s", file.path, file.reason, file.detail)

    sources = read_sources(project, domain, warn)
    pages, quarantined = sources.pages, sources.quarantined
    keep_documents(lake, domain, sources.known)
    losses = list(reading_losses(pages))
    for loss in losses:
        if loss.warning:
            context.log.warning(loss.warning)
    reasons = left_out_by_reason(losses)
    quarantine = lake.write(QuarantinedFile, domain, quarantined)
    written = lake.write(SourceDocument, domain, pages)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(f"{written.digest[:32]}{quarantine.digest[:32]}"),
        metadata={
            **describe_table(written, SourceDocument, columns=["path", "page", "heading", "text"]),
            "documents": len({page.doc_id for page in pages}),
            "pages": sum(page.kind in PAGED_KINDS for page in pages),
            "sections": sum(page.kind not in PAGED_KINDS for page in pages),
            "characters": sum(len(page.text) for page in pages),
            "words": sum(loss.words for loss in losses),
            "words_left_out": reasons.total(),
            "left_out": counts_table({describe_reason(name): count for name, count in reasons.items()}, "reason"),
            "left_out_by_document": losses_table(losses, MAX_LOSSES_SHOWN),
            "unusual_losses": sum(bool(loss.unusual) for loss in losses),
            "pages_read_by_ocr": sum(loss.scanned.get("ocr", 0) for loss in losses),
            "scanned_pages_unread": sum(loss.scanned.get("unread", 0) for loss in losses),
            "kinds": counts_table(Counter(page.kind for page in pages), "kind"),
            "languages": counts_table(count_languages(pages), "language"),
            "quarantined": len(quarantined),
            "quarantine": counts_table(Counter(f"{file.path}: {file.reason}" for file in quarantined), "file"),
        },
        check_results=[
            check_result(
                READ_SPEC,
                passed=not quarantined,
                metadata={
                    "quarantined": len(quarantined),
                    **{file.path: f"{file.reason}: {file.detail}" for file in quarantined[:20]},
                },
            )
        ],
    )


@lineage_asset(
    stage="documents",
    kinds={"parquet"},
    code_version=CHUNKING_VERSION,
    deps=[source_documents],
    roles=[Role.EMBEDDING],
    checks=[CHUNK_SPEC],
)
def chunks(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], models: dg.ResourceParam[ModelClients]
) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """Passages of at most `chunk_size` tokens. Ids are content hashes, so an unchanged passage keeps its id.

    An edit changes the passages around it and no others.
    """
    domain = context.partition_key
    settings = models.project.settings(domain).values.chunks
    form = recorded_chunk_form(lake, domain, settings)
    table = chunk_documents(
        models,
        settings,
        group_into_documents(lake.rows(SourceDocument, domain)),
        form=form,
        origin=origin_of(context),
        on_progress=log_progress(context, models.project),
        has_languages=tells_languages(models, lake, domain),
    )
    longer = find_oversized_chunks(table, settings)
    yield dg.AssetCheckResult(
        check_name=CHUNK_SPEC.name,
        passed=not longer,
        metadata={"too_long": len(longer), "chunks": ", ".join(longer[:20]), "chunk_size": settings.chunk_size},
    )
    if longer:
        raise dg.Failure(
            f"{len(longer)} chunks are longer than chunk_size: nothing was written. Please report this bug."
        )
    tokens = [chunk.tokens for chunk in table]
    keep_chunk_form(lake, domain, form)  # before the chunks, by which it is found where nothing is written down
    written = lake.write(Chunk, domain, track("chunks written", table, len(table)))
    yield dg.MaterializeResult(
        data_version=dg.DataVersion(written.digest),
        metadata={
            **describe_table(written, Chunk, columns=["path", "heading", "tokens", "text"]),
            "documents": len({chunk.doc_id for chunk in table}),
            "languages": counts_table(Counter(chunk.language or ENGLISH for chunk in table), "language"),
            "tokens": sum(tokens),
            "tokens_per_chunk": token_histogram(tokens, "Chunk sizes"),
        },
    )


@lineage_asset(stage="documents", kinds={"parquet", "openai"}, code_version="1", deps=[chunks], roles=[Role.EMBEDDING])
def chunk_embeddings(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], models: dg.ResourceParam[ModelClients]
) -> dg.MaterializeResult[None]:
    """A vector per chunk, for retrieval and hard negatives.

    A chunk that the service refuses has none, and is listed in the table of refused chunks with the reason.
    """
    domain = context.partition_key
    table, refused = list(lake.rows(Chunk, domain)), list[RefusedChunk]()
    progress = log_progress(context, models.project, total=len(table))

    def rows(caller: Caller) -> Iterator[ChunkEmbedding]:
        for chunk, embedding in embed_chunks(caller, table):
            if isinstance(embedding, NoVector):
                refused.append(to_refused_chunk(chunk, embedding))
                context.log.warning("chunk %s (%s): %s", chunk.chunk_id, chunk.path, embedding.reason)
            else:
                yield ChunkEmbedding(chunk_id=chunk.chunk_id, vector=embedding.tolist())

    with models.caller(Role.EMBEDDING, origin=origin_of(context), on_progress=progress) as caller:
        written = lake.write(ChunkEmbedding, domain, rows(caller))
        if refused or lake.exists(RefusedChunk.table, domain):  # a domain without any has no such table
            lake.write(RefusedChunk, domain, refused)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(written.digest),
            metadata={
                "dagster/row_count": written.rows,
                "path": dg.MetadataValue.path(written.address),
                "model": models.endpoints[Role.EMBEDDING].model,
                "without_vector": len(refused),
                "refused": counts_table(Counter(chunk.reason for chunk in refused), "reason"),
                **describe_calls(caller.usage_stats),
            },
        )
