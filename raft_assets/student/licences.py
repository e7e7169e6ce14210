"""Licence terms: a teacher whose terms forbid training the student is rejected before any paid call.

`licences.yaml` contains the terms, `base_licences.yaml` the licences of open base models. It is our reading of them and
no legal advice.
"""

from collections.abc import Mapping
from datetime import date
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from raft_assets.core.errors import SettingsError
from raft_assets.settings.endpoints import Endpoint, Role

LICENCES_FILE, BASE_LICENCES_FILE = "licences.yaml", "base_licences.yaml"
ACCEPT_VARIABLE = "RAFT_ACCEPT_LICENCE"  # names the teacher's model: accepting one teacher doesn't accept the next


class Licence(BaseModel):
    """An entry of the table; `teacher` and `students` are patterns of model names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    teacher: str
    students: tuple[str, ...]
    terms: str
    date: date


class BaseLicence(BaseModel):
    """An entry of the table of base models; `model` is a pattern of names, `licence` the Hub's identifier."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    licence: str
    date: date


def find_licence_problem(endpoints: Mapping[Role, Endpoint]) -> str:
    """Return what the teacher's terms have against the student, in a sentence; empty if nothing.

    A model is known by its name, or by `<ROLE>_MODEL` where a deployment's name says nothing. The embedded reader is no
    language model and competes with none.
    """
    teacher, student = endpoints[Role.TEACHER], endpoints[Role.STUDENT]
    licence = _find_terms(teacher)
    if licence is None or student.provider == "embedded" or not student.family:
        return ""
    if any(fnmatchcase(student.normalized_model, allowed) for allowed in licence.students):
        return ""
    return (
        f"TEACHER {teacher.base_model} must not be used to train STUDENT {student.base_model} ({licence.terms}). "
        "Choose a student or a teacher of another family, or, if your contract says otherwise, set "
        f"{ACCEPT_VARIABLE}={teacher.base_model}."
    )


def check_licence(endpoints: Mapping[Role, Endpoint], accepted: str | None) -> None:
    """Raise SettingsError for a pairing that the terms forbid, unless that very teacher was accepted."""
    problem = find_licence_problem(endpoints)
    if problem and accepted != endpoints[Role.TEACHER].base_model:
        raise SettingsError(problem)


def output_terms(teacher: Endpoint) -> str:
    """Return what is known of the terms for a teacher's answers, in a sentence."""
    if teacher.provider == "embedded":
        return "Its answers are quotes by rules of this product, which has no terms for them."
    licence = _find_terms(teacher)
    if licence is None:
        return "No terms for its answers are known here: read those of its service."
    return f"Terms for its answers, as read on {licence.date}: {licence.terms}."


def base_licence(student: Endpoint) -> str:
    """Return the identifier of the licence of the student's base model; empty where none is known."""
    if student.provider == "embedded":
        return ""
    return next((one.licence for one in _load_base_licences() if fnmatchcase(student.normalized_model, one.model)), "")


def _find_terms(teacher: Endpoint) -> Licence | None:
    return next((entry for entry in _load_licences() if fnmatchcase(teacher.normalized_model, entry.teacher)), None)


@cache
def _load_licences() -> tuple[Licence, ...]:
    return tuple(map(Licence.model_validate, _read_table(LICENCES_FILE)))


@cache
def _load_base_licences() -> tuple[BaseLicence, ...]:
    return tuple(map(BaseLicence.model_validate, _read_table(BASE_LICENCES_FILE)))


def _read_table(name: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = yaml.safe_load((resources.files("raft_assets.student") / name).read_text("utf-8"))
    return entries
