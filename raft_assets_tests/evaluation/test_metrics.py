import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from raft_assets.core.prompt_contract import BEGIN_QUOTE, END_QUOTE, render_answer
from raft_assets.core.tables import ModelAnswer
from raft_assets.evaluation.judged import JUDGED_METRICS
from raft_assets.evaluation.metrics import (
    METRICS,
    OVERALL_METRICS,
    bleu,
    chrf,
    exact_match,
    normalize_squad,
    rouge_1,
    rouge_2,
    rouge_l,
    score_answer,
    token_f1,
)
from raft_assets_tests.evaluation.builders import ABSTAINED, RIGHT, WRONG, model_answer

TEXTS = st.text(alphabet=st.sampled_from("abc THE the, an."), max_size=30)


def values(answer: ModelAnswer) -> dict[str, float]:
    return {score.metric: score.value for score in score_answer(answer)}


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("The  Crane,", "crane"),  # case, article, punctuation, white space
        ("a theatre and an anthem", "theatre and anthem"),  # articles only as whole words
        ("U.S.", "us"),  # punctuation goes without leaving a gap
        ("1,000", "1000"),
        ("", ""),
    ],
)
def test_normalization_is_that_of_squad(text: str, normalized: str) -> None:
    assert normalize_squad(text) == normalized


@pytest.mark.parametrize(
    ("answer", "golden", "expected"),
    [
        ("the Eiffel Tower", "Eiffel Tower.", 1.0),
        ("Eiffel Tower in Paris", "Eiffel Tower", 2 / 3),  # precision 2/4, recall 1
        ("tower tower", "tower", 2 / 3),  # a repeated word counts once
        ("blue", "red", 0.0),
        ("", "red", 0.0),
        ("the", "a", 1.0),  # both are empty after normalization, as in SQuAD 2.0
    ],
)
def test_token_f1_counts_shared_words(answer: str, golden: str, expected: float) -> None:
    assert token_f1(answer, golden) == pytest.approx(expected)


def test_exact_match_ignores_articles_case_and_punctuation() -> None:
    assert exact_match("The crane!", "crane") == 1
    assert exact_match("cranes", "crane") == 0


@pytest.mark.parametrize(
    ("answer", "golden", "expected"),
    [
        ("police killed the gunman", "police kill the gunman", 3 / 4),  # the example of Lin (2004), section 3
        ("the gunman kill police", "police kill the gunman", 2 / 4),  # order counts
        ("one two", "three", 0.0),
        ("", "", 1.0),
    ],
)
def test_rouge_l_follows_the_longest_common_subsequence(answer: str, golden: str, expected: float) -> None:
    assert rouge_l(answer, golden) == pytest.approx(expected)


@given(TEXTS, TEXTS)
def test_text_metrics_are_symmetric_and_stay_between_0_and_1(one: str, other: str) -> None:
    for metric in (exact_match, token_f1, rouge_l):
        assert 0 <= metric(one, other) <= 1
        assert metric(one, other) == pytest.approx(metric(other, one))
        assert metric(one, one) == 1


def test_the_best_of_several_golden_answers_counts() -> None:
    assert values(model_answer("42 t", golden_answers=["42 tonnes", "42 t"]))["token_f1"] == 1


def test_abstaining_from_an_answerable_question_shares_no_words_with_its_answer() -> None:
    found = values(model_answer(ABSTAINED, golden_answers=["the documents"]))
    assert (found["token_f1"], found["rouge_l"], found["abstained_right"]) == (0, 0, 0)


def test_where_no_document_holds_the_answer_abstaining_is_all_that_counts() -> None:
    shown = {"answerable": False, "golden_answers": []}
    abstained, answered = values(model_answer(ABSTAINED, **shown)), values(model_answer(WRONG, **shown))
    for metric in ("exact_match", "token_f1", "rouge_l", "abstained_right"):
        assert abstained[metric] == 1
        assert answered[metric] == 0


@pytest.mark.parametrize("status", ["failed", "truncated", "empty", "filtered"])
@pytest.mark.parametrize("answerable", [True, False])
def test_an_answer_that_failed_scores_0_and_is_never_dropped(status: str, answerable: bool) -> None:
    golden = ["42 tonnes"] if answerable else []
    found = values(model_answer(RIGHT, status=status, answerable=answerable, golden_answers=golden))
    assert {found[metric] for metric in ("exact_match", "token_f1", "rouge_l", "abstained_right", "well_formed")} == {0}
    assert not any(math.isnan(value) for value in found.values())


def test_quotes_are_scored_by_where_they_stand() -> None:
    def quoting(quote: str) -> dict[str, float]:
        return values(model_answer(answer=render_answer(f"{BEGIN_QUOTE}{quote}{END_QUOTE}", RIGHT)))

    assert quoting("lifts 42  tonnes.")["quote_from_oracle"] == 1
    of_distractor = quoting("four berths")
    assert (of_distractor["quote_verbatim"], of_distractor["quote_from_oracle"]) == (1, 0)
    assert quoting("lifts 43 tonnes")["quote_verbatim"] == 0


def test_quote_metrics_are_absent_where_nothing_is_quoted_or_shown() -> None:
    assert not {"quote_verbatim", "quote_from_oracle"} & values(model_answer()).keys()
    quoted = render_answer(f"{BEGIN_QUOTE}lifts 42{END_QUOTE}", RIGHT)
    closed_book = model_answer(answer=quoted, arm="closed_book", documents=[], document_chunk_ids=[])
    assert not {"quote_verbatim", "quote_from_oracle"} & values(closed_book).keys()


def test_every_metric_has_a_meaning_for_people() -> None:
    quoted = render_answer(f"{BEGIN_QUOTE}lifts 42{END_QUOTE}", RIGHT)
    assert values(model_answer(answer=quoted)).keys() == METRICS.keys() - {*OVERALL_METRICS, *JUDGED_METRICS}


PHRASES = st.lists(st.sampled_from(["the", "a", "bat", "cave,", "Cave!", "42", "of-steel", "May's"]), max_size=8).map(
    " ".join
)


@given(answer=PHRASES, golden=PHRASES)
def test_rouge_is_that_of_the_reference_implementation(answer: str, golden: str) -> None:
    expected = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False).score(golden, answer)
    assert rouge_1(answer, golden) == pytest.approx(expected["rouge1"].fmeasure)
    assert rouge_2(answer, golden) == pytest.approx(expected["rouge2"].fmeasure)
    if answer and golden:
        assert rouge_l(answer, golden) == pytest.approx(expected["rougeL"].fmeasure)


@pytest.mark.parametrize("metric", [bleu, chrf])
def test_bleu_and_chrf_go_from_nothing_in_common_to_the_same(metric: Callable[[str, str], float]) -> None:
    golden = "forty tonnes of steel in May"
    some = metric("forty tonnes of iron", golden)
    assert metric("xyz", golden) < 0.1 < some < 0.9
    assert metric(golden, golden) == pytest.approx(1.0)
