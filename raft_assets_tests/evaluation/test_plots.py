import base64
import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_assets.evaluation.metrics import score_answer
from raft_assets.evaluation.plots import data_uri, histogram, interval_bars, line
from raft_assets.evaluation.summary import summarize
from raft_assets_tests.evaluation.builders import RIGHT, WRONG, both, unanswerable

LIMIT = 6000
NAMESPACE = "{http://www.w3.org/2000/svg}"


def parsed(svg: str) -> ET.Element:
    root = ET.fromstring(svg)
    assert root.get("role") == "img"
    assert root.findtext(f"{NAMESPACE}title")
    assert root.findtext(f"{NAMESPACE}desc")
    assert len(svg.encode()) <= LIMIT
    return root


def summary_of_everything():
    answers = []
    for source in ("golden", "generated"):
        for arm in ("main", "retrieved", "closed_book"):
            for number in range(6):
                answers += both(f"{source}{number}", WRONG, RIGHT if number % 2 else WRONG, source=source, arm=arm)
        for number in range(6):
            answers += unanswerable(f"{source}{number}", WRONG, WRONG, source=source)
    return summarize([score for answer in answers for score in score_answer(answer)], draws=1000)


@given(st.lists(st.integers(0, 10**6) | st.floats(-1e6, 1e6), max_size=200), st.booleans())
def test_a_histogram_shows_every_value_once(values: list[float], standalone: bool) -> None:
    root = parsed(histogram(values, title="Lengths", x_label="tokens", standalone=standalone))
    described = root.findtext(f"{NAMESPACE}desc") or ""
    assert described.startswith(f"{len(values):,} value" if values else "No values")
    assert "nan" not in ET.tostring(root, "unicode")


def test_the_bars_of_a_histogram_are_as_high_as_their_counts() -> None:
    root = parsed(histogram([10, 10, 10, 30], title="Lengths", x_label="tokens"))
    heights = sorted(float(bar.get("height") or 0) for bar in root.iter(f"{NAMESPACE}rect"))
    assert heights[1] == pytest.approx(3 * heights[0])


LOSSES = st.lists(st.none() | st.floats(allow_nan=True, allow_infinity=True, width=16), min_size=1, max_size=50)


@given(LOSSES)
def test_a_line_leaves_out_what_is_missing_or_not_a_number(values: list[float | None]) -> None:
    svg = line(
        range(len(values)), {"train": values, "valid": [None] * len(values)}, title="Loss", x_label="s", y_label="l"
    )
    parsed(svg)
    assert not re.search(r"[ ,\"](nan|-?inf)", svg)


def test_a_long_line_stays_small_and_keeps_its_end() -> None:
    steps = 5000
    svg = line(
        range(steps), {"train": [1 / (step + 1) for step in range(steps)]}, title="Loss", x_label="s", y_label="l"
    )
    parsed(svg)
    assert f"to {1 / steps:.3g}, lowest {1 / steps:.3g}" in svg


def test_bars_show_both_models_of_every_slice_and_arm_in_words_too() -> None:
    root = parsed(interval_bars(summary_of_everything(), title="Token F1", metric="token_f1"))
    described = root.findtext(f"{NAMESPACE}desc") or ""
    assert described.startswith("golden, main: baseline 0.0, student 50.0.")
    assert described.count("baseline") == 8
    assert len(list(root.iter(f"{NAMESPACE}circle"))) == 2 + 8 * 3  # a key, then baseline, student and difference


def test_differences_that_may_be_chance_are_not_coloured() -> None:
    summary, bar = summary_of_everything(), 'stroke="var(--student)" stroke-width="6"'
    for low, is_coloured in ((0.1, True), (-0.1, False)):
        plot = interval_bars(summary.assign(low=low, high=0.4), title="F1", metric="token_f1")
        assert (bar in plot) == is_coloured


def test_rows_can_be_named_by_what_they_were_grouped_by() -> None:
    summary = summary_of_everything().assign(label="document 2")
    root = parsed(interval_bars(summary, title="By place", metric="token_f1"))
    assert "golden, document 2: baseline" in (root.findtext(f"{NAMESPACE}desc") or "")


def test_a_metric_without_scores_is_an_empty_plot() -> None:
    assert "No values." in interval_bars(summary_of_everything(), title="Quotes", metric="quote_verbatim")


def test_plots_inside_the_report_take_its_colours_and_standalone_ones_bring_theirs() -> None:
    inside = histogram([1, 2], title="t", x_label="x")
    assert "var(--student)" in inside
    assert "#" not in inside
    assert "var(" not in histogram([1, 2], title="t", x_label="x", standalone=True)


def test_titles_and_labels_are_escaped() -> None:
    svg = histogram([1, 2], title="<script>alert(1)</script>\x00", x_label="a & b")
    assert "<script" not in svg
    assert parsed(svg).findtext(f"{NAMESPACE}title") == "<script>alert(1)</script>"


def test_a_data_uri_holds_the_plot_and_nothing_that_breaks_markdown() -> None:
    svg = histogram([1, 2], title="Lengths (tokens)", x_label="x", standalone=True)
    address = data_uri(svg)
    assert not re.search(r"[()\s<>]", address)
    assert base64.b64decode(address.partition(",")[2]).decode() == svg
