"""What a token costs, and how loudly an unknown price is said."""

from dataclasses import replace
from pathlib import Path

import pytest

from raft_assets.core.errors import SettingsError
from raft_assets.llm.keys import BATCH_SUFFIX, TRAINING_KIND
from raft_assets.llm.prices import FREE, Price, PriceList
from raft_assets.llm.requests import Usage
from raft_assets.settings.endpoints import Endpoint, Role
from raft_assets.settings.prices import PRICES_FILE

OPENAI = "https://api.openai.com/v1"
USAGE = Usage(input_tokens=1_000_000, cached_tokens=400_000, output_tokens=500_000)


def own(folder: Path, text: str) -> PriceList:
    (folder / PRICES_FILE).write_text(text, "utf-8")
    return PriceList(folder)


def test_the_kept_list_knows_hosted_models_and_counts_cached_tokens_apart(tmp_path: Path) -> None:
    price = PriceList(tmp_path).at(OPENAI, "gpt-4o-mini")
    assert price.of(USAGE) == pytest.approx(0.6 * 0.15 + 0.4 * 0.075 + 0.5 * 0.6)
    assert price.training_cost(2_000_000) == pytest.approx(6.0)
    assert "genai-prices" in price.source


def test_a_model_of_a_famous_name_at_another_address_has_no_known_price(tmp_path: Path) -> None:
    price = PriceList(tmp_path).at("http://10.0.0.7:8000/v1", "gpt-4o-mini")
    assert price.of(USAGE) is None
    assert price.training_cost(1) is None
    assert price.source == "unknown"


def test_the_embedded_provider_is_free(tmp_path: Path) -> None:
    prices = own(tmp_path, "- {model: '*', input: 1, source: ours, date: 2026-11-01}")
    assert prices.of(Endpoint(Role.TEACHER, "embedded", "embedded-teacher")) == FREE
    assert prices.at("embedded", "embedded-teacher") == FREE  # as stored calls name it
    assert FREE.of(USAGE) == 0


def test_a_service_on_this_machine_is_free_unless_the_project_gives_it_a_price(tmp_path: Path) -> None:
    local = Endpoint(Role.TEACHER, "openai", "gpt-4o-mini", "http://localhost:8000/v1")
    prices = PriceList(tmp_path, [local])
    assert prices.of(local) == prices.at(local.service, "gpt-4o-mini") == prices.at(local.service, "ft:x:y") == FREE
    entry = "- {model: gpt-4o-mini, input: 1, output: 2, training: 3, source: a proxy, date: 2026-11-01}"
    proxied = own(tmp_path, entry)
    assert proxied.of(local).of(USAGE) == proxied.at(local.service, "gpt-4o-mini").of(USAGE) == pytest.approx(2)
    assert proxied.at(local.service, "ft:gpt-4o-mini:ours").training_cost(1_000_000) == pytest.approx(3)
    assert proxied.at(local.service, "another-model") == FREE


def test_what_is_declared_free_has_no_unknown_price(tmp_path: Path) -> None:
    ours = Endpoint(Role.STUDENT, "openai", "ours", "https://llm.example/v1", is_declared_free=True)
    theirs = replace(ours, role=Role.TEACHER, model="theirs", is_declared_free=False)
    prices = PriceList(tmp_path, [ours, theirs])
    assert prices.of(ours) == prices.at(ours.service, "ours") == prices.at(ours.service, "fine-tuned") == FREE
    assert prices.at(ours.service, "theirs").input is None


def test_the_projects_own_prices_come_first_and_fill_what_others_leave_open(tmp_path: Path) -> None:
    prices = own(
        tmp_path,
        """
        - {model: "gpt-4o-mini", input: 0.10, source: our contract, date: 2026-11-01}
        - {model: "our-*", service: "https://ours.*", input: 1, output: 2, source: ours, date: 2026-11-01}
        """,
    )
    mini = prices.at(OPENAI, "gpt-4o-mini")
    assert (mini.input, mini.output) == (0.10, 0.6)
    assert mini.source.startswith("our contract, 2026-11-01; ")
    deployed = prices.at("https://ours.openai.azure.com", "our-model")
    assert deployed.of(USAGE) == pytest.approx(1 + 2 * 0.5)  # without a price of their own cached tokens cost as input
    assert prices.at("https://theirs.openai.azure.com", "our-model").input is None


def test_a_deployment_whose_name_does_not_tell_costs_what_the_model_behind_it_costs(tmp_path: Path) -> None:
    (tmp_path / PRICES_FILE).write_text(
        "- {model: big, input: 9, source: s, date: 2026-11-01}\n- {model: ours, input: 1, source: s, date: 2026-11-01}"
    )
    azure = "https://ours.openai.azure.com"
    teacher = Endpoint(Role.TEACHER, "azure", "ours", azure, underlying_model="big")
    student = Endpoint(Role.STUDENT, "azure", "big", azure)
    prices = PriceList(tmp_path, [teacher, student])
    assert prices.of(teacher).input == prices.at(azure, "ours").input == 9
    assert prices.at("https://theirs.openai.azure.com", "ours").input == 1  # a model of that name somewhere else
    assert prices.at(azure, "something").input is None
    assert prices.at(azure, "raft-bats-3f08").input == 9  # a student that this product deployed
    assert prices.at("https://theirs.openai.azure.com", "raft-bats-3f08").input is None


def test_a_name_like_that_of_a_students_deployment_is_no_student_of_another_role(tmp_path: Path) -> None:
    (tmp_path / PRICES_FILE).write_text("- {model: big, input: 9, source: s, date: 2026-11-01}")
    teacher = Endpoint(Role.TEACHER, "azure", "big", "https://ours.openai.azure.com")
    assert PriceList(tmp_path, [teacher]).at(teacher.service, "raft-bats-3f08").input is None


def test_another_model_of_an_endpoint_has_a_price_of_its_own(tmp_path: Path) -> None:
    prices = PriceList(tmp_path)
    endpoint = Endpoint(Role.TEACHER, "openai", "gpt-4o-mini", OPENAI)
    assert prices.of(endpoint) == prices.at(OPENAI, "gpt-4o-mini")
    assert prices.of(endpoint, "gpt-4o") == prices.at(OPENAI, "gpt-4o") != prices.of(endpoint)


def test_only_sources_that_a_price_was_taken_from_are_named(tmp_path: Path) -> None:
    prices = own(
        tmp_path,
        "- {model: m, input: 1, output: 2, source: first, date: 2026-11-01}\n"
        "- {model: m, input: 3, source: second, date: 2026-11-01}\n"
        "- {model: m, input: 4, cached: 1, source: third, date: 2026-11-01}\n",
    )
    assert prices.at("http://ours/v1", "m").source == "first, 2026-11-01; third, 2026-11-01"


def test_a_price_that_depends_on_the_length_of_the_prompt_is_not_known(tmp_path: Path) -> None:
    # the kept list has tiers for it, of which the first would be too low for long prompts
    price = PriceList(tmp_path).at("https://generativelanguage.googleapis.com", "gemini-2.5-pro")
    assert (price.input, price.output) == (None, None)


def test_a_student_that_azure_ml_hosts_costs_what_its_base_model_costs(tmp_path: Path) -> None:
    (tmp_path / PRICES_FILE).write_text("- {model: Llama-2-7b, input: 3, source: the marketplace, date: 2026-11-01}")
    student = Endpoint(
        Role.STUDENT, "azureml", "azureml://models/Llama-2-7b", "azureml://ws", underlying_model="Llama-2-7b"
    )
    prices = PriceList(tmp_path, [student])
    assert prices.at("https://raft-small.region.models.ai.azure.com/v1", "raft-small-3f08").input == 3
    assert prices.at("https://raft-small.region.models.ai.azure.com/v1", "somebody-else").input is None


def test_a_fine_tuned_model_costs_what_its_base_model_does_unless_it_has_a_price_of_its_own(tmp_path: Path) -> None:
    prices = own(
        tmp_path,
        """
        - {model: "small", input: 1, output: 2, source: ours, date: 2026-11-01}
        - {model: "ft:small:*", input: 5, source: ours, date: 2026-11-01}
        - {model: "other", input: 7, source: ours, date: 2026-11-01}
        """,
    )
    tuned = prices.at("http://ours/v1", "ft:small:us:raft:1")
    assert (tuned.input, tuned.output) == (5, 2)
    assert prices.at("http://ours/v1", "ft:other:us:raft:1").input == 7


def test_what_is_not_used_needs_no_price(tmp_path: Path) -> None:
    prices = own(tmp_path, "- {model: embed, input: 1, source: ours, date: 2026-11-01}")
    assert prices.at("http://ours/v1", "embed").of(Usage(input_tokens=10)) == pytest.approx(1e-5)
    assert prices.at("http://ours/v1", "embed").of(Usage(output_tokens=10)) is None


def test_a_call_of_a_batch_costs_its_share(tmp_path: Path) -> None:
    prices = own(
        tmp_path,
        "- {model: half, input: 1, source: s, date: 2026-11-01}\n"
        "- {model: third, input: 3, batch: 0.3, source: s, date: 2026-11-01}\n",
    )
    used = Usage(input_tokens=1_000_000)
    assert prices.at("http://ours/v1", "half").of(used, batched=True) == pytest.approx(0.5)
    assert prices.at("http://ours/v1", "third").of(used, batched=True) == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("kind", "dollars"),
    [
        ("chat", 2.0 + 3 * 0.5),
        (f"chat{BATCH_SUFFIX}", 0.25 * (2.0 + 3 * 0.5)),
        (TRAINING_KIND, 7.0),  # the tokens of all epochs, and nothing for an answer
    ],
)
def test_what_a_call_cost_depends_on_its_kind(kind: str, dollars: float) -> None:
    price = Price(input=2.0, cached=None, output=3.0, training=7.0, source="s", batch=0.25)
    assert price.call_cost(kind, Usage(input_tokens=1_000_000, output_tokens=500_000)) == pytest.approx(dollars)


def test_a_training_of_an_unknown_price_is_unknown() -> None:
    price = Price(input=2.0, cached=None, output=3.0, training=None, source="s")
    assert price.call_cost(TRAINING_KIND, Usage(input_tokens=1)) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("model: x", "must hold a list of prices"),
        ("- {model: x, input: 1, date: 2026-11-01}", "entry 1: source: Field required"),
        ("- {model: x, input: -1, source: s, date: 2026-11-01}", "entry 1: input: Input should be greater"),
        ("- {model: x, batch: 1.5, source: s, date: 2026-11-01}", "entry 1: batch: Input should be less"),
        ("- {model: x, source: s, date: 2026-11-01}\n- 3", "entry 2: the entry: Input should be a valid"),
        ("- {model: x, inptu: 1, source: s, date: 2026-11-01}", "entry 1: inptu: Extra inputs"),
        ("- [", "is not readable as YAML"),
    ],
)
def test_a_wrong_price_file_is_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says) as error:
        own(tmp_path, text)
    assert PRICES_FILE in str(error.value)
