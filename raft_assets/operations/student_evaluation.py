"""Asking an older student the questions of a domain's latest evaluation, so that it can be compared.

The prompts are those that the newest student was asked, word for word. The answers are stored as an evaluation of their
own, without a verdict: tables, report and verdict of the domain stay those of the newest student.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from raft_assets.core.errors import DataError
from raft_assets.core.stored_fields import digest_content
from raft_assets.core.tables import RaftRow, StudentAnswer
from raft_assets.evaluation.arms import EvaluationItem, to_model_answer
from raft_assets.evaluation.evaluate import evaluate_student
from raft_assets.llm.keys import canonical
from raft_assets.llm.requests import Origin, Progress, Request, UsageStats
from raft_assets.operations.estimate import estimate_student_answers
from raft_assets.operations.evaluation import AskedDocuments, hash_questions, item_requests, question_origins
from raft_assets.operations.languages import check_languages_in_lake
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.ranges import CallEstimate
from raft_assets.operations.student_form import resolve_student_form
from raft_assets.operations.students import (
    KnownStudent,
    choose_student,
    known_students,
    latest_judged_run,
    locate_student,
)
from raft_assets.settings.domain import DomainSettings
from raft_assets.settings.endpoints import Role
from raft_assets.storage.call_store import open_call_store
from raft_assets.storage.lake import Lake
from raft_assets.storage.results import ResultsStore, RunRecord
from raft_assets.student.deployment import StudentDeployment


@dataclass(frozen=True)
class PlannedEvaluation:
    """What a student will be asked, and what that is expected to cost. Nothing is sent before `carry_out`."""

    domain: str
    student: KnownStudent
    deployed: StudentDeployment
    settings: DomainSettings
    items: Sequence[EvaluationItem]
    requests: Sequence[Request]
    estimate: CallEstimate


def plan_evaluation(
    models: ModelClients, lake: Lake, results: ResultsStore, domain: str, given: str
) -> PlannedEvaluation:
    """Plan to ask a student, as a person names it, everything that the domain's newest one was asked.

    Raises DataError for an unknown student, where the domain has no evaluation, and where its instructions have changed
    since; SettingsError and EndpointError where the student can't be asked.
    """
    known = known_students(models.project, results, domain)
    student = choose_student(known, given, domain)
    if not lake.exists(StudentAnswer.table, domain):
        raise DataError(
            f"{domain!r} has no evaluation whose questions student {student.id} could be asked. Materialize it: "
            f"raft run {shlex.quote(domain)}"
        )
    settings = resolve_student_form(models.project, lake, domain, keep=False)
    latest = latest_judged_run(known)
    if latest and latest.instructions != settings.prompt.instructions:
        raise DataError(
            f"prompt.instructions of {domain!r} has changed since the latest evaluation, so student {student.id} would "
            f"be asked other prompts. Evaluate the newest student by it first: raft run {shlex.quote(domain)}"
        )
    check_languages_in_lake(models.project, lake, domain, [Role.STUDENT])
    deployed = locate_student(models, domain, student)
    answers = list(lake.rows(StudentAnswer, domain))
    items = [_item_of(answer) for answer in answers]
    requests = list(item_requests(items, settings, AskedDocuments.in_lake(lake, domain)))
    different = [*{canonical(request.body): request for request in requests}.values()]  # of two arms they may be equal
    with models.caller(Role.STUDENT, deployed=deployed) as caller:
        new = [request for request, answer in zip(different, caller.stored(different), strict=True) if answer is None]
    with open_call_store(models.project) as store:
        calls = store.get({answer.call for answer in answers}).values()
    estimate = estimate_student_answers(
        models,
        deployed.name,
        new,
        stored=len(different) - len(new),
        lengths=[call.usage.output_tokens for call in calls if call.status == "ok"],
        priced_as=student.priced_as(deployed.name),
    )
    return PlannedEvaluation(domain, student, deployed, settings, items, requests, estimate)


def carry_out(
    models: ModelClients,
    lake: Lake,
    results: ResultsStore,
    plan: PlannedEvaluation,
    *,
    on_progress: Callable[[Progress], None],
) -> UsageStats:
    """Ask the student, each prompt once, and store its answers for comparison.

    Raises BatchPendingError where the answers come in a batch, and EndpointError where the student doesn't answer.
    """
    domain, deployed, instructions = plan.domain, plan.deployed, plan.settings.prompt.instructions
    origin = Origin(StudentAnswer.table, domain)
    with models.caller(Role.STUDENT, origin=origin, deployed=deployed, on_progress=on_progress) as caller:
        answers = [
            to_model_answer(item, answer, evaluated="student", model=deployed.name, instructions=instructions)
            for item, answer in zip(plan.items, caller.ask(plan.requests), strict=True)
        ]
        usage = caller.usage_stats
    origins = list(question_origins(models.project, lake, domain, answers))
    first = plan.student.first_run
    run = RunRecord(
        domain=domain,
        baseline_model="",
        student_model=f"{deployed.service}: {deployed.model}",
        training_hash=deployed.training_hash,
        dataset_hash=hash_questions(answers),
        settings=digest_content(plan.settings, plan.settings.model_dump(mode="json")),
        dagster_run="",
        recorded_at=datetime.now(UTC),
        links={"qa_dataset_digest": lake.digest(RaftRow.table, domain)} | (first.links if first else {}),
        base_model=plan.student.base_model,
        preset=first.preset if first else "",
    )
    results.record(run, evaluate_student(answers, origins))
    return usage


def _item_of(answer: StudentAnswer) -> EvaluationItem:
    """Return what another student was asked, by its answer."""
    return EvaluationItem(
        question_id=answer.question_id,
        source=answer.source,
        arm=answer.arm,
        question=answer.question,
        documents=tuple(answer.documents),
        document_chunk_ids=tuple(answer.document_chunk_ids),
        oracle_chunk_ids=tuple(answer.oracle_chunk_ids),
        golden_answers=tuple(answer.golden_answers),
        answerable=answer.answerable,
        kind=answer.kind,
        cluster=answer.cluster,
        language=answer.language,
    )
