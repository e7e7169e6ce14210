"""Answers of baseline and student, their scores, and the report with its verdict."""

from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime

import dagster as dg

from raft_assets.core.identity import digest
from raft_assets.core.prompt_contract import CONTRACT_VERSION
from raft_assets.core.tables import (
    ANSWERS,
    Chunk,
    Evaluated,
    GoldenQuestion,
    JudgedAnswer,
    ModelAnswer,
    QAPair,
    QuestionOrigin,
    RaftRow,
)
from raft_assets.defs.dataset.assets import data_card, golden_questions, qa_dataset, qa_pairs, read_index
from raft_assets.defs.describe import counts_table, describe_calls, describe_table, describe_verdict
from raft_assets.defs.documents.assets import chunk_embeddings, chunks, source_documents
from raft_assets.defs.evaluation.report_data import report_data
from raft_assets.defs.observation import ROLES, resolved_model, settings_key
from raft_assets.defs.partitions import domains
from raft_assets.defs.progress import log_events, log_progress
from raft_assets.defs.student.assets import deployment, finetuned_model
from raft_assets.evaluation.arms import Item, items, model_answer, recall_at_k, request
from raft_assets.evaluation.evaluate import evaluate
from raft_assets.evaluation.judged import agreement, judge_answers
from raft_assets.evaluation.metrics import METRICS_VERSION
from raft_assets.evaluation.provenance import origins
from raft_assets.evaluation.report import REPORT_VERSION, render_index, render_report
from raft_assets.evaluation.verdict import VERDICT_VERSION
from raft_assets.operations.models import Models
from raft_assets.settings.domains import domain_names
from raft_assets.settings.endpoints import Role
from raft_assets.storage.lake import Lake
from raft_assets.storage.results import ResultsStore, RunRecord
from raft_assets.student.deployment import READY_WITHIN_S, Deployed, see_to, smoke_test

EVALUATED: tuple[Evaluated, ...] = ("baseline", "student")
ANSWERED_SPECS = {
    evaluated: dg.AssetCheckSpec(
        "every_question_was_answered", asset=f"{evaluated}_answers", description="No call failed for good."
    )
    for evaluated in EVALUATED
}
COMPARISON_SPEC = dg.AssetCheckSpec(
    "student_beats_baseline", asset="eval_scores", description="Worse: error. Cannot tell: warning."
)
REGRESSION_SPEC = dg.AssetCheckSpec(
    "student_keeps_its_level",
    asset="eval_scores",
    description="The student is not worse than the domain's student before it, by the rule of the verdict.",
)
JUDGED_SPEC = dg.AssetCheckSpec(
    "every_answer_was_judged", asset="judged_answers", description="No reply of the judge was without a score."
)
JUDGING_VERSION = "1"
ANSWERS_VERSION = f"2.{CONTRACT_VERSION}"
READS: list[dg.AssetsDefinition | dg.AssetKey] = [
    qa_dataset,
    golden_questions,
    chunks,
    chunk_embeddings,
    settings_key("evaluation"),
    settings_key("dataset"),
    settings_key("student"),
    settings_key("prompt"),
]


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
    return _answers_asset(context, lake, models, "baseline")


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
    deployed = Deployed.of(lake.read_record("deployment", context.partition_key))
    with models.hosting() if deployed.is_hosted else nullcontext() as hosting:
        is_new = see_to(
            deployed,
            hosting,
            context.partition_key,
            redeploy=models.workplace.environment.hosting().redeploy,
            on_event=log_events(context),
        )
    if is_new:
        settings = models.settings(context.partition_key).values
        with models.caller(Role.STUDENT, deployed=deployed, live=True) as student:
            room = settings.evaluation.max_answer_tokens
            smoke_test(student, settings.student, room, settings.prompt.instructions, ready_within_s=READY_WITHIN_S)
    return _answers_asset(context, lake, models, "student", deployed)


@dg.asset(
    partitions_def=domains,
    group_name="evaluation",
    kinds={"parquet", "openai"},
    owners=["team:raft"],
    tags={"stage": "evaluation"},
    metadata={ROLES: "JUDGE"},
    code_version=JUDGING_VERSION,
    deps=[baseline_answers, student_answers, settings_key("judging")],
    check_specs=[JUDGED_SPEC],
)
def judged_answers(context: dg.AssetExecutionContext, lake: Lake, models: Models) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """What a judge says of both models' answers in the main arm; nothing where no judge is configured."""
    domain = context.partition_key
    settings = models.settings(domain).values.judging
    if Role.JUDGE not in models.endpoints:
        written = lake.write(JudgedAnswer, domain, ())
        return dg.MaterializeResult(
            data_version=dg.DataVersion(written.digest),
            metadata={"dagster/row_count": 0, "judge": "none is configured"},
            check_results=[dg.AssetCheckResult(check_name=JUDGED_SPEC.name, passed=True)],
        )
    with models.caller(Role.JUDGE, on_progress=log_progress(context)) as judge:
        written = lake.write(JudgedAnswer, domain, judge_answers(_both(lake, domain), settings, judge.ask))
        tally = judge.tally
    rows = list(lake.rows(JudgedAnswer, domain))
    failed = Counter(row.status for row in rows if row.score is None)
    agreed = {
        f"agreement_{one.metric}": f"{one.same:.0%} the same, {one.difference:.2f} points apart (n = {one.n})"
        for one in agreement(rows)
    }
    return dg.MaterializeResult(
        data_version=dg.DataVersion(written.digest),
        metadata={
            **describe_table(written, JudgedAnswer, columns=["metric", "evaluated", "score", "reason"]),
            "judge": models.endpoints[Role.JUDGE].model,
            **agreed,
            **describe_calls(tally),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name=JUDGED_SPEC.name,
                passed=not failed,
                severity=dg.AssetCheckSeverity.WARN,
                metadata=dict(failed),
            )
        ],
    )


@dg.asset(
    partitions_def=domains,
    group_name="evaluation",
    kinds={"duckdb"},
    owners=["team:raft"],
    tags={"stage": "evaluation"},
    code_version=f"{METRICS_VERSION}.{VERDICT_VERSION}",
    deps=[
        baseline_answers,
        student_answers,
        judged_answers,
        deployment,
        qa_pairs,
        golden_questions,
        chunks,
        settings_key("verdict"),
    ],
    check_specs=[COMPARISON_SPEC, REGRESSION_SPEC],
)
def eval_scores(
    context: dg.AssetExecutionContext, lake: Lake, models: Models, results: ResultsStore
) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """A score per question, model, arm and metric, in DuckDB with its history, and the verdict that follows."""
    domain = context.partition_key
    answers = list(_both(lake, domain))
    run = _run_record(context, lake, models, answers)
    found = evaluate(
        answers,
        list(_origins(domain, lake, answers)),
        draws=models.settings(domain).values.verdict.bootstrap_draws,
        judged=list(lake.rows(JudgedAnswer, domain)),
        scores_of_previous_student=results.scores_of_previous_student(run),
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
            ),
            dg.AssetCheckResult(
                check_name=REGRESSION_SPEC.name,
                passed=compared is None or compared.decision != "worse",
                severity=dg.AssetCheckSeverity.ERROR,
                description=compared.sentence if compared else "There was no student before.",
            ),
        ],
    )


@dg.asset(
    partitions_def=domains,
    group_name="evaluation",
    kinds={"html"},
    owners=["team:raft"],
    tags={"stage": "evaluation"},
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
        settings_key("verdict"),
    ],
)
def eval_report(
    context: dg.AssetExecutionContext, lake: Lake, models: Models, results: ResultsStore
) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One self-contained page that says whether the student is better, on what evidence, and what was skipped."""
    domain = context.partition_key
    data = report_data(domain, lake, models, results)
    page = render_report(data)
    address = lake.write_text("eval_report", domain, ".html", page)
    verdicts = results.verdicts()
    there = domain_names(models.workplace.data)
    lake.write_index(render_index({name: verdict for name, verdict in verdicts.items() if name in there}))
    return dg.MaterializeResult(
        data_version=dg.DataVersion(digest(page)),
        metadata={
            "path": dg.MetadataValue.path(address),
            **describe_verdict(data.verdict, data.summary),
            "bytes": len(page.encode()),
        },
    )


def _items(domain: str, lake: Lake, models: Models) -> list[Item]:
    """What both models are asked; the retrieved arm embeds the questions."""
    settings = models.settings(domain).values
    rows, golden = (
        list(lake.rows(RaftRow, domain)),
        list(lake.rows(GoldenQuestion, domain)),
    )
    index = read_index(lake, domain)
    questions = list(
        dict.fromkeys(
            [row.question for row in rows if row.split == "eval"] + [question.question for question in golden]
        )
    )
    with models.caller(Role.EMBEDDING) as encoder:
        vectors = dict(zip(questions, encoder.embed(questions), strict=True))

    return items(
        rows,
        golden,
        list(lake.rows(Chunk, domain)),
        nearest=lambda question, k: index.nearest(vectors[question], k),
        evaluation=settings.evaluation,
        dataset=settings.dataset,
    )


def _answers_asset(
    context: dg.AssetExecutionContext,
    lake: Lake,
    models: Models,
    evaluated: Evaluated,
    deployed: Deployed | None = None,
) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """Asks one model everything and describes what came back."""
    domain = context.partition_key
    settings, role = models.settings(domain).values, Role(evaluated.upper())
    asked, model_of_row = _items(domain, lake, models), ANSWERS[evaluated]
    progress = log_progress(context, total=len(asked))
    with models.caller(role, deployed=deployed, on_progress=progress) as caller:
        form, told = settings.student.format, settings.prompt.instructions
        prompts = (request(item, form, settings.evaluation, told) for item in asked)
        name = deployed.name if deployed else models.endpoints[role].model
        answered = (
            model_answer(item, answer, evaluated=evaluated, model=name)
            for item, answer in zip(asked, caller.ask(prompts), strict=True)
        )
        written = lake.write(model_of_row, domain, answered)
        tally = caller.tally
    rows = list(lake.rows(model_of_row, domain))
    failed = sum(row.status != "ok" for row in rows)
    recall = recall_at_k(asked)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(written.digest),
        metadata={
            **describe_table(written, ModelAnswer, columns=["arm", "question", "golden_answers", "final_answer"]),
            "model": name,
            "arms": counts_table(Counter(f"{row.arm}, {row.source}" for row in rows), "arm"),
            "abstained": sum(row.abstained for row in rows),
            "well_formed": sum(row.well_formed for row in rows),
            **({"recall_at_k": recall} if recall is not None else {}),
            **describe_calls(tally),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name=ANSWERED_SPECS[evaluated].name,
                passed=not failed,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"without_answer": failed},
            )
        ],
    )


def _both(lake: Lake, domain: str) -> Iterator[ModelAnswer]:
    """The answers of baseline and student."""
    for model in ANSWERS.values():
        yield from lake.rows(model, domain)


def _origins(domain: str, lake: Lake, answers: list[ModelAnswer]) -> Iterator[QuestionOrigin]:
    return origins(
        dict.fromkeys((answer.source, answer.question_id) for answer in answers),
        {pair.question_id: pair for pair in lake.rows(QAPair, domain)},
        {question.question_id: question for question in lake.rows(GoldenQuestion, domain)},
        {chunk.chunk_id: chunk for chunk in lake.rows(Chunk, domain)},
    )


def _run_record(context: dg.AssetExecutionContext, lake: Lake, models: Models, answers: list[ModelAnswer]) -> RunRecord:
    domain = context.partition_key
    deployed = lake.read_record("deployment", domain)
    asked = sorted(
        (a.source, a.arm, a.question_id, a.question, *a.document_chunk_ids, *a.golden_answers)
        for a in answers
        if a.evaluated == "baseline"
    )
    return RunRecord(
        domain=domain,
        baseline_model=resolved_model(models.endpoints[Role.BASELINE], models.workplace),
        student_model=f"{deployed['service']}: {deployed['model']}",
        training_hash=deployed["training_hash"],
        dataset_hash=digest(*(part for question in asked for part in question)),
        settings=models.settings(domain).values.model_dump(mode="json"),
        dagster_run=context.run.run_id,
        recorded_at=datetime.now(UTC),
    )
