"""Answers of baseline and student, their scores, and the report with its verdict."""

from collections import Counter

import dagster as dg

from raft_assets.core.identity import digest
from raft_assets.core.prompt_contract import CONTRACT_VERSION
from raft_assets.core.tables import ANSWERS, EvaluatedModel, JudgedAnswer, ModelAnswer
from raft_assets.defs.dataset.assets import data_card, golden_questions, qa_dataset, qa_pairs
from raft_assets.defs.describe import counts_table, describe_calls, describe_table, describe_verdict, verdict_figures
from raft_assets.defs.documents.assets import chunk_embeddings, chunks, source_documents
from raft_assets.defs.lineage_asset import check_result, check_spec, lineage_asset, origin_of
from raft_assets.defs.progress import log_events, log_progress
from raft_assets.defs.student.assets import deployment, finetuned_model
from raft_assets.evaluation.answers_page import ANSWERS_TABLE, render_answers
from raft_assets.evaluation.arms import recall_by_source
from raft_assets.evaluation.evaluate import evaluate
from raft_assets.evaluation.judged import judge_answers, self_agreement
from raft_assets.evaluation.metrics import METRICS_VERSION
from raft_assets.evaluation.report import REPORT_VERSION, render_report
from raft_assets.evaluation.verdict import VERDICT_VERSION
from raft_assets.operations.deploying import ensure_student_answers
from raft_assets.operations.evaluation import AskedDocuments, ask_model, both_answers, question_origins, run_record
from raft_assets.operations.languages import check_languages_in_lake
from raft_assets.operations.model_card import write_model_card
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.report import collect_report_data, write_index
from raft_assets.operations.tracking import log_evaluation
from raft_assets.settings.endpoints import Role
from raft_assets.storage.lake import Lake
from raft_assets.storage.results import ResultsStore

ANSWER_SPECS: dict[EvaluatedModel, dg.AssetCheckSpec] = {
    evaluated: check_spec("every_question_was_answered", f"{evaluated}_answers", "No call failed permanently.")
    for evaluated in ANSWERS
}
COMPARISON_SPEC = check_spec(
    "student_beats_baseline",
    "eval_scores",
    "Error where the student is worse, warning where the verdict is cannot tell.",
)
REGRESSION_SPEC = check_spec(
    "student_keeps_its_level",
    "eval_scores",
    "The student is not significantly worse than the domain's previous student.",
)
JUDGED_SPEC = check_spec("every_answer_was_judged", "judged_answers", "Every reply of the judge contained a score.")
JUDGING_VERSION = "1"
ANSWERS_VERSION = f"2.{CONTRACT_VERSION}"
ANSWER_DEPS = [qa_dataset, golden_questions, chunks, chunk_embeddings]


@lineage_asset(
    stage="evaluation",
    kinds={"parquet", "openai"},
    code_version=ANSWERS_VERSION,
    deps=[*ANSWER_DEPS],
    roles=[Role.BASELINE, Role.EMBEDDING],
    checks=[ANSWER_SPECS["baseline"]],
)
def baseline_answers(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], models: dg.ResourceParam[ModelClients]
) -> dg.MaterializeResult[None]:
    """Answers of the model before fine-tuning, to every evaluation row and golden question under each arm."""
    return _answers_asset(context, lake, models, "baseline")


@lineage_asset(
    stage="evaluation",
    kinds={"parquet", "openai"},
    code_version=ANSWERS_VERSION,
    deps=[*ANSWER_DEPS, deployment],
    roles=[Role.STUDENT, Role.EMBEDDING],
    checks=[ANSWER_SPECS["student"]],
)
def student_answers(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], models: dg.ResourceParam[ModelClients]
) -> dg.MaterializeResult[None]:
    """Answers of the fine-tuned model to the same prompts as the baseline."""
    ensure_student_answers(
        models, lake, context.partition_key, origin=origin_of(context), on_event=log_events(context, models.project)
    )
    return _answers_asset(context, lake, models, "student")


@lineage_asset(
    stage="evaluation",
    kinds={"parquet", "openai"},
    code_version=JUDGING_VERSION,
    deps=[baseline_answers, student_answers],
    roles=[Role.JUDGE],
    checks=[JUDGED_SPEC],
)
def judged_answers(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], models: dg.ResourceParam[ModelClients]
) -> dg.MaterializeResult[None]:
    """The judge's ratings of both models' answers in the main arm; empty if no judge is configured."""
    domain = context.partition_key
    settings = models.project.settings(domain).values.judging
    if Role.JUDGE not in models.endpoints:
        written = lake.write(JudgedAnswer, domain, ())
        return dg.MaterializeResult(
            data_version=dg.DataVersion(written.digest),
            metadata={"dagster/row_count": 0, "judge": "not configured"},
            check_results=[check_result(JUDGED_SPEC, passed=True)],
        )
    with models.caller(
        Role.JUDGE, origin=origin_of(context), on_progress=log_progress(context, models.project)
    ) as judge:
        documents = AskedDocuments.in_lake(lake, domain)
        judged = judge_answers(both_answers(lake, domain), settings, judge.ask, documents.of)
        written = lake.write(JudgedAnswer, domain, judged)
        tally = judge.usage_stats
    rows = list(lake.rows(JudgedAnswer, domain))
    failed = Counter(row.status for row in rows if row.score is None)
    agreed = {
        f"agreement_{one.metric}": f"{one.same:.0%} the same, {one.difference:.2f} points apart (n = {one.n})"
        for one in self_agreement(rows)
    }
    return dg.MaterializeResult(
        data_version=dg.DataVersion(written.digest),
        metadata={
            **describe_table(written, JudgedAnswer, columns=["metric", "evaluated", "score", "reason"]),
            "judge": models.endpoints[Role.JUDGE].model,
            **agreed,
            **describe_calls(tally),
        },
        check_results=[check_result(JUDGED_SPEC, passed=not failed, metadata=dict(failed))],
    )


@lineage_asset(
    stage="evaluation",
    kinds={"duckdb"},
    code_version=f"{METRICS_VERSION}.{VERDICT_VERSION}",
    deps=[baseline_answers, student_answers, judged_answers, deployment, qa_pairs, golden_questions, chunks],
    checks=[COMPARISON_SPEC, REGRESSION_SPEC],
)
def eval_scores(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    models: dg.ResourceParam[ModelClients],
    results: dg.ResourceParam[ResultsStore],
) -> dg.MaterializeResult[None]:
    """A score per question, model, arm and metric, in DuckDB with its history, and the verdict that follows."""
    domain = context.partition_key
    answers = list(both_answers(lake, domain))
    run = run_record(models, lake, domain, answers, dagster_run=context.run.run_id)
    rule = models.project.settings(domain).values.verdict
    found = evaluate(
        answers,
        list(question_origins(models.project, lake, domain, answers)),
        draws=rule.bootstrap_draws,
        guard_margin=rule.guard_margin,
        judged=list(lake.rows(JudgedAnswer, domain)),
        scores_of_previous_student=results.previous_student_scores(run, answers),
    )
    results.record(run, found)
    verdict, compared = found.verdict, found.against_previous
    return dg.MaterializeResult(
        data_version=dg.DataVersion(
            digest(run.content_hash, *(f"{score.question_id}{score.value}" for score in found.scores))
        ),
        metadata={
            "dagster/row_count": len(found.scores),
            "path": dg.MetadataValue.path(results.path),
            **describe_verdict(verdict, found.summary),
            **({"against_previous_student": compared.sentence} if compared else {}),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name=COMPARISON_SPEC.name,
                passed=verdict.decision == "better",
                severity=dg.AssetCheckSeverity.ERROR if verdict.decision == "worse" else dg.AssetCheckSeverity.WARN,
                description=verdict.sentence,
                metadata=verdict_figures(verdict, found.summary),
            ),
            dg.AssetCheckResult(
                check_name=REGRESSION_SPEC.name,
                passed=compared is None or compared.decision != "worse",
                severity=dg.AssetCheckSeverity.ERROR,
                description=compared.sentence if compared else "There is no earlier student.",
                metadata=verdict_figures(compared, found.summary) if compared else {},
            ),
        ],
    )


@lineage_asset(
    stage="evaluation",
    kinds={"html"},
    code_version=REPORT_VERSION,
    deps=[
        eval_scores,
        baseline_answers,
        student_answers,
        judged_answers,
        finetuned_model,
        qa_dataset,
        qa_pairs,
        chunks,
        source_documents,
        data_card,
    ],
)
def eval_report(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    models: dg.ResourceParam[ModelClients],
    results: dg.ResourceParam[ResultsStore],
) -> dg.MaterializeResult[None]:
    """A self-contained page with the verdict, the evidence for it, and what was omitted, and one of all answers."""
    domain = context.partition_key
    data = collect_report_data(domain, lake, models, results)
    page = render_report(data)
    answers = render_answers(domain, data.answers, data.document_of, first=data.verdict.slice)
    address = lake.write_text("eval_report", domain, ".html", page)
    address_of_answers = lake.write_text(ANSWERS_TABLE, domain, ".html", answers)
    write_index(models.project, lake, results)
    card = write_model_card(models, lake, domain)
    logged = log_evaluation(models.project, lake, domain, card)
    if logged.warning:
        context.log.warning("%s", logged.warning)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(digest(page, answers)),
        metadata={
            "path": dg.MetadataValue.path(address),
            "answers": dg.MetadataValue.path(address_of_answers),
            "model_card": dg.MetadataValue.path(card.address),
            **({"mlflow": dg.MetadataValue.url(logged.address)} if logged.address else {}),
            **({"mlflow_warning": logged.warning} if logged.warning else {}),
            **describe_verdict(data.verdict, data.summary),
            "bytes": len(page.encode()),
        },
    )


def _answers_asset(
    context: dg.AssetExecutionContext, lake: Lake, models: ModelClients, evaluated: EvaluatedModel
) -> dg.MaterializeResult[None]:
    """Asks one model everything and describes what came back."""
    domain = context.partition_key
    check_languages_in_lake(models.project, lake, domain, [Role(evaluated.upper())])
    answered = ask_model(
        models,
        lake,
        domain,
        evaluated,
        origin=origin_of(context),
        progress_of=lambda total: log_progress(context, models.project, total=total),
    )
    written = answered.written
    rows = list(lake.rows(ANSWERS[evaluated], domain))
    failed = sum(row.status != "ok" for row in rows)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(written.digest),
        metadata={
            **describe_table(written, ModelAnswer, columns=["arm", "question", "golden_answers", "final_answer"]),
            "model": answered.model,
            "arms": counts_table(Counter(f"{row.arm}, {row.source}" for row in rows), "arm"),
            "abstained": sum(row.abstained for row in rows),
            "well_formed": sum(row.well_formed for row in rows),
            **{f"recall_at_k_{source}": recall for source, recall in recall_by_source(answered.items).items()},
            "questions_without_vector": len(answered.refused),
            "refused": counts_table(Counter(answered.refused.values()), "reason"),
            **describe_calls(answered.usage),
        },
        check_results=[check_result(ANSWER_SPECS[evaluated], passed=not failed, metadata={"without_answer": failed})],
    )
