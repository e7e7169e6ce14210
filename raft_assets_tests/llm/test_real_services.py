"""Calls to services as they are: what they refuse, how they answer, and what of it is kept."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raft_assets.core.errors import EndpointError
from raft_assets.core.prompt_contract import parse_answer
from raft_assets.core.vectors import NoVector
from raft_assets.llm.batches import BATCH_SUFFIX
from raft_assets.llm.capabilities import learned_capabilities
from raft_assets.llm.ledger import is_unusable
from raft_assets.llm.requests import NO_USAGE, Request
from raft_assets.llm.store import CallStore, StoredCall
from raft_assets.settings.endpoints import Endpoint
from raft_assets.storage.records import FileRecords
from raft_assets_tests.llm.conftest import CANARY, Clock, MakeCaller, ask_about
from raft_assets_tests.llm.service import Reply, Seen, Service, chat, error, vector

WHOLE = "The chart says ##begin_quote##The pier has 14 piles.##end_quote##.\n<ANSWER>: 14"
HALF = "The chart says ##begin_quote##The pier ha"
SYSTEM = {"role": "system", "content": "Be brief."}


def learned(folder: Path) -> list[str]:
    return [clause for _, clause in learned_capabilities(FileRecords(folder))]


# ---------------------------------------------------------------- what a model takes


def test_both_names_of_the_limit_are_sent_to_a_service_that_nobody_knows(service: Service, caller: MakeCaller) -> None:
    list(caller().ask([ask_about(1)]))
    assert service.seen[0].body["max_completion_tokens"] == service.seen[0].body["max_tokens"] == 50


def test_an_answer_that_is_longer_than_its_limit_changes_the_name_of_the_limit_once(
    service: Service, caller: MakeCaller, endpoint: Endpoint, tmp_path: Path
) -> None:
    def ignoring(seen: Seen) -> Reply:
        tokens = seen.body.get("max_tokens", 4000)
        usage = {"prompt_tokens": 9, "completion_tokens": tokens, "total_tokens": 9 + tokens}
        choice = {"index": 0, "message": {"content": WHOLE}, "finish_reason": "stop"}
        return Reply(body={"choices": [choice], "usage": usage})

    service.rule = ignoring
    azure = replace(endpoint, provider="azure")
    answers = list(caller(1, endpoint=azure).ask(map(ask_about, range(2))))
    assert [answer.usage.output_tokens for answer in answers] == [4000, 50]
    assert [set(seen.body) & {"max_tokens", "max_completion_tokens"} for seen in service.seen] == [
        {"max_completion_tokens"},
        {"max_tokens"},
    ]
    assert learned(tmp_path) == [
        "max_completion_tokens is ignored",
        "max_tokens is sent instead of max_completion_tokens",
    ]


def test_every_parameter_that_a_service_forbids_is_done_without_and_later_processes_know(
    service: Service, caller: MakeCaller, tmp_path: Path
) -> None:
    """The form of Mistral, which names one parameter at a time, in a body without `error`."""

    def forbids(seen: Seen) -> Reply | None:
        names = [name for name in ("max_completion_tokens", "seed", "reasoning_effort") if name in seen.body]
        details = (
            [{"type": "extra_forbidden", "loc": ["body", names[0]], "msg": "Extra inputs are not permitted"}]
            if names
            else []
        )
        return Reply(422, {"object": "error", "message": {"detail": details}}) if names else None

    service.rule = forbids
    request = ask_about(1, seed=7, temperature=0.5, reasoning_effort="low")
    (answer,) = caller().ask([request])
    assert answer.status == "ok"
    assert service.seen[-1].body.keys() == {"model", "messages", "max_tokens", "temperature"}
    assert len(service.seen) == 4
    (again,) = caller().ask([replace(request, sample=1)])
    assert (again.status, len(service.seen)) == ("ok", 5)
    assert learned(tmp_path) == [
        "max_tokens is sent instead of max_completion_tokens",
        "reasoning_effort is left out",
        "seed is left out",
    ]
    (stored,) = caller().ask([request])  # the key is that of the request, whatever was sent
    assert (stored.from_store, stored.key) == (True, answer.key)


def test_a_model_without_a_system_role_is_told_the_instructions_by_the_user(
    service: Service, caller: MakeCaller, tmp_path: Path
) -> None:
    def refuses(seen: Seen) -> Reply | None:
        has_role = any(message["role"] == "system" for message in seen.body["messages"])
        failure = {
            "error": {"code": 500, "message": "Jinja Exception: System role not supported", "type": "server_error"}
        }
        return Reply(500, failure) if has_role else None

    service.rule = refuses
    body = {"messages": [SYSTEM, {"role": "user", "content": "Why?"}], "max_completion_tokens": 50}
    answers = list(caller(1).ask(Request("chat", body, sample=sample) for sample in range(3)))
    assert {answer.status for answer in answers} == {"ok"}
    assert [message["content"] for message in service.seen[-1].body["messages"]] == ["Be brief.\n\nWhy?"]
    assert len(service.seen) == 4
    assert learned(tmp_path) == ["instructions stand in the user's message"]


def test_a_judge_whose_service_has_no_json_object_is_asked_without(service: Service, caller: MakeCaller) -> None:
    service.rule = lambda seen: (
        Reply(400, {"error": "'response_format.type' must be 'json_schema' or 'text'"})
        if seen.body.get("response_format", {}).get("type") == "json_object"
        else chat('{"supported": true}')
    )
    asked = [ask_about(number).with_parameters(response_format={"type": "json_object"}) for number in range(3)]
    assert [answer.text for answer in caller(1).ask(asked)] == ['{"supported": true}'] * 3
    assert len(service.seen) == 4


def test_a_refusal_that_nothing_helps_against_is_raised_with_the_words_of_the_service(
    service: Service, caller: MakeCaller
) -> None:
    service.rule = lambda seen: error(
        400, message=f"Unsupported parameter: '{next(n for n in seen.body if 'max' in n)}'"
    )
    with pytest.raises(EndpointError, match="refuses the request"):
        list(caller().ask([ask_about(1)]))
    assert len(service.seen) == 2


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize(
    "message",
    [
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "12?"}]},
                {"type": "text", "text": WHOLE},
            ]
        },
        {"content": f"<think>\nPerhaps <ANSWER>: 12? No.\n</think>\n\n{WHOLE}<|im_end|>"},
        {"content": f"Perhaps <ANSWER>: 12? No.\n</think>\n\n{WHOLE}"},
        {"content": WHOLE, "reasoning_content": "Perhaps <ANSWER>: 12?"},
    ],
)
def test_thoughts_are_kept_raw_in_the_store_and_never_in_the_answer(
    service: Service, caller: MakeCaller, store: CallStore, message: Mapping[str, Any]
) -> None:
    service.rule = lambda _: Reply(body={"choices": [{"message": message, "finish_reason": "stop"}]})
    (answer,) = caller().ask([ask_about(1)])
    (again,) = caller().ask([ask_about(1)])
    assert answer.text == again.text == WHOLE
    assert parse_answer(answer.text).well_formed
    (call,) = store.calls()
    assert json.loads(call.payload)["choices"][0]["message"] == message


@pytest.mark.parametrize(
    "choice",
    [
        {"message": {"content": HALF}, "finish_reason": "error"},
        {"message": {"content": HALF}, "finish_reason": "network_error"},
        {"message": {"content": HALF}, "finish_reason": None},
        {"message": {"content": HALF}},
        {"message": {"content": HALF}, "finish_reason": "error", "error": {"code": 502, "message": "gone"}},
    ],
)
def test_half_an_answer_is_asked_for_again_and_never_stored(
    service: Service, caller: MakeCaller, store: CallStore, choice: Mapping[str, Any]
) -> None:
    service.replies = [Reply(body={"choices": [choice]}), chat(WHOLE)]
    (answer,) = caller().ask([ask_about(1)])
    assert (answer.status, answer.text, len(service.seen)) == ("ok", WHOLE, 2)
    service.rule = lambda _: Reply(body={"choices": [choice]})
    (lost,) = caller().ask([ask_about(2)])
    assert (lost.status, lost.text) == ("failed", "")
    assert len(list(store.calls())) == 1


def test_an_answer_cut_off_in_other_words_is_asked_for_with_more_tokens(service: Service, caller: MakeCaller) -> None:
    service.replies = [chat(HALF, finish="max_tokens"), chat(WHOLE)]
    (answer,) = caller().ask([ask_about(1)])
    assert (answer.status, answer.text) == ("ok", WHOLE)
    assert [seen.body["max_tokens"] for seen in service.seen] == [50, 200]


def stored(
    store: CallStore, key: str, message: Mapping[str, Any], finish: str | None, kind: str = "chat"
) -> StoredCall:
    """A call as a version before stored it: whatever had a text was ok."""
    payload = json.dumps({"choices": [{"message": message, "finish_reason": finish}]}).encode()
    call = StoredCall(key, "http://service", "m", kind, "ok", NO_USAGE, 1.0, 1.0, payload)
    store.put([call])
    return call


def test_answers_that_the_version_before_stored_are_read_without_their_thoughts(
    service: Service, caller: MakeCaller, store: CallStore
) -> None:
    asking = caller()
    (before,) = asking.ask([ask_about(1)])
    store.forget(lambda call: call.key == before.key)
    stored(store, before.key, {"content": f"<think>12?</think>{WHOLE}"}, "stop")
    (answer,) = caller().ask([ask_about(1)])
    assert (answer.from_store, answer.status, answer.text) == (True, "ok", WHOLE)
    store.forget(lambda call: call.key == before.key)
    stored(store, before.key, {"content": HALF}, "error")
    (answer,) = caller().ask([ask_about(1)])
    assert (answer.from_store, answer.status, answer.text) == (True, "ok", HALF)
    assert len(service.seen) == 1


def test_half_an_answer_that_was_stored_as_a_whole_one_can_be_asked_for_again(store: CallStore) -> None:
    assert is_unusable(stored(store, "a", {"content": HALF}, "error"))
    assert is_unusable(stored(store, "b", {"content": "<think>12?"}, "stop", kind="chat" + BATCH_SUFFIX))
    assert not is_unusable(stored(store, "c", {"content": WHOLE}, "stop"))


# ---------------------------------------------------------------- an error in a response of status 200


def test_an_error_in_an_answer_is_told_in_its_own_words(service: Service, caller: MakeCaller) -> None:
    service.rule = lambda _: Reply(body={"error": "Unexpected endpoint or method. (POST /v1/chat)"})
    (answer,) = caller().ask([ask_about(1)])
    assert answer.status == "failed"
    assert "Unexpected endpoint or method. (POST /v1/chat)" in answer.detail


def test_a_rate_limit_in_an_answer_is_waited_for_like_any_other(
    service: Service, caller: MakeCaller, clock: Clock
) -> None:
    limited = {"choices": None, "error": {"code": 429, "message": "busy", "metadata": {"raw": "upstream"}}}
    service.replies = [Reply(body=limited, headers={"retry-after": "50"})] * 20
    (answer,) = caller().ask([ask_about(1)])
    assert answer.status == "ok"
    assert clock.slept == [50.0] * 20  # longer than any other error is tried


def test_a_sign_in_that_is_refused_in_an_answer_ends_the_stream(service: Service, caller: MakeCaller) -> None:
    service.rule = lambda _: Reply(body={"error": {"code": 401, "message": "no"}})
    with pytest.raises(EndpointError, match=r"does not accept the sign-in \(401\)"):
        list(caller().ask([ask_about(1)]))
    assert len(service.seen) == 1


def test_a_content_filter_in_an_answer_is_a_filtered_answer(service: Service, caller: MakeCaller) -> None:
    service.rule = lambda _: Reply(body={"error": {"code": "content_filter", "message": "violence"}})
    (answer,) = caller().ask([ask_about(1)])
    assert (answer.status, len(service.seen)) == ("filtered", 1)


# ---------------------------------------------------------------- embeddings

TEXTS = [f"passage {number}" for number in range(150)]


@pytest.mark.parametrize(
    ("most", "refusal", "found"),
    [
        (10, error(400, message="batch size is invalid, it should not be larger than 10.: input.contents"), 10),
        (32, error(413, message="batch size 64 > maximum allowed batch size 32"), 32),
        (16, error(400, message="Too many inputs. The max number of inputs is 16."), 16),
        (1, error(422, message="input must be a string"), 1),
        (20, error(400), 16),  # it doesn't say: found by halves
    ],
)
def test_the_texts_that_a_call_may_have_are_found_out_once(
    service: Service, caller: MakeCaller, most: int, refusal: Reply, found: int
) -> None:
    service.rule = lambda seen: refusal if len(seen.body["input"]) > most else None
    vectors = list(caller(2).embed(TEXTS))
    assert all(np.array_equal(one, vector(text)) for one, text in zip(vectors, TEXTS, strict=True))
    before = len(service.seen)
    list(caller(2).embed(f"other {number}" for number in range(found * 2)))
    assert [len(seen.body["input"]) for seen in service.seen[before:]] == [found, found]


def test_a_service_that_takes_many_texts_is_not_asked_for_fewer(
    service: Service, caller: MakeCaller, tmp_path: Path
) -> None:
    list(caller().embed(TEXTS))
    assert learned(tmp_path) == ["vectors have 8 numbers"]


def test_base64_that_is_refused_is_done_without(service: Service, caller: MakeCaller, tmp_path: Path) -> None:
    service.rule = lambda seen: (
        error(400, param="encoding_format", message="encoding_format 'base64' is not supported")
        if "encoding_format" in seen.body
        else None
    )
    vectors = list(caller(1).embed(TEXTS))
    assert all(np.allclose(one, vector(text)) for one, text in zip(vectors, TEXTS, strict=True))
    assert sum("encoding_format" in seen.body for seen in service.seen) == 1
    assert "encoding_format is left out" in learned(tmp_path)


def test_a_text_that_is_too_long_has_no_vector_and_says_the_length_that_the_model_takes(
    service: Service, caller: MakeCaller, tmp_path: Path
) -> None:
    long = "The harbour " * 200
    service.rule = lambda seen: (
        error(413, message="Input validation error: `inputs` must have less than 512 tokens. Given: 703")
        if any(len(text) > 1000 for text in seen.body["input"])
        else None
    )
    *vectors, refused = caller().embed([*TEXTS, long])
    assert all(np.array_equal(one, vector(text)) for one, text in zip(vectors, TEXTS, strict=True))
    assert isinstance(refused, NoVector)
    assert "takes at most 512 tokens a text" in refused.reason
    assert "lower chunks.chunk_size" in refused.reason
    assert "a text to embed has at most 512 tokens" in learned(tmp_path)
    assert not any("by a call" in clause for clause in learned(tmp_path))  # it was not their number


def test_the_key_is_in_no_sentence_about_a_text(service: Service, caller: MakeCaller, tmp_path: Path) -> None:
    service.rule = lambda _: error(413, message=f"too long for {CANARY}: at most 512 tokens")
    (refused,) = caller().embed(["one"])
    assert isinstance(refused, NoVector)
    assert "at most 512 tokens a text" in refused.reason
    assert CANARY not in refused.reason + "".join(learned(tmp_path))


REFUSED_TEXT = "the passage of which nobody may speak"
REFUSALS_OF_A_TEXT = [
    error(400, code="content_filter", message="The response was filtered: violence"),
    error(400, code="data_inspection_failed", message="Input data may contain inappropriate content."),
    error(400, code="invalid_prompt", message="Invalid prompt: your prompt was flagged"),
    error(403, message="Request blocked by our moderation system"),
    error(403, message="Zounds"),  # says nothing: the others show that it is this text
    error(400),
    error(451, message="unavailable for legal reasons"),
    error(413, message="input is too long"),
    error(422, message="Input 3 was flagged: 1 of 64 inputs"),
    error(500, message="input (700 tokens) is too large to process. increase the physical batch size (512)"),
    Reply(200, {"error": {"code": 400, "message": "input violates our usage policy"}}),
    Reply(
        400, {"detail": [{"loc": ["body", "input", 2], "msg": "Text contains unsafe content", "type": "value_error"}]}
    ),
]


@pytest.mark.parametrize("refusal", REFUSALS_OF_A_TEXT, ids=lambda reply: f"{reply.status} {reply.body}"[:60])
def test_one_text_that_a_service_refuses_costs_one_vector_and_teaches_nothing_about_the_others(
    service: Service, caller: MakeCaller, store: CallStore, tmp_path: Path, refusal: Reply
) -> None:
    service.rule = lambda seen: refusal if REFUSED_TEXT in seen.body["input"] else None
    asked = [*TEXTS[:70], REFUSED_TEXT, *TEXTS[70:]]
    vectors = list(caller().embed(asked))
    refused = vectors.pop(70)
    assert isinstance(refused, NoVector)
    assert refused.reason.startswith("TEACHER gave no vector: it ")
    assert refused.reason.endswith(".")
    assert all(np.array_equal(one, vector(text)) for one, text in zip(vectors, TEXTS, strict=True))
    assert not any("by a call" in clause for clause in learned(tmp_path))
    assert len(list(store.calls())) == len(TEXTS)
    assert caller().has_embeddings([TEXTS[0], REFUSED_TEXT]) == [True, False]


def test_half_a_character_costs_the_vector_of_its_text_alone(service: Service, caller: MakeCaller) -> None:
    first, half, last = caller().embed(["one", "an emoji cut in two: \ud83d", "three"])
    assert isinstance(half, NoVector)
    assert "half a character" in half.reason
    assert np.array_equal(first, vector("one"))
    assert np.array_equal(last, vector("three"))


def test_texts_that_are_refused_without_words_one_after_another_stop(service: Service, caller: MakeCaller) -> None:
    service.rule = lambda seen: error(400) if any("passage" in text for text in seen.body["input"]) else None
    with pytest.raises(EndpointError, match=r"refuses the request \(400"):
        list(caller(1).embed(["a sound text", *TEXTS]))


def test_an_endpoint_that_takes_no_text_stops_however_few_they_are(service: Service, caller: MakeCaller) -> None:
    service.rule = lambda _: error(403, message="Zounds")
    with pytest.raises(EndpointError, match=r"forbidden for this key or from this network \(403: Zounds\)"):
        list(caller().embed(TEXTS[:5]))


def test_no_credit_stops_the_vectors_in_whatever_words(service: Service, caller: MakeCaller) -> None:
    service.rule = lambda _: error(400, message="You exceeded your maximum limit of tokens: insufficient credits")
    with pytest.raises(EndpointError, match="has no credit left"):
        list(caller().embed(["one", "two"]))
    assert len(service.seen) <= 2


def test_a_service_that_refuses_a_text_and_takes_few_at_once_is_learned_from_the_others(
    service: Service, caller: MakeCaller, tmp_path: Path
) -> None:
    def rule(seen: Seen) -> Reply | None:
        if len(seen.body["input"]) > 10:
            return error(400, message="batch size is invalid, it should not be larger than 10.: input.contents")
        return error(400, code="content_filter", message="filtered") if REFUSED_TEXT in seen.body["input"] else None

    service.rule = rule
    vectors = list(caller(1).embed([*TEXTS, REFUSED_TEXT]))
    assert [isinstance(one, NoVector) for one in vectors] == [False] * len(TEXTS) + [True]
    assert "at most 10 texts are embedded by a call" in learned(tmp_path)


def test_a_refusal_that_isnt_about_the_texts_stops_after_few_calls(service: Service, caller: MakeCaller) -> None:
    service.rule = lambda _: error(400, message="no models loaded")
    with pytest.raises(EndpointError, match="no models loaded"):
        list(caller(1).embed(TEXTS[:64]))
    assert len(service.seen) == 7  # 64, 32, 16, ... 1


def test_vectors_of_another_length_are_refused_and_none_is_stored(
    service: Service, caller: MakeCaller, store: CallStore
) -> None:
    list(caller().embed(["one"]))
    service.rule = lambda _: Reply(body={"data": [{"index": 0, "embedding": [0.5] * 3}]})
    with pytest.raises(EndpointError, match=r"sends vectors of 3 numbers, and sent 8 before: .*--relearn"):
        list(caller().embed(["two"]))
    assert [len(call.payload) for call in store.calls()] == [32]


def test_vectors_that_the_version_before_stored_tell_their_length(
    service: Service, caller: MakeCaller, store: CallStore, tmp_path: Path
) -> None:
    list(caller().embed(["one"]))
    for file in (tmp_path / "calls").iterdir():
        file.unlink()  # that version kept no record of it
    service.rule = lambda _: Reply(body={"data": [{"index": 0, "embedding": [0.5] * 3}]})
    with pytest.raises(EndpointError, match="sends vectors of 3 numbers, and sent 8 before"):
        list(caller().embed(["one", "two"]))
    assert [len(call.payload) for call in store.calls()] == [32]


def test_stored_vectors_of_two_lengths_are_an_error_in_words(
    service: Service, caller: MakeCaller, store: CallStore
) -> None:
    list(caller().embed(["one", "two"]))
    call, _ = store.calls()
    store.forget(lambda other: other.key == call.key)
    store.put([replace(call, payload=np.ones(3, dtype="<f4").tobytes())])
    with pytest.raises(EndpointError, match=r"have (3 and 8|8 and 3) numbers: two models answered"):
        list(caller().embed(["one", "two"]))
