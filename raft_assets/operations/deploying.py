"""Deploying a domain's student and seeing that it answers; where Azure says that it does and it doesn't, once more."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

from raft_assets.core.errors import EndpointError, NotDeployedError
from raft_assets.llm.requests import Origin
from raft_assets.operations.hosting import open_hosting
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.student_form import resolve_student_form
from raft_assets.settings.endpoints import Role
from raft_assets.storage.lake import Lake
from raft_assets.student.deployment import (
    DEFAULT_READINESS,
    Readiness,
    SmokeTest,
    StudentDeployment,
    deploy,
    ensure_deployed,
    remake,
    smoke_test,
)
from raft_assets.student.hosting import HostingService


def deploy_student(
    models: ModelClients,
    domain: str,
    tuned: Mapping[str, Any],
    *,
    origin: Origin,
    on_event: Callable[[str], None],
    readiness: Readiness = DEFAULT_READINESS,
) -> tuple[StudentDeployment, SmokeTest]:
    """Deploy the student that the record `finetuned_model` names, and return where and what it answered.

    Raises EndpointError with the service's reason.
    """
    is_own = models.project.settings(domain).values.student.finetuned_model is not None
    with nullcontext() if is_own else open_hosting(models.project) as hosting:
        deployed = deploy(
            models.endpoints[Role.STUDENT], hosting, domain, tuned["model"], tuned["training_hash"], on_event=on_event
        )
        ask = partial(_ask, models, domain, origin)
        if hosting is None:
            return deployed, ask(deployed, 0.0)
        return _wait_or_remake(hosting, domain, deployed, ask, on_event=on_event, readiness=readiness)


def deployed_student(lake: Lake, domain: str) -> StudentDeployment | None:
    """Return the student of the domain that is deployed; None before the first one is."""
    if not lake.exists("deployment", domain, ".json"):
        return None
    return StudentDeployment.of(lake.read_record("deployment", domain))


def ensure_student_answers(
    models: ModelClients,
    lake: Lake,
    domain: str,
    *,
    origin: Origin,
    on_event: Callable[[str], None],
    readiness: Readiness = DEFAULT_READINESS,
) -> None:
    """Make sure that the student's deployment exists, and that it answers if it had to be deployed again.

    Raises EndpointError.
    """
    deployed = StudentDeployment.of(lake.read_record("deployment", domain))
    redeploy = models.project.environment.hosting().redeploy
    with open_hosting(models.project) if deployed.is_hosted else nullcontext() as hosting:
        is_new = ensure_deployed(deployed, hosting, domain, redeploy=redeploy, on_event=on_event)
        if is_new and hosting is not None:
            ask = partial(_ask, models, domain, origin)
            _wait_or_remake(hosting, domain, deployed, ask, on_event=on_event, readiness=readiness)


def _wait_or_remake(
    hosting: HostingService,
    domain: str,
    deployed: StudentDeployment,
    ask: Callable[[StudentDeployment, float], SmokeTest],
    *,
    on_event: Callable[[str], None],
    readiness: Readiness,
) -> tuple[StudentDeployment, SmokeTest]:
    """Wait until the student answers; a deployment that doesn't within the bound is deleted and made again, once.

    `ask` is given where to ask and for how many seconds. Raises EndpointError where the second one doesn't answer
    either.
    """
    bound_s = readiness.ready_within_s
    try:
        return deployed, ask(deployed, bound_s)
    except NotDeployedError as error:
        on_event(f"{hosting.kind} {deployed.name} has not answered for {bound_s:.0f} s: {error}")
    deployed = remake(deployed, hosting, domain, readiness=readiness, on_event=on_event)
    try:
        return deployed, ask(deployed, bound_s)
    except NotDeployedError as error:
        raise EndpointError(
            f"The {hosting.kind} {deployed.name} was made twice and has not answered for {bound_s:.0f} s either time; "
            f"the last answer: {str(error).rstrip('.')}. Inspect it in {hosting.portal}, and materialize deployment "
            "again later."
        ) from None


def _ask(models: ModelClients, domain: str, origin: Origin, deployed: StudentDeployment, within_s: float) -> SmokeTest:
    settings = resolve_student_form(models.project, Lake.of(models.project), domain)
    with models.caller(Role.STUDENT, origin=origin, deployed=deployed, live=True) as student:
        room = settings.evaluation.max_answer_tokens
        return smoke_test(student, settings.student, room, settings.prompt.instructions, ready_within_s=within_s)
