"""What models take: by their family's name, and as their service said."""

from pathlib import Path

import pytest

from raft_assets.calls.capabilities import LEARNED, Capabilities, table

OPENAI = "https://api.openai.com/v1"


@pytest.mark.parametrize(
    ("model", "refused"),
    [
        ("gpt-5-mini-2025-08-07", {"max_tokens": "max_completion_tokens", "temperature": None}),
        ("o4-mini", {"max_tokens": "max_completion_tokens", "temperature": None}),
        ("gpt-5-chat-latest", {"max_tokens": "max_completion_tokens"}),
        ("gpt-3.5-turbo-0125", {"max_completion_tokens": "max_tokens"}),
        ("gpt-4.1-mini", {}),
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


def test_every_entry_names_its_source() -> None:
    assert all(entry.source and entry.instead for entry in table())
