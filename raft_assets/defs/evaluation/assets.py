"""Answers of baseline and student, their scores, and the report with its verdict."""

from collections import Counter
from collections.abc import Iterator

import dagster as dg

from raft_assets.calls.engine import Caller
from raft_assets.calls.requests import Tally
from raft_assets.defs.dataset.assets import golden_questions, qa_dataset, read_index
from raft_assets.defs.describe import Metadata, counts_table, describe_calls, describe_table, markdown_table, plot
from raft_assets.defs.documents.assets import chunk_embeddings, chunks
from raft_assets.defs.student.assets import deployment
from raft_assets.evaluation.arms import Item, items, model_answer, recall_at_k, request
from raft_assets.evaluation.metrics import METRICS_VERSION, scores
from raft_assets.evaluation.plots import interval_bars
from raft_assets.evaluation.report import REPORT_VERSION, render_index, render_report
from raft_assets.evaluation.summary import summarize
from raft_assets.evaluation.verdict import decide
from raft_assets.observation import ROLES, settings_key
from raft_assets.partitions import domains
from raft_assets.progress import log_progress
from raft_assets.raft.tables import Chunk, Evaluated, GoldenQuestion, ModelAnswer, RaftRow
from raft_assets.resources.lake import Lake, Written
from raft_assets.resources.models import Models
from raft_assets.resources.results import ResultsStore
from raft_assets.settings import Role

ANSWERED_SPECS = {
    evaluated: dg.AssetCheckSpec("every_question_was_answered", asset=f"{evaluated}_answers", description="No call failed for good.")
    for evaluated in ("baseline", "student")
}
COMPARISON_SPEC = dg.AssetCheckSpec("student_beats_baseline", asset="eval_report", description="Worse: error. Cannot tell: warning.")
ANSWERS_VERSION = "1"
READS = [qa_dataset, golden_questions, chunks, chunk_embeddings, settings_key("evaluation")]


@dg.asset(
    partitions_def=domains,
    group_name="evaluation",
    kinds={"parquet", "openai"},
    owners=["team:raft"],
    tags={"stage": "evaluation"},
    metadata={ROLES: "BASELINE EMBEDDING"},
    code_version=ANSWERS_VERSION,
    deps=[*READS, settings_key("baseline")],
    check_specs=[ANSWERED_SPECS["baseline"]],
)
def baseline_answers(context: dg.AssetExecutionContext, lake: Lake, models: Models) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """Answers of the model before fine-tuning, to every evaluation row and golden question under each arm."""
    asked = evaluation_items(context.partition_key, lake, models)
    with models.caller(Role.BASELINE, on_progress=log_progress(context, total=len(asked))) as caller:
        answers = _answer(asked, caller, models, context.partition_key, "baseline")
        written = lake.write("baseline_answers", context.partition_key, answers)
        return _answers_result(lake, written, context.partition_key, "baseline", asked, caller.tally)


@dg.asset(
    partitions_def=domains,
    group_name="evaluation",
    kinds={"parquet", "openai"},
    owners=["team:raft"],
    tags={"stage": "evaluation"},
    metadata={ROLES: "STUDENT EMBEDDING"},
    code_version=ANSWERS_VERSION,
    deps=[*READS, deployment],
    check_specs=[ANSWERED_SPECS["student"]],
)
def student_answers(context: dg.AssetExecutionContext, lake: Lake, models: Models) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """Answers of the fine-tuned model to the very prompts that the baseline was given."""
    asked = evaluation_items(context.partition_key, lake, models)
    deployed = lake.read_record("deployment", context.partition_key)
    progress = log_progress(context, total=len(asked))
    with models.caller(Role.STUDENT, model=deployed["model"], training_hash=deployed["training_hash"], on_progress=progress) as caller:
        answers = _answer(asked, caller, models, context.partition_key, "student")
        written = lake.write("student_answers", context.partition_key, answers)
        return _answers_result(lake, written, context.partition_key, "student", asked, caller.tally)


@dg.asset(
    partitions_def=domains,
    group_name="evaluation",
    kinds={"duckdb"},
    owners=["team:raft"],
    tags={"stage": "evaluation"},
    code_version=METRICS_VERSION,
    deps=[baseline_answers, student_answers],
)
def eval_scores(context: dg.AssetExecutionContext, lake: Lake, models: Models, results: ResultsStore) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """A score per question, model, arm and metric, in DuckDB with its history."""
    domain = context.partition_key
    settings = models.settings(domain).values.evaluation
    answers = [row for evaluated in ("baseline", "student") for row in lake.rows(f"{evaluated}_answers", domain, ModelAnswer)]
    scored = [score for answer in answers for score in scores(answer)]
    summary = summarize(scored, draws=settings.bootstrap_draws)
    verdict = decide(scored, answers, draws=settings.bootstrap_draws)
    run = run_record(domain, context, lake, models, answers)
    results.record(run, answers, scored, summary, verdict)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(run.content_hash),
        metadata={
            "dagster/row_count": len(scored),
            "path": dg.MetadataValue.path(results.path),
            "verdict": verdict.sentence,
            "scores": markdown_table(_shown(summary), SHOWN_COLUMNS),
            "comparison": plot(interval_bars(summary, title="Token F1 by arm", metric="token_f1", standalone=True)),
        },
    )
