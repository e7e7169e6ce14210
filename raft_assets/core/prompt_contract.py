"""The prompt contract: the one place that renders a prompt and reads an answer.

Teacher, baseline and student see the same rendering, in training rows and in evaluation; otherwise a comparison would
measure format. The answer style is that of arXiv 2403.10131, figure 2.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from raft_assets.core.identity import normalize

CONTRACT_VERSION = "2"
ABSTENTION = "The documents do not contain the answer."
BEGIN_QUOTE, END_QUOTE, ANSWER_TAG = "##begin_quote##", "##end_quote##", "<ANSWER>:"

INSTRUCTIONS = f"""Answer the question from the documents only.
First reason step by step. Copy every sentence that you rely on, word for word, between {BEGIN_QUOTE} and {END_QUOTE}.
Then end with one line that holds the final answer, as short as possible: {ANSWER_TAG} final answer
When the documents do not hold the answer, end with: {ANSWER_TAG} {ABSTENTION}"""

# what instructions must contain, whoever writes them: otherwise answers can't be parsed
CONTRACT_PARTS = (BEGIN_QUOTE, END_QUOTE, ANSWER_TAG, ABSTENTION)

CLOSED_BOOK_INSTRUCTIONS = f"""Answer the question from memory; no documents are given.
First reason step by step.
Then end with one line that holds the final answer, as short as possible: {ANSWER_TAG} final answer"""

# what a document could use to imitate the prompt, and what replaces it
_DELIMITERS = (
    (re.compile(r"<(/?)\s*DOCUMENT\s*>", re.IGNORECASE), r"‹\1DOCUMENT›"),
    (re.compile(r"##\s*(begin|end)_quote\s*##", re.IGNORECASE), r"#\1_quote#"),
    (re.compile(r"<\s*ANSWER\s*>", re.IGNORECASE), "‹ANSWER›"),
)
_QUOTE = re.compile(r"##begin_quote##(.*?)##end_quote##", re.DOTALL)

# how models write the tag when they don't quite keep the contract, the closest to it first
_TAGS = (
    re.compile(re.escape(ANSWER_TAG)),
    re.compile(r"<\s*ANSWER\s*>\s*[:：]?", re.IGNORECASE),
    re.compile(r"^[\W_]*(?:the )?(?:final )?answer(?: is)?[*_\s]*[:：]", re.IGNORECASE | re.MULTILINE),
)
_CLOSING_TAG = re.compile(r"<\s*/\s*ANSWER\s*>", re.IGNORECASE)
_WRAPPERS = (("**", "**"), ("`", "`"), ('"', '"'), ("“", "”"), ("„", "“"), ("«", "»"), ("‘", "’"), ("'", "'"))
_ABSTENTION = re.compile(
    r"(?:(?:the|these|given|provided) )*documents? (?:do not|don['’]t|does not|doesn['’]t)"
    r" (?:contain|hold|provide|include) (?:the|an|any) answer(?: to (?:the|this|that) question)?\.?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class ParsedAnswer:
    """A parsed answer. `well_formed`: exactly one non-empty final answer and every quote closed."""

    reasoning: str
    quotes: tuple[str, ...]
    final_answer: str
    abstained: bool
    well_formed: bool


def escape_delimiters(text: str) -> str:
    """Return the text as it appears in a prompt: the contract's own delimiters inside it are made harmless."""
    for pattern, replacement in _DELIMITERS:
        text = pattern.sub(replacement, text)
    return text


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


def parse_answer(text: str) -> ParsedAnswer:
    """Parse an answer, even one that doesn't quite keep the contract.

    What a model knows and how it says it are two things. Never raises. The last answer tag counts; the final answer is
    the rest of its line, else the next line, without the marks around it. Without a tag there is no final answer.
    """
    head, tail = _split_at_answer_tag(text)
    final = next((bare for line in tail.splitlines() if (bare := _strip_wrapping(line))), "")
    quotes = tuple(quote.strip() for quote in _QUOTE.findall(text))
    closed = text.count(BEGIN_QUOTE) == text.count(END_QUOTE) == len(quotes)
    return ParsedAnswer(
        reasoning=head.strip(),
        quotes=quotes,
        final_answer=final,
        abstained=_is_abstention(final),
        well_formed=bool(final) and text.count(ANSWER_TAG) == 1 and closed,
    )


def is_verbatim_quote(quote: str, document: str) -> bool:
    """Return whether the quote is in the document word for word.

    White space and escaped delimiters don't count.
    """
    return bool(quote.strip()) and normalize(escape_delimiters(quote)) in normalize(escape_delimiters(document))


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


def _is_abstention(final_answer: str) -> bool:
    return _ABSTENTION.fullmatch(normalize(final_answer)) is not None
