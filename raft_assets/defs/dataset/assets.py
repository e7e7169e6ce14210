"""Golden questions, QA pairs, RAFT rows, the student's training files and the data card."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain

import dagster as dg

from raft_assets.core.identity import digest
from raft_assets.core.markdown import code_span
from raft_assets.core.progress import track
from raft_assets.core.prompt_contract import CONTRACT_VERSION
from raft_assets.core.tables import (
    Chunk,
    GoldenQuestion,
    QAPair,
    QuarantinedFile,
    RaftRow,
    SourceDocument,
    Split,
)
from raft_assets.dataset.data_card import CARD_FILE, CARD_JSON_FILE, CARD_VERSION, MANIFEST_FILE, render_card
from raft_assets.dataset.data_card import build_card as describe_dataset
from raft_assets.dataset.formats import FORMATS_VERSION, training_lines, training_stats
from raft_assets.dataset.golden import GOLDEN_VERSION
from raft_assets.dataset.leakage import LeakageError
from raft_assets.dataset.rows import DATASET_VERSION, assemble_rows
from raft_assets.dataset.splits import describe_shortage, drawn_by
from raft_assets.dataset.versions import CODE_VERSIONS
from raft_assets.defs.describe import (
    PairCounts,
    counts_table,
    describe_calls,
    describe_gates,
    describe_judge,
    describe_table,
    pairs_histogram,
    sample_with_quotes,
)
from raft_assets.defs.documents.assets import chunk_embeddings, chunks, source_documents
from raft_assets.defs.lineage_asset import check_result, check_spec, lineage_asset, origin_of
from raft_assets.defs.observation import DOCUMENTS, PAIRS, QUESTIONS, REVIEWS
from raft_assets.defs.progress import log_progress
from raft_assets.documents.reading import group_into_documents
from raft_assets.evaluation.examples import sample_of_pair, sample_of_row
from raft_assets.operations.golden_coverage import (
    coverage_in_project,
    coverage_of_questions,
    questions_of_folder,
    refuse_without_training,
)
from raft_assets.operations.held_out import check_leakage_in_lake, write_rows
from raft_assets.operations.languages import check_languages_in_lake
from raft_assets.operations.model_clients import ModelClients, resolved_model
from raft_assets.operations.pair_form import SENTENCES, resolve_form
from raft_assets.operations.pair_maker import open_pair_generator
from raft_assets.operations.rebuild import build_manifest
from raft_assets.operations.remembered_relations import remembered_relations
from raft_assets.operations.splits import read_register
from raft_assets.operations.student_form import resolve_student_form
from raft_assets.operations.student_tokens import student_tokenizer
from raft_assets.operations.vectors import read_index, read_refused_chunks
from raft_assets.pairs.gates import GATES_VERSION
from raft_assets.pairs.imported import imported_drafts, read_imported_pairs
from raft_assets.pairs.questions import QUESTIONS_VERSION
from raft_assets.pairs.reviews import read_reviews
from raft_assets.settings.domains import PAIRS_FILE, REVIEWS_FILE, domain_folder
from raft_assets.settings.endpoints import Role
from raft_assets.storage.lake import Lake

EVIDENCE_SPEC = check_spec(
    "evidence_was_found",
    "golden_questions",
    "Every evidence string was found in its document, and in few enough places.",
)
COVERAGE_SPEC = check_spec(
    "verdict_can_be_reached",
    "golden_questions",
    "People's questions are about enough passages for a verdict, and leave chunks to train on.",
)
YIELD_SPEC = check_spec(
    "half_of_the_pairs_are_accepted", "qa_pairs", "At least half of the generated pairs pass every gate."
)
CONTEXT_SPEC = check_spec(
    "rows_fit_the_context",
    "training_files",
    "No row is longer than the student's context. Longer rows are never truncated.",
)
TRAINED_SPLITS: tuple[Split, ...] = ("train", "valid")
LEAK_SPEC = check_spec(
    "splits_share_nothing",
    "qa_dataset",
    "No chunk, near-duplicate, question or evaluation oracle crosses from evaluation into training.",
    blocking=True,
)
EVAL_ROWS_SPEC = check_spec(
    "evaluation_has_its_minimum", "qa_dataset", "Evaluation has dataset.min_eval_rows rows, or the reason why it can't."
)
HELD_OUT_SPEC = check_spec(
    "training_shares_nothing_with_evaluation",
    "training_files",
    "The same check on the rows as stored and the golden questions as they are now.",
    blocking=True,
)


@lineage_asset(
    stage="dataset",
    kinds={"parquet"},
    code_version=GOLDEN_VERSION,
    deps=[chunks, source_documents, QUESTIONS],
    checks=[EVIDENCE_SPEC, COVERAGE_SPEC],
)
def golden_questions(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], models: dg.ResourceParam[ModelClients]
) -> dg.MaterializeResult[None]:
    """Questions that a person wrote, resolved to their oracle chunks.

    For evaluation only; empty where there are none.
    """
    domain = context.partition_key
    documents = group_into_documents(lake.rows(SourceDocument, domain))
    by_id = {chunk.chunk_id: chunk for chunk in lake.rows(Chunk, domain)}
    resolved = questions_of_folder(models.project, domain, documents, by_id.values())
    coverage = coverage_in_project(models.project, domain, resolved, by_id.values())
    written = lake.write(GoldenQuestion, domain, resolved)
    lost = [f"{question.question_id}: {question.detail}" for question in resolved if question.detail]
    return dg.MaterializeResult(
        data_version=dg.DataVersion(written.digest),
        metadata={
            **describe_table(written, GoldenQuestion, columns=["question", "answers", "path", "status"]),
            "answerable": sum(question.answerable for question in resolved),
            "chunks_held_out_elsewhere": len(set(chain.from_iterable(one.other_chunk_ids for one in resolved))),
            "oracle_chunks": len(set(chain.from_iterable(question.oracle_chunk_ids for question in resolved))),
            "coverage": coverage.sentence,
            "questions_that_decide": coverage.questions,
            "passages_that_decide": coverage.passages,
            "chunks_held_out": coverage.held_out,
            "chunks_left_to_train_on": coverage.chunks - coverage.held_out,
            "status": counts_table(Counter(question.status for question in resolved), "status"),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name=EVIDENCE_SPEC.name,
                passed=not lost,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"not_resolved": dg.MetadataValue.md("\n".join(f"- {code_span(one)}" for one in lost[:50]))},
            ),
            check_result(
                COVERAGE_SPEC, passed=coverage.can_decide and coverage.can_train, description=coverage.sentence
            ),
        ],
    )


@lineage_asset(
    stage="dataset",
    kinds={"parquet", "openai"},
    code_version=f"{QUESTIONS_VERSION}.{GATES_VERSION}.{CONTRACT_VERSION}",
    deps=[chunks, chunk_embeddings, PAIRS, REVIEWS],
    roles=[Role.TEACHER, Role.EMBEDDING, Role.JUDGE],
    checks=[YIELD_SPEC],
)
def qa_pairs(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], models: dg.ResourceParam[ModelClients]
) -> dg.MaterializeResult[None]:
    """Questions of every chunk with the teacher's chain-of-thought answers and the verdict of every quality gate.

    Imported pairs pass the same gates. Rejected pairs stay, with a reason. A person's verdicts (`raft review`) are one
    more gate; where a judge is configured, it sees what passed the others.
    """
    domain = context.partition_key
    settings, folder = models.project.settings(domain).values, domain_folder(models.project.data, domain)
    imported, reviews = read_imported_pairs(folder / PAIRS_FILE), read_reviews(folder / REVIEWS_FILE)
    table = list(lake.rows(Chunk, domain))
    refuse_without_training(
        coverage_of_questions(models.project, domain, group_into_documents(lake.rows(SourceDocument, domain)), table)
    )
    origin = origin_of(context)
    check_languages_in_lake(models.project, lake, domain, [Role.TEACHER])
    form = resolve_form(models, lake, domain, settings, table, origin=origin)
    index, on_progress = read_index(lake, domain), log_progress(context, models.project)
    with open_pair_generator(
        models, settings, index, form=form, chunks=table, origin=origin, on_progress=on_progress
    ) as maker:
        drafts, counts = maker.drafts(table), PairCounts(reviews)
        if imported:
            drafts.extend(imported_drafts(imported, table))
        written = lake.write(QAPair, domain, counts.count(maker.judged(drafts, reviews)))
        tallies = maker.usage_stats
    by_id = {chunk.chunk_id: chunk for chunk in table}
    return dg.MaterializeResult(
        data_version=dg.DataVersion(written.digest),
        metadata={
            **describe_table(written, QAPair, columns=["question", "final_answer", "path"], shown=counts.sample),
            "form": SENTENCES[form.structured],
            "imported": len(imported),
            "accepted": counts.accepted,
            "accepted_share": counts.accepted / max(counts.total, 1),
            "chunks_with_accepted_pair": len(counts.per_chunk) / max(len(table), 1),
            "pairs_per_chunk": pairs_histogram([counts.per_chunk[chunk.chunk_id] for chunk in table]),
            "kinds": counts_table(counts.kinds, "kind"),
            "sample_with_quotes": sample_with_quotes(
                sample_of_pair(pair, by_id.get(pair.chunk_id)) for pair in counts.sample
            ),
            **describe_gates(counts, written),
            "reviewed": counts.reviewed,
            "reviews_without_pair": len(counts.reviews_without_pair),
            **describe_calls(tallies[Role.TEACHER]),
            **describe_judge(tallies.get(Role.JUDGE), counts),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name=YIELD_SPEC.name,
                passed=counts.accepted * 2 >= counts.total,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"accepted": counts.accepted, "pairs": counts.total},
            )
        ],
    )


@lineage_asset(
    stage="dataset",
    kinds={"parquet"},
    code_version=DATASET_VERSION,
    deps=[qa_pairs, chunks, chunk_embeddings, golden_questions],
    checks=[LEAK_SPEC, EVAL_ROWS_SPEC],
)
def qa_dataset(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], models: dg.ResourceParam[ModelClients]
) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """RAFT rows.

    A question, its oracle document among distractors, and the answer to learn, in splits that share nothing.
    """
    domain = context.partition_key
    settings = models.project.settings(domain).values.dataset
    golden = list(lake.rows(GoldenQuestion, domain))
    assembly = assemble_rows(
        lake.rows(QAPair, domain),
        lake.rows(Chunk, domain),
        read_index(lake, domain) if settings.distractor_kind == "hard" else None,
        golden,
        settings,
        read_register(lake, domain, settings),
        relate=remembered_relations(models.project, domain),
    )
    try:
        written = write_rows(lake, domain, assembly, golden, settings.protocol)
    except LeakageError as error:
        yield _failed_leakage_check(LEAK_SPEC, error)
        raise dg.Failure(str(error)) from error
    yield dg.AssetCheckResult(check_name=LEAK_SPEC.name, passed=True)
    summary = assembly.summary
    shortage = describe_shortage(summary, settings)
    yield check_result(EVAL_ROWS_SPEC, passed=not shortage, description=shortage or None)
    shared = assembly.shared_text
    record = {"register": dict(assembly.plan.register), "drawn_by": drawn_by(settings), "shared_text": shared}
    lake.write_record("splits", domain, record | {name: summary[name] for name in ("unit", "dropped")})
    yield dg.MaterializeResult(
        data_version=dg.DataVersion(written.digest),
        metadata={
            **describe_table(written, RaftRow, columns=["question", "final_answer", "split", "has_oracle"]),
            "sample_with_quotes": sample_with_quotes(
                sample_of_row(row) for row in written.sample if isinstance(row, RaftRow)
            ),
            **{
                name: value if isinstance(value, int | float | str) else json.dumps(value, ensure_ascii=False)
                for name, value in (summary | shared).items()
            },
        },
    )


@lineage_asset(
    stage="dataset",
    kinds={"json"},
    code_version=f"{FORMATS_VERSION}.{CONTRACT_VERSION}",
    deps=[chunks, golden_questions, qa_dataset],
    checks=[HELD_OUT_SPEC, CONTEXT_SPEC],
)
def training_files(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], models: dg.ResourceParam[ModelClients]
) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """Train and valid files in the student's format, exactly the prompts that evaluation renders."""
    domain, student = context.partition_key, models.endpoints[Role.STUDENT]
    settings = resolve_student_form(models.project, lake, domain)
    limits = settings.training_files
    tokenizer, count = student_tokenizer(models.project, student, limits.tokenizer)
    bom = student.requires_bom if limits.bom == "auto" else limits.bom

    def rows_of(split: Split) -> Iterator[RaftRow]:
        rows = track(f"rows read for the {split} file", lake.rows(RaftRow, domain), lake.count(RaftRow.table, domain))
        return (row for row in rows if row.split == split)

    try:
        check_leakage_in_lake(lake, domain, models.project.settings(domain).values.dataset.protocol)
    except LeakageError as error:
        yield _failed_leakage_check(HELD_OUT_SPEC, error)
        raise dg.Failure(str(error)) from error
    yield dg.AssetCheckResult(check_name=HELD_OUT_SPEC.name, passed=True)
    stats = {split: training_stats(rows_of(split), settings, count) for split in TRAINED_SPLITS}
    too_long = [name for counted in stats.values() for name in counted.too_long]
    fails = limits.too_long == "error"
    yield dg.AssetCheckResult(
        check_name=CONTEXT_SPEC.name,
        passed=not too_long,
        severity=dg.AssetCheckSeverity.ERROR if fails else dg.AssetCheckSeverity.WARN,
        metadata={"too_long": len(too_long), "question_ids": ", ".join(too_long[:50])},
    )
    if too_long and fails:
        raise dg.Failure(
            f"{len(too_long)} rows are longer than the student's context of {limits.context_tokens:,} tokens (the "
            f"longest has {max(counted.longest for counted in stats.values()):,}; {', '.join(too_long[:5])}). Lower "
            "chunks.chunk_size or dataset.distractors, raise training_files.context_tokens to what the model takes, "
            "or leave these rows out by training_files.too_long: drop."
        )
    files = {
        split: lake.write_lines(
            "training_files",
            domain,
            f"{split}.jsonl",
            training_lines(rows_of(split), settings, dropped=set(stats[split].too_long), bom=bom),
        )
        for split in TRAINED_SPLITS
    }
    lake.write_record("training_files", domain, {"tokenizer": tokenizer} | {s: asdict(n) for s, n in stats.items()})
    yield dg.MaterializeResult(
        data_version=dg.DataVersion("".join(file.digest[:32] for file in files.values())),
        metadata={
            "format": settings.student.format,
            "worked_examples": settings.student.format == "completion" and settings.student.examples == "always",
            "path": dg.MetadataValue.path(str(lake.path("training_files", domain, ""))),
            **{f"{split}_rows": file.rows for split, file in files.items()},
            **{f"{split}_tokens": stats[split].tokens for split in files},
            "longest_row_tokens": max(counted.longest for counted in stats.values()),
            "dropped_as_too_long": len(too_long),
            "tokenizer": tokenizer,
            "byte_order_mark": bom,
        },
    )


@lineage_asset(
    stage="dataset",
    kinds={"markdown", "json"},
    code_version=".".join((CARD_VERSION, *CODE_VERSIONS.values())),
    deps=[
        source_documents,
        chunks,
        golden_questions,
        qa_pairs,
        qa_dataset,
        training_files,
        DOCUMENTS,
        QUESTIONS,
        PAIRS,
        REVIEWS,
    ],
)
def data_card(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], models: dg.ResourceParam[ModelClients]
) -> dg.MaterializeResult[None]:
    """What the dataset was made of, its amounts and its limits, for people and as JSON.

    With it comes the manifest from which `raft rebuild` builds the same rows again.
    """
    domain = context.partition_key
    manifest = build_manifest(models.project, lake, domain)
    card = describe_dataset(
        manifest,
        documents=lake.rows(SourceDocument, domain),
        quarantine=lake.rows(QuarantinedFile, domain),
        chunks=lake.rows(Chunk, domain),
        refused=read_refused_chunks(lake, domain),
        golden=lake.rows(GoldenQuestion, domain),
        pairs=track("pairs described", lake.rows(QAPair, domain)),
        rows=track("rows described", lake.rows(RaftRow, domain)),
        training=lake.read_record("training_files", domain),
        student=resolved_model(models.endpoints[Role.STUDENT], models.project),
    )
    texts = {
        CARD_FILE: render_card(card),
        CARD_JSON_FILE: [json.dumps(card, ensure_ascii=False, indent=1, sort_keys=True)],
        MANIFEST_FILE: [manifest.model_dump_json(indent=1)],
    }
    files = {name: lake.write_lines("data_card", domain, name, lines) for name, lines in texts.items()}
    counts = {name: value for name, value in card["counts"].items() if isinstance(value, int)}
    return dg.MaterializeResult(
        data_version=dg.DataVersion(digest(*(file.digest for file in files.values()))),
        metadata={
            "path": dg.MetadataValue.path(str(lake.path("data_card", domain, ""))),
            "qa_dataset": manifest.digests["qa_dataset"],
            **counts,
            "limits": dg.MetadataValue.md("\n".join(f"- {limit}" for limit in card["limits"])),
        },
    )


def _failed_leakage_check(spec: dg.AssetCheckSpec, error: LeakageError) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=spec.name,
        passed=False,
        metadata={kind: f"{len(finds)} {', '.join(finds[:5])}" for kind, finds in error.findings.items()},
    )
