"""The list of models: what is said on which day, and which student may be trained and deployed how."""

from datetime import date

import pytest

from raft_assets.core.errors import SettingsError
from raft_assets.provisioning.catalogue import (
    AZURE,
    OPENAI,
    check_student,
    find_hosting_problem,
    life_cycle_of,
    shipped_catalogue,
    student_hosting,
)
from raft_assets.settings.endpoints import OPENAI_BASE_URL, Endpoint, HostingSettings, Role
from raft_assets.settings.environment import Environment
from raft_assets_tests.harness import REPOSITORY

TODAY = date(2026, 11, 29)
ON_AZURE = "https://mine.services.ai.azure.com/api/projects/p/openai/v1"


def student(model: str, address: str = ON_AZURE) -> Endpoint:
    return Endpoint(Role.STUDENT, "openai", model, address)


def test_every_entry_names_known_sources_and_what_is_preferred_can_be_trained_and_lasts() -> None:
    catalogue = shipped_catalogue()
    for model in catalogue.models:
        assert model.sources
        assert set(model.sources) <= set(catalogue.sources)
        assert model.kind == "embedding" or model.tuning or model.untunable or model.stage == "deprecated", model.name
    assert list(catalogue.preferred[Role.STUDENT]) == catalogue.lasting_students(TODAY)
    assert set(catalogue.regions.complete) <= set(catalogue.regions.training)
    assert max(source.dated for source in catalogue.sources.values()) <= catalogue.read


@pytest.mark.parametrize(
    ("model", "address", "day", "said", "is_refused"),
    [
        ("gpt-oss-20b", ON_AZURE, TODAY, None, False),
        ("our-deployment", ON_AZURE, TODAY, None, False),  # a name that tells nothing
        # existing customers train on: it is said, and not refused, also after a date that is the earliest
        ("gpt-4.1-mini-2025-04-14", ON_AZURE, TODAY, "only customers who used it before", False),
        ("gpt-4.1-mini-2025-04-14", ON_AZURE, date(2027, 5, 1), "accepted until at least 2027-04-14", False),
        ("gpt-5", ON_AZURE, TODAY, "by reinforcement only", True),
        ("gpt-oss-120b", ON_AZURE, TODAY, "provisioned throughput", True),
        # OpenAI itself: the last day counts
        ("gpt-4o-mini-2024-07-18", OPENAI_BASE_URL, date(2027, 1, 5), "accepted until 2027-01-06", False),
        ("gpt-4o-mini-2024-07-18", OPENAI_BASE_URL, date(2027, 1, 6), "no longer fine-tuned since 2027-01-06", True),
        ("gpt-4.1-nano", OPENAI_BASE_URL, date(2026, 10, 22), "answer until 2026-10-23", False),
        ("gpt-4.1-nano", OPENAI_BASE_URL, TODAY, "third party", True),
        ("any-model", "https://api.mistral.ai/v1", TODAY, "has deprecated its fine-tuning", True),
        ("meta-llama/Llama-3.3-70B-Instruct", "https://api.tokenfactory.nebius.com/v1", TODAY, None, False),
    ],
)
def test_a_base_model_is_told_of_before_it_ends_and_refused_after(
    model: str, address: str, day: date, said: str | None, is_refused: bool
) -> None:
    endpoint = student(model, address)
    found = life_cycle_of(endpoint, day, is_trained=True)
    assert (said is None) == (found is None)
    if found is not None and said is not None:
        assert said in found.sentence
        assert found.is_refused == is_refused
        assert "gpt-oss-20b, Qwen3-32B, Ministral-3B and Llama-3.3-70B-Instruct" in found.sentence
    if is_refused:
        with pytest.raises(SettingsError, match=f"RAFT_ACCEPT_MODEL={model}"):
            check_student(endpoint, HostingSettings(), day, accepted=None)
        check_student(endpoint, HostingSettings(), day, accepted=model)
        taken = life_cycle_of(endpoint, day, is_trained=True, accepted=model)
        assert taken is not None
        assert not taken.is_refused
        assert "It is trained because RAFT_ACCEPT_MODEL names it" in taken.sentence


def test_a_teacher_that_ends_within_a_year_is_told_with_its_successor() -> None:
    teacher = Endpoint(
        Role.TEACHER, "azure", "my-deployment", "https://mine.openai.azure.com", underlying_model="gpt-4o"
    )
    found = life_cycle_of(teacher, TODAY, is_trained=False)
    assert found is not None
    assert "gpt-4o was retired on 2026-10-01" in found.sentence
    assert "gpt-5.1 can be taken instead" in found.sentence
    later = Endpoint(Role.TEACHER, "azure", "gpt-5.1", "https://mine.openai.azure.com")
    assert life_cycle_of(later, date(2026, 5, 14), is_trained=False) is None
    assert life_cycle_of(later, date(2026, 5, 16), is_trained=False) is not None


@pytest.mark.parametrize(
    ("model", "hosting"),
    [
        ("gpt-oss-20b", ("GlobalStandard", 100, "Microsoft", "globalStandard")),
        ("Qwen3-32B", ("GlobalStandard", 100, "Alibaba", "globalStandard")),
        ("Ministral-3B", ("GlobalStandard", 100, "Mistral AI", "globalStandard")),
        ("Llama-3.3-70B-Instruct", ("GlobalStandard", 100, "Meta", "globalStandard")),
        ("gpt-4.1-nano-2025-04-14", ("DeveloperTier", 50, "OpenAI", None)),
        ("gpt-4o-mini-2024-07-18", ("GlobalStandard", 50, "OpenAI", None)),
        ("our-deployment", ("DeveloperTier", 50, "OpenAI", None)),
    ],
)
def test_the_deployment_follows_the_student(model: str, hosting: tuple[str, int, str, str | None]) -> None:
    found = Environment({}, {}).hosting(student_hosting(student(model)))
    assert (found.sku, found.capacity, found.model_format, found.training_type) == hosting
    assert find_hosting_problem(student(model), found) == ""


@pytest.mark.parametrize(
    ("model", "variables", "said"),
    [
        (
            "gpt-oss-20b",
            {"STUDENT_DEPLOYMENT_SKU": "DeveloperTier"},
            "set STUDENT_DEPLOYMENT_SKU to GlobalStandard, or",
        ),
        ("gpt-4o-mini", {"STUDENT_DEPLOYMENT_SKU": "developertier"}, "GlobalStandard, DataZoneStandard or Standard"),
        ("Qwen3-32B", {"STUDENT_TRAINING_TYPE": "Standard"}, "set STUDENT_TRAINING_TYPE to globalStandard"),
    ],
)
def test_a_combination_that_the_service_refuses_after_training_is_refused_before(
    model: str, variables: dict[str, str], said: str
) -> None:
    endpoint = student(model)
    hosting = Environment(variables, {}).hosting(student_hosting(endpoint))
    with pytest.raises(SettingsError, match=said):
        check_student(endpoint, hosting, TODAY, accepted=None)


@pytest.mark.parametrize(
    ("preset", "student"),
    [
        ("gpt-oss-20b", "gpt-oss-20b"),
        ("qwen3-32b", "Qwen3-32B"),
        ("ministral-3b", "Ministral-3B"),
        ("llama-3.3-70b", "Llama-3.3-70B-Instruct"),
        ("gpt-4.1", "gpt-4.1-mini"),
        ("gpt-4o", "gpt-4o-mini"),
        ("llama-3.1-8b", "Meta-Llama-3.1-8B-Instruct"),
        ("llama-2-7b", "Llama-2-7b"),
    ],
)
def test_a_preset_tells_the_end_that_the_list_has(preset: str, student: str) -> None:
    text = (REPOSITORY / "presets" / f"{preset}.yaml").read_text("utf-8")
    known = shipped_catalogue().find(AZURE, student)
    assert known is not None
    if known.lasts(TODAY):
        assert f"STUDENT_AZURE_OPENAI_DEPLOYMENT={student}" in text
        assert "no end known" in text
    elif known.tuning is None:
        assert f"Retired on Azure on {known.retires}" in text
    else:
        at_openai = shipped_catalogue().find(OPENAI, student)
        assert at_openai is not None
        assert at_openai.tuning is not None
        for day in (known.retires, known.tuning.ends, known.tuning.students_end, at_openai.tuning.ends):
            assert str(day) in text
