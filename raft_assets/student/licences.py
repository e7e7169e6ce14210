"""Licence terms: a teacher whose terms forbid training the student is rejected before any paid call.

`licences.yaml` contains the terms. It is our reading of them and no legal advice.
"""

from collections.abc import Mapping
from datetime import date
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources

import yaml
from pydantic import BaseModel, ConfigDict

from raft_assets.core.errors import SettingsError
from raft_assets.settings.endpoints import Endpoint, Role

LICENCES_FILE = "licences.yaml"
ACCEPT_VARIABLE = "RAFT_ACCEPT_LICENCE"  # names the teacher's model: accepting one teacher doesn't accept the next


class Licence(BaseModel):
    """An entry of the table; `teacher` and `students` are patterns of model names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    teacher: str
    students: tuple[str, ...]
    terms: str
    date: date


def find_licence_problem(endpoints: Mapping[Role, Endpoint]) -> str:
    """Return what the teacher's terms have against the student, in a sentence; empty if nothing.

    A model is known by its name, or by `<ROLE>_MODEL` where a deployment's name says nothing. The embedded reader is no
    language model and competes with none.
    """
    teacher, student = endpoints[Role.TEACHER], endpoints[Role.STUDENT]
    licence = next((entry for entry in _load_licences() if fnmatchcase(teacher.normalized_model, entry.teacher)), None)
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


@cache
def _load_licences() -> tuple[Licence, ...]:
    text = (resources.files("raft_assets.student") / LICENCES_FILE).read_text("utf-8")
    return tuple(Licence.model_validate(entry) for entry in yaml.safe_load(text))
