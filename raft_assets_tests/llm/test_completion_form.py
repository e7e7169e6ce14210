"""Base models: a service that refuses chat is asked by completions, with worked examples."""

from typing import Any

import pytest

from raft_assets.core.prompt_contract import ABSTENTION, INSTRUCTIONS, parse_answer
from raft_assets.llm.keys import call_key
from raft_assets.llm.prompts import answer_request
from raft_assets.settings.endpoints import Endpoint
from raft_assets.storage.call_store import SqliteCallStore
from raft_assets_tests.llm.conftest import MakeCaller
from raft_assets_tests.llm.service import Reply, Seen, Service, completion

QUESTION, DOCUMENT = "Who built the lighthouse?", "Ann Bell built the lighthouse."
ANSWER = "##begin_quote##Ann Bell built the lighthouse.##end_quote##\n<ANSWER>: Ann Bell"
VLLM = (
    "As of transformers v4.44, default chat template is no longer allowed, so you must provide a chat template if the "
    "tokenizer does not define one."
)
SGLANG = (
    "Cannot use chat template functions because tokenizer.chat_template is not set and no template argument was passed!"
)
# how services say that a model has no chat template: status and body
REFUSALS: dict[str, tuple[int, Any]] = {
    "vLLM, older": (400, {"object": "error", "message": VLLM, "type": "BadRequestError", "param": None, "code": 400}),
    "vLLM": (400, {"error": {"message": f"{VLLM} None", "type": "BadRequestError", "param": None, "code": 400}}),
    "SGLang": (500, {"object": "error", "message": SGLANG, "type": "InternalServerError", "code": 500}),
    "TGI": (422, {"error": "Template error: template not found", "error_type": "template_error"}),
    "Ollama": (400, {"error": {"message": '"base" does not support chat', "type": "invalid_request_error"}}),
    "OpenAI": (
        404,
        {
            "error": {
                "message": "This is not a chat model and thus not supported in the v1/chat/completions endpoint. Did "
                "you mean to use v1/completions?",
                "type": "invalid_request_error",
                "param": "model",
                "code": None,
            }
        },
    ),
}


def base_model(status: int, body: Any) -> Any:
    def answers(seen: Seen) -> Reply:
        return Reply(status, body) if seen.path.endswith("/chat/completions") else completion(f" {ANSWER}\n")

    return answers


@pytest.mark.parametrize(("status", "body"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_model_without_a_chat_template_is_asked_by_completions(
    status: int, body: Any, service: Service, caller: MakeCaller
) -> None:
    service.rule = base_model(status, body)
    requests = [answer_request(f"{QUESTION} {n}", [DOCUMENT], "chat", 256) for n in range(3)]
    asking = caller()
    answers = [*asking.ask(requests[:1]), *asking.ask(requests)]
    assert {parse_answer(answer.text).final_answer for answer in answers} == {"Ann Bell"}
    assert {answer.status for answer in answers} == {"ok"}
    assert len(service.seen) == 4
    assert sum(seen.path.endswith("/chat/completions") for seen in service.seen) == 1, "it is learned once"

    again = caller()
    assert [answer.from_store for answer in again.ask(requests)] == [True] * 3
    list(again.ask([answer_request("Another?", [DOCUMENT], "chat", 256)]))
    assert sum(seen.path.endswith("/chat/completions") for seen in service.seen) == 1, "and by later processes"


def test_its_prompt_shows_instructions_two_examples_and_the_task(service: Service, caller: MakeCaller) -> None:
    service.rule = base_model(*REFUSALS["vLLM"])
    list(caller().ask([answer_request(QUESTION, [DOCUMENT], "chat", 256).with_parameters(temperature=0, seed=3)]))
    body = service.seen[-1].body
    prompt = body["prompt"]
    assert prompt.startswith(f"{INSTRUCTIONS}\n\nTask:\n")
    examples = prompt.split("Task:\n")
    assert len(examples) == 4
    first, second = (parse_answer(example.split("Reply:\n")[1]) for example in examples[1:3])
    assert (first.well_formed, second.well_formed) == (True, True)
    assert (first.abstained, second.final_answer) == (False, ABSTENTION)
    assert prompt.endswith(f"<DOCUMENT>{DOCUMENT}</DOCUMENT>\n\n{QUESTION}\nReply:\n")
    assert (body["max_tokens"], body["temperature"], body["seed"], body["stop"]) == (256, 0, 3, ["\nTask:"])


def test_the_call_has_the_key_that_it_has_for_a_model_that_chats(
    service: Service, caller: MakeCaller, endpoint: Endpoint, store: SqliteCallStore
) -> None:
    service.rule = base_model(*REFUSALS["TGI"])
    request = answer_request(QUESTION, [DOCUMENT], "chat", 256)
    (answer,) = caller().ask([request])
    assert answer.key == call_key(endpoint, request, model=endpoint.model, model_version="")
    plain = type(request)(request.kind, request.body)
    assert answer.key == call_key(endpoint, plain, model=endpoint.model, model_version=""), "examples are no part of it"
