"""What models take: by their family's name, and as their service said."""

from pathlib import Path

import pytest

from raft_assets.llm.capabilities import LEARNED, Capabilities, table
from raft_assets.settings.endpoints import Endpoint, Role

OPENAI = "https://api.openai.com/v1"


@pytest.mark.parametrize(
    ("model", "refused"),
    [
        ("gpt-5-mini-2025-08-07", {"max_tokens": "max_completion_tokens", "temperature": None}),
        ("o4-mini", {"max_tokens": "max_completion_tokens", "temperature": None}),
        ("gpt-5-chat-latest", {"max_tokens": "max_completion_tokens", "reasoning_effort": None}),
        ("gpt-3.5-turbo-0125", {"max_completion_tokens": "max_tokens", "reasoning_effort": None}),
        ("gpt-4.1-mini", {"reasoning_effort": None}),
        ("gpt-oss-20b", {}),
        ("my-deployment", {}),
    ],
)
def test_a_family_is_known_by_its_name(model: str, refused: dict[str, str | None], tmp_path: Path) -> None:
    assert Capabilities(tmp_path, OPENAI, model, family=model).substitutes == refused


def test_what_a_service_refused_is_known_to_every_later_process_for_that_model_alone(tmp_path: Path) -> None:
    Capabilities(tmp_path, OPENAI, "my-deployment", family="my-deployment").learn("temperature", None)
    Capabilities(tmp_path, "http://127.0.0.1:1/v1", "my-deployment", family="my-deployment").learn(
        "max_completion_tokens", "max_tokens"
    )
    assert Capabilities(tmp_path, OPENAI, "my-deployment", family="my-deployment").substitutes == {"temperature": None}
    assert Capabilities(tmp_path, OPENAI, "other", family="other").substitutes == {}


def test_what_a_service_said_counts_more_than_the_table(tmp_path: Path) -> None:
    Capabilities(tmp_path, OPENAI, "gpt-5-old", family="gpt-5-old").learn("max_completion_tokens", "max_tokens")
    again = Capabilities(tmp_path, OPENAI, "gpt-5-old", family="gpt-5-old").substitutes
    assert again == {"max_completion_tokens": "max_tokens", "temperature": None}


def test_a_broken_file_is_learned_again(tmp_path: Path) -> None:
    (tmp_path / LEARNED).write_text("{")
    Capabilities(tmp_path, OPENAI, "mine", family="mine").learn("temperature", None)
    assert Capabilities(tmp_path, OPENAI, "mine", family="mine").substitutes == {"temperature": None}


def test_every_entry_names_its_source_and_tells_something() -> None:
    assert all(entry.source and (entry.instead or entry.context_tokens) for entry in table())


@pytest.mark.parametrize(
    ("model", "known_as", "tokens"),
    [
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "", 131_072),
        ("my-deployment", "gpt-4o-mini-2024-07-18", 128_000),  # a deployment's name tells nothing
        ("my-deployment", "", None),
    ],
)
def test_the_base_model_tells_what_an_endpoint_takes(
    model: str, known_as: str, tokens: int | None, tmp_path: Path
) -> None:
    endpoint = Endpoint(Role.STUDENT, "openai", model, OPENAI, known_as=known_as)
    assert Capabilities.of(tmp_path, endpoint, "ft:mine").context_tokens == tokens
