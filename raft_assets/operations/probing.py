"""Test calls to the models of all roles, side by side: what `raft doctor` finds out over the wire.

What belongs here: which roles need which test call, and how long the prompts of a run are. What a test call is belongs
in `llm/probing.py`.
"""

import asyncio
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from raft_assets.core.errors import EndpointError, NotDeployedError, RaftError, SettingsError
from raft_assets.evaluation.arms import PROMPT_OVERHEAD_TOKENS, max_prompt_tokens
from raft_assets.llm.background import run_coroutine
from raft_assets.llm.capabilities import Capabilities
from raft_assets.llm.limits import Limiter
from raft_assets.llm.probing import Probe, ProbeResult, Task
from raft_assets.operations.model_clients import ModelClients, embedded_provider
from raft_assets.operations.process import records_of
from raft_assets.settings.domain import DomainSettings
from raft_assets.settings.domains import domain_names
from raft_assets.settings.endpoints import Endpoint, Role
from raft_assets.settings.project import Project
from raft_assets.storage.coordination import FileCoordination


@dataclass(frozen=True)
class RoleProbe:
    """The outcome of a role's test call, or why there is none.

    `shared_with`: the role for which it was made, where another one has the same endpoint and model.
    """

    role: Role
    model: str
    is_own_student: bool
    outcome: ProbeResult | RaftError
    shared_with: Role | None = None


@dataclass(frozen=True)
class _TestCall:
    endpoint: Endpoint
    task: Task
    model: str
    is_own_student: bool = False

    @property
    def key(self) -> tuple[str | None, ...]:
        """What two roles must have in common to share the call, credentials included."""
        endpoint = self.endpoint
        secret = endpoint.api_key.get_secret_value() if endpoint.api_key else None
        return (endpoint.provider, endpoint.service, endpoint.api_version, secret, self.task, self.model)


def probe_roles(models: ModelClients, *, without: Collection[Role] = ()) -> list[RoleProbe]:
    """Make the test calls of all roles but those `without`, at the same time, those of one endpoint and model once."""
    settings = readable_settings(models.project)
    asked = [endpoint for role, endpoint in models.endpoints.items() if role not in without]
    planned = [call for endpoint in asked for call in _plan(endpoint, settings)]
    calls: dict[tuple[str | None, ...], _TestCall] = {}
    words: dict[tuple[str | None, ...], int] = {}
    for call in planned:
        calls.setdefault(call.key, call)
        words[call.key] = max([words.get(call.key, 0), *longest_calls(call.endpoint.role, settings).values()])
    outcomes = run_coroutine(_probe_all(models, [(call, words[key]) for key, call in calls.items()]))
    by_key = dict(zip(calls, outcomes, strict=True))
    return [
        RoleProbe(
            call.endpoint.role,
            call.model,
            call.is_own_student,
            by_key[call.key],
            shared_with=None if calls[call.key] is call else calls[call.key].endpoint.role,
        )
        for call in planned
    ]


def readable_settings(project: Project) -> dict[str, DomainSettings]:
    """Return the settings of every domain whose settings can be read; what is wrong with others is another finding."""
    readable = dict[str, DomainSettings]()
    with suppress(RaftError):  # there is no folder of domains
        for name in domain_names(project.data):
            with suppress(SettingsError):
                readable[name] = project.settings(name).values
    return readable


def longest_calls(role: Role, settings: Mapping[str, DomainSettings]) -> dict[str, int]:
    """Return about how many tokens a role's prompt and answer have at most in every domain; empty for the judge.

    A judge's prompts hold answers, however long they are.
    """
    return {} if role is Role.JUDGE else {domain: _longest_call(role, values) for domain, values in settings.items()}


def _longest_call(role: Role, settings: DomainSettings) -> int:
    chunk = settings.chunks.chunk_size
    if role is Role.EMBEDDING:
        return chunk
    if role is Role.TEACHER:
        return chunk + PROMPT_OVERHEAD_TOKENS + settings.questions.max_answer_tokens
    return max_prompt_tokens(settings)


def _plan(endpoint: Endpoint, settings: Mapping[str, DomainSettings]) -> Iterator[_TestCall]:
    """Yield the test calls of a role."""
    if endpoint.provider == "azureml":  # a base model in a registry doesn't answer
        return
    if endpoint.role is Role.EMBEDDING:
        yield _TestCall(endpoint, "embedding", endpoint.model)
    elif endpoint.role is Role.STUDENT:
        students = [values.student for values in settings.values()]
        own = {student.finetuned_model: student.format for student in students if student.finetuned_model}
        for model, form in own.items():
            yield _TestCall(endpoint, form, model, is_own_student=True)
        if not own or any(student.finetuned_model is None for student in students):
            yield _TestCall(endpoint, "fine-tuning", endpoint.model)
    else:
        completes = any(values.student.format == "completion" for values in settings.values())
        task: Task = "completion" if endpoint.role is Role.BASELINE and completes else "chat"
        yield _TestCall(endpoint, task, endpoint.model)


async def _probe_all(models: ModelClients, calls: list[tuple[_TestCall, int]]) -> list[ProbeResult | RaftError]:
    return await asyncio.gather(*(_probe(models, call, words) for call, words in calls))


def _check_encoder(project: Project, endpoint: Endpoint) -> None:
    """Raise EndpointError where the embedded provider lacks its encoder, without which no role of it goes far."""
    try:
        embedded_provider(project).find_weights()
    except RaftError as error:
        raise EndpointError(f"{endpoint.model} needs the encoder weights, see there.") from error


async def _probe(models: ModelClients, call: _TestCall, words: int) -> ProbeResult | RaftError:
    endpoint = call.endpoint
    try:
        if endpoint.provider == "embedded":
            _check_encoder(models.project, endpoint)
        # a limiter of its own: a test call doesn't wait for a run's calls, and a run learns nothing from its pace
        with (
            tempfile.TemporaryDirectory() as folder,
            closing(Limiter.of(FileCoordination(Path(folder)), endpoint, call.model)) as limiter,
        ):
            async with models.client(endpoint.role) as client:
                probe = Probe(
                    endpoint,
                    model=call.model,
                    client=client,
                    limiter=limiter,
                    capabilities=Capabilities.of(records_of(models.project), endpoint, call.model),
                )
                return await probe.run(call.task, prompt_words=words)
    except NotDeployedError as error:
        if not call.is_own_student:
            return error
        return EndpointError(f"{error} It is the model that student.finetuned_model names in domain.yaml.")
    except RaftError as error:
        return error
