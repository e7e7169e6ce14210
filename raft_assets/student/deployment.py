"""Where a fine-tuned student answers, and the smoke test that shows it does.

With OpenAI and the embedded provider the model's id is its deployment; on Azure it is deployed (see `hosting`).
"""

import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from raft_assets.core.errors import EndpointError, NotDeployedError
from raft_assets.core.prompt_contract import parse_answer
from raft_assets.llm.caller import Caller
from raft_assets.llm.prompts import answer_request
from raft_assets.llm.requests import Answer, Request
from raft_assets.settings.domain import StudentSettings
from raft_assets.settings.endpoints import Endpoint
from raft_assets.student.hosting import SUCCEEDED_STATE, HostedDeployment, HostingService

EMBEDDED_SKU = "in process, `raft serve` for others"
ID_SKU = "none needed: the model id is its deployment"
READY_POLL_S = 2.0
SMOKE_QUESTION = "In which year was the lighthouse on Gull Point built?"
SMOKE_DOCUMENT = "The lighthouse on Gull Point was built in 1871. Its keeper lived in the tower with two assistants."


@dataclass(frozen=True)
class Readiness:
    """How long a new deployment may take until it answers, and the pause between deleting one and making another.

    In seconds. "Wait 5 minutes", says the service; it gives a deleted deployment's quota back 15 to 20 s late.
    """

    ready_within_s: float = 600.0
    pause_after_delete_s: float = 20.0


DEFAULT_READINESS = Readiness()


@dataclass(frozen=True)
class SmokeTest:
    """What the deployed student said to a question that any model can answer that follows the prompt contract."""

    question: str
    answer: str
    well_formed: bool


@dataclass(frozen=True)
class StudentDeployment:
    """Where a student answers: `name` is the name in requests, `model` the fine-tuned model behind it.

    `expires` is None for never; `training_hash` distinguishes two models of one name.
    """

    service: str
    name: str
    model: str
    training_hash: str
    sku: str
    capacity: int | None = None
    expires: datetime | None = None

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "StudentDeployment":
        """Build the deployment from the record of the asset `deployment` in the lake."""
        expires = record.get("expires")
        return cls(
            record["service"],
            record["name"],
            record["model"],
            record["training_hash"],
            record["sku"],
            record["capacity"],
            datetime.fromisoformat(expires) if expires else None,
        )

    @property
    def is_hosted(self) -> bool:
        """Whether it was deployed on Azure, and so can be deleted or changed."""
        return self.name != self.model

    @property
    def record(self) -> dict[str, str | int | None]:
        """The record for the lake."""
        return {**vars(self), "expires": self.expires.isoformat() if self.expires else None}


def deploy(
    endpoint: Endpoint,
    hosting: HostingService | None,
    domain: str,
    model: str,
    training_hash: str,
    *,
    on_event: Callable[[str], None],
) -> StudentDeployment:
    """Make sure that the model is deployed and return where; without `hosting` the model's id is its deployment.

    Raises EndpointError with the service's reason.
    """
    if hosting is None:
        sku = EMBEDDED_SKU if endpoint.provider == "embedded" else ID_SKU
        return StudentDeployment(endpoint.service, model, model, training_hash, sku)
    hosted = hosting.deploy(domain, model, training_hash, on_event=on_event, now=datetime.now(UTC))
    return from_hosted(hosted, endpoint.service, model, training_hash)


def remake(
    deployed: StudentDeployment,
    hosting: HostingService,
    domain: str,
    *,
    readiness: Readiness,
    on_event: Callable[[str], None],
) -> StudentDeployment:
    """Delete a deployment that Azure calls ready and that doesn't answer, and make it again.

    Raises EndpointError with the service's reason.
    """
    existing = hosting.find(deployed.name)
    if existing is not None and existing.state == SUCCEEDED_STATE:
        on_event(f"{hosting.kind} {deployed.name} is {existing.state} for Azure: deleted, to be made again")
        hosting.delete(deployed.name)
        time.sleep(readiness.pause_after_delete_s)
    hosted = hosting.deploy(domain, deployed.model, deployed.training_hash, on_event=on_event, now=datetime.now(UTC))
    return from_hosted(hosted, deployed.service, deployed.model, deployed.training_hash)


def from_hosted(hosted: HostedDeployment, service: str, model: str, training_hash: str) -> StudentDeployment:
    """Return where a student answers that is deployed on Azure; `service`: where its base model does."""
    return StudentDeployment(
        hosted.address or service, hosted.name, model, training_hash, hosted.sku, hosted.capacity, hosted.expires
    )


def ensure_deployed(
    deployed: StudentDeployment,
    hosting: HostingService | None,
    domain: str,
    *,
    redeploy: bool,
    on_event: Callable[[str], None],
) -> bool:
    """Make sure that the student's deployment exists before its answers are used; return whether it was deployed again.

    One that has expired or was changed is deployed again if `redeploy` allows it; it may then need a while until it
    answers. Otherwise raises EndpointError.
    """
    wrong = "" if hosting is None else _find_deployment_problem(deployed, hosting)
    if hosting is None or not wrong:
        return False
    if not redeploy:
        raise EndpointError(
            f"The student of {domain!r} can't be called: {wrong}. Deploy it again (`raft run {shlex.quote(domain)} "
            f"--select deployment --force`), or set RAFT_REDEPLOY=1 to deploy it automatically."
        )
    on_event(f"{wrong}: deployed again")
    hosting.deploy(domain, deployed.model, deployed.training_hash, on_event=on_event, now=datetime.now(UTC))
    return True


def _find_deployment_problem(deployed: StudentDeployment, hosting: HostingService) -> str:
    """Return why the deployed student no longer answers, or another answers in its place; empty if all is well."""
    existing = hosting.find(deployed.name)
    if existing is None:
        over = deployed.expires and deployed.expires <= datetime.now(UTC)
        return f"the deployment {deployed.name} {'has expired' if over else 'is gone'}"
    if existing.training_hash != deployed.training_hash or not deployed.model.startswith(existing.model):
        return f"the deployment {deployed.name} now holds another model ({existing.model})"
    return "" if existing.state == SUCCEEDED_STATE else f"the deployment {deployed.name} is {existing.state}"


def smoke_request(settings: StudentSettings, max_tokens: int, instructions: str | None = None) -> Request:
    """Return the request of the smoke test."""
    has_examples = settings.examples == "always"
    return answer_request(
        SMOKE_QUESTION, [SMOKE_DOCUMENT], settings.format, max_tokens, instructions, has_examples=has_examples
    )


def smoke_test(
    caller: Caller,
    settings: StudentSettings,
    max_tokens: int,
    instructions: str | None = None,
    *,
    ready_within_s: float = 0.0,
) -> SmokeTest:
    """Ask the student one question; raises EndpointError if no answer comes back.

    Some parts of the service don't know a new deployment yet, so the question is asked again for `ready_within_s`
    seconds.
    """
    request = smoke_request(settings, max_tokens, instructions)
    deadline = time.monotonic() + ready_within_s
    while True:
        try:
            answer: Answer = next(iter(caller.ask([request])))
            break
        except NotDeployedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(READY_POLL_S)
    # a student that doesn't end by itself answers all the same: the check says that it doesn't keep the contract
    if answer.status != "ok" and not (answer.status == "truncated" and answer.text):
        raise EndpointError(
            f"The deployed student does not respond: {answer.status} ({answer.detail}). "
            f"Materialize deployment again, or run `raft doctor`."
        )
    return SmokeTest(SMOKE_QUESTION, answer.text, parse_answer(answer.text).well_formed)
