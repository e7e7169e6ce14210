"""The line of `raft doctor DOMAIN`: what is known of the next run, and that what isn't known is said."""

import pytest

from raft_assets.llm.requests import Usage
from raft_assets.operations.golden_coverage import GoldenCoverage
from raft_assets.operations.outlook import Outlook
from raft_assets.operations.ranges import Amount, CallEstimate
from raft_assets.settings.endpoints import Role

ENOUGH = GoldenCoverage(questions=44, passages=33, held_out=33, chunks=400)


def an_estimate(low: float | None, high: float | None, *, model: str = "m") -> CallEstimate:
    ends = [Amount(100, Usage(), dollars) for dollars in (low, high)]
    return CallEstimate("qa_pairs", Role.TEACHER, model, 100, 0, Usage(), high, None, *ends)


def an_outlook(*estimates: CallEstimate, coverage: GoldenCoverage = ENOUGH, **known: object) -> Outlook:
    usual: dict[str, object] = {"suffixes": {".pdf": 200}, "seconds": 11_000.0, "untimed": (), "trains_unseen": False}
    return Outlook(estimates=estimates, coverage=coverage, eval_share=0.25, **(usual | known))  # type: ignore[arg-type]


def test_what_is_known_is_one_line() -> None:
    told = an_outlook(an_estimate(12, 14), an_estimate(0.5, 0.6)).sentence
    assert told == "200 PDFs: about 3 h, US$ 12.50–14.60, a verdict is possible, on golden questions about 33 passages"


def test_what_is_unknown_is_said_and_is_never_zero() -> None:
    dear = an_estimate(None, None, model="gpt-9")
    unknown = an_outlook(dear, seconds=0.0, untimed=(Role.TEACHER,), trains_unseen=True).sentence
    assert "time unknown (no call of TEACHER was timed yet" in unknown
    assert "cost unknown (the price of gpt-9 is unknown)" in unknown
    partly = an_outlook(dear, an_estimate(1, 2), untimed=(Role.STUDENT,), trains_unseen=True).sentence
    assert "more than 3 h and the training, of unknown length (no call of STUDENT was timed yet)" in partly
    assert "US$ 1.00–2.00 and more (the price of gpt-9 is unknown)" in partly


@pytest.mark.parametrize(
    ("coverage", "said"),
    [
        (GoldenCoverage(12, 9, 9, 400), "not possible, because golden questions are about 9 passages and it takes 20"),
        (GoldenCoverage(44, 33, 33, 33), "not possible, because golden questions leave nothing to train on"),
        (GoldenCoverage(0, 0, 0, 60), "60 passages leave about 15 to evaluate on, where it takes 20"),
        (GoldenCoverage(0, 0, 0, 400), "is possible, but on questions that the teacher wrote"),
    ],
)
def test_whether_a_verdict_can_follow_is_said_with_the_reason(coverage: GoldenCoverage, said: str) -> None:
    assert said in an_outlook(coverage=coverage).sentence


def test_a_domain_that_is_fresh_costs_nothing_more() -> None:
    assert an_outlook(suffixes={".pdf": 3, ".md": 1}).sentence.startswith("4 documents: everything is fresh, nothing")
