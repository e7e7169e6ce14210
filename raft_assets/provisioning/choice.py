"""Which models fill the roles in a region: what is offered, why the rest isn't, and the deployments that follow.

Everything here is computed from a `Market`: the models, SKUs and quota of a region, as the shipped list or ARM tells
them. Asking ARM, azd and people belongs elsewhere.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from raft_assets.core.errors import SettingsError
from raft_assets.core.near_misses import did_you_mean
from raft_assets.provisioning.catalogue import AZURE, SOON, Catalogue, KnownModel, Tuning
from raft_assets.settings.endpoints import DEFAULT_HOSTING, Role, normalize_model
from raft_assets.student.licences import find_pairing_problem

BASE_SKUS = ("GlobalStandard", "DataZoneStandard", "Standard")  # paid by token: nothing while they are idle
CAPACITY = 100  # thousands of tokens a minute, where nobody says otherwise: most subscriptions have as much


@dataclass(frozen=True)
class Sku:
    """A way to deploy a base model, in thousands of tokens a minute. `free`: the quota that is left; None: unknown."""

    name: str
    minimum: int = 1
    maximum: int | None = None
    step: int = 1
    free: int | None = None

    @property
    def most(self) -> int | None:
        """The largest capacity that can be deployed, a multiple of the step; None where it isn't known."""
        limits = [limit for limit in (self.maximum, self.free) if limit is not None]
        return min(limits) // self.step * self.step if limits else None

    @property
    def is_usable(self) -> bool:
        """Whether the quota suffices for the smallest deployment."""
        return self.most is None or self.most >= max(self.minimum, 1)


@dataclass(frozen=True)
class Candidate:
    """A model of a region. `skus` are those by which the base model can be deployed there."""

    model: KnownModel
    skus: tuple[Sku, ...]

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it one model."""
        return (self.model.format, self.model.name, self.model.version)


@dataclass(frozen=True)
class Market:
    """What a region offers on a day.

    `told` says where that comes from, `warnings` what people should know of it. `is_complete`: whether every model of
    the region is known, as ARM tells them.
    """

    region: str
    today: date
    catalogue: Catalogue
    candidates: tuple[Candidate, ...]
    told: str
    warnings: tuple[str, ...] = ()
    is_complete: bool = False

    def find(self, name: str) -> Candidate:
        """Return the model of that name, with its version or without; the newest where several fit.

        Raises SettingsError with what is closest.
        """
        fitting = [one for one in self.candidates if one.model.fits(normalize_model(name))]
        if not fitting:
            names = sorted({one.name for one in self.candidates})
            where = f"in {self.region}" if self.is_complete else "on the shipped list"
            raise SettingsError(f"There is no model {name!r} {where}.{did_you_mean(name, names)} {', '.join(names)}.")
        return max(fitting, key=lambda one: (not _life_cycle_problem(one.model, self.today), one.model.version))

    def fitting(self, role: Role) -> list[Candidate]:
        """Return the models of the role's kind: preferred ones first, then in the order of the list."""
        kind = "embedding" if role is Role.EMBEDDING else "chat"
        preferred = self.catalogue.preferred.get(role, ())
        of_kind = [one for one in self.candidates if one.model.kind == kind]
        return sorted(of_kind, key=lambda one: preferred.index(one.name) if one.name in preferred else len(preferred))

    def reasons_against(self, candidate: Candidate, role: Role, chosen: Mapping[Role, Candidate]) -> list[str]:
        """Return why a model isn't offered for a role beside what is chosen already; empty if it is."""
        model = candidate.model
        reasons = [_life_cycle_problem(model, self.today)]
        if role is Role.STUDENT:
            reasons += [self._training_problem(model)]
        elif not reasons[0]:
            reasons += [self._deployment_problem(candidate)]
        reasons += [_licence_problem(role, model, chosen)]
        return [reason for reason in reasons if reason]

    def offered(self, role: Role, chosen: Mapping[Role, Candidate]) -> list[Candidate]:
        """Return the models that are offered for a role beside what is chosen already, the best first."""
        return [one for one in self.fitting(role) if not self.reasons_against(one, role, chosen)]

    def _training_problem(self, model: KnownModel) -> str:
        if model.tuning is None:
            return model.untunable or "it can't be fine-tuned there"
        if self.region not in self.catalogue.regions.training or self.region in model.tuning.without_training:
            return f"it isn't trained in {self.region}: {', '.join(self.catalogue.regions.complete)} train every model"
        if not model.is_trainable(self.today):
            return f"it is no longer fine-tuned since {model.tuning.ends}"
        return ""

    def _deployment_problem(self, candidate: Candidate) -> str:
        if not candidate.skus:
            elsewhere = ", ".join(one for one in self.catalogue.regions.complete if one != self.region)
            return f"it has no deployment by token in {self.region}: try {elsewhere}"
        if not any(sku.is_usable for sku in candidate.skus):
            left = "; ".join(f"{sku.name} {sku.free or 0} of at least {sku.minimum}" for sku in candidate.skus)
            return f"the quota left in {self.region} is too small ({left}): ask for more, or delete deployments"
        return ""


def _life_cycle_problem(model: KnownModel, today: date) -> str:
    instead = f"; instead {model.successor}" if model.successor else ""
    if model.is_retired(today):
        return f"it was retired on {model.retires}{instead}"
    if model.stage == "deprecated":
        until = f" until {model.retires}" if model.retires else ""
        return f"it is deprecated: only customers who use it already can deploy it,{until or ' and it ends'}{instead}"
    return ""


def _licence_problem(role: Role, model: KnownModel, chosen: Mapping[Role, Candidate]) -> str:
    """Return the terms of a teacher that forbid a student, for the one of both that is chosen last."""
    pairs = {Role.STUDENT: (Role.TEACHER, "taught by"), Role.TEACHER: (Role.STUDENT, "teach")}
    other_role, verb = pairs.get(role, (None, ""))
    other = chosen.get(other_role) if other_role else None
    if other is None:
        return ""
    teacher, student = (other.name, model.name) if role is Role.STUDENT else (model.name, other.name)
    problem = find_pairing_problem(teacher, student)
    return f"it must not {'be ' if role is Role.STUDENT else ''}{verb} {other.name} ({problem})" if problem else ""


@dataclass(frozen=True)
class Deployment:
    """A deployment to make: a base model, once for all of its roles."""

    candidate: Candidate
    sku: Sku
    capacity: int
    roles: tuple[Role, ...]

    @property
    def record(self) -> dict[str, Any]:
        """Return the item of `RAFT_DEPLOYMENTS`."""
        model = self.candidate.model
        return {
            "name": model.name,
            "format": model.format,
            "model": model.name,
            "version": model.version,
            "sku": self.sku.name,
            "capacity": self.capacity,
            "roles": [role.value for role in self.roles],
        }


@dataclass(frozen=True)
class StudentPlan:
    """How the student will be trained and deployed; before training there is nothing of it to deploy."""

    candidate: Candidate
    training_type: str
    sku: str
    capacity: int

    @property
    def record(self) -> dict[str, Any]:
        """Return the value of `RAFT_STUDENT`; `training_name` of the catalogue makes a job's model of it."""
        model = self.candidate.model
        return {
            "model": model.name,
            "version": model.version,
            "format": model.format,
            "training_type": self.training_type,
            "deployment_sku": self.sku,
            "deployment_capacity": self.capacity,
        }


@dataclass(frozen=True)
class Choice:
    """A model per role in a region, and what follows. `notes` are sentences for people."""

    market: Market
    roles: Mapping[Role, Candidate]
    deployments: tuple[Deployment, ...]
    student: StudentPlan
    notes: tuple[str, ...] = ()


def settle(market: Market, roles: Mapping[Role, Candidate], capacities: Mapping[Role, int]) -> Choice:
    """Return the deployments of a complete choice: one per model, by its largest capacity.

    `capacities` are those that somebody asked for. Raises SettingsError for a capacity that can't be had.
    """
    notes = list[str]()
    by_model: dict[tuple[str, str, str], list[Role]] = {}
    for role, candidate in roles.items():
        if role is not Role.STUDENT:
            by_model.setdefault(candidate.key, []).append(role)
    deployments = list[Deployment]()
    for of_model in by_model.values():
        candidate = roles[of_model[0]]
        asked = max((capacities[role] for role in of_model if role in capacities), default=None)
        deployments.append(_plan_deployment(candidate, tuple(of_model), asked, notes))
    student = _plan_student(market, roles[Role.STUDENT], capacities.get(Role.STUDENT))
    notes += _end_notes(market, roles)
    return Choice(market, dict(roles), tuple(deployments), student, tuple(notes))


def _plan_deployment(candidate: Candidate, roles: tuple[Role, ...], asked: int | None, notes: list[str]) -> Deployment:
    sku = next(sku for sku in candidate.skus if sku.is_usable)
    most, least = sku.most, max(sku.minimum, 1)
    if asked is not None and (asked < least or asked % sku.step or (most is not None and asked > most)):
        bounds = f"{least:,} to {most:,}" if most is not None else f"at least {least:,}"
        steps = f" in steps of {sku.step:,}" if sku.step > 1 else ""
        raise SettingsError(
            f"{candidate.name} can't be deployed with a capacity of {asked:,}: {bounds} thousand tokens a minute are "
            f"left for {sku.name}{steps}. Change --capacity, or ask for quota."
        )
    wanted = -(-max(least, CAPACITY) // sku.step) * sku.step if asked is None else asked
    capacity = wanted if most is None else min(wanted, most)
    if capacity < wanted:
        notes.append(
            f"{candidate.name} gets {capacity:,} thousand tokens a minute: no more quota is left for {sku.name}."
        )
    return Deployment(candidate, sku, capacity, roles)


def _plan_student(market: Market, candidate: Candidate, asked: int | None) -> StudentPlan:
    tuning = candidate.model.tuning or Tuning()
    in_region = [sku for sku in tuning.deployments if sku != "Standard" or market.region in tuning.standard_regions]
    capacity = max(tuning.capacity, DEFAULT_HOSTING.capacity) if asked is None else asked
    if capacity < tuning.capacity:
        raise SettingsError(
            f"A student of {candidate.name} needs a capacity of {tuning.capacity} or more: deployments with less fail "
            "to load it for minutes. Raise --capacity student=..."
        )
    return StudentPlan(candidate, tuning.types[0] if tuning.types else "", in_region[0] if in_region else "", capacity)


def _end_notes(market: Market, roles: Mapping[Role, Candidate]) -> Iterator[str]:
    for name, retires in dict.fromkeys((one.name, one.model.retires) for one in roles.values()):
        if retires is not None and retires - market.today < SOON:
            yield f"{name} is retired on {retires}: plan to choose again before."


def market_of_list(catalogue: Catalogue, region: str, today: date) -> Market:
    """Return what the shipped list knows of a region."""
    warnings = [f"Models, dates and SKUs are from {catalogue.told_age(today)}. Quota is unknown."]
    if region not in catalogue.regions.complete:
        warnings.append(
            f"Whether every model below is offered in {region} is unknown offline; "
            f"{', '.join(catalogue.regions.complete)} offer them all."
        )
    candidates = [
        Candidate(model, (Sku(BASE_SKUS[0]),) if model.version else ()) for model in catalogue.of_service(AZURE)
    ]
    return Market(region, today, catalogue, tuple(candidates), "the shipped list", tuple(warnings))


def pick(market: Market, role: Role, chosen: Mapping[Role, Candidate], name: str | None) -> Candidate:
    """Return the model of that name, or the best one, for a role. Raises SettingsError with every reason against it."""
    if name is None:
        offered = market.offered(role, chosen)
        if not offered:
            raise SettingsError(
                f"No model is offered for {role} in {market.region}. {' '.join(_reasons(market, role, chosen))}"
            )
        return offered[0]
    candidate = market.find(name)
    if candidate not in market.fitting(role):
        wanted = "embeds" if role is Role.EMBEDDING else "answers"
        raise SettingsError(f"{candidate.name} can't be {role}: it is no model that {wanted}.")
    if reasons := market.reasons_against(candidate, role, chosen):
        names = [one.name for one in market.offered(role, chosen)][:5]
        instead = f" Offered: {', '.join(names)}." if names else ""
        raise SettingsError(f"{candidate.name} can't be {role}: {'; '.join(reasons)}.{instead}")
    return candidate


def _reasons(market: Market, role: Role, chosen: Mapping[Role, Candidate]) -> Iterator[str]:
    """Yield a sentence for each first reason, with the models that it keeps out; of students those that are trained."""
    kept_out: dict[str, list[str]] = {}
    for one in market.fitting(role):
        if role is not Role.STUDENT or one.model.tuning is not None:
            kept_out.setdefault(market.reasons_against(one, role, chosen)[0], []).append(one.name)
    for reason, names in kept_out.items():
        yield f"{', '.join(names)}: {reason}."


def not_offered(market: Market, role: Role, chosen: Mapping[Role, Candidate]) -> Sequence[tuple[Candidate, str]]:
    """Return the models of the list that aren't offered for a role, with the reason; of others only ARM knows."""
    listed = {model.name for model in market.catalogue.of_service(AZURE)}
    found = []
    for one in market.fitting(role):
        reasons = market.reasons_against(one, role, chosen)
        if reasons and one.name in listed:
            found.append((one, "; ".join(reasons)))
    return found
