"""`raft doctor` against services as they are: slow, thinking, without fine-tuning, cutting prompts."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raft_assets_tests.harness import ProjectHarness
from raft_assets_tests.llm.service import NOT_FOUND, Reply, Seen, Service, chat, error

OWN = "student: {finetuned_model: mine}\n"


@pytest.fixture
def service() -> Iterator[Service]:
    running = Service()
    yield running
    running.stop()


@pytest.fixture
def project(tmp_path: Path, service: Service) -> ProjectHarness:
    """All roles at one service: teacher and judge are one model, the student's base is another."""
    project = ProjectHarness(tmp_path)
    project.write("data/bridges/a.txt", "The Halden bridge was opened in 1907 by Marit Lund.\n")
    models = {"TEACHER": "large", "JUDGE": "large", "STUDENT": "base", "EMBEDDING": "encoder"}
    project.own_variables = {f"{role}_OPENAI_DEPLOYMENT": model for role, model in models.items()} | {
        f"{role}_OPENAI_BASE_URL": service.url for role in models
    }
    return project


def asked(service: Service) -> list[tuple[str, int]]:
    """Model and length of every test call, which may come in any order."""
    return sorted((seen.body["model"], len(seen.question)) for seen in service.seen if seen.body)


def reads_at_most(tokens: int) -> Callable[[Seen], Reply | None]:
    return lambda seen: (
        Reply(body=chat("yes").body | {"usage": {"prompt_tokens": min(tokens, len(seen.question.split()) + 8)}})
        if "messages" in seen.body
        else None
    )


def test_roles_are_asked_side_by_side_and_those_with_one_model_once(project: ProjectHarness, service: Service) -> None:
    service.holds = lambda seen: bool(seen.body)
    doctor = project.start("doctor")
    service.wait_until(lambda seen: seen.held == 3)
    assert {model for model, _ in asked(service)} == {"large", "base", "encoder"}
    service.release()
    said, _ = doctor.communicate()
    assert len(asked(service)) == 6  # a short question to each of the three models, and a long prompt
    assert f"ok       role TEACHER: large at {service.url} answers\n" in said
    assert f"ok       role JUDGE: large at {service.url} answers, asked once for TEACHER and JUDGE\n" in said


def test_the_same_model_with_another_key_is_asked_for_itself(project: ProjectHarness, service: Service) -> None:
    service.rule = lambda seen: error(401) if seen.headers["authorization"] == "Bearer stale" else None
    project.own_variables["JUDGE_OPENAI_API_KEY"] = "stale"
    said = project.raft_here("doctor").stdout
    assert f"ok       role TEACHER: large at {service.url} answers\n" in said
    assert "problem  role JUDGE: JUDGE (model large" in said


def test_a_problem_of_two_roles_is_described_once(project: ProjectHarness, service: Service) -> None:
    service.rule = lambda seen: error(404) if seen.body.get("model") == "large" else None
    ended = project.raft_here("doctor")
    assert ended.returncode == 1
    assert ended.stdout.count("does not exist there (404") == 1
    assert "problem  role JUDGE: it has the endpoint and the model of TEACHER" in ended.stdout


def test_a_student_of_ones_own_is_asked_and_no_fine_tuning_is_looked_for(
    project: ProjectHarness, service: Service
) -> None:
    project.write("data/bridges/domain.yaml", OWN)
    ended = project.raft_here("doctor")
    assert ended.returncode == 0, ended.stdout
    assert f"ok       role STUDENT: mine at {service.url} answers; it is a student of your own" in ended.stdout
    assert "mine" in {model for model, _ in asked(service)}
    assert not any("fine_tuning" in seen.path for seen in service.seen)


def test_an_own_student_that_the_service_does_not_know_is_a_problem_that_names_the_setting(
    project: ProjectHarness, service: Service
) -> None:
    project.write("data/bridges/domain.yaml", OWN)
    service.rule = lambda seen: NOT_FOUND if seen.body.get("model") == "mine" else None
    ended = project.raft_here("doctor")
    assert ended.returncode == 1
    assert "STUDENT (model mine at " in ended.stdout
    assert "student.finetuned_model names in domain.yaml" in ended.stdout


def test_a_service_without_fine_tuning_is_said_and_stops_nothing_else(
    project: ProjectHarness, service: Service
) -> None:
    ended = project.raft_here("doctor")
    assert ended.returncode == 0, ended.stdout
    assert f"warning  role STUDENT: base at {service.url} has no fine-tuning API (404)" in ended.stdout
    project.write("data/bridges/domain.yaml", OWN)
    project.write("data/rivers/a.txt", "The Glomma is 600 kilometres long.\n")
    mixed = project.raft_here("doctor").stdout
    assert f"ok       role STUDENT: mine at {service.url} answers" in mixed
    assert f"warning  role STUDENT: base at {service.url} has no fine-tuning API (404)" in mixed


def test_a_service_that_cuts_prompts_is_told_to_the_roles_whose_prompts_are_longer(
    project: ProjectHarness, service: Service
) -> None:
    service.rule = reads_at_most(2000)
    ended = project.raft_here("doctor")
    assert ended.returncode == 0, ended.stdout
    assert "warning  prompt BASELINE: base read only 2,000 tokens of a prompt of 3,284 words" in ended.stdout
    assert "prompt TEACHER" not in ended.stdout
    service.rule = reads_at_most(10_000)
    assert "warning  prompt" not in project.raft_here("doctor").stdout


def test_a_context_that_the_service_reports_is_held_against_the_prompts_of_every_domain(
    project: ProjectHarness, service: Service
) -> None:
    listed = [{"id": model, "max_model_len": tokens} for model, tokens in {"base": 4096, "large": 512}.items()]
    service.rule = lambda seen: Reply(body={"data": listed}) if seen.path.endswith("/v1/models") else None
    ended = project.raft_here("doctor")
    assert ended.returncode == 1
    assert "ok       context BASELINE: base takes 4,096 tokens (reported by the service), of which " in ended.stdout
    assert "ok       context STUDENT: base takes 4,096 tokens (reported by the service), of which " in ended.stdout
    assert (
        "problem  context TEACHER: large takes 512 tokens (reported by the service), and a prompt of bridges with its "
        "answer may have about 1,684: lower chunks.chunk_size or questions.max_answer_tokens, or start the service "
    ) in ended.stdout


def test_a_domain_with_a_broken_setting_hides_nothing_of_the_models(project: ProjectHarness, service: Service) -> None:
    project.write("data/rivers/a.txt", "The Glomma is 600 kilometres long.\n")
    project.write("data/rivers/domain.yaml", "chunks: 3\n")
    said = project.raft_here("doctor").stdout
    assert "problem  settings: " in said
    assert f"ok       role TEACHER: large at {service.url} answers" in said


def test_without_a_domain_the_models_are_asked_all_the_same(project: ProjectHarness, service: Service) -> None:
    shutil.rmtree(project.folder / "data" / "bridges")
    said = project.raft_here("doctor").stdout
    assert "problem  domains: There is no domain" in said
    assert f"ok       role TEACHER: large at {service.url} answers" in said
    (project.folder / "data").rmdir()
    said = project.raft_here("doctor").stdout
    assert "problem  domains: There is no folder" in said
    assert f"ok       role TEACHER: large at {service.url} answers" in said


def test_a_home_that_can_not_be_used_is_a_finding_and_no_end(project: ProjectHarness) -> None:
    file = project.write("home", "a file where a folder should be")
    ended = project.raft("doctor", variables={"RAFT_HOME": str(file)})
    assert ended.returncode == 1
    assert f"problem  home: {file} can't be created" in ended.stdout
    assert "problem  lake: " in ended.stdout
    assert "problem  roles: " in ended.stdout
    assert ended.stderr == ""
