"""What models take: by their family's name, and as their service said."""

from pathlib import Path

import pytest

from raft_assets.llm.capabilities import LEARNED_FILE, Capabilities, load_capabilities
from raft_assets.settings.endpoints import Endpoint, Role
from raft_assets.storage.records import FileRecords

OPENAI = "https://api.openai.com/v1"


@pytest.fixture
def records(tmp_path: Path) -> FileRecords:
    return FileRecords(tmp_path)


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
def test_a_family_is_known_by_its_name(model: str, refused: dict[str, str | None], records: FileRecords) -> None:
    assert Capabilities(records, OPENAI, model, family=model).substitutes == refused


def test_what_a_service_refused_is_known_to_every_later_process_for_that_model_alone(records: FileRecords) -> None:
    Capabilities(records, OPENAI, "my-deployment", family="my-deployment").learn("temperature", None)
    Capabilities(records, "http://127.0.0.1:1/v1", "my-deployment", family="my-deployment").learn(
        "max_completion_tokens", "max_tokens"
    )
    assert Capabilities(records, OPENAI, "my-deployment", family="my-deployment").substitutes == {"temperature": None}
    assert Capabilities(records, OPENAI, "other", family="other").substitutes == {}


def test_what_a_service_said_counts_more_than_the_table(records: FileRecords) -> None:
    Capabilities(records, OPENAI, "gpt-5-old", family="gpt-5-old").learn("max_completion_tokens", "max_tokens")
    again = Capabilities(records, OPENAI, "gpt-5-old", family="gpt-5-old").substitutes
    assert again == {"max_completion_tokens": "max_tokens", "temperature": None}


def test_a_broken_file_is_learned_again(records: FileRecords) -> None:
    records.put(f"{LEARNED_FILE}.json", b"{")
    Capabilities(records, OPENAI, "mine", family="mine").learn("temperature", None)
    assert Capabilities(records, OPENAI, "mine", family="mine").substitutes == {"temperature": None}


def test_what_the_version_before_learned_is_known(records: FileRecords, tmp_path: Path) -> None:
    file = tmp_path / "calls" / "capabilities.json"
    file.parent.mkdir()
    file.write_bytes(b'{\n "https://api.openai.com/v1 mine": {\n  "temperature": null\n }\n}')
    assert Capabilities(records, OPENAI, "mine", family="mine").substitutes == {"temperature": None}
    Capabilities(records, OPENAI, "mine", family="mine").learn("max_tokens", "max_completion_tokens")
    both = {"temperature": None, "max_tokens": "max_completion_tokens"}
    assert Capabilities(records, OPENAI, "mine", family="mine").substitutes == both


def test_every_entry_names_its_source_and_tells_something() -> None:
    assert all(entry.source and (entry.instead or entry.context_tokens) for entry in load_capabilities())


@pytest.mark.parametrize(
    ("model", "known_as", "tokens"),
    [
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "", 131_072),
        ("my-deployment", "gpt-4o-mini-2024-07-18", 128_000),  # a deployment's name tells nothing
        ("my-deployment", "", None),
    ],
)
def test_the_base_model_tells_what_an_endpoint_takes(
    model: str, known_as: str, tokens: int | None, records: FileRecords
) -> None:
    endpoint = Endpoint(Role.STUDENT, "openai", model, OPENAI, underlying_model=known_as)
    assert Capabilities.of(records, endpoint, "ft:mine").context_tokens == tokens
