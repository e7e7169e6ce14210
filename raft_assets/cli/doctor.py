"""What `raft doctor` does: it checks what a run needs, with test calls, and says for each failure what to set."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import click

from raft_assets.cli.project import select_domains
from raft_assets.core.errors import RaftError
from raft_assets.evaluation.arms import max_prompt_tokens
from raft_assets.evaluation.judged import judge_family_warning
from raft_assets.llm.background import run_coroutine
from raft_assets.llm.capabilities import Capabilities
from raft_assets.llm.probing import probe
from raft_assets.operations.hosting import open_hosting
from raft_assets.operations.model_clients import ModelClients, check_project_licence, embedded_provider
from raft_assets.operations.process import records_of
from raft_assets.settings.endpoints import DEVELOPER_TIER, Role
from raft_assets.settings.prices import PRICES_FILE
from raft_assets.settings.project import Project
from raft_assets.storage.call_store import open_call_store
from raft_assets.storage.lake import Lake


@dataclass(frozen=True)
class Finding:
    """The result of a check; a problem stops a run and says what to do, a warning doesn't stop it."""

    subject: str
    message: str
    level: Literal["ok", "warning", "problem"] = "ok"


class DoctorWarningError(RaftError):
    """A finding that doesn't stop a run but that the user should know."""


def print_findings() -> None:
    """Print a line per check, and exit with 1 where one of them is a problem."""
    project = Project.load()
    findings = list(_run_checks(project))
    for finding in findings:
        click.echo(f"{finding.level:<8} {finding.subject}: {finding.message}")
    sys.exit(1 if any(finding.level == "problem" for finding in findings) else 0)


def _run_checks(project: Project) -> Iterator[Finding]:
    checks: list[tuple[str, Callable[[], str]]] = [
        ("home", lambda: _check_state_folder(project)),
        ("domains", lambda: f"{len(select_domains(project, (), everything=True))} in {project.data}"),
        ("settings", lambda: _check_settings(project)),
        (
            "encoder weights",
            lambda: str(embedded_provider(project).weights),
        ),
        ("call store", lambda: _check_call_store(project)),
        ("lake", lambda: _check_lake(project)),
    ]
    models = ModelClients(project)
    try:
        checks += _role_checks(models)
    except RaftError as error:
        yield Finding("roles", str(error), "problem")
    for subject, check in checks:
        try:
            yield Finding(subject, check())
        except DoctorWarningError as error:
            yield Finding(subject, str(error), "warning")
        except (RaftError, click.UsageError) as error:
            yield Finding(subject, str(error), "problem")


def _role_checks(models: ModelClients) -> list[tuple[str, Callable[[], str]]]:
    """Return the checks of every role over the wire, then those that only matter where money is spent."""
    checks: list[tuple[str, Callable[[], str]]] = [
        (f"role {role.value}", partial(_check_role, models, role))
        for role, endpoint in models.endpoints.items()
        if endpoint.provider != "azureml"  # a base model in a registry doesn't answer; its workspace is checked below
    ]
    checks += [
        (f"context {role.value}", partial(_check_context, models, role))
        for role in (Role.BASELINE, Role.STUDENT)
        if models.endpoints[role].provider != "embedded"
    ]
    checks.append(("licence", partial(_check_licence, models)))
    if Role.JUDGE in models.endpoints:
        checks.append(("judge", partial(_check_judge, models)))
    if models.endpoints[Role.STUDENT].is_deployed_on_azure:
        checks.append(("deployment", partial(_check_deployment, models)))
    priced = [role for role, endpoint in models.endpoints.items() if endpoint.provider != "embedded"]
    return checks + [(f"price {role.value}", partial(_check_price, models, role)) for role in priced]


def _check_state_folder(project: Project) -> str:
    try:
        project.home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RaftError(
            f"{project.home} can't be created ({error.strerror}). Set RAFT_HOME to a folder that you may write."
        ) from error
    if not os.access(project.home, os.W_OK):
        raise RaftError(f"{project.home} can't be written. Set RAFT_HOME to a folder that you may write.")
    return f"{project.home} can be written"


def _check_settings(project: Project) -> str:
    names = select_domains(project, (), everything=True)
    return ", ".join(f"{name}: preset {project.settings(name).preset}" for name in names)


def _check_call_store(project: Project) -> str:
    with open_call_store(project) as store:
        return f"{store.stats().calls:,} calls in {project.calls}"


def _check_lake(project: Project) -> str:
    Lake.of(project).check_writable()
    return f"{project.lake} can be written"


def _check_role(models: ModelClients, role: Role) -> str:
    endpoint, project = models.endpoints[role], models.project
    names = select_domains(project, (), everything=True) if role is Role.BASELINE else ()
    completion = any(project.settings(name).values.student.format == "completion" for name in names)

    async def ask() -> str:
        async with models.client(role) as client:
            return await probe(client, endpoint, completion=completion)

    return f"{endpoint.model} at {endpoint.service} {run_coroutine(ask())}"


def _check_context(models: ModelClients, role: Role) -> str:
    """Check that the longest prompt of every domain and its answer fit into the model's context, where it is known."""
    endpoint, project = models.endpoints[role], models.project
    takes = Capabilities.of(records_of(project), endpoint, endpoint.model).context_tokens
    names = select_domains(project, (), everything=True)
    longest = {name: max_prompt_tokens(project.settings(name).values) for name in names}
    most = max(longest.values())
    if takes is None:
        raise DoctorWarningError(
            f"the context size of {endpoint.base_model} is unknown; up to {most:,} tokens may be sent"
        )
    for name, tokens in longest.items():
        if tokens > takes:
            raise RaftError(
                f"{endpoint.base_model} takes {takes:,} tokens, and a prompt of {name} with its answer may have about "
                f"{tokens:,}: lower chunks.chunk_size, dataset.distractors, evaluation.top_k or max_answer_tokens."
            )
    return f"{endpoint.base_model} takes {takes:,} tokens, of which {most:,} are used at most"


def _check_licence(models: ModelClients) -> str:
    check_project_licence(models.project)
    return f"no known licence forbids training {Role.STUDENT} on {Role.TEACHER}'s answers"


def _check_judge(models: ModelClients) -> str:
    if doubt := judge_family_warning(models.endpoints):
        raise DoctorWarningError(doubt)
    return "not of the teacher's model family, as far as its name says"


def _check_deployment(models: ModelClients) -> str:
    with open_hosting(models.project) as hosting:
        assert hosting is not None  # the student is on Azure
        return hosting.check_permission()


def _check_price(models: ModelClients, role: Role) -> str:
    """Return what the role's calls cost, as far as it is known. Raises DoctorWarningError for an unknown price."""
    endpoint = models.endpoints[role]
    if endpoint.is_declared_free:
        return f"nothing, by {role}_PRICE=0"
    if endpoint.is_free:
        return f"nothing: it is on this machine. A proxy of a paid service needs a price in {PRICES_FILE}"
    price, hosting = models.prices.of(endpoint), models.project.environment.hosting()
    wanted = {"input": price.input}
    if role is not Role.EMBEDDING:
        wanted["output"] = price.output
    if role is Role.STUDENT:
        wanted["training"] = price.training
    if role is Role.STUDENT and endpoint.provider == "azure" and hosting.sku.lower() != DEVELOPER_TIER.lower():
        wanted["hosting"] = price.hosting
    if unknown := [name for name, value in wanted.items() if value is None]:
        raise DoctorWarningError(
            f"the price of {endpoint.base_model} is unknown ({', '.join(unknown)}). Add it to {PRICES_FILE}, or set "
            f"{role}_MODEL to the model behind the deployment. Calls without a price are listed apart and never "
            "counted as zero."
        )
    return ", ".join(f"{name} US$ {value:g}" for name, value in wanted.items()) + f" ({price.source})"
