"""Documents in a language that the embedded models don't know: refused before anything is asked or trained."""

from pathlib import Path

import pytest

from raft_assets.core.errors import SettingsError
from raft_assets.core.tables import QAPair
from raft_assets.operations.languages import check_languages, sampled_languages
from raft_assets.settings.endpoints import Role
from raft_assets.storage.call_store import open_call_store
from raft_assets_tests.defs.language_domains import LANGUAGE_DOMAINS
from raft_assets_tests.harness import ProjectHarness

DOMAIN = "türme"
SENTENCE = (
    f"The documents of '{DOMAIN}' are in German, and TEACHER, BASELINE, STUDENT are of the embedded provider, which "
    "knows English alone: set TEACHER_OPENAI_BASE_URL and TEACHER_OPENAI_DEPLOYMENT"
)
ENGLISH = (
    "The lighthouse was built in 1871. Its keeper lived in the tower with two assistants, who lit the lamp at dusk."
)


@pytest.fixture
def project(tmp_path: Path) -> ProjectHarness:
    found = ProjectHarness(tmp_path)
    for path, text in list(LANGUAGE_DOMAINS["de"].documents().items())[:1]:
        found.write(f"data/{DOMAIN}/{path}", text)
    return found


def configured(*roles: Role) -> dict[str, str]:
    """Variables of roles whose models are at a service."""
    names = {"BASE_URL": "http://127.0.0.1:9/v1", "DEPLOYMENT": "m", "API_KEY": "none"}
    return {f"{role}_OPENAI_{name}": value for role in roles for name, value in names.items()}


def test_the_doctor_says_what_to_set_before_anything_runs(project: ProjectHarness) -> None:
    project.write("data/english/a.md", f"# A lighthouse\n\n{ENGLISH}\n")
    ended = project.raft_here("doctor")
    assert ended.returncode == 1
    (line,) = [line for line in ended.stdout.splitlines() if f"language {DOMAIN}" in line]
    assert line.startswith(f"problem  language {DOMAIN}: {SENTENCE}")
    assert "documents.language: en" in line
    assert "ok       language english: English 1" in ended.stdout


def test_a_run_ends_before_it_begins_and_nothing_is_asked(project: ProjectHarness) -> None:
    ended = project.raft_here("run", DOMAIN, "--yes")
    assert ended.returncode == 2
    assert SENTENCE in ended.stderr
    assert project.runs_of_command() == 0
    assert not project.lake.exists("source_documents", DOMAIN)


def test_a_preview_says_it_instead_of_rejecting_every_pair(project: ProjectHarness) -> None:
    ended = project.raft_here("preview", DOMAIN)
    assert ended.returncode == 2
    assert "languages: German 1" in ended.stdout
    assert "in German, and TEACHER is of the embedded provider" in ended.stderr


def test_what_calls_no_such_model_runs(project: ProjectHarness) -> None:
    project.own_variables = configured(Role.TEACHER)
    roles = [Role.TEACHER, Role.STUDENT]
    languages = sampled_languages(project.opened, DOMAIN)
    assert languages == {"de": 1}
    assert check_languages(project.opened, DOMAIN, languages, [Role.TEACHER]) == []
    with pytest.raises(SettingsError, match="in German, and STUDENT is of the embedded"):
        check_languages(project.opened, DOMAIN, languages, roles)


def test_the_asset_refuses_as_well_and_asks_no_teacher(project: ProjectHarness) -> None:
    assert not project.materialize(DOMAIN, "qa_pairs")
    assert "are in German, and TEACHER is of the embedded provider" in project.last_failure()
    assert not project.lake.exists(QAPair.table, DOMAIN)
    with open_call_store(project.opened) as store:
        assert {call.role for call in store.calls()} <= {"EMBEDDING"}


def test_a_teacher_that_is_asked_nothing_needs_no_language(project: ProjectHarness) -> None:
    project.write(f"data/{DOMAIN}/domain.yaml", "questions: {questions_per_chunk: 0}\n")
    assert check_languages(project.opened, DOMAIN, {"de": 1}, [Role.TEACHER]) == []


@pytest.mark.parametrize(
    ("variables", "refused"),
    [
        (configured(Role.TEACHER, Role.STUDENT), ""),  # the baseline is the student's base
        (configured(Role.TEACHER), "BASELINE, STUDENT"),
        (configured(Role.STUDENT), "TEACHER"),
        (
            configured(Role.TEACHER, Role.STUDENT) | {"STUDENT_OPENAI_DEPLOYMENT": "embedded-reader"},
            "BASELINE, STUDENT",
        ),
    ],
)
def test_each_role_that_is_embedded_is_named(project: ProjectHarness, variables: dict[str, str], refused: str) -> None:
    project.own_variables = variables
    if not refused:
        assert check_languages(project.opened, DOMAIN, {"de": 1}) == []
        return
    with pytest.raises(SettingsError, match=f"and {refused} (?:is|are) of the embedded"):
        check_languages(project.opened, DOMAIN, {"de": 1})


def test_a_person_may_say_that_documents_are_english(project: ProjectHarness) -> None:
    project.write(f"data/{DOMAIN}/domain.yaml", "documents: {language: en}\n")
    assert sampled_languages(project.opened, DOMAIN) == {"en": 1}
    assert "ok       language" in project.raft_here("doctor").stdout


def test_a_few_documents_in_another_language_are_a_warning(tmp_path: Path) -> None:
    project = ProjectHarness(tmp_path)
    (path, text), *_ = LANGUAGE_DOMAINS["zh"].documents().items()
    project.write(f"data/mixed/{path}", text)
    for name in ("a", "b"):
        project.write(f"data/mixed/{name}.md", f"# A lighthouse\n\n{ENGLISH}\n")
    ended = project.raft_here("doctor")
    assert (
        "warning  language mixed: English 2, Chinese 1; the embedded provider (TEACHER, BASELINE, STUDENT)"
        in ended.stdout
    )
