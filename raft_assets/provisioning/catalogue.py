"""What is known of models without asking a service: when they end, and how a student of them is trained and deployed.

`models.yaml` is the list, with its sources and their dates. What a subscription really has is asked in `arm`, and laid
over this list in `choice`. A date is always compared with a day that the caller hands in.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict

from raft_assets.core.errors import SettingsError
from raft_assets.settings.endpoints import (
    DEFAULT_HOSTING,
    OPENAI_BASE_URL,
    Endpoint,
    HostingSettings,
    Role,
    normalize_model,
)

MODELS_FILE = "models.yaml"
ACCEPT_VARIABLE = "RAFT_ACCEPT_MODEL"  # names the student's base model: the list may be older than the service
AZURE, OPENAI = "azure", "openai"
SOON = timedelta(days=365)  # an end within it is told: a student should last a year
MAX_SUGGESTIONS = 4


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Entry):
    """Where something was read; `dated` is the document's own date, or the day on which it was read."""

    title: str
    url: str
    dated: date
    third_party: bool = False


class Tuning(_Entry):
    """How a model is fine-tuned by supervision.

    `types`: values of Azure's `trainingType`, the first is the default. `deployments`: SKUs under which a student of it
    may be deployed, the first is the default. `standard_regions`: where the SKU Standard is among them.
    `without_training`: regions that train others, and not this one. `capacity`: of a deployment, in thousands of tokens
    a minute, below which students of it fail to load for minutes. `ends`: the day from which no job is accepted, at the
    earliest (`is_earliest`) or for certain, None where none is known. `existing_customers`: whether only those train it
    who used it before. `students_end`: when deployments of its students end.
    """

    types: tuple[str, ...] = ()
    deployments: tuple[str, ...] = ()
    standard_regions: tuple[str, ...] = ()
    without_training: tuple[str, ...] = ()
    capacity: int = 1
    ends: date | None = None
    is_earliest: bool = False
    existing_customers: bool = False
    students_end: date | None = None


class KnownModel(_Entry):
    """A model of a service: `azure`, `openai`, or a pattern of addresses.

    `format`: the publisher, as ARM names it. `stage` deprecated: no new customer gets it. `retires`: the first day on
    which the model itself doesn't answer. `untunable`: why it isn't fine-tuned, where `tuning` is None.
    """

    service: str
    name: str
    version: str = ""
    format: str = ""
    kind: Literal["chat", "embedding"] = "chat"
    stage: Literal["preview", "available", "deprecated"] = "available"
    retires: date | None = None
    successor: str = ""
    tuning: Tuning | None = None
    untunable: str = ""
    sources: tuple[str, ...]

    def fits(self, model: str) -> bool:
        """Return whether a normalized name is that of this model, with its version or without."""
        name = normalize_model(self.name)
        version = f"{name}-{self.version}".lower()
        return fnmatchcase(model, name) or (bool(self.version) and model == version)

    def is_retired(self, today: date) -> bool:
        """Return whether the model itself no longer answers."""
        return self.retires is not None and self.retires <= today

    def is_trainable(self, today: date) -> bool:
        """Return whether somebody can train it on that day, as far as is known."""
        tuning = self.tuning
        return tuning is not None and (tuning.ends is None or tuning.is_earliest or today < tuning.ends)

    def lasts(self, today: date) -> bool:
        """Return whether a new customer can train it, and no end of it or its students is known within a year."""
        if self.tuning is None or self.tuning.existing_customers or self.stage == "deprecated":
            return False
        ends = (self.retires, self.tuning.ends, self.tuning.students_end)
        return all(end is None or end - today >= SOON for end in ends)


class Regions(_Entry):
    """Azure's regions: `training` train by Global Standard, `complete` have every model of the list."""

    training: tuple[str, ...]
    complete: tuple[str, ...]


class Catalogue(_Entry):
    """The list; `read` is the day on which it was last compared with its sources, `preferred` the best for a role."""

    read: date
    sources: dict[str, Source]
    regions: Regions
    preferred: dict[Role, tuple[str, ...]]
    models: tuple[KnownModel, ...]

    def of_service(self, service: str) -> list[KnownModel]:
        """Return the models of a service, in the order of the list."""
        return [one for one in self.models if fnmatchcase(service, one.service)]

    def find(self, service: str, model: str) -> KnownModel | None:
        """Return what is known of a model, whose name may have a publisher and a version."""
        return next((one for one in self.of_service(service) if one.fits(normalize_model(model))), None)

    def told_sources(self, model: KnownModel) -> str:
        """Return where an entry was read, and when that was written."""
        read = (self.sources[name] for name in model.sources)
        return "; ".join(f"{one.title}, {one.dated}{', third party' if one.third_party else ''}" for one in read)

    def told_age(self, today: date) -> str:
        """Return how old the list is, and the oldest document behind it, for a warning."""
        oldest = min(one.dated for one in self.sources.values())
        return (
            f"the shipped list of {self.read}, {_count_days(today - self.read)} old; its oldest source is of {oldest}"
        )

    def lasting_students(self, today: date) -> list[str]:
        """Return what a new customer can train on a Foundry resource, with no end known within a year."""
        return [one.name for one in self.of_service(AZURE) if one.lasts(today)]


def _count_days(age: timedelta) -> str:
    return "1 day" if age.days == 1 else f"{age.days} days"


@cache
def shipped_catalogue() -> Catalogue:
    """Return the list that this product ships."""
    content: Any = yaml.safe_load((resources.files("raft_assets.provisioning") / MODELS_FILE).read_text("utf-8"))
    return Catalogue.model_validate(content)


def service_of(endpoint: Endpoint) -> str:
    """Return how the list names the endpoint's service."""
    if endpoint.is_deployed_on_azure:
        return AZURE
    return OPENAI if endpoint.service == OPENAI_BASE_URL else endpoint.service


def find_model(endpoint: Endpoint, catalogue: Catalogue | None = None) -> KnownModel | None:
    """Return what is known of an endpoint's model; None where nothing is, such as for a deployment of another name."""
    return (catalogue or shipped_catalogue()).find(service_of(endpoint), endpoint.base_model)


def student_hosting(student: Endpoint) -> HostingSettings:
    """Return how a student is trained and deployed where nobody says otherwise: as its base model allows it."""
    known = find_model(student)
    if known is None or known.tuning is None or not known.tuning.deployments:
        return DEFAULT_HOSTING
    tuning = known.tuning
    return HostingSettings(
        sku=tuning.deployments[0],
        capacity=max(DEFAULT_HOSTING.capacity, tuning.capacity),
        model_format=known.format or DEFAULT_HOSTING.model_format,
        # the service's own default is right for OpenAI's models, and refused for open ones
        training_type=None if "standard" in tuning.types else tuning.types[0],
    )


@dataclass(frozen=True)
class LifeCycle:
    """What is to be said of a model before anything is paid. `is_refused`: no job of it is to be submitted."""

    sentence: str
    is_refused: bool = False


def life_cycle_of(
    endpoint: Endpoint,
    today: date,
    *,
    is_trained: bool,
    accepted: str | None = None,
    catalogue: Catalogue | None = None,
) -> LifeCycle | None:
    """Return what is to be said of an endpoint's model; None where it lasts a year, or nothing is known.

    `is_trained`: whether a student is to be fine-tuned from it. `accepted`: the base model of which the user says that
    the service trains it all the same, so that it isn't refused.
    """
    listed = catalogue or shipped_catalogue()
    known = find_model(endpoint, listed)
    if known is None:
        return None
    if is_trained:
        found = _describe_training(listed, known, endpoint, today)
        if found is None or not found.is_refused:
            return found
        if accepted == endpoint.base_model:
            return LifeCycle(f"{found.sentence}. It is trained because {ACCEPT_VARIABLE} names it")
        otherwise = f"If your service trains it all the same, set {ACCEPT_VARIABLE}={endpoint.base_model}"
        return LifeCycle(f"{found.sentence}. {otherwise}", is_refused=True)
    if known.retires is None or known.retires - today >= SOON:
        return None
    ended = "was retired" if known.is_retired(today) else "is retired"
    return LifeCycle(
        f"{endpoint.base_model} {ended} on {known.retires} ({listed.told_sources(known)})"
        f"{f': {known.successor} can be taken instead' if known.successor else ''}"
    )


def _describe_training(catalogue: Catalogue, known: KnownModel, endpoint: Endpoint, today: date) -> LifeCycle | None:
    model, sources = endpoint.base_model, catalogue.told_sources(known)
    instead = _describe_alternatives(catalogue, endpoint, today)
    tuning = known.tuning
    if tuning is None:
        reason = known.untunable or (f"it was retired on {known.retires}" if known.is_retired(today) else "")
        if not reason:
            return None
        return LifeCycle(f"{model} can't be fine-tuned: {reason} ({sources}). {instead}", is_refused=True)
    if not known.is_trainable(today):
        sentence = f"{model} is no longer fine-tuned since {tuning.ends} ({sources}). {instead}"
        return LifeCycle(sentence, is_refused=True)
    base = "was retired on" if known.is_retired(today) else "answers until"
    forms = (
        (tuning.ends, f"jobs are accepted until {'at least ' if tuning.is_earliest else ''}{{}}"),
        (tuning.students_end, "its students answer until {}"),
        (known.retires, f"the base model, your baseline, {base} {{}}"),
    )
    told = [form.format(end) for end, form in forms if end is not None and end - today < SOON]
    if tuning.existing_customers:
        told.insert(0, "only customers who used it before can train it")
    return LifeCycle(f"{model}: {'; '.join(told)} ({sources}). {instead}") if told else None


def _describe_alternatives(catalogue: Catalogue, endpoint: Endpoint, today: date) -> str:
    names = catalogue.lasting_students(today)[:MAX_SUGGESTIONS]
    if not names:
        return "Nothing on this list lasts a year"
    where = "" if service_of(endpoint) == AZURE else " on a Foundry resource"
    return f"No end within a year is known of {_join(names, 'and')}{where}"


def check_student(endpoint: Endpoint, hosting: HostingSettings, today: date, accepted: str | None) -> None:
    """Raise SettingsError for a student that can't be trained, or not be deployed as the settings say.

    `accepted`: the base model of which the user says that the service takes it all the same.
    """
    life_cycle = life_cycle_of(endpoint, today, is_trained=True, accepted=accepted)
    if life_cycle is not None and life_cycle.is_refused:
        raise SettingsError(f"STUDENT {life_cycle.sentence}.")
    if (
        accepted != endpoint.base_model
        and endpoint.is_azure_openai
        and (problem := find_hosting_problem(endpoint, hosting))
    ):
        raise SettingsError(problem)


def find_hosting_problem(student: Endpoint, hosting: HostingSettings) -> str:
    """Return why a student of this base model can't be trained or deployed as the settings say; empty if it can.

    Names are compared without case, as Azure does.
    """
    known = find_model(student)
    if known is None or known.tuning is None:
        return ""
    chosen = (
        ("STUDENT_DEPLOYMENT_SKU", hosting.sku, known.tuning.deployments, "deployed as"),
        ("STUDENT_TRAINING_TYPE", hosting.training_type, known.tuning.types, "trained as"),
    )
    for variable, value, allowed, verb in chosen:
        if value and allowed and value.lower() not in [one.lower() for one in allowed]:
            return (
                f"A student of {student.base_model} can't be {verb} {value} "
                f"({shipped_catalogue().told_sources(known)}): set {variable} to {_join(allowed)}, or unset it. "
                f"If your service takes it all the same, set {ACCEPT_VARIABLE}={student.base_model}."
            )
    return ""


def training_name(name: str, version: str, model_format: str) -> str:
    """Return the name by which a fine-tuning job asks for a base model: with its version where OpenAI made it."""
    return f"{name}-{version}" if model_format == "OpenAI" and version else name


def _join(names: Iterable[str], word: str = "or") -> str:
    *most, last = names
    return f"{', '.join(most)} {word} {last}" if most else last
