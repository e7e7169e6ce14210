"""Questions and answers as JSON of a schema."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_assets.core.prompt_contract import ABSTENTION, STRUCTURED_INSTRUCTIONS, is_verbatim_quote, parse_answer
from raft_assets.pairs.structured import (
    is_constrained,
    parse_structured_questions,
    probe_request,
    render_structured_answer,
    structured_answer_request,
    structured_question_request,
)
from raft_assets.settings.domain import QuestionSettings
from raft_assets_tests.builders import a_chunk

PASSAGE = "Vampire bats eat blood and nothing else. Their roosts are caves.\nOne spoke of <ANSWER>: ##end_quote## here."
CHUNK = a_chunk("c", PASSAGE)
EATS, ROOSTS = "Vampire bats eat blood and nothing else.", "Their roosts are caves."


def parts(reasoning: str = "It says so.", quotes: object = ("1",), final_answer: str = "blood") -> str:
    return json.dumps({"reasoning": reasoning, "quotes": quotes, "final_answer": final_answer})


def test_an_answer_in_parts_becomes_the_contracts_text_with_verbatim_quotes() -> None:
    text = render_structured_answer(parts(quotes=["2", "1", "2"]), PASSAGE)
    assert text is not None
    parsed = parse_answer(text)
    assert parsed.quotes == (ROOSTS, EATS)
    assert (parsed.final_answer, parsed.well_formed) == ("blood", True)
    assert parsed.reasoning.endswith("It says so.")


def test_numbers_count_as_numbers_and_as_strings_and_those_of_no_sentence_are_left_out() -> None:
    text = render_structured_answer(parts(quotes=[0, 1, 99, -1]), PASSAGE)
    assert text is not None
    assert parse_answer(text).quotes == (EATS,)


def test_an_abstention_quotes_nothing_and_is_the_contracts_own() -> None:
    text = render_structured_answer(
        parts(quotes=["1"], final_answer="The document does not contain the answer"), PASSAGE
    )
    assert text is not None
    parsed = parse_answer(text)
    assert (parsed.abstained, parsed.quotes, parsed.final_answer) == (True, (), ABSTENTION)


@given(
    reasoning=st.text(max_size=60) | st.sampled_from(["<ANSWER>: 7", "##begin_quote##x", "Answer: 3"]),
    quotes=st.lists(st.integers(-1, 5), max_size=4),
    final=st.text(min_size=1, max_size=40).filter(lambda text: any(c.isalnum() for c in text)),
)
def test_whatever_is_in_the_parts_the_text_keeps_the_contract(reasoning: str, quotes: list[int], final: str) -> None:
    text = render_structured_answer(parts(reasoning, quotes, final), PASSAGE)
    assert text is not None
    parsed = parse_answer(text)
    assert text.count("<ANSWER>:") == 1
    assert all(is_verbatim_quote(quote, PASSAGE) for quote in parsed.quotes)
    assert len(parsed.quotes) == len({number for number in quotes if 1 <= number <= 3})


@pytest.mark.parametrize(
    "text",
    [
        "The document says so.\n<ANSWER>: blood",
        "",
        "{",
        '{"reasoning": "It says so. It says so. It',
        '{"reasoning": "a"}',
        '{"reasoning": "a", "quotes": ["one"], "final_answer": "b"}',
        "[1, 2]",
    ],
)
def test_anything_else_is_no_answer_in_parts(text: str) -> None:
    assert render_structured_answer(text, PASSAGE) is None


def test_thoughts_and_fences_around_the_object_dont_count() -> None:
    wrapped = f"<think>{{maybe}}</think>\n```json\n{parts()}\n```"
    assert render_structured_answer(wrapped, PASSAGE) == render_structured_answer(parts(), PASSAGE)


# as SmolLM2 135M Instruct wrote them under llama.cpp's grammar
EAT, ROOST = "What do bats eat?", "Where do bats roost?"
LISTS = {
    "a list": (json.dumps({"questions": [EAT, ROOST]}), [EAT, ROOST]),
    "numbered, one again and again, cut off": (
        '{\n  "questions": [\n    "1. What is the purpose of the season?",\n    "2. What is the mating season?",\n'
        '    "3. What is the mating season?",\n    "4. What is the mat',
        ["What is the purpose of the season?", "What is the mating season?"],
    ),
    "several in one string": (json.dumps({"questions": [f"{EAT}\n{ROOST}"]}), [EAT, ROOST]),
    "no question": ('{ "questions": [ "1. What is the origin of the term " ] }', []),
    "an empty list": ('{"questions": []}', []),
    "digits without an end": ('{"questions": ["2.1.2.2.1.1.1.1.1', []),
    "text after all": (f"{EAT}\n{ROOST}", [EAT, ROOST]),
}


@pytest.mark.parametrize(("reply", "expected"), LISTS.values(), ids=LISTS.keys())
def test_questions_are_read_from_a_list(reply: str, expected: list[str]) -> None:
    assert parse_structured_questions(reply, 5) == expected
    assert parse_structured_questions(reply, 1) == expected[:1]


@given(st.text())
def test_reading_never_fails(text: str) -> None:
    parse_structured_questions(text, 3)
    render_structured_answer(text, PASSAGE)
    is_constrained(text)


def test_the_requests_ask_by_a_strict_schema_with_the_sentences_numbered() -> None:
    for request in (
        structured_question_request(CHUNK, 2, QuestionSettings()),
        structured_answer_request("What do bats eat?", CHUNK, QuestionSettings()),
        probe_request(0),
    ):
        schema = request.body["response_format"]["json_schema"]
        assert (request.body["response_format"]["type"], schema["strict"]) == ("json_schema", True)
        assert schema["schema"]["required"] == list(schema["schema"]["properties"])
        assert schema["schema"]["additionalProperties"] is False
    request = structured_answer_request("What do bats eat?", CHUNK, QuestionSettings(), "Speak plainly.")
    system, user = (message["content"] for message in request.body["messages"])
    assert system == f"Speak plainly.\n\n{STRUCTURED_INSTRUCTIONS}"
    assert f"[1] {EATS} [2] {ROOSTS}\n[3] One spoke" in user
    numbers = request.body["response_format"]["json_schema"]["schema"]["properties"]["quotes"]["items"]["enum"]
    assert numbers == ["1", "2", "3"]


def test_worked_examples_of_a_base_model_are_of_the_schema() -> None:
    request = structured_answer_request("What do bats eat?", CHUNK, QuestionSettings())
    for task, reply in request.examples:
        document = task.split("<DOCUMENT>")[1].split("</DOCUMENT>")[0]
        assert document.startswith("[1] ")
        assert json.loads(reply).keys() == {"reasoning", "quotes", "final_answer"}
    assert json.loads(request.examples[0][1])["quotes"] == ["2"]
    (_, questions) = structured_question_request(CHUNK, 2, QuestionSettings()).examples[0]
    assert parse_structured_questions(questions, 5) == json.loads(questions)["questions"]


@pytest.mark.parametrize(
    ("reply", "constrained"),
    [
        (parts(), True),
        ('{\n  "reasoning": "The lamps. The lamps. The la', True),  # a weak model found no end
        ('<think>Easy.</think>{"reasoning":"a","quotes":[],"final_answer":"b"}', True),
        ("The first and the second lamp are named.", False),
        ('{"lamps": ["first", "second"]}', False),  # JSON, but not of the schema
        ("", False),
    ],
)
def test_a_probe_shows_whether_a_service_constrains_its_output(reply: str, constrained: bool) -> None:
    assert is_constrained(reply) is constrained
