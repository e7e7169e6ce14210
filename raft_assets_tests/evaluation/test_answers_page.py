"""The page of answers: its rows as HTML, and what its script does with them in Chromium."""

import base64
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect, sync_playwright

from raft_assets.core.tables import ModelAnswer
from raft_assets.evaluation.answers_page import MAX_ROWS, render_answers
from raft_assets.evaluation.pages import inline
from raft_assets_tests.evaluation.builders import ABSTAINED, RIGHT, WRONG, both, unanswerable

expect.set_options(timeout=60_000)  # a machine that does other work as well needs more than 5 s

PLANTED = '</script><img src=x onerror="document.title=1"><b>bold</b>'
PARTLY = "42 pounds"


def some_answers() -> list[ModelAnswer]:
    return [
        *both("g1", WRONG, RIGHT, source="golden", kind="how"),
        *both("g2", RIGHT, PARTLY, source="golden", kind="who"),
        *both("g3", RIGHT, RIGHT, source="golden", kind="who", arm="retrieved"),
        *both("t1", WRONG, "seven hours", kind="what"),
        *unanswerable("t2", WRONG, ABSTAINED, kind="what"),
    ]


DOCUMENT_OF = {("golden", "g1"): "quay.pdf", ("golden", "g2"): "quay.pdf", ("generated", "t1"): "café.md"}


def shown(page: Page) -> list[str]:
    """The questions of the rows that are seen, by the names that the tests give them, in their order."""
    # of rows that were hidden a moment ago the browser may not have laid out the text yet
    texts = page.locator("#answers > li:visible .question").all_text_contents()
    return [text.strip().removeprefix("How much does crane ").removesuffix(" lift?") for text in texts]


@pytest.fixture(scope="module")
def browser_page(chromium: str) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield browser.new_page()
        browser.close()


@pytest.fixture
def page(browser_page: Page, tmp_path: Path) -> Page:
    file = tmp_path / "answers.html"
    file.write_text(render_answers("harbor handbook", some_answers(), DOCUMENT_OF, first="golden"), "utf-8")
    browser_page.goto(file.as_uri())
    return browser_page


def test_the_policy_allows_the_pages_own_script_and_style_alone() -> None:
    page = render_answers("harbor handbook", some_answers(), DOCUMENT_OF, first="golden")
    hashes = {
        tag: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for tag, text in re.findall(r"<(script|style)>(.*?)</\1>", page, re.DOTALL)
    }
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert policy[1] == (
        f"default-src 'none'; script-src 'sha256-{hashes['script']}'; style-src 'sha256-{hashes['style']}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"\s(style|on\w+)=|<link|<iframe|url\(|@import", page)
    assert set(re.findall(r'(?:src|href)="([^#"][^"]*)"', page)) == {"../eval_report/harbor%20handbook.html"}


def test_the_script_makes_no_markup_of_any_text() -> None:
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|createElement|DOMParser|eval|Function|fetch|import",
        inline("answers.js").text,
    )


def test_questions_that_decide_stand_first_with_both_answers_in_the_html() -> None:
    page = render_answers("harbor handbook", some_answers(), DOCUMENT_OF, first="golden")
    rows = re.findall(r"<li class=\"example\".*?</li>", page, re.DOTALL)
    assert [re.search(r"crane (\w+)", row)[1] for row in rows] == ["g1", "g2", "g3", "t1", "t2"]  # type: ignore[index]
    assert "eight hours" in rows[0]
    assert 'data-change="gained" data-gain="100"' in rows[0]
    assert "Correct: abstain" in rows[4]


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        ({"Arm": "retrieved"}, ["g3"]),
        ({"Questions": "generated"}, ["t1", "t2"]),
        ({"Type": "who"}, ["g2", "g3"]),
        ({"Document": "0"}, ["g3", "t2"]),  # not known
        ({"Change": "lost"}, ["g2"]),
        ({"Change": "changed"}, ["g1", "g2", "t1", "t2"]),
        ({"Student": "right", "Baseline": "wrong"}, ["g1", "t2"]),
        ({"Student": "partly"}, ["g2"]),
    ],
)
def test_rows_are_chosen_by_what_they_are(page: Page, chosen: dict[str, str], found: list[str]) -> None:
    for label, value in chosen.items():
        page.get_by_label(label, exact=True).select_option(value)
    assert shown(page) == found
    expect(page.locator("#shown")).to_have_text(str(len(found)))
    page.get_by_role("button", name="Show all").click()
    assert shown(page) == ["g1", "g2", "g3", "t1", "t2"]


def test_rows_are_searched_and_sorted_and_a_link_chooses_them(page: Page) -> None:
    page.get_by_label("Search").fill("SEVEN  hours")
    assert shown(page) == ["t1"]
    page.get_by_label("Search").fill("")
    page.get_by_label("Order").select_option("loss")
    assert shown(page) == ["g2", "g3", "t1", "g1", "t2"]
    page.goto(f"{page.url}#source=golden&change=lost&arm=<b>")
    expect(page.locator("#shown")).to_have_text("1")
    assert shown(page) == ["g2"]


def test_without_its_script_the_page_is_a_plain_list(page: Page, chromium: str) -> None:
    with page.context.browser.new_context(java_script_enabled=False) as context:  # type: ignore[union-attr]
        plain = context.new_page()
        plain.goto(page.url)
        assert plain.locator("#answers > li").count() == 5
        assert plain.locator("#answers > li").last.is_visible()
        assert not plain.locator("#controls").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_screen_reader_meets_no_barrier_on_the_page_of_answers(page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_markup_in_question_document_and_answer_stays_text_whatever_the_script_does(
    browser_page: Page, tmp_path: Path
) -> None:
    answers = both("h", PLANTED, f"{PLANTED} 42", question=PLANTED, golden_answers=[PLANTED], kind=PLANTED)
    file = tmp_path / "answers.html"
    file.write_text(render_answers(PLANTED, answers, {("generated", "h"): PLANTED}, first="golden"), "utf-8")
    told: list[str] = []
    browser_page.on("console", lambda message: told.append(message.text))
    browser_page.on("pageerror", lambda error: told.append(str(error)))
    browser_page.goto(file.as_uri())
    browser_page.get_by_label("Search").fill("onerror")
    browser_page.get_by_label("Order").select_option("document")
    expect(browser_page.locator("#answers .question")).to_have_text(PLANTED)
    assert browser_page.locator("#answers > li:visible").count() == 1
    assert PLANTED in (browser_page.locator("#answers .note").first.text_content() or "")
    assert PLANTED in (browser_page.get_by_label("Document").text_content() or "")
    assert browser_page.locator("img, b, script:nth-of-type(2)").count() == 0
    assert told == []
    assert "answers" in browser_page.title()


def test_a_page_of_thousands_of_answers_opens_whole_and_says_what_it_leaves_out(
    browser_page: Page, tmp_path: Path
) -> None:
    answers = [row for number in range(MAX_ROWS + 3) for row in both(f"q{number:04}", WRONG, RIGHT)]
    text = render_answers("large", answers, {}, first="generated")
    assert "3 more are not on this page" in text
    file = tmp_path / "answers.html"
    file.write_text(text, "utf-8")
    browser_page.goto(file.as_uri())
    browser_page.get_by_label("Search").fill("crane q0042")
    assert shown(browser_page) == ["q0042"]
