"""Students side by side: which questions count, what they decide, and the page."""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from raft_assets.core.identity import digest
from raft_assets.core.tables import ModelAnswer
from raft_assets.evaluation.comparison import Basis, Comparison, RenderedAnswer, compare_answers, differing_most
from raft_assets.evaluation.comparison_page import ComparedStudent, ComparisonData, ServingFigures, render_comparison
from raft_assets.evaluation.statistics import paired_bootstrap
from raft_assets_tests.evaluation.builders import ABSTAINED, DISTRACTOR, RIGHT, WRONG, model_answer

DRAWS = 1000
FIGURES = ServingFigures(calls=24, dollars=0.25, median_s=0.5, slow_s=2.0, training=None)


def rendered(answer: ModelAnswer) -> RenderedAnswer:
    return RenderedAnswer(digest(answer.question, *answer.documents, *answer.golden_answers), answer)


def answers(finals: Sequence[str], **changes: object) -> list[RenderedAnswer]:
    """Final answers to one golden question each about as many passages."""
    return [
        rendered(
            model_answer(
                text,
                **{
                    "source": "golden",
                    "question_id": f"g{number}",
                    "cluster": f"c{number}",
                    "question": f"How much does crane {number} lift?",
                    **changes,
                },
            )
        )
        for number, text in enumerate(finals)
    ]


def right(count: int, of: int) -> list[str]:
    return [RIGHT] * count + [WRONG] * (of - count)


def compared(students: Mapping[str, Sequence[RenderedAnswer]]) -> Comparison:
    return compare_answers(students, draws=DRAWS)


@pytest.mark.parametrize(
    ("passages", "better", "best"),
    [
        (19, 19, ["a", "b"]),  # however clear it is
        (20, 15, ["b"]),
        (20, 1, ["a", "b"]),  # one question of twenty is chance
    ],
)
def test_a_clear_difference_decides_from_twenty_passages_on(passages: int, better: int, best: list[str]) -> None:
    found = compared({"a": answers(right(0, passages)), "b": answers(right(better, passages))})
    assert (found.deciding.count, found.deciding.passages, list(found.best)) == (passages, passages, best)
    assert found.between("a", "b").decision == ("better" if best == ["b"] else "cannot tell")


def test_the_interval_is_that_of_the_verdict_over_whole_passages() -> None:
    a, b = right(10, 40), right(30, 40)
    clusters = [f"c{number % 25}" for number in range(40)]
    students = {
        name: [
            replace(row, answer=row.answer.model_copy(update={"cluster": cluster}))
            for row, cluster in zip(answers(finals), clusters, strict=True)
        ]
        for name, finals in (("a", a), ("b", b))
    }
    order = sorted(range(40), key=lambda number: f"g{number}")
    scores = [[float(finals[number] == RIGHT) for number in order] for finals in (a, b)]
    expected = paired_bootstrap(*scores, clusters=[clusters[number] for number in order], draws=DRAWS)
    assert compared(students).between("a", "b").interval == expected


def test_only_questions_that_every_student_answered_from_the_same_prompt_count() -> None:
    others = {"documents": [DISTRACTOR, "Another one."]}
    found = compared(
        {
            "a": answers(right(25, 30)),
            "b": [*answers(right(25, 25)), *answers(right(5, 30), **others)[25:]],
            "c": answers(right(0, 22)),
        }
    )
    assert (found.deciding.basis, found.deciding.count) == (Basis("golden", "main"), 22)
    assert [(one.first, one.second, one.decision) for one in found.differences] == [
        ("a", "b", "cannot tell"),
        ("a", "c", "worse"),
        ("b", "c", "worse"),
    ]
    assert list(found.best) == ["a", "b"]
    assert not found.is_decided


def test_the_same_question_under_two_ids_counts_once() -> None:
    twice = [
        replace(row, answer=row.answer.model_copy(update={"question_id": f"again {row.answer.question_id}"}))
        for row in answers(right(24, 24), documents=[DISTRACTOR])
    ]
    found = compared({"a": [*answers(right(24, 24)), *twice], "b": [*answers(right(0, 24)), *twice]})
    assert found.deciding.count == 24


def test_an_answer_of_a_later_evaluation_replaces_that_of_an_earlier_one() -> None:
    found = compared({"a": [*answers(right(0, 24)), *answers(right(24, 24))], "b": answers(right(24, 24))})
    assert found.mean("a") == 1.0


def test_where_presets_cut_differently_people_s_questions_decide_as_each_retrieved_for_them() -> None:
    """One student's retrieval missed every passage, and it abstained: that was right by what it was shown."""
    missed = {"documents": [DISTRACTOR], "golden_answers": [], "answerable": False, "arm": "retrieved"}
    cut_otherwise = [
        replace(row, answer=row.answer.model_copy(update={"cluster": f"d{number}"}))
        for number, row in enumerate(answers([ABSTAINED] * 24, **missed))
    ]
    generated = {"source": "generated", "documents": [DISTRACTOR]}
    found = compared(
        {
            "a": [*answers(right(24, 24), arm="retrieved"), *answers(right(24, 24))],
            "b": [*cut_otherwise, *answers(right(24, 24), **generated)],
        }
    )
    assert found.deciding.basis == Basis("golden", "retrieved", own_retrieval=True)
    assert (found.deciding.count, found.mean("a"), found.mean("b")) == (24, 1.0, 0.0)
    assert list(found.best) == ["a"]
    assert set(found.deciding.clusters) == {f"c{number}" for number in range(24)}


def test_abstaining_is_right_where_the_documents_answer_nothing_also_by_other_retrieval() -> None:
    unanswerable = {"golden_answers": [], "oracle_chunk_ids": [], "answerable": False, "arm": "retrieved"}
    found = compared(
        {
            "a": answers([ABSTAINED] * 24, **unanswerable),
            "b": answers(right(0, 24), documents=[DISTRACTOR], **unanswerable),
        }
    )
    assert (found.mean("a"), found.mean("b")) == (1.0, 0.0)


def test_generated_questions_decide_only_where_there_is_no_question_of_people() -> None:
    generated = {"source": "generated"}
    mine, theirs = answers(right(0, 24), **generated), answers(right(24, 24), **generated)
    without = compared({"a": mine, "b": theirs})
    assert (without.deciding.basis.source, list(without.best)) == ("generated", ["b"])
    one_golden = answers(right(1, 1))
    with_one = compared({"a": [*mine, *one_golden], "b": [*theirs, *one_golden]})
    assert (with_one.deciding.basis.source, with_one.has_enough) == ("golden", False)
    assert "1 question of people about 1 passage in common, and 20 passages are needed" in with_one.sentence({})
    assert [common.basis for common in with_one.others] == [Basis("generated", "main")]


def test_a_failed_answer_scores_nothing_and_is_not_left_out() -> None:
    found = compared({"a": answers(right(24, 24), status="failed"), "b": answers(right(24, 24))})
    assert (found.mean("a"), found.mean("a", "well_formed")) == (0.0, 0.0)


HOSTILE = '</style><script>alert("x")</script><img src=x onerror=alert(1)>'


def data(students: Mapping[str, Sequence[RenderedAnswer]], **changes: object) -> ComparisonData:
    described = [
        ComparedStudent(
            *(name, f"ft:{HOSTILE}", "https://api.example/v1", "gpt-4.1-nano", HOSTILE),
            evaluated=datetime(2026, 11, 4, 9, 30, tzinfo=UTC),
            figures=FIGURES,
        )
        for name in students
    ]
    return ComparisonData(HOSTILE, described, compared(students), DRAWS, **changes)  # type: ignore[arg-type]


def text_of(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page.partition("<body>")[2])).split())


def test_the_page_says_first_what_is_compared_and_then_prices_and_every_pair() -> None:
    page = render_comparison(
        data({"a1": answers(right(4, 24)), "b2": answers(right(20, 24)), "c3": answers(right(4, 24))})
    )
    text = text_of(page)
    assert (
        text.index("24 questions of people about 24 passages in common")
        < text.index("US$ per 1,000 answers")
        < text.index("Every pair")
    )
    assert "b2 (gpt-4.1-nano) is better than every other one on people's questions" in text
    assert "b2 (gpt-4.1-nano) best 83.3 +66.7 (+4" in text
    assert "0.2500 0.50 / 2.00 unknown" in text
    assert "3 intervals of 95 %" in text
    assert "a1 (gpt-4.1-nano) c3 (gpt-4.1-nano) 0.0 (0.0 to 0.0) cannot tell 1.000" in text


def test_what_documents_people_and_models_wrote_stays_text_on_a_page_without_script() -> None:
    hostile = {"question": HOSTILE, "golden_answers": [HOSTILE]}
    students = {"a": answers([HOSTILE], **hostile), "b": answers([WRONG], **hostile)}
    page = render_comparison(
        data(
            students,
            settings={"prompt.instructions": [HOSTILE, "default"]},
            left_out=[(HOSTILE, "never evaluated", f"raft evaluate {HOSTILE}")],
            next_steps=[HOSTILE],
        )
    )
    assert "<script" not in page
    assert "<img" not in page
    assert page.count("&lt;img") >= 7
    assert "default-src 'none'" in page
    assert "script-src" not in page
    assert len(differing_most(compared(students).deciding)) == 1


def test_students_without_a_common_question_have_a_page_that_says_so() -> None:
    page = render_comparison(data({"a": answers(right(1, 1)), "b": []}, next_steps=["Ask b."]))
    assert "0 questions of people about 0 passages in common" in text_of(page)
    assert "What to do next Ask b." in text_of(page)
    assert "Every pair" not in page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_screen_reader_meets_no_barrier_on_the_comparison(
    chromium: str, tmp_path: Path, scheme: Literal["light", "dark"]
) -> None:
    file = tmp_path / "comparison.html"
    students = {"a1": answers(right(4, 24)), "b2": answers(right(20, 24)), "c3": answers(right(4, 24))}
    left_out = [("d4", "never evaluated", "raft evaluate quay --student d4")]
    file.write_text(render_comparison(data(students, left_out=left_out, next_steps=["Ask d4."])), "utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(color_scheme=scheme)
        page.goto(file.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        found = Axe().run(page)
        browser.close()
    assert found.violations_count == 0, found.generate_report()
    assert len(found.response["passes"]) >= 15
