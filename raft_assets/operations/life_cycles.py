"""Whether the project's models last: what is said, and refused, before anything is paid.

What is known of a model is in `provisioning/catalogue`; here it is laid over the project's roles and settings.
"""

from datetime import date

from raft_assets.operations.hosting import hosting_settings
from raft_assets.provisioning.catalogue import ACCEPT_VARIABLE, LifeCycle, check_student, find_model, life_cycle_of
from raft_assets.settings.endpoints import Role
from raft_assets.settings.project import Project


def check_student_model(project: Project, today: date) -> None:
    """Raise SettingsError for a student that can't be trained any more, or not be deployed as the settings say.

    The user may say that the service takes it all the same, because a list of dates may be older than the service.
    """
    accepted = project.environment.get(ACCEPT_VARIABLE)
    check_student(project.endpoints[Role.STUDENT], hosting_settings(project), today, accepted)


def role_life_cycles(project: Project, today: date, *, is_trained: bool) -> dict[Role, LifeCycle | None]:
    """Return for each role whose model is listed what is to be said of its end; None where none is known within a year.

    `is_trained`: whether a student is to be fine-tuned. Of a baseline that is the student's base model the student's
    line speaks as well.
    """
    found, accepted = dict[Role, LifeCycle | None](), project.environment.get(ACCEPT_VARIABLE)
    for role, endpoint in project.endpoints.items():
        trained = is_trained and role is Role.STUDENT
        if find_model(endpoint) is None or (is_trained and role is Role.BASELINE and _is_student(project)):
            continue
        found[role] = life_cycle_of(endpoint, today, is_trained=trained, accepted=accepted)
    return found


def _is_student(project: Project) -> bool:
    baseline, student = project.endpoints[Role.BASELINE], project.endpoints[Role.STUDENT]
    return (baseline.service, baseline.base_model) == (student.service, student.base_model)
