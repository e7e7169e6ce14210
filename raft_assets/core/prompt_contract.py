"""The prompt contract: the one place that renders a prompt and reads an answer.

Teacher, baseline and student see the same rendering, in training rows and in evaluation; otherwise a comparison would
measure format. The answer style is that of arXiv 2403.10131, figure 2.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from raft_assets.core.abstention import is_abstention
from raft_assets.core.delimiters import escape_delimiters
from raft_assets.core.identity import digest, normalize
from raft_assets.core.languages import ENGLISH, LANGUAGES, language_of_code

CONTRACT_VERSION = "2"
ABSTENTION = "The documents do not contain the answer."
BEGIN_QUOTE, END_QUOTE, ANSWER_TAG = "##begin_quote##", "##end_quote##", "<ANSWER>:"

INSTRUCTIONS = f"""Answer the question from the documents only.
First reason step by step. Copy every sentence that you rely on, word for word, between {BEGIN_QUOTE} and {END_QUOTE}.
Then end with one line that holds the final answer, as short as possible: {ANSWER_TAG} final answer
When the documents do not hold the answer, end with: {ANSWER_TAG} {ABSTENTION}"""

# what instructions must contain, whoever writes them: otherwise answers can't be parsed
CONTRACT_PARTS = (BEGIN_QUOTE, END_QUOTE, ANSWER_TAG, ABSTENTION)

# of a service that constrains answers to a JSON schema: quotes are numbers of sentences, which can't be misquoted
STRUCTURED_INSTRUCTIONS = f"""Answer the question from the document only. Its sentences are numbered: [1], [2], ...
Reply with a JSON object of three fields.
"reasoning": reason step by step, in your own words and in the language of the question.
"quotes": the numbers of the sentences that you rely on.
"final_answer": the final answer, as short as possible.
When the document does not hold the answer, "quotes" is empty and "final_answer" is: {ABSTENTION}"""

CLOSED_BOOK_INSTRUCTIONS = f"""Answer the question from memory; no documents are given.
First reason step by step.
Then end with one line that holds the final answer, as short as possible: {ANSWER_TAG} final answer"""

# added where the question isn't English: in English instructions a weak model would answer in English
_IN_LANGUAGE = "Write in {name}, the language of the question. Don't translate {marks}."
_IN_ANY_LANGUAGE = "Write in the language of the question. Don't translate {marks}."

HASH_DIGITS = 8  # of instructions
# of the instructions with which everything was made before hashes were kept, up to version 0.2.0, and with which
# domains in other languages than English are made since 0.3.0
FIRST_INSTRUCTION_HASHES = {
    "contract": "8b148af3",
    "contract_structured": "c66609ac",
    "contract_closed_book": "06f68b6a",
    "contract_other_languages": "16ed66c1",
}

# what an answer is written in, as closely as its reader reads it
_ANSWER_DELIMITER = re.compile(r"(##\s*(?:begin|end)_quote\s*##|<\s*/?\s*ANSWER\s*>)", re.IGNORECASE)
_QUOTE = re.compile(r"##begin_quote##(.*?)##end_quote##", re.DOTALL)

# how models write the tag when they don't quite keep the contract, the closest to it first
_TAGS = (
    re.compile(re.escape(ANSWER_TAG)),
    re.compile(r"<\s*ANSWER\s*>\s*[:：]?", re.IGNORECASE),
    re.compile(r"^(?:[^\w\n]|_)*+(?:the )?(?:final )?answer(?: is)?[*_\s]*[:：]", re.IGNORECASE | re.MULTILINE),
)
_CLOSING_TAG = re.compile(r"<\s*/\s*ANSWER\s*>", re.IGNORECASE)
_WRAPPERS = (("**", "**"), ("`", "`"), ('"', '"'), ("“", "”"), ("„", "“"), ("«", "»"), ("‘", "’"), ("'", "'"))
_PLACEHOLDER = "final answer"  # what the instructions write after the tag
MIN_ECHO_WORDS = 3  # words before a tag by which a line is known as one of the instructions
MIN_COPIED_WORDS = 20  # a shorter text may copy a sentence: that is what it was asked to do
COPIED_RUN_WORDS = 5  # consecutive words that a text and its prompt hardly share by chance
MAX_COPIED_SHARE = 0.8  # of such runs: a text that reasons about what it quotes has fewer
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class ParsedAnswer:
    """A parsed answer. `well_formed`: exactly one non-empty final answer and every quote closed.

    `is_echo`: the text repeats the instructions and holds no answer of its own.
    """

    reasoning: str
    quotes: tuple[str, ...]
    final_answer: str
    abstained: bool
    well_formed: bool
    is_echo: bool = False


def missing_parts(instructions: str) -> list[str]:
    """Return what instructions must contain and lack: the marks of an answer, and the abstention of any language."""
    missing = [part for part in CONTRACT_PARTS if part not in instructions]
    abstains = any(language.abstention in instructions for language in LANGUAGES.values())
    return [part for part in missing if part != ABSTENTION or not abstains]


def abstention_in(language: str) -> str:
    """Return what says in a language that the documents don't hold the answer; English for one that has no sentence."""
    known = language_of_code(language)
    return ABSTENTION if known is None or known.code == ENGLISH else known.abstention


def abstention_answer(language: str) -> str:
    """Return the answer of a row whose documents don't hold it, in a language."""
    known = language_of_code(language)
    if known is None or known.code == ENGLISH:
        return ABSTENTION_ANSWER
    return render_answer(known.abstention, known.abstention)


def instructions_in(language: str) -> str:
    """Return the contract's instructions for questions in a language."""
    return _in_language(INSTRUCTIONS, language, (BEGIN_QUOTE, END_QUOTE, ANSWER_TAG))


def structured_instructions_in(language: str) -> str:
    """Return the instructions for a teacher that answers in parts."""
    return _in_language(STRUCTURED_INSTRUCTIONS, language, ("the names of the fields",))


def closed_book_instructions_in(language: str) -> str:
    """Return the instructions for questions without documents."""
    return _in_language(CLOSED_BOOK_INSTRUCTIONS, language, (ANSWER_TAG,))


def _in_language(english: str, language: str, marks: Sequence[str]) -> str:
    """Return instructions with a line about the language, and its sentence instead of the English one."""
    if (language or ENGLISH) == ENGLISH:
        return english
    known = language_of_code(language)
    listed = f"{', '.join(marks[:-1])} and {marks[-1]}" if len(marks) > 1 else marks[0]
    line = _IN_LANGUAGE.format(name=known.name, marks=listed) if known else _IN_ANY_LANGUAGE.format(marks=listed)
    return f"{english.replace(ABSTENTION, abstention_in(language))}\n{line}"


def _other_language_hash() -> str:
    """Return one hash of the instructions in every language but English."""
    makers = (instructions_in, structured_instructions_in, closed_book_instructions_in)
    codes = ["", *sorted(LANGUAGES.keys() - {ENGLISH})]
    texts = [make(code or "zz") for code in codes for make in makers]  # "zz": of a language that has no entry
    return digest(*texts)[:HASH_DIGITS]


def instruction_hashes() -> dict[str, str]:
    """Return the hash of each of the contract's instructions: the English ones, and one of all other languages."""
    return english_instruction_hashes() | {"contract_other_languages": _other_language_hash()}


def english_instruction_hashes() -> dict[str, str]:
    """Return the hash of each of the contract's instructions in English.

    They are those for answers from documents, for a teacher that answers in parts, and for answers without documents.
    """
    texts = {
        "contract": INSTRUCTIONS,
        "contract_structured": STRUCTURED_INSTRUCTIONS,
        "contract_closed_book": CLOSED_BOOK_INSTRUCTIONS,
    }
    return {name: digest(text)[:HASH_DIGITS] for name, text in texts.items()}


def escape_answer(text: str) -> str:
    """Return an answer as it appears in a training row: of all delimiters it keeps those of answers."""
    parts = _ANSWER_DELIMITER.split(text)
    return "".join(part if number % 2 else escape_delimiters(part) for number, part in enumerate(parts))


def render_user_message(question: str, documents: Sequence[str]) -> str:
    """Render the user message: each document between <DOCUMENT> and </DOCUMENT>, a blank line, the question."""
    blocks = [f"<DOCUMENT>{escape_delimiters(text)}</DOCUMENT>" for text in documents]
    return "\n".join(blocks) + ("\n\n" if blocks else "") + escape_delimiters(question)


def render_messages(question: str, documents: Sequence[str], instructions: str = INSTRUCTIONS) -> list[dict[str, str]]:
    """Render the prompt as chat messages (system, user)."""
    return [
        {"role": "system", "content": instructions},
        {"role": "user", "content": render_user_message(question, documents)},
    ]


def render_prompt(question: str, documents: Sequence[str], instructions: str = INSTRUCTIONS) -> str:
    """Render the same prompt as one text, for completion models; the answer follows it."""
    return f"{instructions}\n\n{render_user_message(question, documents)}\n\n"


def render_answer(reasoning: str, final_answer: str) -> str:
    """Render an answer as the contract asks."""
    return f"{reasoning.strip()}\n{ANSWER_TAG} {final_answer.strip()}"


ABSTENTION_ANSWER = render_answer("None of the documents holds what the question asks for.", ABSTENTION)

TASK, REPLY = "Task:", "Reply:"  # before the parts of a completion prompt with worked examples
EXAMPLE_DOCUMENT = (
    "The Halden bridge was opened in 1907. Its architect, Marit Lund, chose granite because iron rusts in the salt air."
)
# for models that go on with a text instead of doing what it says: question, documents, answer
WORKED_EXAMPLES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (
        "Why did Marit Lund choose granite for the Halden bridge?",
        (EXAMPLE_DOCUMENT,),
        render_answer(
            f"The document names the reason: {BEGIN_QUOTE}Its architect, Marit Lund, chose granite because iron rusts "
            f"in the salt air.{END_QUOTE} So she chose it because iron would rust.",
            "because iron rusts in the salt air",
        ),
    ),
    (
        "How long is the Halden bridge?",
        (EXAMPLE_DOCUMENT,),
        render_answer("The document says when the bridge was opened, not how long it is.", ABSTENTION),
    ),
)
CLOSED_BOOK_EXAMPLES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (
        "Which planet is nearest to the Sun?",
        (),
        render_answer("The planets from the Sun are Mercury, Venus, Earth. The first is Mercury.", "Mercury"),
    ),
)


def render_numbered(sentences: Sequence[tuple[int, int]], document: str) -> str:
    """Return the document with a number before each of its sentences, given as spans in order."""
    for number, (start, _) in reversed(list(enumerate(sentences, start=1))):
        document = f"{document[:start]}[{number}] {document[start:]}"
    return document


def render_quoted_answer(quotes: Sequence[str], reasoning: str, final_answer: str) -> str:
    """Render an answer whose parts came apart: the quoted sentences, the reasoning, the final answer on one line.

    The contract's own delimiters in any of them are made harmless.
    """
    quoted = map(_render_quote, quotes)
    return render_answer(
        "\n".join([*quoted, escape_delimiters(reasoning).strip()]), escape_delimiters(" ".join(final_answer.split()))
    )


def _render_quote(quote: str) -> str:
    escaped = escape_delimiters(quote)
    rendered = f"{BEGIN_QUOTE}{escaped}{END_QUOTE}"
    if rendered.count(BEGIN_QUOTE) == rendered.count(END_QUOTE) == 1 and _QUOTE.findall(rendered) == [escaped]:
        return rendered
    return f"{BEGIN_QUOTE} {escaped} {END_QUOTE}"  # its ends and the marks next to them would make other marks


def parse_answer(text: str, instructions: str | None = None) -> ParsedAnswer:
    """Parse an answer, even one that doesn't quite keep the contract.

    What a model knows and how it says it are two things. Never raises. The last answer tag counts; the final answer is
    the rest of its line, else the next line, without the marks around it. Without a tag there is no final answer. What
    repeats instructions (the contract's, or others that the model was given as well) is no part of the answer.
    """
    own = _without_instructions(text, instructions)
    head, tail = _split_at_answer_tag(own)
    final = next((bare for line in tail.splitlines() if (bare := _strip_wrapping(line))), "")
    is_placeholder = " ".join(_WORD.findall(final.casefold())) == _PLACEHOLDER
    final = "" if is_placeholder else final
    quotes = tuple(quote.strip() for quote in _QUOTE.findall(own))
    closed = text.count(BEGIN_QUOTE) == text.count(END_QUOTE) == len(quotes)
    return ParsedAnswer(
        reasoning=head.strip(),
        quotes=quotes,
        final_answer=final,
        abstained=is_abstention(final),
        well_formed=bool(final) and text.count(ANSWER_TAG) == 1 and closed,
        is_echo=is_placeholder or (own != text and not final),
    )


def repeats(text: str, shown: str) -> bool:
    """Return whether most of a text of some length is copied from what was shown with the question."""
    words, known = _WORD.findall(text.casefold()), set(_runs(_WORD.findall(shown.casefold())))
    runs = list(_runs(words))
    return len(words) >= MIN_COPIED_WORDS and sum(run in known for run in runs) > MAX_COPIED_SHARE * len(runs)


def is_verbatim_quote(quote: str, document: str) -> bool:
    """Return whether the quote is in the document word for word.

    White space and escaped delimiters don't count.
    """
    return bool(quote.strip()) and normalize(escape_delimiters(quote)) in normalize(escape_delimiters(document))


def _runs(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    return zip(*(words[start:] for start in range(COPIED_RUN_WORDS)), strict=False)


def _without_instructions(text: str, instructions: str | None) -> str:
    """Return the text without what it repeats of instructions, whatever the white space and the case.

    A line of the instructions is recognized as a whole, and one with the answer tag by the words before the tag alone.
    """
    given = (INSTRUCTIONS, CLOSED_BOOK_INSTRUCTIONS, *([instructions] if instructions else ()))
    for pattern in (pattern for shown in given for pattern in _instruction_patterns(shown)):
        text = pattern.sub("\n", text)
    return text


@lru_cache(maxsize=16)
def _instruction_patterns(instructions: str) -> tuple[re.Pattern[str], ...]:
    """Return patterns of the lines of instructions, the longest first."""
    patterns = []
    for line in sorted(filter(str.strip, instructions.splitlines()), key=len, reverse=True):
        before, tag, after = line.partition(ANSWER_TAG)
        words = [re.escape(word) for word in before.split()]
        if len(words) < MIN_ECHO_WORDS:
            continue
        whole = r"\s+".join(words)
        if tag:
            # the words before the last few are there or not: an echo may begin in the middle of a line
            earlier = "".join(rf"(?:{word}\s+)?" for word in words[:-MIN_ECHO_WORDS])
            last, rest = r"\s+".join(words[-MIN_ECHO_WORDS:]), r"\s+".join(map(re.escape, after.split()))
            whole = rf"{earlier}{last}\s*{re.escape(ANSWER_TAG)}\s*(?:{rest}|\Z)"
        patterns.append(re.compile(whole, re.IGNORECASE))
    return tuple(patterns)


def _split_at_answer_tag(text: str) -> tuple[str, str]:
    """Return the text before and after the last answer tag; nothing after it if there is none."""
    for pattern in _TAGS:
        if tags := list(pattern.finditer(text)):
            return text[: tags[-1].start()], text[tags[-1].end() :]
    return text, ""


def _strip_wrapping(line: str) -> str:
    """Return the line without a closing tag and without emphasis or quotation marks around all of it."""
    line = _CLOSING_TAG.sub("", line).replace(BEGIN_QUOTE, "").replace(END_QUOTE, "").strip()
    if line.count("**") == 1:  # the other half is before the tag: **<ANSWER>:** 42
        line = line.replace("**", "").strip()
    for opening, closing in _WRAPPERS:
        inside = line[len(opening) : -len(closing)]
        if line.startswith(opening) and line.endswith(closing) and inside and opening not in inside:
            return _strip_wrapping(inside)
    return line
