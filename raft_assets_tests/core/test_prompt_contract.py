"""How answers of models are read, whatever shape they have."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_assets.core.languages import LANGUAGES
from raft_assets.core.prompt_contract import (
    ABSTENTION,
    ABSTENTION_ANSWER,
    BEGIN_QUOTE,
    CLOSED_BOOK_INSTRUCTIONS,
    END_QUOTE,
    FIRST_INSTRUCTION_HASHES,
    INSTRUCTIONS,
    abstention_answer,
    abstention_in,
    instruction_hashes,
    instructions_in,
    missing_parts,
    parse_answer,
    render_answer,
    render_prompt,
    repeats,
)

QUOTED = f"{BEGIN_QUOTE}The crane lifts 42 tonnes.{END_QUOTE}"


@dataclass(frozen=True)
class Shape:
    """An answer, and what is to be read of it."""

    text: str
    final: str
    well_formed: bool = False
    abstained: bool = False
    quotes: tuple[str, ...] = ()


CRANE = ("The crane lifts 42 tonnes.",)
SHAPES = {
    # as the contract asks
    "as asked": Shape(f"It says {QUOTED}\n<ANSWER>: 42 tonnes", "42 tonnes", well_formed=True, quotes=CRANE),
    "no reasoning": Shape("<ANSWER>: 42 tonnes", "42 tonnes", well_formed=True),
    "no space behind the tag": Shape("So.\n<ANSWER>:42 tonnes", "42 tonnes", well_formed=True),
    "tag in the reasoning's line": Shape("So it is. <ANSWER>: 42 tonnes", "42 tonnes", well_formed=True),
    "the answer on the next line": Shape("So.\n<ANSWER>:\n\n42 tonnes\n", "42 tonnes", well_formed=True),
    "Windows line ends": Shape("So.\r\n<ANSWER>: 42 tonnes\r\n", "42 tonnes", well_formed=True),
    "a quote over two lines": Shape(
        f"{BEGIN_QUOTE}The crane\nlifts.{END_QUOTE}\n<ANSWER>: it",
        "it",
        well_formed=True,
        quotes=("The crane\nlifts.",),
    ),
    "two quotes": Shape(f"{QUOTED} {QUOTED}\n<ANSWER>: 42", "42", well_formed=True, quotes=CRANE * 2),
    "blanks within the quote": Shape(
        f"{BEGIN_QUOTE} The crane lifts 42 tonnes. {END_QUOTE}\n<ANSWER>: 42", "42", well_formed=True, quotes=CRANE
    ),
    "text goes on behind the answer": Shape("<ANSWER>: 42 tonnes\nI hope this helps!", "42 tonnes", well_formed=True),
    # abstaining
    "abstains": Shape(ABSTENTION_ANSWER, ABSTENTION, well_formed=True, abstained=True),
    "abstains without full stop, in capitals": Shape(
        "<ANSWER>: THE DOCUMENTS DO NOT CONTAIN THE ANSWER",
        "THE DOCUMENTS DO NOT CONTAIN THE ANSWER",
        well_formed=True,
        abstained=True,
    ),
    "abstains in its own words": Shape(
        "<ANSWER>: The provided documents don't contain an answer to this question.",
        "The provided documents don't contain an answer to this question.",
        well_formed=True,
        abstained=True,
    ),
    "abstains in bold": Shape(f"<ANSWER>: **{ABSTENTION}**", ABSTENTION, well_formed=True, abstained=True),
    "abstains in quotation marks": Shape(f'<ANSWER>: "{ABSTENTION}"', ABSTENTION, well_formed=True, abstained=True),
    "says first that documents don't, then answers": Shape(
        "The documents do not contain the answer directly.\n<ANSWER>: 42", "42", well_formed=True
    ),
    "abstains and answers at once": Shape(
        f"<ANSWER>: {ABSTENTION} But I know that it is 42.", f"{ABSTENTION} But I know that it is 42.", well_formed=True
    ),
    "abstains without the tag": Shape(ABSTENTION, ""),
    # the tag is missing, doubled or misspelt
    "no tag": Shape("The crane lifts 42 tonnes.", ""),
    "the tag twice": Shape("<ANSWER>: 40\nNo, wait.\n<ANSWER>: 42", "42"),
    "lower case": Shape("So.\n<answer>: 42", "42"),
    "no colon": Shape("So.\n<ANSWER> 42", "42"),
    "a blank before the colon": Shape("So.\n<ANSWER> : 42", "42"),
    "as an XML element": Shape("So.\n<ANSWER>42</ANSWER>", "42"),
    "an XML element over lines": Shape("<answer>\n42\n</answer>", "42"),
    "a bold tag": Shape("So.\n**<ANSWER>:** 42", "42", well_formed=True),
    "plain words": Shape("So.\nAnswer: 42", "42"),
    "plain words in bold": Shape("So.\n**Final answer:** 42", "42"),
    "a heading": Shape("### The final answer is: 42", "42"),
    "a full-width colon": Shape("<ANSWER>：42", "42"),
    # marks around the answer
    "quotation marks": Shape('<ANSWER>: "42 tonnes"', "42 tonnes", well_formed=True),
    "typographic quotation marks": Shape("<ANSWER>: „42 Tonnen“", "42 Tonnen", well_formed=True),
    "quotes of which none holds all": Shape('<ANSWER>: "yes" and "no"', '"yes" and "no"', well_formed=True),
    "code": Shape("<ANSWER>: `crane.lift()`", "crane.lift()", well_formed=True),
    "an underscored name": Shape("<ANSWER>: __init__", "__init__", well_formed=True),
    "bold": Shape("<ANSWER>: **42 tonnes**", "42 tonnes", well_formed=True),
    "quote marks around the answer": Shape(
        f"<ANSWER>: {BEGIN_QUOTE}42 tonnes{END_QUOTE}", "42 tonnes", well_formed=True, quotes=("42 tonnes",)
    ),
    # broken off
    "empty": Shape("", ""),
    "only white space": Shape(" \n\t ", ""),
    "nothing behind the tag": Shape("So.\n<ANSWER>: ", ""),
    "cut off in the reasoning": Shape("First, the crane on quay 2", ""),
    "cut off in a quote": Shape(f"{BEGIN_QUOTE}The crane lif", ""),
    "cut off in the tag": Shape(f"{QUOTED}\n<ANSW", "", quotes=CRANE),
    "a quote is not closed": Shape(f"{BEGIN_QUOTE}The crane.\n<ANSWER>: 42", "42"),
    "a quote is closed twice": Shape(f"{QUOTED}{END_QUOTE}\n<ANSWER>: 42", "42", quotes=CRANE),
    "a refusal": Shape("I'm sorry, but I can't help with that.", ""),
    # other languages
    "German": Shape("<ANSWER>: 42 Tonnen, größer als „Bär“", "42 Tonnen, größer als „Bär“", well_formed=True),
    "Japanese": Shape("<ANSWER>: 42トン", "42トン", well_formed=True),
    "Arabic": Shape("<ANSWER>: ٤٢ طنا", "٤٢ طنا", well_formed=True),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_an_answer_of_any_shape_is_read(shape: Shape) -> None:
    parsed = parse_answer(shape.text)
    assert (parsed.final_answer, parsed.abstained) == (shape.final, shape.abstained)
    assert (parsed.well_formed, parsed.quotes) == (shape.well_formed, shape.quotes)


@given(st.text())
def test_reading_an_answer_never_fails(text: str) -> None:
    parsed = parse_answer(text)
    assert parsed.final_answer == parsed.final_answer.strip()


@given(st.from_regex(r"[^\W_][\w ,-]{0,30}[^\W_]", fullmatch=True))
def test_what_was_rendered_is_read_again(final: str) -> None:
    parsed = parse_answer(render_answer(QUOTED, final))
    assert (parsed.final_answer, parsed.well_formed, parsed.quotes) == (final, True, CRANE)


DOCUMENT = "The crane on quay 2 lifts 42 tonnes. It was built in 1907 by the firm of Anna Lowe, and it is still in use."
PROMPT = render_prompt("How much does the crane lift?", [DOCUMENT])
OWN_INSTRUCTIONS = f"{INSTRUCTIONS}\nSpeak to a child of nine years, kindly."
# what models that repeat their prompt write; none of it is an answer
ECHOES = {
    "the instructions": INSTRUCTIONS,
    "the instructions for the closed book": CLOSED_BOOK_INSTRUCTIONS,
    "the instructions in one line": " ".join(INSTRUCTIONS.split()),
    "the instructions twice": f"{INSTRUCTIONS}\n\n{INSTRUCTIONS}",
    "in capitals": INSTRUCTIONS.upper(),
    "the last line": INSTRUCTIONS.splitlines()[-1],
    "the last line, from its middle": "hold the answer, end with: <ANSWER>: The documents do not contain the answer.",
    "the last line without its end": "When the documents do not hold the answer, end with: <ANSWER>:",
    "the line with the placeholder": INSTRUCTIONS.splitlines()[-2],
    "the placeholder": "<ANSWER>: final answer",
    "the placeholder in brackets": "<ANSWER>: [final answer]",
    "the placeholder after some words": "First I reason step by step.\n<ANSWER>: final answer.",
    "the whole prompt": PROMPT,
    "the whole prompt, with marks of a template": f"<|system|>\n{INSTRUCTIONS}<|user|>\n{PROMPT}",
    "instructions with marks of a list": "\n".join(f"- {line}" for line in INSTRUCTIONS.splitlines()),
    "instructions that were cut off": INSTRUCTIONS[:-60],
    "instructions of the domain": OWN_INSTRUCTIONS,
}


@pytest.mark.parametrize("text", ECHOES.values(), ids=ECHOES.keys())
def test_a_model_that_repeats_its_instructions_has_given_no_answer(text: str) -> None:
    parsed = parse_answer(text, OWN_INSTRUCTIONS)
    assert (parsed.abstained, parsed.final_answer, parsed.well_formed, parsed.is_echo) == (False, "", False, True)


@pytest.mark.parametrize(
    ("own", "final", "abstained"),
    [
        (f"It says {QUOTED}\n<ANSWER>: 42 tonnes", "42 tonnes", False),
        (ABSTENTION_ANSWER, ABSTENTION, True),
        (f"<ANSWER>: {ABSTENTION}", ABSTENTION, True),
    ],
)
def test_an_answer_after_the_repeated_prompt_is_one(own: str, final: str, abstained: bool) -> None:
    parsed = parse_answer(f"{PROMPT}{own}")
    assert (parsed.final_answer, parsed.abstained, parsed.is_echo) == (final, abstained, False)
    assert not parsed.well_formed, "it keeps no form that a reader could use"


@pytest.mark.parametrize(
    "text",
    [
        f"When the documents do not hold the answer, one should say so.\n<ANSWER>: {ABSTENTION}",
        f"The documents name the crane, not its price. I therefore end with: <ANSWER>: {ABSTENTION}",
        f"Answer the question: nobody knows.\n<ANSWER>: {ABSTENTION}",
    ],
)
def test_an_abstention_in_words_like_those_of_the_instructions_is_one(text: str) -> None:
    assert (parse_answer(text).abstained, parse_answer(text).is_echo) == (True, False)


def test_a_text_that_is_copied_from_the_documents_is_told_from_one_that_quotes_them() -> None:
    assert repeats(f"<DOCUMENT>{DOCUMENT}</DOCUMENT>\n\nHow much does the crane lift?", PROMPT)
    assert not repeats("The crane on quay 2 lifts 42 tonnes.", PROMPT)
    assert not repeats(
        f"The question asks for the load that the crane can carry. The document says: {DOCUMENT} This means that the "
        "load is given in its first sentence, and that the year and the builder are of no interest here.",
        PROMPT,
    )


def test_instructions_of_a_language_name_it_and_hold_its_abstention_and_english_ones_are_the_same() -> None:
    assert instructions_in("") is instructions_in("en") is INSTRUCTIONS
    german = instructions_in("de")
    assert "Write in German" in german
    assert (LANGUAGES["de"].abstention in german, ABSTENTION in german) == (True, False)
    assert missing_parts(german) == missing_parts(INSTRUCTIONS) == []
    assert missing_parts(german.replace(LANGUAGES["de"].abstention, "")) == [ABSTENTION]
    assert instructions_in("sw") == f"{INSTRUCTIONS}\n{instructions_in('sw').splitlines()[-1]}"  # not in the table


def test_an_abstention_is_in_the_language_of_the_question() -> None:
    assert abstention_answer("") == abstention_answer("en") == ABSTENTION_ANSWER
    assert parse_answer(abstention_answer("zh")).final_answer == abstention_in("zh") == LANGUAGES["zh"].abstention


def test_a_repeated_instruction_of_another_language_is_no_answer() -> None:
    german = instructions_in("de")
    assert parse_answer(german.splitlines()[3], german).is_echo


def test_the_first_hashes_are_those_of_the_instructions_as_they_are() -> None:
    assert instruction_hashes() == FIRST_INSTRUCTION_HASHES
