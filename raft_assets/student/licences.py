"""Licence terms: a teacher whose terms forbid training the student is rejected before any paid call.

`licences.yaml` contains the terms of teachers, `base_licences.yaml` the licences of open base models. It is our reading
of them and no legal advice. How to ask: `find_pairing_problem("gpt-5.1", "gpt-oss-20b")` says whether one model's
answers may train another, `what_travels(teacher, student)` what must travel with the student when it is handed on, and
`base_licence(student)` names the licence that it is under. A model that isn't listed has no terms that are known here:
every function then answers with an empty text, never with a permission.
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
from raft_assets.settings.endpoints import Endpoint, Role, normalize_model

LICENCES_FILE, BASE_LICENCES_FILE = "licences.yaml", "base_licences.yaml"
ACCEPT_VARIABLE = "RAFT_ACCEPT_LICENCE"  # names the teacher's model: accepting one teacher doesn't accept the next


class Licence(BaseModel):
    """An entry of the table; `teachers` and `students` are patterns of model names.

    `travels` is what must travel with a student that is handed on, empty where nothing must.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    teachers: tuple[str, ...]
    students: tuple[str, ...]
    terms: str
    travels: str = ""
    source: str
    date: date


class BaseLicence(BaseModel):
    """An entry of the table of base models; `model` is a pattern of names, `licence` the Hub's identifier."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    licence: str
    travels: str
    date: date


def find_licence_problem(endpoints: Mapping[Role, Endpoint]) -> str:
    """Return what the teacher's terms have against the student, in a sentence; empty if nothing.

    A model is known by its name, or by `<ROLE>_MODEL` where a deployment's name says nothing. The embedded reader is no
    language model and competes with none.
    """
    teacher, student = endpoints[Role.TEACHER], endpoints[Role.STUDENT]
    if student.provider == "embedded" or not student.family:
        return ""
    if problem := find_pairing_problem(teacher.base_model, student.base_model):
        return (
            f"TEACHER {teacher.base_model} must not be used to train STUDENT {student.base_model} ({problem}). "
            "Choose a student or a teacher of another family, or, if your contract says otherwise, set "
            f"{ACCEPT_VARIABLE}={teacher.base_model}."
        )
    return ""


def find_pairing_problem(teacher: str, student: str) -> str:
    """Return the terms by which a teacher's answers must not train a student; empty if none are known.

    Models are named as in `Endpoint.base_model`, with or without publisher and version.
    """
    licence = _find_terms(normalize_model(teacher))
    if licence is None or any(fnmatchcase(normalize_model(student), allowed) for allowed in licence.students):
        return ""
    return licence.terms


def check_licence(endpoints: Mapping[Role, Endpoint], accepted: str | None) -> None:
    """Raise SettingsError for a pairing that the terms forbid, unless that very teacher was accepted."""
    problem = find_licence_problem(endpoints)
    if problem and accepted != endpoints[Role.TEACHER].base_model:
        raise SettingsError(problem)


def output_terms(teacher: Endpoint) -> str:
    """Return what is known of the terms for a teacher's answers, in a sentence."""
    if teacher.provider == "embedded":
        return "Its answers are quotes by rules of this product, which has no terms for them."
    licence = _find_terms(teacher.normalized_model)
    if licence is None:
        return "No terms for its answers are known here: read those of its service."
    return f"Terms for its answers, as read on {licence.date}: {licence.terms}."


def what_travels(teacher: str, student: str) -> list[str]:
    """Return what must travel with the student when it is handed on or offered to others, each as a noun phrase.

    First what its base model's licence demands, then what the terms for the teacher's answers demand besides.
    """
    base, licence = _find_base_licence(normalize_model(student)), _find_terms(normalize_model(teacher))
    demands = [base.travels if base else "", licence.travels if licence else ""]
    return [demand for demand in dict.fromkeys(demands) if demand]


def base_licence(student: Endpoint) -> str:
    """Return the identifier of the licence of the student's base model; empty where none is known."""
    licence = None if student.provider == "embedded" else _find_base_licence(student.normalized_model)
    return licence.licence if licence else ""


def _find_base_licence(model: str) -> BaseLicence | None:
    return next((one for one in _load_base_licences() if fnmatchcase(model, one.model)), None)


def _find_terms(teacher: str) -> Licence | None:
    fits = (one for one in _load_licences() if any(fnmatchcase(teacher, pattern) for pattern in one.teachers))
    return next(fits, None)


@cache
def _load_licences() -> tuple[Licence, ...]:
    return tuple(map(Licence.model_validate, _read_table(LICENCES_FILE)))


@cache
def _load_base_licences() -> tuple[BaseLicence, ...]:
    return tuple(map(BaseLicence.model_validate, _read_table(BASE_LICENCES_FILE)))


def _read_table(name: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = yaml.safe_load((resources.files("raft_assets.student") / name).read_text("utf-8"))
    return entries
