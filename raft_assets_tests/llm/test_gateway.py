"""A library that asks a model by itself asks through us: stored, counted, stopped."""

import openai
import pytest
from openai.types.chat import ChatCompletion

from raft_assets.core.errors import EndpointError
from raft_assets.llm.gateway import gateway
from raft_assets.llm.store import CallStore
from raft_assets_tests.llm.conftest import MakeCaller
from raft_assets_tests.llm.service import Service, chat, error


def asked(address: str) -> ChatCompletion:
    with openai.OpenAI(base_url=address, api_key="any", max_retries=0) as client:
        messages = [{"role": "user", "content": "question 1"}]
        return client.chat.completions.create(model="whatever", messages=messages, temperature=0)  # type: ignore[arg-type]


def test_what_a_library_asks_is_answered_and_paid_once(service: Service, caller: MakeCaller, store: CallStore) -> None:
    for _ in range(2):
        with gateway(caller()) as address:
            answer = asked(address)
    assert answer.choices[0].message.content == "answer to question 1"
    assert (answer.choices[0].finish_reason, answer.usage and answer.usage.completion_tokens) == ("stop", 3)
    (seen,) = service.seen
    assert (seen.body["model"], seen.body["temperature"]) == ("model-1", 0)
    assert store.stats().calls == 1


def test_an_answer_that_was_cut_off_says_so(service: Service, caller: MakeCaller) -> None:
    service.rule = lambda _: chat("half an ans", finish="length")
    with gateway(caller()) as address:
        assert asked(address).choices[0].finish_reason == "length"


def test_what_stops_the_caller_is_told_to_the_library_and_to_whoever_opened_the_gateway(
    service: Service, caller: MakeCaller
) -> None:
    service.rule = lambda _: error(401)

    def use() -> None:
        with gateway(caller()) as address:
            for _ in range(2):
                with pytest.raises(openai.BadRequestError, match="does not accept the sign-in"):
                    asked(address)

    with pytest.raises(EndpointError, match="does not accept the sign-in"):
        use()
    assert len(service.seen) == 1  # the second time nobody was asked
