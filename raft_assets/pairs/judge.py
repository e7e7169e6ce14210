"""Ask the judge whether a document supports an answer, and parse its verdict.

Which pairs are judged, and what a verdict means for them, belongs in `gates`.
"""

import json
from collections.abc import Callable, Hashable, Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, StrictBool, ValidationError

from raft_assets.core.prompt_contract import WORKED_EXAMPLES, render_answer
from raft_assets.llm.prompts import read_prompt
from raft_assets.llm.requests import JSON_OBJECT, Request
from raft_assets.llm.thoughts import strip_thoughts

ModelT = TypeVar("ModelT", bound=BaseModel)

PROMPT_NAME = "judge"
MAX_VERDICT_TOKENS = 1024  # a short object; a model that reasons needs the rest


class JudgeVerdict(BaseModel):
    """The judge's verdict on an answer."""

    model_config = ConfigDict(frozen=True)

    supported: StrictBool
    reason: str = ""


def judge_prompts() -> dict[str, str]:
    """Return the judge's prompt file with its version."""
    return {PROMPT_NAME: read_prompt("raft_assets.pairs", PROMPT_NAME).version}


def judge_request(question: str, answer: str, passage: str) -> Request:
    """Return the request that asks whether the passage supports the answer, reasoning included."""
    messages = read_prompt("raft_assets.pairs", PROMPT_NAME).messages([passage], question=question, answer=answer)
    request = Request("chat", {"messages": messages, "max_completion_tokens": MAX_VERDICT_TOKENS}, examples=_examples())
    return request.with_parameters(response_format=JSON_OBJECT)


def _examples() -> tuple[tuple[str, str], ...]:
    """Return a supported answer and one that isn't, with their verdicts."""
    prompt = read_prompt("raft_assets.pairs", PROMPT_NAME)
    (question, (document,), answer), _ = WORKED_EXAMPLES
    cases = (
        (answer, True, "The document names the rust as the reason."),
        (render_answer("Granite is cheap.", "because granite is cheap"), False, "The document says nothing of prices."),
    )
    return tuple(
        (
            prompt.messages([document], question=question, answer=given)[-1]["content"],
            json.dumps({"reason": reason, "supported": is_supported}),
        )
        for given, is_supported, reason in cases
    )


def parse_verdict(text: str) -> JudgeVerdict | None:
    """Return the verdict in a judge's reply, whatever is around it; None if there is none, or two that disagree.

    Never raises. Only a JSON object with a true or false `supported` is one: nothing is guessed from prose.
    """
    return parse_agreed_object(text, JudgeVerdict, by=lambda verdict: verdict.supported)


def parse_agreed_object(text: str, kind: type[ModelT], *, by: Callable[[ModelT], Hashable]) -> ModelT | None:
    """Return the last JSON object of a kind in a reply, reasoning left out.

    None if there is none, or if there are two that differ `by` what counts. Never raises.
    """
    objects = []
    for value in _json_objects(strip_thoughts(text, everywhere=True)):
        try:
            objects.append(kind.model_validate(value))
        except ValidationError:
            continue
    return objects[-1] if len(set(map(by, objects))) == 1 else None


def _json_objects(text: str) -> Iterator[Any]:
    """Yield the JSON objects in a text, outermost ones, in order."""
    decoder, at = json.JSONDecoder(), text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            yield value
        at = text.find("{", end)
