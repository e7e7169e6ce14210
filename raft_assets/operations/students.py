"""The students of a domain: those that were evaluated, and those that were trained and never asked anything.

What belongs here: which there are, what they are called, and where one can be asked. What they answered is compared in
`operations/comparison`.
"""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from raft_assets.core.errors import DataError, EndpointError, SettingsError
from raft_assets.llm.keys import training_key
from raft_assets.operations.hosting import open_hosting
from raft_assets.operations.model_clients import ModelClients, embedded_provider
from raft_assets.operations.process import records_of
from raft_assets.operations.trained import trained_students
from raft_assets.settings.endpoints import DEPLOYMENT_PREFIX, Endpoint, Role
from raft_assets.settings.prices import base_of
from raft_assets.settings.project import Project
from raft_assets.storage.results import ResultsStore
from raft_assets.student.deployment import StudentDeployment, deploy, from_hosted
from raft_assets.student.finetuning import user_model

ID_DIGITS = 8  # of the training hash
MIN_DIGITS = 4  # of a training hash that a person types


@dataclass(frozen=True)
class EvaluatedRun:
    """An evaluation of a student: its hash in the results store, and what it was of."""

    run: str
    recorded_at: datetime
    settings: dict[str, Any]
    has_verdict: bool
    preset: str
    links: dict[str, str]

    @property
    def instructions(self) -> str | None:
        """The system prompt that was set for it; None for that of the prompt contract."""
        return (self.settings.get("prompt") or {}).get("instructions")


@dataclass(frozen=True)
class KnownStudent:
    """A fine-tuned model of a domain. `id` is what commands take; `runs` are its evaluations, oldest first.

    `base_model` is empty where nothing says it. `training_call`: the key of its fine-tuning job among the paid calls,
    empty where it wasn't trained here.
    """

    id: str
    service: str
    model: str
    training_hash: str
    base_model: str
    training_call: str = ""
    runs: tuple[EvaluatedRun, ...] = ()

    @property
    def label(self) -> str:
        """What the results store calls it."""
        return f"{self.service}: {self.model}"

    def priced_as(self, name: str) -> str:
        """Return the model by whose price its calls are paid, which name it at its service.

        A deployment's name says nothing, and on Azure students of one domain share it, whatever they were tuned from.
        """
        return self.base_model if self.base_model and name.startswith(DEPLOYMENT_PREFIX) else name

    @property
    def first_run(self) -> EvaluatedRun | None:
        """The evaluation in which it was judged first, from its own settings; None where it was never judged."""
        return next((run for run in self.runs if run.has_verdict), None)


def known_students(project: Project, results: ResultsStore, domain: str) -> list[KnownStudent]:
    """Return the students of a domain: the evaluated ones, that of the latest verdict last; before them the others."""
    trained = [student for student in trained_students(records_of(project)) if student.is_of(domain, None)]
    services = {(model, student.training_hash): student.service for student in trained for model in student.models[:1]}
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {key: [] for key in services}
    for row in results.evaluated_runs(domain):
        service, _, model = row["student_model"].partition(": ")
        key = (model, row["training_hash"])
        runs.setdefault(key, []).append(row)
        services[key] = service  # of the newest: an endpoint on Azure ML has an address of its own
    jobs = {one.training_hash: training_key(one.service, one.job) for one in trained if one.job}
    hashes = [training_hash for _, training_hash in runs]
    found = [
        _student(services[key], *key, rows=rows, hashes=hashes, training_call=jobs.get(key[1], ""))
        for key, rows in runs.items()
    ]
    return sorted(found, key=_last_judged)


def choose_student(students: Sequence[KnownStudent], given: str, domain: str) -> KnownStudent:
    """Return the student that an id, the beginning of a training hash, or a model's name means.

    Raises DataError for none and for several.
    """
    named = [student for student in students if given in (student.id, student.model, student.label)]
    begun = [student for student in students if len(given) >= MIN_DIGITS and student.training_hash.startswith(given)]
    matches = named or begun
    if len(matches) == 1:
        return matches[0]
    listed = ", ".join(f"{student.id} ({student.model})" for student in matches or students) or "none"
    if matches:
        raise DataError(f"{given!r} means several students of {domain!r}: {listed}. Name one by its model.")
    raise DataError(f"{domain!r} has no student {given!r}. Its students: {listed}.")


def latest_judged_run(students: Iterable[KnownStudent]) -> EvaluatedRun | None:
    """Return the latest evaluation with a verdict, None where there is none."""
    judged = (run for student in students for run in student.runs if run.has_verdict)
    return max(judged, key=lambda run: run.recorded_at, default=None)


def locate_student(models: ModelClients, domain: str, student: KnownStudent) -> StudentDeployment:
    """Return where a student answers, which must still be possible: nothing is deployed for it.

    Raises SettingsError where STUDENT is configured for another service, and EndpointError where the student is gone.
    """
    endpoint = models.endpoints[Role.STUDENT]
    is_own = student.training_hash == user_model("", endpoint.service, student.model).training_hash
    if endpoint.is_deployed_on_azure and not is_own:
        return _find_deployment(models, domain, student)
    if student.service != endpoint.service:
        raise SettingsError(
            f"Student {student.id} of {domain!r} is at {student.service}, and STUDENT is configured for "
            f"{endpoint.service}. Configure STUDENT for its service in this command's environment, and run it again."
        )
    if endpoint.provider == "embedded":
        embedded_provider(models.project).model_version(student.model)  # raises where it was purged
    return deploy(endpoint, None, domain, student.model, student.training_hash, on_event=lambda _: None)


def _find_deployment(models: ModelClients, domain: str, student: KnownStudent) -> StudentDeployment:
    endpoint: Endpoint = models.endpoints[Role.STUDENT]
    with open_hosting(models.project) as hosting:
        assert hosting is not None  # on Azure there is one
        for hosted in hosting.all():
            if hosted.training_hash == student.training_hash and student.model.startswith(hosted.model):
                return from_hosted(hosted, endpoint.service, student.model, student.training_hash)
        raise EndpointError(
            f"Student {student.id} of {domain!r} can't be asked: no {hosting.kind} holds {student.model}. A domain has "
            "one deployment at a time, which a newer student takes over. What it answered before can be compared: "
            f"raft compare {shlex.quote(domain)}"
        )


def _student(
    service: str,
    model: str,
    training_hash: str,
    *,
    rows: Sequence[dict[str, Any]],
    hashes: Sequence[str],
    training_call: str,
) -> KnownStudent:
    is_unique = sum(other.startswith(training_hash[:ID_DIGITS]) for other in hashes) == 1
    known = {row["base_model"] for row in rows if row["base_model"]}
    base = base_of(model)
    return KnownStudent(
        id=training_hash[:ID_DIGITS] if is_unique else model,
        service=service,
        model=model,
        training_hash=training_hash,
        base_model=next(iter(known), "" if base == model else base),
        training_call=training_call,
        runs=tuple(map(_run, rows)),
    )


def _run(row: dict[str, Any]) -> EvaluatedRun:
    links = {name: row[name] or "" for name in ("train_file_hash", "valid_file_hash")}
    return EvaluatedRun(row["run"], row["recorded_at"], row["settings"], row["has_verdict"], row["preset"] or "", links)


def _last_judged(student: KnownStudent) -> tuple[float, str]:
    """Return what students are sorted by: when they were last judged, not when they were last asked."""
    judged = [run.recorded_at.timestamp() for run in student.runs if run.has_verdict]
    return max(judged, default=0.0), student.label
