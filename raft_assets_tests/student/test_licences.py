"""Whose answers may train whom, and that nothing is paid where they mustn't."""

from pathlib import Path

import pytest

from raft_assets.core.errors import SettingsError
from raft_assets.operations.model_clients import ModelClients
from raft_assets.settings.endpoints import Endpoint, Role
from raft_assets.settings.project import Project
from raft_assets.student.licences import base_licence, check_licence, find_licence_problem, output_terms, what_travels
from raft_assets_tests.harness import ProjectHarness


def endpoints(teacher: str, student: str, known_as: str = "") -> dict[Role, Endpoint]:
    return {
        Role.TEACHER: Endpoint(Role.TEACHER, "openai", teacher),
        Role.STUDENT: Endpoint(Role.STUDENT, "azure", student, underlying_model=known_as),
    }


@pytest.mark.parametrize(
    ("teacher", "student", "forbidden_by"),
    [
        ("gpt-4o-2024-08-06", "gpt-4o-mini-2024-07-18", ""),
        ("o3", "gpt-4.1-nano", ""),
        ("gpt-4.1", "Meta-Llama-3.1-8B-Instruct", "compete with OpenAI"),
        ("gpt-oss-120b", "Llama-3.3-70B-Instruct", ""),  # Apache 2.0, in spite of its name
        ("gpt-5.1-2025-11-13", "gpt-oss-20b", "compete with OpenAI"),  # in spite of its name, none of OpenAI's services
        ("gpt-9", "Qwen3-32B", "compete with OpenAI"),  # a later model of theirs is one of theirs
        ("gpt-5.5", "gpt-4.1-mini-2025-04-14", ""),
        ("DeepSeek-V3.2", "Ministral-3B", ""),
        ("deepseek-ai/DeepSeek-V3", "gpt-oss-20b", ""),  # allowed, with terms that travel
        ("google/gemma-3-27b-it", "Qwen3-32B", ""),
        ("Qwen/Qwen2.5-72B-Instruct", "gpt-oss-20b", ""),
        ("Mistral-Large-3", "Llama-3.3-70B-Instruct", ""),
        ("Llama-4-Maverick-17B-128E-Instruct-FP8", "gpt-oss-20b", ""),
        ("meta-llama/Llama-2-70b-chat", "Meta-Llama-3.1-8B", ""),
        ("Llama-2-70b-chat", "gpt-4o-mini", "must not improve any other"),
        ("meta-llama/Meta-Llama-3-70B-Instruct", "mistral-7b", "must not improve any other"),
        ("Meta-Llama-3.1-405B-Instruct", "gpt-oss-20b", ""),
        ("claude-sonnet-4", "gpt-4o-mini", "Anthropic"),
        ("mistral-large", "gpt-4o-mini", ""),
        ("gpt-4o", "our-deployment", ""),  # a name that tells nothing is no proof
    ],
)
def test_a_teacher_whose_terms_forbid_it_teaches_no_other_family(teacher: str, student: str, forbidden_by: str) -> None:
    problem = find_licence_problem(endpoints(teacher, student))
    assert forbidden_by in problem
    assert bool(problem) == bool(forbidden_by)


@pytest.mark.parametrize(
    ("student", "licence"),
    [
        ("openai/gpt-oss-20b", "apache-2.0"),
        ("Meta-Llama-3.1-8B-Instruct", "llama3.1"),
        ("meta-llama/Meta-Llama-3-8B", "llama3"),
        ("Qwen/Qwen3-0.6B", "apache-2.0"),
        ("qwen3-max", ""),  # not open
        ("gpt-4.1-nano", ""),
        ("our-deployment", ""),
    ],
)
def test_the_licence_of_an_open_base_model_is_named_as_the_hub_names_it(student: str, licence: str) -> None:
    assert base_licence(Endpoint(Role.STUDENT, "openai", student)) == licence


@pytest.mark.parametrize(
    ("teacher", "student", "travels"),
    [
        ("gpt-oss-120b", "gpt-oss-20b", ["Apache License 2.0"]),
        ("Llama-3.3-70B-Instruct", "gpt-oss-20b", ["Apache License 2.0", "a name that begins with Llama"]),
        ("google/gemma-3-27b-it", "Qwen/Qwen3-0.6B", ["Apache License 2.0", "Gemma Terms of Use"]),
        ("gemma-4-31b-it", "google/gemma-3-270m", ["Gemma Terms of Use"]),  # the teacher's terms are Apache's by then
        ("Qwen/Qwen2.5-72B-Instruct", "meta-llama/Llama-3.3-70B-Instruct", ["Built with Llama", "Built with Qwen"]),
        ("DeepSeek-V3", "Ministral-3B", ["use restrictions of the DeepSeek Model License"]),
        ("DeepSeek-V3.2", "Ministral-3B", []),  # nothing is known of the base model's
        ("our-deployment", "our-deployment", []),
    ],
)
def test_what_must_travel_with_a_student_is_told_of_base_model_and_teacher(
    teacher: str, student: str, travels: list[str]
) -> None:
    told = what_travels(teacher, student)
    assert len(told) == len(travels)
    assert all(part in demand for part, demand in zip(travels, told, strict=True)), told


def test_the_terms_for_a_teachers_answers_are_told_or_said_to_be_unknown() -> None:
    assert "must not be used to develop models that compete" in output_terms(Endpoint(Role.TEACHER, "openai", "gpt-4o"))
    assert "read those of its service" in output_terms(Endpoint(Role.TEACHER, "openai", "our-deployment"))


def test_a_deployment_is_known_by_the_model_behind_it() -> None:
    assert "must not be used to train" in find_licence_problem(
        endpoints("gpt-4o", "our-deployment", known_as="Llama-3.1-8B")
    )


def test_a_yes_to_one_teacher_is_no_yes_to_the_next() -> None:
    check_licence(endpoints("gpt-4o", "Llama-3.1-8B"), "gpt-4o")
    with pytest.raises(SettingsError, match=r"RAFT_ACCEPT_LICENCE=gpt-4\.1"):
        check_licence(endpoints("gpt-4.1", "Llama-3.1-8B"), "gpt-4o")


def test_nothing_is_asked_where_it_is_forbidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAFT_PROVIDER", raising=False)
    project = ProjectHarness(tmp_path)
    roles = {"TEACHER": "gpt-4o", "STUDENT": "Llama-3.1-8B", "EMBEDDING": "text-embedding-3-small"}
    variables = {f"{role}_OPENAI_DEPLOYMENT": model for role, model in roles.items()}
    variables |= {f"{role}_OPENAI_BASE_URL": "http://127.0.0.1:9/v1" for role in roles}
    project.write(".env", "".join(f"{name}={value}\n" for name, value in variables.items()))
    models = ModelClients(Project.load(project.folder))
    for role in (Role.EMBEDDING, Role.TEACHER, Role.BASELINE):
        with (
            pytest.raises(SettingsError, match="TEACHER gpt-4o must not be used to train STUDENT Llama-3"),
            models.caller(role),
        ):
            pass
