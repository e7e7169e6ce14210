"""What models take: by their family's name, and as their service said."""

from pathlib import Path

import pytest

from raft_assets.llm.capabilities import (
    LEARNED_FILE,
    Capabilities,
    forget_capabilities,
    learned_capabilities,
    load_capabilities,
    load_services,
    merge_instructions,
)
from raft_assets.llm.requests import Usage
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


# ---------------------------------------------------------------- what is sent

LOCAL = "http://127.0.0.1:1/v1"
MESSAGES = [{"role": "user", "content": "Why? Answer as JSON."}]
CHAT = {"messages": MESSAGES, "max_completion_tokens": 50}


def local(records: FileRecords, model: str = "mine") -> Capabilities:
    return Capabilities.of(records, Endpoint(Role.TEACHER, "openai", model, LOCAL), model)


def limits(capabilities: Capabilities) -> list[str]:
    return [name for name in capabilities.apply(CHAT) if name.startswith("max")]


@pytest.mark.parametrize(
    ("endpoint", "names"),
    [
        (Endpoint(Role.TEACHER, "openai", "gpt-4o", "https://api.openai.com/v1"), ["max_completion_tokens"]),
        (Endpoint(Role.TEACHER, "azure", "mine", "https://proxy.example"), ["max_completion_tokens"]),
        (Endpoint(Role.TEACHER, "openai", "m", "https://ours.openai.azure.com/openai/v1"), ["max_completion_tokens"]),
        (Endpoint(Role.TEACHER, "openai", "phi", "https://phi.eastus.models.ai.azure.com/v1"), ["max_tokens"]),
        (Endpoint(Role.TEACHER, "openai", "mistral-small", "https://api.mistral.ai/v1"), ["max_tokens"]),
        (Endpoint(Role.TEACHER, "openai", "openai/gpt-5", "https://openrouter.ai/api/v1"), ["max_tokens"]),
        (Endpoint(Role.TEACHER, "embedded", "embedded-teacher"), ["max_completion_tokens"]),
        (Endpoint(Role.TEACHER, "openai", "gpt-5", LOCAL), ["max_completion_tokens"]),  # the family tells
        (Endpoint(Role.TEACHER, "openai", "qwen", LOCAL), ["max_completion_tokens", "max_tokens"]),
        (Endpoint(Role.TEACHER, "openai", "qwen", "https://llm.example/v1"), ["max_completion_tokens", "max_tokens"]),
    ],
)
def test_the_limit_goes_by_both_names_where_nothing_is_known_of_the_service(
    endpoint: Endpoint, names: list[str], records: FileRecords
) -> None:
    takes = Capabilities.of(records, endpoint, endpoint.model)
    assert limits(takes) == names
    assert len([name for name in takes.apply(CHAT, is_sent_later=True) if name.startswith("max")]) == 1  # in a batch
    assert takes.apply({"prompt": "a", "max_tokens": 5}) == {"prompt": "a", "max_tokens": 5}  # the older API has one


def test_an_answer_longer_than_its_limit_tells_that_the_name_is_ignored(records: FileRecords) -> None:
    azure = Endpoint(Role.TEACHER, "azure", "mine", "https://ours.example")
    takes = Capabilities.of(records, azure, "mine")
    takes.check_limit(takes.apply(CHAT), Usage(output_tokens=450, reasoning_tokens=400))  # thoughts are apart
    assert limits(takes) == ["max_completion_tokens"]
    takes.check_limit(takes.apply(CHAT), Usage(output_tokens=51))
    assert limits(takes) == limits(Capabilities.of(records, azure, "mine")) == ["max_tokens"]
    takes.check_limit(takes.apply(CHAT), Usage(output_tokens=51))  # not back and forth
    assert limits(takes) == ["max_tokens"]
    assert takes.learn_unsupported("max_tokens", takes.apply(CHAT))  # then the one that is ignored is better than none
    assert limits(takes) == limits(Capabilities.of(records, azure, "mine")) == ["max_completion_tokens"]
    assert not takes.learn_unsupported("max_completion_tokens", takes.apply(CHAT))


def test_where_both_names_are_sent_the_one_that_is_refused_is_left_out(records: FileRecords) -> None:
    takes = local(records)
    assert takes.learn_unsupported("max_completion_tokens", takes.apply(CHAT))
    assert limits(takes) == limits(local(records)) == ["max_tokens"]
    assert not takes.learn_unsupported("max_tokens", takes.apply(CHAT))


def test_a_response_format_is_refused_by_its_type(records: FileRecords) -> None:
    schema, plain = {"type": "json_schema", "json_schema": {}}, {"type": "json_object"}
    takes = local(records)
    assert takes.learn_unsupported("response_format", {**CHAT, "response_format": schema})
    assert takes.apply({**CHAT, "response_format": schema})["response_format"] == plain
    assert takes.apply({**CHAT, "response_format": plain})["response_format"] == plain
    without_the_word = {"messages": [{"role": "user", "content": "Why?"}], "response_format": schema}
    assert "response_format" not in takes.apply(without_the_word)  # services insist on the word
    assert takes.learn_unsupported("response_format", {**CHAT, "response_format": plain})
    assert "response_format" not in local(records).apply({**CHAT, "response_format": schema})


def test_what_another_call_has_learned_meanwhile_is_sent_again_in_the_new_words(records: FileRecords) -> None:
    takes = local(records)
    sent = takes.apply({**CHAT, "seed": 1})
    assert takes.learn_unsupported("seed", sent)
    assert takes.learn_unsupported("seed", sent)  # the second call that was under way
    assert not takes.learn_unsupported("seed", takes.apply({**CHAT, "seed": 1}))


def test_instructions_go_into_the_users_message_where_a_model_takes_none(records: FileRecords) -> None:
    told = {"role": "system", "content": "Be brief."}
    takes = local(records)
    body = {**CHAT, "messages": [told, *MESSAGES]}
    assert takes.apply(body)["messages"] == [told, *MESSAGES]
    assert takes.learn_unsupported("system", takes.apply(body))
    assert local(records).apply(body)["messages"] == [{"role": "user", "content": "Be brief.\n\nWhy? Answer as JSON."}]
    assert body["messages"] == [told, *MESSAGES]  # the key is made of it


def test_instructions_are_merged_whatever_their_form() -> None:
    developer = {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]}
    parts = [{"type": "text", "text": "Why?"}]
    assert merge_instructions([developer, {"role": "user", "content": parts}]) == [
        {"role": "user", "content": [{"type": "text", "text": "Be brief."}, *parts]}
    ]
    assert merge_instructions([developer]) == [{"role": "user", "content": "Be brief."}]
    answered = {"role": "assistant", "content": "So."}
    assert merge_instructions([*MESSAGES, answered]) == [*MESSAGES, answered]


# ---------------------------------------------------------------- the record


def test_processes_that_learn_different_things_keep_all_of_them(records: FileRecords) -> None:
    one, other = local(records), local(records)
    one.learn("seed", None)
    other.find_out("texts_a_call", 10)
    other.learn("system", "user")
    both = local(records)
    assert (both.substitutes, both.texts_a_call) == ({"seed": None, "system": "user"}, 10)


def test_what_was_learned_is_told_in_words_and_forgotten_on_demand(records: FileRecords) -> None:
    takes = local(records)
    takes.learn("max_completion_tokens", "max_tokens")
    takes.learn("response_format.json_object", None)
    takes.learn("system", "user")
    takes.find_out("texts_a_call", 10)
    takes.find_out("dimensions", 1024)
    assert learned_capabilities(records) == [
        (f"{LOCAL} mine", clause)
        for clause in (
            "vectors have 1,024 numbers",
            "max_tokens is sent instead of max_completion_tokens",
            "response_format.json_object is left out",
            "instructions stand in the user's message",
            "at most 10 texts are embedded by a call",
        )
    ]
    forget_capabilities(records)
    assert learned_capabilities(records) == []
    assert limits(local(records)) == ["max_completion_tokens", "max_tokens"]


def test_every_known_service_names_its_source() -> None:
    assert all(entry.source for entry in load_services())
