"""The structured form of questions and answers: what a service that constrains its output to a JSON schema is asked.

Questions come as a list, an answer as its reasoning, the numbers of the sentences that it quotes, and the final answer;
the contract's text is rendered from these. What belongs here: schemas, requests and the parsers of their replies. A
reply that isn't of the schema is read as text, by the parsers in `questions` and in the prompt contract. Which domain
is asked in which form belongs in `operations/pair_form`.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from raft_assets.core.prompt_contract import (
    WORKED_EXAMPLES,
    abstention_in,
    parse_answer,
    render_answer,
    render_numbered,
    render_quoted_answer,
    render_user_message,
    structured_instructions_in,
)
from raft_assets.core.sentences import sentence_spans
from raft_assets.core.tables import Chunk
from raft_assets.llm.requests import Request
from raft_assets.llm.thoughts import strip_thoughts
from raft_assets.pairs.questions import parse_questions, question_request
from raft_assets.settings.domain import QuestionSettings

MAX_PROBE_TOKENS = 512  # a model that reasons needs most of them before its answer begins
_PROBE_SENTENCES = 3
_PROBE = "The lighthouse has three lamps. The first is white. The second is green.\n\nWhich lamps are named?"
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


class _StructuredAnswer(BaseModel):
    """An answer in its parts; `quotes` are numbers of sentences, from 1."""

    model_config = ConfigDict(frozen=True)

    reasoning: str
    quotes: tuple[int, ...]
    final_answer: str


def structured_question_request(chunk: Chunk, count: int, settings: QuestionSettings) -> Request:
    """Return the request for `count` questions about a chunk as a list."""
    request = question_request(chunk, count, settings)
    examples = tuple((task, json.dumps({"questions": reply.splitlines()})) for task, reply in request.examples)
    questions = {"type": "array", "items": {"type": "string"}}
    return replace(request, examples=examples).with_parameters(
        response_format=_schema("questions", questions=questions)
    )


def structured_answer_request(
    question: str, chunk: Chunk, settings: QuestionSettings, instructions: str | None = None
) -> Request:
    """Return the request that asks the teacher to answer a question from its oracle document, in parts.

    `instructions`: those set for the domain, which come first; their answer format is replaced.
    """
    spans = sentence_spans(chunk.passage, chunk.language)
    own = structured_instructions_in(chunk.language)
    told = own if instructions is None else f"{instructions}\n\n{own}"
    messages = [
        {"role": "system", "content": told},
        {"role": "user", "content": render_user_message(question, [render_numbered(spans, chunk.passage)])},
    ]
    request = Request(
        "chat",
        {"messages": messages, "max_completion_tokens": settings.max_answer_tokens},
        examples=tuple(_structured_example(*example) for example in WORKED_EXAMPLES),
    )
    return request.with_parameters(
        temperature=settings.temperature,
        reasoning_effort=settings.reasoning_effort,
        response_format=_answer_schema(len(spans)),
    )


def parse_structured_questions(text: str, limit: int) -> list[str]:
    """Return at most `limit` questions of a list, even of one that was cut off. Never raises.

    Anything but a list is read as text.
    """
    found = strip_thoughts(text, everywhere=True)
    start = found.find("{")
    if start < 0 or '"questions"' not in found:
        return parse_questions(text, limit)
    strings = [entry for entry in _complete_strings(found[start:]) if entry != "questions"]
    lines = [line for entry in strings for line in entry.splitlines()]
    return parse_questions(json.dumps(lines), limit)


def render_structured_answer(text: str, passage: str, language: str = "") -> str | None:
    """Return an answer in parts as the contract's text; None if it isn't one. Never raises.

    Of the numbers those that no sentence of the passage has are left out: a quotation is verbatim or it is none.
    """
    answer = _parse_answer(text)
    if answer is None:
        return None
    if parse_answer(render_answer("", answer.final_answer)).abstained:
        return render_quoted_answer((), answer.reasoning, abstention_in(language))
    spans = sentence_spans(passage, language)
    numbers = [number for number in dict.fromkeys(answer.quotes) if 1 <= number <= len(spans)]
    quotes = [passage[slice(*spans[number - 1])] for number in numbers]
    return render_quoted_answer(quotes, answer.reasoning, answer.final_answer)


def probe_request(sample: int) -> Request:
    """Return the request by whose reply it shows whether a service constrains its output to a schema.

    Its prompt says nothing of the schema. `sample` distinguishes a probe that is made again from the one before.
    """
    body = {"messages": [{"role": "user", "content": _PROBE}], "max_completion_tokens": MAX_PROBE_TOKENS}
    return Request("chat", body, sample).with_parameters(response_format=_answer_schema(_PROBE_SENTENCES))


def is_constrained(text: str) -> bool:
    """Return whether a reply to the probe is of its schema, as far as it goes: a weak model may find no end."""
    return bool(re.match(r'\s*\{\s*"reasoning"\s*:', strip_thoughts(text, everywhere=True)))


def _structured_example(question: str, documents: Sequence[str], answer: str) -> tuple[str, str]:
    """Return a worked example of the contract as one in parts."""
    (document,) = documents
    spans, parsed = sentence_spans(document), parse_answer(answer)
    numbers = [str(number) for number, span in enumerate(spans, start=1) if document[slice(*span)] in parsed.quotes]
    reasoning = re.sub(r"##begin_quote##.*?##end_quote##\s*", "", parsed.reasoning)
    parts = {"reasoning": reasoning, "quotes": numbers, "final_answer": parsed.final_answer}
    return render_user_message(question, [render_numbered(spans, document)]), json.dumps(parts)


def _parse_answer(text: str) -> _StructuredAnswer | None:
    found = strip_thoughts(text, everywhere=True)
    start = found.find("{")
    if start < 0:
        return None
    try:
        value, _ = json.JSONDecoder().raw_decode(found, start)
        return _StructuredAnswer.model_validate(value)
    except (ValueError, RecursionError, ValidationError):
        return None


def _complete_strings(text: str) -> Iterator[str]:
    for match in _STRING.finditer(text):
        try:
            yield str(json.loads(match[0], strict=False))
        except ValueError:
            continue


def _answer_schema(sentences: int) -> dict[str, Any]:
    # as strings: some services know an enum of no other type
    numbers = {"type": "string", "enum": [str(number) for number in range(1, max(sentences, 1) + 1)]}
    quotes = {"type": "array", "items": numbers}
    return _schema("answer", reasoning={"type": "string"}, quotes=quotes, final_answer={"type": "string"})


def _schema(name: str, **properties: Any) -> dict[str, Any]:
    """Return a `response_format` for an object, within what every service takes that takes `strict`.

    That is every property required, no others, and no bounds of lengths.
    """
    required: Sequence[str] = list(properties)
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": schema}}
