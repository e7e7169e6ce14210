import math

import numpy as np
import pytest

from raft_assets.core.errors import DataError
from raft_assets.core.prompt_contract import render_prompt
from raft_assets.core.tables import ModelAnswer
from raft_assets.evaluation.metrics import score_answer
from raft_assets.evaluation.summary import SUMMARY_COLUMNS, score_frame, summarize
from raft_assets.evaluation.verdict import Verdict, compare_students, decide_verdict
from raft_assets.evaluation.wording import format_points
from raft_assets_tests.evaluation.builders import ABSTAINED, ORACLE, RIGHT, WRONG, both, model_answer, unanswerable

DRAWS, MARGIN = 2000, 0.1


def verdict_of(answers: list[ModelAnswer], *, margin: float = MARGIN) -> Verdict:
    scored = [score for answer in answers for score in score_answer(answer)]
    return decide_verdict(scored, answers, draws=DRAWS, guard_margin=margin)


def questions(
    rows: int, *, rises: int, falls: int = 0, source: str = "generated", clusters: int | None = None
) -> list[ModelAnswer]:
    """`rises` questions that only the student gets right, `falls` that only the baseline does, no model the others."""
    answers = []
    for number in range(rows):
        baseline = RIGHT if rises <= number < rises + falls else WRONG
        student = RIGHT if number < rises else WRONG
        cluster = f"passage {number % (clusters or rows)}"
        answers += both(f"{source} {number}", baseline, student, source=source, cluster=cluster)
    return answers


def test_a_clear_rise_is_better_and_said_in_figures() -> None:
    verdict = verdict_of(questions(40, rises=20, falls=2))
    assert verdict.decision == "better"
    assert verdict.sentence.startswith(
        "The fine-tuned student is better on questions that its own teacher wrote: token F1 on 40 generated questions "
        "rose from 5.0 to 50.0 (+45.0, 95 % interval +"
    )
    assert (verdict.slice, verdict.n, verdict.clusters) == ("generated", 40, 40)


def test_a_clear_fall_is_worse() -> None:
    verdict = verdict_of(questions(40, rises=1, falls=20))
    assert verdict.decision == "worse"
    assert "fell from 50.0 to 2.5 (−47.5" in verdict.sentence


def test_a_difference_that_may_be_chance_cannot_be_told() -> None:
    verdict = verdict_of(questions(40, rises=5, falls=4))
    assert verdict.decision == "cannot tell"
    assert "may be due to chance" in verdict.sentence
    (way_out,) = [reason for reason in verdict.reasons if "would be enough" in reason]
    assert int(way_out.removeprefix("questions about ").split()[0].replace(",", "")) > 1000


@pytest.mark.parametrize(("rises", "falls"), [(2, 0), (0, 2)])
def test_a_difference_whose_interval_ends_at_zero_cannot_be_told(rises: int, falls: int) -> None:
    verdict = verdict_of(questions(40, rises=rises, falls=falls))
    assert verdict.interval is not None
    assert 0 in (verdict.interval.low, verdict.interval.high)  # resamples without any of the two questions
    assert verdict.decision == "cannot tell"
    assert "the interval includes zero, so the difference may be due to chance" in verdict.reasons


def test_the_verdict_carries_means_p_value_and_the_difference_that_would_have_been_seen() -> None:
    verdict = verdict_of(questions(40, rises=20, falls=2))
    assert (verdict.baseline, verdict.student) == (2 / 40, 20 / 40)
    assert verdict.p_value == pytest.approx(2 * (1 + 22 + 231) / 2**22)  # as few losses as 2 of 22
    squares = 20 * (1 - 0.45) ** 2 + 2 * (-1 - 0.45) ** 2 + 18 * 0.45**2
    assert verdict.smallest_detectable == pytest.approx((1.959964 + 0.841621) * math.sqrt(squares) / 40)


def test_questions_that_nothing_shown_answers_do_not_count_for_the_answers() -> None:
    # abstaining is right there, and says nothing of how well a model answers
    unknown = [row for number in range(40) for row in unanswerable(f"u{number}", WRONG, ABSTAINED, arm="main")]
    verdict = verdict_of(questions(40, rises=5, falls=4) + unknown)
    assert (verdict.n, verdict.decision) == (40, "cannot tell")


@pytest.mark.parametrize(("clusters", "decision"), [(19, "cannot tell"), (20, "better")])
def test_fewer_than_20_passages_cannot_be_told_however_large_the_rise(clusters: int, decision: str) -> None:
    verdict = verdict_of(questions(60, rises=55, clusters=clusters))
    assert (verdict.decision, verdict.clusters) == (decision, clusters)
    assert ("19 passages, 20 are needed" in verdict.sentence) == (decision == "cannot tell")


@pytest.mark.parametrize(("passages", "decision"), [(19, "cannot tell"), (20, "worse")])
def test_golden_questions_decide_as_soon_as_they_are_about_20_passages(passages: int, decision: str) -> None:
    # generated questions rise, golden ones fall
    answers = questions(40, rises=30) + questions(30, rises=0, falls=25, source="golden", clusters=passages)
    verdict = verdict_of(answers)
    assert (verdict.slice, verdict.decision, verdict.clusters) == ("golden", decision, passages)
    assert ("On questions that its own teacher wrote, which" in verdict.sentence) == (passages < 20)


def test_generated_questions_never_make_up_for_golden_ones_that_do_not_tell() -> None:
    verdict = verdict_of(questions(200, rises=150) + questions(29, rises=3, falls=2, source="golden"))
    assert (verdict.slice, verdict.decision, verdict.n) == ("golden", "cannot tell", 29)
    assert verdict.sentence.startswith(
        "It is not clear whether the fine-tuned student is better on people's questions: token F1 on 29 golden"
    )


def test_a_clear_rise_on_20_golden_passages_is_better_whatever_generated_questions_say() -> None:
    verdict = verdict_of(questions(40, rises=5, falls=5) + questions(20, rises=15, source="golden"))
    assert (verdict.decision, verdict.slice) == ("better", "golden")
    assert verdict.sentence.startswith("The fine-tuned student is better on people's questions: token F1 on 20 golden")


def test_too_few_golden_passages_cannot_tell_and_the_generated_result_is_shown_as_what_it_is() -> None:
    verdict = verdict_of(questions(40, rises=30) + questions(12, rises=12, source="golden"))
    assert (verdict.decision, verdict.slice, verdict.n, verdict.clusters) == ("cannot tell", "golden", 12, 12)
    assert "but the questions come from 12 passages, 20 are needed." in verdict.sentence
    assert (
        "On questions that its own teacher wrote, which resemble the sentence they come from, token F1 on 40 generated "
        "questions went from 0.0 to 75.0 (+75.0"
    ) in verdict.sentence


def test_a_golden_question_under_two_ids_counts_once() -> None:
    asked = questions(25, rises=20, source="golden")
    again = [
        answer.model_copy(update={"question_id": f"copy of {answer.question_id}", "question": answer.question.upper()})
        for answer in asked
    ]
    twice = verdict_of(asked + again)
    assert (twice.n, twice.interval) == (25, verdict_of(asked).interval)


def test_golden_questions_of_other_arms_decide_nothing() -> None:
    retrieved_only = [
        answer
        for number in range(40)
        for answer in both(f"golden {number}", WRONG, RIGHT, source="golden", arm="retrieved", oracle_chunk_ids=[])
    ]
    assert verdict_of(questions(40, rises=30) + retrieved_only).slice == "generated"


def test_better_answers_do_not_excuse_worse_abstention() -> None:
    inventions = [row for number in range(40) for row in unanswerable(f"q{number}", ABSTAINED, WRONG)]
    verdict = verdict_of(questions(40, rises=30) + inventions)
    assert verdict.decision == "cannot tell"
    assert "but abstention got worse (−50.0" in verdict.sentence  # of two halves one is lost
    assert {guard.name: guard.violated for guard in verdict.guards} == {"format": False, "abstention": True}
    assert not any("would settle" in reason for reason in verdict.reasons)  # the answers are settled


def test_an_abstention_where_the_answer_was_retrieved_is_no_matter_of_the_guard() -> None:
    given_up = [row for number in range(40) for row in both(f"r{number}", RIGHT, ABSTAINED, arm="retrieved")]
    verdict = verdict_of(questions(40, rises=30) + given_up)
    assert verdict.decision == "better"
    assert "abstention could not be measured" in verdict.reasons


def test_the_form_of_answers_in_other_arms_is_no_matter_of_the_guard() -> None:
    formless = [
        answer.model_copy(update={"well_formed": answer.evaluated == "baseline"})
        for number in range(40)
        for answer in both(f"c{number}", WRONG, WRONG, arm="closed_book")
    ]
    assert verdict_of(questions(40, rises=30) + formless).decision == "better"


def test_unanswerable_questions_of_the_retrieved_arm_guard_abstention_too() -> None:
    inventions = [
        row
        for number in range(40)
        for row in unanswerable(f"q{number}", ABSTAINED, WRONG, arm="retrieved", source="golden")
    ]
    assert verdict_of(questions(40, rises=30) + inventions).decision == "cannot tell"


def test_a_baseline_that_always_abstains_vetoes_no_better_student() -> None:
    answers = [row for number in range(40) for row in both(f"g{number}", ABSTAINED, RIGHT if number < 30 else WRONG)]
    unknown = [row for number in range(40) for row in unanswerable(f"u{number}", ABSTAINED, WRONG)]
    verdict = verdict_of(answers + unknown)
    assert (verdict.decision, verdict.baseline, verdict.student) == ("better", 0.0, 0.75)


def test_a_baseline_that_never_abstains_hides_no_student_that_always_does() -> None:
    answers = [row for number in range(40) for row in both(f"g{number}", WRONG, ABSTAINED)]
    unknown = [row for number in range(40) for row in unanswerable(f"u{number}", WRONG, ABSTAINED)]
    verdict = verdict_of(answers + unknown)
    assert {guard.name: guard.violated for guard in verdict.guards} == {"format": False, "abstention": True}
    assert "the student abstains from nearly every question, also where a document holds the answer" in verdict.reasons


def test_a_baseline_that_repeats_its_prompt_vetoes_no_better_student() -> None:
    echo = render_prompt("How much does the crane lift?", [ORACLE])
    answers = [
        row
        for number in range(40)
        for row in (
            model_answer(evaluated="baseline", answer=echo, question_id=f"g{number}", cluster=f"g{number}"),
            model_answer(RIGHT if number < 30 else WRONG, question_id=f"g{number}", cluster=f"g{number}"),
        )
    ]
    unknown = [row for number in range(40) for row in unanswerable(f"u{number}", WRONG, ABSTAINED)]
    verdict = verdict_of(answers + unknown)
    assert (verdict.decision, verdict.baseline, verdict.student) == ("better", 0.0, 0.75)


def test_a_guard_within_its_margin_holds_and_one_that_few_questions_leave_open_does_not() -> None:
    answered = questions(200, rises=120)
    slightly = [
        row
        for number in range(200)
        for row in unanswerable(f"u{number}", ABSTAINED, WRONG if number < 10 else ABSTAINED)
    ]
    assert verdict_of(answered + slightly).decision == "better"  # 5 of 200 points are half of the balanced measure
    strict = verdict_of(answered + slightly, margin=0.02)
    assert strict.decision == "cannot tell"
    assert "abstention got worse (−2.5" in strict.sentence
    few = [
        row
        for number in range(6)
        for row in unanswerable(f"u{number}", *((ABSTAINED, WRONG) if number % 2 else (WRONG, ABSTAINED)))
    ]
    left_open = verdict_of(answered + few)
    assert left_open.decision == "cannot tell"
    assert "abstention may have got worse by more than 10.0 points (0.0, 95 % interval −" in left_open.sentence


def test_better_answers_do_not_excuse_a_lost_format() -> None:
    answers = [
        answer.model_copy(update={"well_formed": answer.evaluated == "baseline"}) for answer in questions(40, rises=30)
    ]
    verdict = verdict_of(answers)
    assert verdict.decision == "cannot tell"
    assert "format got worse" in verdict.sentence


def test_a_worse_student_stays_worse_with_a_violated_guard_and_both_are_said() -> None:
    inventions = [row for number in range(40) for row in unanswerable(f"q{number}", ABSTAINED, WRONG)]
    verdict = verdict_of(questions(40, rises=0, falls=30) + inventions)
    assert verdict.decision == "worse"
    assert "abstention got worse" in verdict.sentence


def test_a_guard_that_could_not_be_measured_is_said_and_does_not_block() -> None:
    verdict = verdict_of(questions(40, rises=30))
    assert verdict.decision == "better"
    assert "abstention could not be measured" in verdict.reasons


def test_answers_without_text_are_counted_in_the_reasons() -> None:
    answers = questions(40, rises=30)
    answers[0] = answers[0].model_copy(update={"status": "failed"})
    without = [reason for reason in verdict_of(answers).reasons if "scored 0" in reason]
    assert without == ["1 answer of the baseline scored 0: failed"]


def test_no_questions_cannot_be_told() -> None:
    verdict = verdict_of([])
    assert (verdict.decision, verdict.n, verdict.interval) == ("cannot tell", 0, None)
    assert "no questions" in verdict.sentence


def test_two_equal_models_cannot_be_told_apart_in_about_95_of_100_experiments() -> None:
    answers = questions(40, rises=0, clusters=30)
    scored = score_frame(score for answer in answers for score in score_answer(answer) if score.metric == "token_f1")
    random = np.random.default_rng(0)
    told = 0
    for _ in range(200):
        by_chance = scored.assign(value=random.integers(0, 2, len(scored)).astype(float))
        told += decide_verdict(by_chance, answers, draws=500, guard_margin=MARGIN).decision != "cannot tell"
    # 342 of 6,000 experiments were measured, 5.7 %: of 200 that is 11.4, and two standard errors of a binomial are 6.6.
    # `test_statistics` holds the interval's width more closely, over more experiments than there is time for here
    assert told <= 18


def test_models_that_were_asked_different_questions_are_not_compared() -> None:
    with pytest.raises(DataError, match=r"1 question answered by only one .* q1 \(main\).*Materialize"):
        verdict_of([*questions(3, rises=1), model_answer(evaluated="baseline")])


def test_a_student_before_whose_run_lacks_a_later_metric_is_compared_by_what_both_have() -> None:
    answers = questions(30, rises=10)
    scored = score_frame(score for answer in answers for score in score_answer(answer))
    before = scored[scored["metric"] != "chrf"]
    verdict = compare_students(before, scored, answers, draws=DRAWS, guard_margin=MARGIN)
    assert (verdict.n, verdict.student, verdict.decision) == (30, verdict.baseline, "cannot tell")


def test_a_student_is_compared_with_the_one_before_by_answers_of_its_own() -> None:
    answers = questions(40, rises=30)
    answers[1] = answers[1].model_copy(update={"status": "failed"})
    scored = score_frame(score for answer in answers for score in score_answer(answer))
    before = scored.assign(value=0.0)
    verdict = compare_students(before, scored, answers, draws=DRAWS, guard_margin=MARGIN)
    assert (verdict.against, verdict.decision) == ("previous student", "better")
    assert verdict.sentence.startswith(
        "The student is better than the previous one on questions that its own teacher wrote: token F1 on 40 "
    )
    assert "1 answer of the student scored 0: failed" in verdict.reasons
    unchanged = compare_students(scored, scored, answers, draws=DRAWS, guard_margin=MARGIN)
    assert unchanged.sentence.startswith("It is not clear whether the student is better than the previous one on ")


def test_the_summary_pairs_models_and_puts_what_matters_first() -> None:
    answers = questions(4, rises=2, source="golden") + questions(4, rises=1) + unanswerable("u", ABSTAINED, WRONG)
    summary = summarize([score for answer in answers for score in score_answer(answer)], draws=DRAWS)
    assert list(summary.columns) == SUMMARY_COLUMNS
    first = summary.iloc[0]
    assert (first["source"], first["arm"], first["metric"]) == ("golden", "main", "token_f1")
    assert (first["n"], first["clusters"], first["baseline"], first["student"], first["difference"]) == (
        4,
        4,
        0,
        0.5,
        0.5,
    )
    assert summary[summary["arm"] == "distractors_only"]["low"].isna().all()  # one cluster has no interval
    assert list(dict.fromkeys(summary["source"])) == ["golden", "generated"]


def test_the_summary_agrees_with_the_verdict_on_the_primary_metric() -> None:
    answers = questions(40, rises=10, falls=3)
    scored = [score for answer in answers for score in score_answer(answer)]
    row = summarize(scored, draws=DRAWS).query("metric == 'token_f1' and arm == 'main'").iloc[0]
    interval = decide_verdict(scored, answers, draws=DRAWS, guard_margin=MARGIN).interval
    assert interval is not None
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize(("difference", "text"), [(0.177, "+17.7"), (-0.02, "−2.0"), (-0.0001, "0.0"), (0.0, "0.0")])
def test_differences_are_signed_points_of_a_hundred(difference: float, text: str) -> None:
    assert format_points(difference) == text
