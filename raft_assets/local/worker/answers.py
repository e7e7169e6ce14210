"""What loss can't tell: whether generated answers keep the contract. The product's parser reads answers for real.

What counts here is the strict form alone (`core/prompt_contract.py` is the product's, which also reads what is nearly
right). Who starts the job hands the marks over.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from .job import Contract

BEST_RULE = (
    "of the checkpoints, the one with the greatest share of usable generated answers (well formed, ended by the model "
    "itself, every quote verbatim, an abstention exactly where the reference abstains), then the one with the lowest "
    "validation loss, then the earliest"
)


@dataclass(frozen=True)
class ReadAnswer:
    """What of an answer the contract asks for."""

    well_formed: bool
    abstains: bool
    quotes: tuple[str, ...]


@dataclass(frozen=True)
class Generated:
    """An answer that the student generated: its text, whether the model ended it, and what it was asked."""

    text: str
    stopped: bool
    asked: str
    reference: str


def measure(answers: Sequence[Generated], contract: Contract | None) -> dict[str, float]:
    """Return the shares over generated answers, named as in the job's metrics; a share of nothing is left out.

    `valid_verbatim` is over the answers whose reference quotes, `valid_abstains` over those whose reference answers.
    """
    if not answers:
        return {}
    shares: dict[str, list[bool]] = {"valid_stops": [answer.stopped for answer in answers]}
    if contract:
        reads = [
            (answer, read_answer(answer.text, contract), read_answer(answer.reference, contract)) for answer in answers
        ]
        shares["valid_well_formed"] = [read.well_formed for _, read, _ in reads]
        shares["valid_verbatim"] = [
            _quotes_verbatim(read, given.asked) for given, read, wanted in reads if wanted.quotes
        ]
        shares["valid_abstains"] = [read.abstains for _, read, wanted in reads if not wanted.abstains]
        shares["valid_usable"] = [
            given.stopped
            and read.well_formed
            and read.abstains == wanted.abstains
            and (_quotes_verbatim(read, given.asked) or not (read.quotes or wanted.quotes))
            for given, read, wanted in reads
        ]
    found = {name: sum(of) / len(of) for name, of in shares.items() if of}
    return found | {"valid_generated": float(len(answers))}


def read_answer(text: str, contract: Contract) -> ReadAnswer:
    """Read an answer: well formed with one answer tag, a final answer after it, and every quote closed."""
    begin, end = contract.begin_quote, contract.end_quote
    quotes = tuple(one.strip() for one in re.findall(f"{re.escape(begin)}(.*?){re.escape(end)}", text, re.DOTALL))
    before, tag, after = text.rpartition(contract.answer_tag)
    final = next((line.strip() for line in after.splitlines() if line.strip()), "") if tag else ""
    closed = text.count(begin) == text.count(end) == len(quotes)
    abstentions = {_plain(one) for one in contract.abstentions}
    return ReadAnswer(
        well_formed=bool(final) and contract.answer_tag not in before and closed,
        abstains=_plain(final) in abstentions,
        quotes=quotes,
    )


def best_step(measured: Sequence[tuple[int, dict[str, float]]]) -> int | None:
    """Return the step of the best checkpoint by `BEST_RULE`; None where none was measured."""
    ranked = [
        (-metrics.get("valid_usable", 0.0), metrics["valid_loss"], step)
        for step, metrics in measured
        if "valid_loss" in metrics
    ]
    return min(ranked)[2] if ranked else None


def _quotes_verbatim(answer: ReadAnswer, asked: str) -> bool:
    text = _spaced(asked)
    return bool(answer.quotes) and all(quote and _spaced(quote) in text for quote in answer.quotes)


def _spaced(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _plain(text: str) -> str:
    return _spaced(text).casefold().rstrip(".。")
