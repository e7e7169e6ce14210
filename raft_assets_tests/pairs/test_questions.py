"""Asking for questions and reading them."""

import re
from collections import Counter
from itertools import takewhile
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raft_assets.core.prompt_contract import INSTRUCTIONS, render_user_message
from raft_assets.core.tables import Chunk
from raft_assets.embedded.answers import answer_as_teacher
from raft_assets.embedded.teacher.ask import generate_questions
from raft_assets.llm.prompts import read_prompt
from raft_assets.pairs.questions import (
    QUESTION_MARKS,
    classify_question,
    parse_questions,
    plan_questions,
    question_prompts,
    question_request,
    teacher_answer_request,
)
from raft_assets.settings.domain import QuestionSettings
from raft_assets_tests.builders import a_chunk, a_corpus

EATS, SLEEPS = "What does a vampire bat eat?", "Where do fruit bats sleep?"
BOTH = [EATS, SLEEPS]
CLOZE = 'Which words complete this statement: "The bat is a ____ mammal"?'

REPLIES = {
    "plain lines": (f"{EATS}\n{SLEEPS}", BOTH),
    "blank lines and white space": (f"\n\n  {EATS}  \n\n\t{SLEEPS}\n", BOTH),
    "numbers with full stops": (f"1. {EATS}\n2. {SLEEPS}", BOTH),
    "numbers with parentheses": (f"1) {EATS}\n(2) {SLEEPS}", BOTH),
    "numbers in brackets": (f"[1] {EATS}\n[2] {SLEEPS}", BOTH),
    "numbers with dashes and colons": (f"1 - {EATS}\n2: {SLEEPS}", BOTH),
    "numbers with hashes": (f"#1 {EATS}\n#2: {SLEEPS}", BOTH),
    "letters": (f"a) {EATS}\nB) {SLEEPS}", BOTH),
    "roman numbers": (f"i. {EATS}\nii) {SLEEPS}", BOTH),
    "bullets": (f"- {EATS}\n• {SLEEPS}", BOTH),
    "stars as bullets": (f"* {EATS}\n* {SLEEPS}", BOTH),
    "task lists": (f"- [ ] {EATS}\n- [x] {SLEEPS}", BOTH),
    "headings and quotations": (f"### {EATS}\n> {SLEEPS}", BOTH),
    "bold": (f"**{EATS}**\n1. **{SLEEPS}**", BOTH),
    "bold numbers": (f"**1.** {EATS}\n**2. {SLEEPS}**", BOTH),
    "italic and code": (f"*{EATS}*\n`{SLEEPS}`", BOTH),
    "a bold word inside": ("What does a **vampire bat** eat?", [EATS]),
    "Q prefixes": (f"Q: {EATS}\nQ2. {SLEEPS}", BOTH),
    "Question prefixes": (f"Question 1: {EATS}\nQuestion #2 - {SLEEPS}", BOTH),
    "bold Question prefixes": (f"**Question 1:** {EATS}\n**Question 2**: {SLEEPS}", BOTH),
    "a label on a line of its own": (f"**Question 1:**\n{EATS}\n\nQuestion 2\n{SLEEPS}", BOTH),
    "a label of two words": (f"Factual question: {EATS}", [EATS]),
    "a preamble": (f"Sure, here are 2 questions:\n\n{EATS}\n{SLEEPS}", BOTH),
    "a preamble on the same line": (f"Certainly! Here are the questions: 1. {EATS} 2. {SLEEPS}", BOTH),
    "a farewell": (f"{EATS}\n{SLEEPS}\n\nLet me know if you want more!", BOTH),
    "a farewell that asks": (f"{EATS}\nWould you like me to write more questions?", [EATS]),
    "an offer that asks": (f"{EATS}\nShall I generate more questions for you?", [EATS]),
    "quotation marks": (f'"{EATS}"\n“{SLEEPS}”', BOTH),
    "quotation marks and commas": (f'"{EATS}",\n"{SLEEPS}"', BOTH),
    "a code fence": (f"```\n{EATS}\n{SLEEPS}\n```", BOTH),
    "a JSON list": (f'["{EATS}", "{SLEEPS}"]', BOTH),
    "a JSON list in a code fence": (f'Here you go:\n```json\n["{EATS}",\n "{SLEEPS}"]\n```', BOTH),
    "a JSON list that was cut off": (f'["{EATS}", "{SLEEPS}", "How do', BOTH),
    "a JSON list with a comma too many": (f'["{EATS}", "{SLEEPS}",]', BOTH),
    "JSON objects": (f'[{{"question": "{EATS}", "answer": "Is it blood?"}}, {{"question": "{SLEEPS}"}}]', BOTH),
    "a JSON object with a list": (f'{{"questions": ["{EATS}", "{SLEEPS}"]}}', BOTH),
    "JSON lines": (f'{{"question": "{EATS}"}}\n{{"question": "{SLEEPS}"}}', BOTH),
    "tags": (f"<questions><question>{EATS}</question><question>{SLEEPS}</question></questions>", BOTH),
    "a table": (f"| # | Question |\n|---|---|\n| 1 | {EATS} |\n| 2 | {SLEEPS} |", BOTH),
    "thoughts of a reasoning model": (f"<think>What could I ask? Is it good?</think>\n{EATS}", [EATS]),
    "thoughts that were cut off": ("<think>What could I ask about the bat?", []),
    "answers on their own lines": (f"Q: {EATS}\nA: Is it blood?\nQ: {SLEEPS}\nAnswer: in trees", BOTH),
    "answers behind the question": (f"{EATS} (Answer: blood)\n{SLEEPS} - Answer: in trees", BOTH),
    "bold answers behind the question": (f"{EATS} **Answer:** blood\n{SLEEPS} → in trees", BOTH),
    "remarks behind the question": (f"{EATS} (easy)\n{SLEEPS} [1]", BOTH),
    "several numbered ones on a line": (f"1. {EATS} 2. {SLEEPS}", BOTH),
    "a question over two lines": (f"1. What does a\n   vampire bat eat?\n2. {SLEEPS}", BOTH),
    "a line broken before a name": (
        "Who built the first lighthouse of\nPort Ellen in 1832?",
        ["Who built the first lighthouse of Port Ellen in 1832?"],
    ),
    "duplicates": (f"{EATS}\n2. {EATS.upper()}\n{SLEEPS}", BOTH),
    "a full-width question mark": (EATS.replace("?", "？"), [EATS.replace("?", "？")]),
    "Spanish": (
        "Aquí tienes:\n1. ¿Qué comen los vampiros?\n2. «¿Dónde duermen los zorros?»",
        ["¿Qué comen los vampiros?", "¿Dónde duermen los zorros?"],
    ),
    "Spanish labels": ("Pregunta 1: ¿Qué comen los vampiros?\nRespuesta: ¿Sangre?", ["¿Qué comen los vampiros?"]),
    "German quotation marks": (
        "„Was frisst die Fledermaus?“\n»Wo schläft der Flughund?«",
        ["Was frisst die Fledermaus?", "Wo schläft der Flughund?"],
    ),
    "German labels": ("Frage 1: Was frisst sie nachts?\nAntwort: Blut, was sonst?", ["Was frisst sie nachts?"]),
    "French with spaces before its marks": (
        "1. « Que mange la chauve-souris ? »",
        ["Que mange la chauve-souris ?"],
    ),
    "Chinese": ("1、吸血蝙蝠吃什么？\n2、果蝠在哪里睡觉？", ["吸血蝙蝠吃什么？", "果蝠在哪里睡觉？"]),
    "Chinese labels": ("问题1：吸血蝙蝠吃什么？\n答案：血吗？", ["吸血蝙蝠吃什么？"]),
    "Japanese quotation marks": ("「コウモリは何を食べますか？」", ["コウモリは何を食べますか？"]),
    "Arabic": ("١. ماذا تأكل الخفافيش ليلا؟", ["ماذا تأكل الخفافيش ليلا؟"]),
    "Greek, typed with a semicolon": ("1. Τι τρώνε οι νυχτερίδες;", ["Τι τρώνε οι νυχτερίδες\u037e"]),
    "Russian": ("Вопрос 1: Что едят летучие мыши?\nОтвет: кровь?", ["Что едят летучие мыши?"]),
    "a semicolon in English": ("Bats sleep by day;", []),
    "thoughts whose beginning is in the model's template": (f"Is it good? Yes.\n</think>\n{EATS}", [EATS]),
    "thoughts under another name": (f"<reasoning>\nWhat shall I ask them?\n</reasoning>\n1. {EATS}", [EATS]),
    "a YAML list": (f"- question: {EATS}\n  answer: blood\n- question: {SLEEPS}\n  answer: trees", BOTH),
    "a table with answers": (f"| Question | Answer |\n|:--|--:|\n| {EATS} | blood |\n| {SLEEPS} | trees |", BOTH),
    "JSON with numbered names": (f'{{"question_1": "{EATS}", "question_2": "{SLEEPS}"}}', BOTH),
    "JSON behind a preamble with brackets": (f'The questions [2]:\n{{"questions": ["{EATS}", "{SLEEPS}"]}}', BOTH),
    "notes below the questions": (f"{EATS}\n{SLEEPS}\n\nNote: Which of these is best? I can't say.", BOTH),
    "headings between the questions": (f"## Factual\n{EATS}\n\n## Places\n{SLEEPS}", BOTH),
    "a question inside prose": ("The keeper wondered what bats eat? He never knew. So he left.", []),
    "carriage returns": (f"1. {EATS}\r\n2. {SLEEPS}\r\n", BOTH),
    "a cloze": (f"1. {CLOZE}", [CLOZE]),
    "a quotation at the end": ('1. Who said "To be or not to be?"', ['Who said "To be or not to be?"']),
    "a decimal at the start": ("1.5 million bats live in which cave?", ["1.5 million bats live in which cave?"]),
    "a time at the start": ("12:30 is when which ferry leaves?", ["12:30 is when which ferry leaves?"]),
    "an initial at the start": ("C. elegans is what kind of animal?", ["C. elegans is what kind of animal?"]),
    "a hyphenated Q": ("Q-learning is what kind of method?", ["Q-learning is what kind of method?"]),
    "stars that mean something": (
        "What does **kwargs hold that *args does not?",
        ["What does **kwargs hold that *args does not?"],
    ),
    "statements": ("Bats eat insects.\nThey sleep by day.", []),
    "a question that was cut off": (f"{EATS}\nWhere do fruit", [EATS]),
    "too short to ask anything": ("Why?\nHow so?", []),
    "a refusal": ("I'm sorry, but I can't help with that.", []),
    "a refusal that asks": ("I'm sorry, could you provide the document?", []),
    "a question for the document": ("Could you please share the text you want questions about?", []),
    "nothing": ("", []),
    "no questions as JSON": ("[]", []),
    "JSON of something else": ('{"error": {"code": 3}}', []),
}


@pytest.mark.parametrize(("reply", "expected"), REPLIES.values(), ids=REPLIES.keys())
def test_questions_are_found_in_whatever_shape_they_come(reply: str, expected: list[str]) -> None:
    assert parse_questions(reply, 9) == expected


def test_no_more_questions_are_taken_than_were_asked_for() -> None:
    assert parse_questions(f"{EATS}\n{SLEEPS}", 1) == [EATS]


@settings(deadline=None)
@given(st.text(max_size=200) | st.text(alphabet="1.)(-*\"'“”„«»「」[]{}|?？؟;:#Q_ \nabα血", max_size=60))
def test_a_reply_of_anything_gives_distinct_lines_that_end_in_a_question_mark(reply: str) -> None:
    questions = parse_questions(reply, 5)
    assert len(set(questions)) == len(questions) <= 5
    for question in questions:
        assert question == " ".join(question.split())
        assert question.rstrip('"”»“«‹›」』').endswith(tuple(QUESTION_MARKS))


MARKS = ("", "1. ", "(2) ", "[3] ", "- ", "* ", "> - ", "Q4: ", "Question 5: ", "**Question 6:** ", "- [ ] ", "#7 ")
WRAPPINGS = (("", ""), ("**", "**"), ("*", "*"), ('"', '"'), ("“", "”"), ("`", "`"))
REMARKS = ("", "  ", " (easy)", " [8]", " (Answer: no idea)", " - Answer: no idea", " **Answer:** no idea")
PREAMBLES = ("", "Sure, here are the questions:\n\n", "Certainly! Here is one: ")
FAREWELLS = ("", "\n\nI hope that helps.", "\nWould you like more?")


@settings(deadline=None)
@given(
    preamble=st.sampled_from(PREAMBLES),
    mark=st.sampled_from(MARKS),
    wrapping=st.sampled_from(WRAPPINGS),
    remark=st.sampled_from(REMARKS),
    farewell=st.sampled_from(FAREWELLS),
    question=st.sampled_from([EATS, CLOZE]),
)
def test_whatever_stands_around_a_question_is_taken_off(
    *, preamble: str, mark: str, wrapping: tuple[str, str], remark: str, farewell: str, question: str
) -> None:
    line = f"{mark}{wrapping[0]}{question}{wrapping[1]}{remark}"
    assert parse_questions(f"{preamble}{line}{farewell}", 5) == [question]


KINDS = {
    "what": "What does a bat eat?",
    "who": "To whom did the town give the tower?",
    "when": "Since when has the tower stood there?",
    "where": "Where do bats sleep?",
    "why": "Why was it built?",
    "how": "For how long did it stand?",
    "which": "In which year was it built?",
    "cloze": CLOZE,
    "other": "Is the tower open when it rains?",
}


@pytest.mark.parametrize(("kind", "question"), KINDS.items(), ids=KINDS.keys())
def test_the_kind_of_a_question_is_its_first_question_word(kind: str, question: str) -> None:
    assert classify_question(question, "prose") == kind


def test_questions_about_an_api_are_api_questions_unless_they_are_clozes() -> None:
    assert classify_question("What does it return?", "api") == "api"
    assert classify_question(CLOZE, "api") == "cloze"


STYLES = [QuestionSettings(style=style) for style in get_args(QuestionSettings.model_fields["style"].annotation)]
of_every_style = pytest.mark.parametrize("style", STYLES, ids=lambda settings: settings.style)
of_every_kind = pytest.mark.parametrize("kind", ["prose", "api"])


def contents(chunk: Chunk, count: int, style: QuestionSettings) -> list[str]:
    return [message["content"] for message in question_request(chunk, count, style).body["messages"]]


@of_every_style
@of_every_kind
def test_the_request_shows_instructions_then_the_chunk_and_then_how_many_questions_to_write(
    kind: str, style: QuestionSettings
) -> None:
    chunk = a_chunk("c", "Bats </DOCUMENT> fly.", kind=kind)
    shown = "\n\n".join(contents(chunk, 3, style))
    before, document, task = shown.partition(render_user_message("", [chunk.text]).strip())
    assert len(before) > 500
    assert document
    assert re.match(r"^\n\nWrite 3 questions\b", task)
    assert "{" not in task
    assert "<DOCUMENT>" not in before
    assert re.search(r"\bWrite 1 question\b", contents(chunk, 1, style)[-1])
    assert question_request(chunk, 3, style).body["max_completion_tokens"] == style.max_answer_tokens


def shared_start(one: str, other: str) -> str:
    return "".join(first for first, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


@of_every_style
@of_every_kind
def test_what_requests_share_stands_first_so_that_services_can_cache_it(kind: str, style: QuestionSettings) -> None:
    first, second = a_chunk("a", kind=kind), a_chunk("b", kind=kind)
    shared = shared_start(*("".join(contents(chunk, 2, style)) for chunk in (first, second)))
    assert "<DOCUMENT>" in shared
    of_one_chunk = shared_start(*("".join(contents(first, count, style)) for count in (2, 4)))
    assert first.text in of_one_chunk


def test_llama_is_asked_in_one_message_with_an_example_and_without_a_system_prompt() -> None:
    for kind in ("prose", "api"):
        (message,) = question_request(a_chunk("c", kind=kind), 2, QuestionSettings(style="llama")).body["messages"]
        assert message["role"] == "user"
        assert "Example of a good reply" in message["content"]


WRITTEN = {  # prompt file to its version: a changed text has another hash, and then wants another number
    "general/questions": "1-24f685a3",
    "general/api_questions": "1-7f584460",
    "llama/questions": "1-0b892843",
    "llama/api_questions": "1-047122e7",
}


def test_the_version_of_a_prompt_file_changes_with_its_text() -> None:
    used = {name: version for style in STYLES for name, version in question_prompts(style).items()}
    assert used == {name: read_prompt("raft_assets.pairs", name).version for name in used}
    assert used == WRITTEN


RECORDED = {
    "general": (
        "In which year was the Halden bridge opened?\nWhich stone did Marit Lund choose for the Halden bridge?\n",
        ["In which year was the Halden bridge opened?", "Which stone did Marit Lund choose for the Halden bridge?"],
    ),
    "llama": (
        "Here are the questions based on the document:\n\n1. In which year was the Halden bridge opened?\n\n"
        "2. Which stone did Marit Lund choose for the Halden bridge?\n\n"
        "Note: I only wrote two questions, as the document does not hold more answers.<|eot_id|>",
        ["In which year was the Halden bridge opened?", "Which stone did Marit Lund choose for the Halden bridge?"],
    ),
    "llama, with answers": (
        "**Question 1:** In which year was the Halden bridge opened?\n**Answer:** 1907\n\n"
        "**Question 2:** Why did Marit Lund choose granite?\n**Answer:** Because iron rusts, does it not?",
        ["In which year was the Halden bridge opened?", "Why did Marit Lund choose granite?"],
    ),
    "api": (
        "Which call of the tides library reads the tide table of a port?\n"
        "How many days does `tides.load` read unless it is told otherwise?\n"
        "What does `tides.load(port, days=7)` return?",
        [
            "Which call of the tides library reads the tide table of a port?",
            "How many days does `tides.load` read unless it is told otherwise?",
            "What does `tides.load(port, days=7)` return?",
        ],
    ),
    "llama, of an api": (
        "```\n1. Which call of the tides library reads the tide table of a port?\n"
        "2. What does `tides.load` return?\n```\n\nLet me know if you need more!",
        ["Which call of the tides library reads the tide table of a port?", "What does `tides.load` return?"],
    ),
}


@pytest.mark.parametrize(("reply", "expected"), RECORDED.values(), ids=RECORDED.keys())
def test_replies_in_every_style_are_read(reply: str, expected: list[str]) -> None:
    assert parse_questions(reply, 4) == expected


@of_every_style
@of_every_kind
def test_the_embedded_teacher_understands_every_style(kind: str, style: QuestionSettings) -> None:
    text = (
        "The Halden bridge was opened in 1907. Marit Lund built the Halden bridge."
        if kind == "prose"
        else "api_call: tides.load(port, days=7)\nfunctionality: Reads the tide table of a port"
    )
    prompt = contents(a_chunk("c", text, kind=kind), 1, style)[-1]
    reply = answer_as_teacher(prompt, lambda document: generate_questions(document, count=5))
    assert len(parse_questions(reply or "", 5)) == 1


def test_the_answer_is_asked_for_with_the_oracle_document_alone_and_the_contract() -> None:
    chunk = a_chunk("c", "Bats fly.")
    request = teacher_answer_request(EATS, chunk, QuestionSettings())
    assert request.kind == "chat"
    assert [message["content"] for message in request.body["messages"]] == [
        INSTRUCTIONS,
        render_user_message(EATS, [chunk.text]),
    ]


@pytest.mark.parametrize(("name", "value"), [("temperature", 0), ("reasoning_effort", "low")])
def test_a_parameter_is_sent_only_where_it_is_set(name: str, value: object) -> None:
    chunk = a_chunk("c", "Bats fly.")
    for configured, expected in ((QuestionSettings(), None), (QuestionSettings.model_validate({name: value}), value)):
        requests = question_request(chunk, 1, configured), teacher_answer_request(EATS, chunk, configured)
        assert [request.body.get(name) for request in requests] == [expected, expected]


@settings(deadline=None)
@given(st.integers(0, 12), st.integers(0, 5), st.integers(0, 80))
def test_every_chunk_is_asked_once_before_any_twice(chunks: int, each: int, wanted: int) -> None:
    settings = QuestionSettings(questions_per_chunk=each)
    corpus = [a_chunk(f"c{number}", "x") for number in range(chunks)]
    counts = Counter({chunk.chunk_id: count for chunk, count in plan_questions(corpus, settings, wanted, 0)})
    assert counts.total() == min(chunks * each, wanted)
    of_each = [counts[chunk.chunk_id] for chunk in corpus]
    assert max(of_each, default=0) - min(of_each, default=0) <= 1


def test_which_chunks_are_asked_depends_on_the_draw_and_not_on_their_order() -> None:
    corpus = a_corpus(5)
    settings = QuestionSettings()
    assert plan_questions(corpus, settings, 7, 1) == plan_questions(corpus[::-1], settings, 7, 1)
    assert plan_questions(corpus, settings, 7, 1) != plan_questions(corpus, settings, 7, 2)
