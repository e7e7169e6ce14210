"""Source documents, chunks and their embeddings."""

from collections import Counter
from collections.abc import Iterator

import dagster as dg

from raft_assets.core.tables import Chunk, ChunkEmbedding, QuarantinedFile, SourceDocument
from raft_assets.defs.describe import counts_table, describe_calls, describe_table, token_histogram
from raft_assets.defs.observation import DOCUMENTS, ROLES, settings_key
from raft_assets.defs.partitions import domains
from raft_assets.defs.progress import log_progress
from raft_assets.documents.chunking import CHUNKING_VERSION, chunk_document, too_long
from raft_assets.documents.reading import READING_VERSION, documents_of, read_documents
from raft_assets.documents.semantic_boundaries import likeness_by
from raft_assets.operations.models import Models
from raft_assets.settings.domains import domain_folder, list_documents
from raft_assets.settings.endpoints import Role
from raft_assets.storage.lake import Lake

READ_SPEC = dg.AssetCheckSpec(
    "every_file_was_read", asset="source_documents", description="No file stands in quarantine."
)
CHUNK_SPEC = dg.AssetCheckSpec(
    "chunks_keep_their_maximum", asset="chunks", blocking=True, description="No chunk is longer than chunk_size tokens."
)


@dg.asset(
    partitions_def=domains,
    group_name="documents",
    kinds={"parquet"},
    owners=["team:raft"],
    tags={"stage": "documents"},
    code_version=READING_VERSION,
    deps=[DOCUMENTS, settings_key("documents")],
    check_specs=[READ_SPEC],
)
def source_documents(context: dg.AssetExecutionContext, lake: Lake, models: Models) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """Pages and sections of every readable document.

    A file that can't be read stands in the quarantine table with its reason.
    """
    domain, workplace = context.partition_key, models.workplace
    files = list_documents(domain_folder(workplace.data, domain))
    pages, quarantined = list[SourceDocument](), list[QuarantinedFile]()
    for read in read_documents(
        files,
        memo=workplace.home / "cache" / "parsed",
        max_file_mb=models.settings(domain).values.documents.max_file_mb,
    ):
        if isinstance(read, QuarantinedFile):
            quarantined.append(read)
            context.log.warning("quarantined %s (%s): %s", read.path, read.reason, read.detail)
        else:
            pages.extend(read.pages)
    if not pages:
        raise dg.Failure(
            f"No document of {domain!r} could be read ({len(quarantined)} quarantined"
            f"{''.join(f'; {file.path}: {file.reason}' for file in quarantined[:3])}). "
            f"Put pdf, docx, md, txt, html or json files into {workplace.data / domain}."
        )
    quarantine = lake.write(QuarantinedFile, domain, quarantined)
    written = lake.write(SourceDocument, domain, pages)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(f"{written.digest[:32]}{quarantine.digest[:32]}"),
        metadata={
            **describe_table(written, SourceDocument, columns=["path", "page", "heading", "text"]),
            "documents": len({page.doc_id for page in pages}),
            "pages": len(pages),
            "characters": sum(len(page.text) for page in pages),
            "kinds": counts_table(Counter(page.kind for page in pages), "kind"),
            "quarantined": len(quarantined),
            "quarantine": counts_table(Counter(f"{file.path}: {file.reason}" for file in quarantined), "file"),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name=READ_SPEC.name,
                passed=not quarantined,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={file.path: f"{file.reason}: {file.detail}" for file in quarantined[:20]},
            )
        ],
    )


@dg.asset(
    partitions_def=domains,
    group_name="documents",
    kinds={"parquet"},
    owners=["team:raft"],
    tags={"stage": "documents"},
    metadata={ROLES: "EMBEDDING"},
    code_version=CHUNKING_VERSION,
    deps=[source_documents, settings_key("chunks")],
    check_specs=[CHUNK_SPEC],
)
def chunks(
    context: dg.AssetExecutionContext, lake: Lake, models: Models
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:  # type: ignore[type-arg]
    """Passages of at most `chunk_size` tokens. Ids are content hashes, so an unchanged passage keeps its id."""
    domain = context.partition_key
    settings = models.settings(domain).values.chunks
    documents = documents_of(lake.rows(SourceDocument, domain))
    if settings.boundaries == "semantic":
        with models.caller(Role.EMBEDDING, on_progress=log_progress(context)) as caller:
            likeness = likeness_by(caller.embed)
            table = [row for document in documents for row in chunk_document(document, settings, likeness=likeness)]
    else:
        table = [row for document in documents for row in chunk_document(document, settings)]
    longer = too_long(table, settings)
    yield dg.AssetCheckResult(
        check_name=CHUNK_SPEC.name,
        passed=not longer,
        metadata={"too_long": ", ".join(longer[:20]), "chunk_size": settings.chunk_size},
    )
    if longer:
        raise dg.Failure(f"{len(longer)} chunks are longer than chunk_size: nothing was written. Report this.")
    tokens = [chunk.tokens for chunk in table]
    written = lake.write(Chunk, domain, table)
    yield dg.MaterializeResult(
        data_version=dg.DataVersion(written.digest),
        metadata={
            **describe_table(written, Chunk, columns=["path", "heading", "tokens", "text"]),
            "documents": len({chunk.doc_id for chunk in table}),
            "tokens": sum(tokens),
            "tokens_per_chunk": token_histogram(tokens, "Chunk sizes"),
        },
    )


@dg.asset(
    partitions_def=domains,
    group_name="documents",
    kinds={"parquet", "openai"},
    owners=["team:raft"],
    tags={"stage": "documents"},
    metadata={ROLES: "EMBEDDING"},
    code_version="1",
    deps=[chunks, settings_key("embedding")],
)
def chunk_embeddings(context: dg.AssetExecutionContext, lake: Lake, models: Models) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """A vector per chunk, for retrieval and hard negatives."""
    domain = context.partition_key
    table = list(lake.rows(Chunk, domain))
    with models.caller(Role.EMBEDDING, on_progress=log_progress(context, total=len(table))) as caller:
        vectors = caller.embed(chunk.passage for chunk in table)
        written = lake.write(
            ChunkEmbedding,
            domain,
            (
                ChunkEmbedding(chunk_id=chunk.chunk_id, vector=vector.tolist())
                for chunk, vector in zip(table, vectors, strict=True)
            ),
        )
        return dg.MaterializeResult(
            data_version=dg.DataVersion(written.digest),
            metadata={
                "dagster/row_count": written.rows,
                "path": dg.MetadataValue.path(written.address),
                "model": models.endpoints[Role.EMBEDDING].model,
                **describe_calls(caller.tally),
            },
        )
