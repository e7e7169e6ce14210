"""The score taken apart."""

import math
from typing import Any

import pandas as pd
import pytest

from raft_assets.core.tables import ModelAnswer
from raft_assets.evaluation import slices
from raft_assets.evaluation.metrics import score_answer
from raft_assets.evaluation.slices import SLICE_COLUMNS, SLICE_TITLES, SLICED_METRICS, slice_scores
from raft_assets_tests.evaluation.builders import ABSTAINED, DISTRACTOR, ORACLE, RIGHT, WRONG, both, unanswerable


def taken_apart(answers: list[ModelAnswer], *, path_of: dict[str, str] | None = None, **how: Any) -> pd.DataFrame:
    scored = [score for answer in answers for score in score_answer(answer)]
    return slice_scores(scored, answers, **({"source": "generated", "path_of": path_of or {}} | how))


def parts(table: pd.DataFrame, cut: str, metric: str = "token_f1") -> dict[str, tuple[int, float, float]]:
    """Rows, baseline and student of each part."""
    rows = table[(table["cut"] == cut) & (table["metric"] == metric)]
    return {row.part: (row.n, row.baseline, row.student) for row in rows.itertuples()}


def test_questions_are_grouped_by_type_place_of_the_oracle_and_document() -> None:
    last = {"documents": [DISTRACTOR, ORACLE], "document_chunk_ids": ["distractor", "oracle"]}
    alone = {"documents": [DISTRACTOR], "document_chunk_ids": ["distractor"]}
    answers = [
        *both("q1", WRONG, RIGHT, kind="how"),
        *both("q2", WRONG, WRONG, kind="how", **last),
        *both("q3", RIGHT, RIGHT, kind="who", **alone),
    ]
    table = taken_apart(answers, path_of={"q1": "b.md", "q2": "a.md", "q3": "b.md"})
    assert list(table.columns) == SLICE_COLUMNS
    assert parts(table, "question_type") == {"how": (2, 0, 0.5), "who": (1, 1, 1)}
    assert parts(table, "oracle_position") == {
        "document 1": (1, 0, 1),
        "document 2": (1, 0, 0),
        "not shown": (1, 1, 1),
    }
    assert parts(table, "document") == {"a.md": (1, 0, 0), "b.md": (2, 0.5, 1)}
    assert list(dict.fromkeys(table["cut"])) == ["question_type", "oracle_position", "document"]
    assert set(table["metric"]) <= set(SLICED_METRICS)


def test_of_several_oracle_documents_the_first_one_shown_counts() -> None:
    shown = {
        "documents": [DISTRACTOR, "The cranes are old.", ORACLE],
        "document_chunk_ids": ["distractor", "second", "oracle"],
        "oracle_chunk_ids": ["oracle", "second"],
    }
    assert list(parts(taken_apart(both("q", WRONG, RIGHT, **shown)), "oracle_position")) == ["document 2"]


def test_a_difference_has_an_interval_from_two_passages_on() -> None:
    answers = [row for number in range(30) for row in both(f"q{number}", WRONG, RIGHT if number < 20 else WRONG)]
    (of_many,) = taken_apart(answers).query("cut == 'question_type' and metric == 'token_f1'").itertuples()
    assert (of_many.n, of_many.clusters, of_many.difference) == (30, 30, pytest.approx(2 / 3))
    assert 0 < of_many.low < 2 / 3 < of_many.high < 1
    (of_one,) = taken_apart(answers[:2]).query("cut == 'question_type' and metric == 'token_f1'").itertuples()
    assert math.isnan(of_one.low)


def test_questions_of_the_other_source_and_of_other_arms_are_left_out() -> None:
    answers = [
        *both("q", WRONG, RIGHT),
        *both("q", RIGHT, WRONG, source="golden", kind="who"),
        *both("q", RIGHT, WRONG, arm="retrieved", kind="retrieved only"),
        *unanswerable("u", ABSTAINED, WRONG),
    ]
    assert parts(taken_apart(answers), "question_type") == {"how": (1, 0, 1)}
    assert parts(taken_apart(answers, source="golden"), "question_type") == {"who": (1, 1, 0)}


def test_the_arms_of_robustness_are_parts_of_their_cut() -> None:
    arms = {
        "distractors_1": ("distractors", "1"),
        "distractors_3": ("distractors", "3"),
        "distractors_5": ("distractors", "5"),
        "distractors_10": ("distractors", "10"),
        "random_distractors": ("distractor_kind", "random"),
        "hard_distractors": ("distractor_kind", "hard"),
    }
    answers = both("q", WRONG, RIGHT) + [row for arm in arms for row in both("q", WRONG, RIGHT, arm=arm)]
    table = taken_apart(answers)
    assert list(parts(table, "distractors")) == ["1", "3", "5", "10"]  # by number, not by letter
    assert list(parts(table, "distractor_kind")) == ["random", "hard"]
    of_arm = table[table["cut"].isin(["distractors", "distractor_kind"])]
    assert {(row.arm, (row.cut, row.part)) for row in of_arm.itertuples()} == set(arms.items())
    assert parts(table, "question_type") == {"how": (1, 0, 1)}  # asked seven times, counted once
    assert set(table["cut"]) == SLICE_TITLES.keys()


def test_a_cut_of_very_many_parts_shows_the_largest_in_the_order_of_their_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slices, "MAX_PARTS", 3)
    questions_of = {"a.md": 1, "b.md": 2, "c.md": 1, "d.md": 3, "e.md": 2}
    path_of = {f"{path} {number}": path for path, count in questions_of.items() for number in range(count)}
    answers = [row for name in path_of for row in both(name, WRONG, RIGHT)]
    shown = parts(taken_apart(answers, path_of=path_of), "document")
    assert {path: n for path, (n, _, _) in shown.items()} == {"b.md": 2, "d.md": 3, "e.md": 2}
    assert list(shown) == sorted(shown)


def test_a_question_whose_document_is_unknown_has_a_part_of_its_own() -> None:
    answers = both("q1", WRONG, RIGHT) + both("q2", WRONG, RIGHT)
    assert parts(taken_apart(answers, path_of={"q1": "a.md"}), "document") == {"": (1, 0, 1), "a.md": (1, 0, 1)}


def test_without_answers_there_is_an_empty_table_of_the_same_columns() -> None:
    table = taken_apart([])
    assert table.empty
    assert list(table.columns) == SLICE_COLUMNS
