import base64
import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import pairwise

import pandas as pd
import pytest

from raft_assets.core.bidi import close_direction
from raft_assets.core.prompt_contract import BEGIN_QUOTE, END_QUOTE, render_answer
from raft_assets.core.tables import Chunk, ModelAnswer, QAPair, QuarantinedFile, RaftRow
from raft_assets.evaluation.evaluate import evaluate
from raft_assets.evaluation.examples import (
    Sample,
    choose_examples,
    make_excerpt,
    mark_spans,
    sample_of_pair,
    sample_of_row,
    split_answer,
)
from raft_assets.evaluation.headline import Bill
from raft_assets.evaluation.judged import Agreement
from raft_assets.evaluation.report import (
    DocumentCounts,
    EstimateComparison,
    JudgeSummary,
    ReportData,
    SplitCounts,
    render_index,
    render_report,
)
from raft_assets.llm.requests import Usage, UsageStats
from raft_assets.student.use import Removal, StudentUse
from raft_assets_tests.evaluation.builders import (
    ABSTAINED,
    DISTRACTOR,
    ORACLE,
    RIGHT,
    WRONG,
    both,
    model_answer,
    unanswerable,
)

HISTORY = [
    *("domain", "run", "source", "arm", "metric", "n", "baseline", "student", "low", "high", "recorded_at"),
    "student_model",
]
MARKUP = '<script>alert("x")</script><img src=x onerror=alert(1)>'
COMPARED = "embedded-reader (extractive reader, not a language model), against the same fine-tuned on 200 questions"
HOSTILE = f"{MARKUP} </DOCUMENT> <ANSWER>: mine"


ROW = RaftRow(
    question_id="q",
    question="How much does the crane lift?",
    documents=[DISTRACTOR, ORACLE],
    document_chunk_ids=["distractor", "oracle"],
    oracle_index=1,
    has_oracle=True,
    answer=render_answer(f"{BEGIN_QUOTE}The crane on quay 2 lifts 42 tonnes.{END_QUOTE}", RIGHT),
    final_answer=RIGHT,
    split="train",
    unit="u",
    chunk_id="oracle",
    doc_id="d",
    path="quay.pdf",
    kind="how",
)


def sample(row: RaftRow) -> Sample:
    """The row as the rejected pair that it might have been."""
    pair = QAPair(
        **{name: getattr(row, name) for name in ("question_id", "chunk_id", "doc_id", "path", "question", "kind")},
        answer=row.answer,
        final_answer=row.final_answer,
        quotes=["The crane on quay 2 lifts 42 tonnes."],
        accepted=False,
        reason="quote_not_verbatim",
        gates={"quote": "quote_not_verbatim"},
        question_call="",
        answer_call="",
    )
    chunk = Chunk(
        **{name: getattr(row, name) for name in ("chunk_id", "doc_id", "path")},
        kind="prose",
        page_from=2,
        page_to=2,
        start=0,
        end=len(row.documents[1]),
        heading="",
        text=row.documents[1],
        tokens=12,
    )
    return sample_of_pair(pair, chunk, part="page")


def some_answers() -> list[ModelAnswer]:
    answers = []
    for number in range(40):
        moved = {"documents": [DISTRACTOR, ORACLE], "document_chunk_ids": ["distractor", "oracle"], "kind": "who"}
        answers += both(f"q{number}", WRONG, RIGHT if number % 3 else WRONG, **(moved if number < 10 else {}))
        answers += both(f"q{number}", WRONG, RIGHT, arm="distractors_1")
        answers += both(f"q{number}", WRONG, RIGHT if number % 2 else WRONG, arm="distractors_10")
        answers += both(f"q{number}", WRONG, RIGHT, arm="retrieved")
        answers += unanswerable(f"q{number}", ABSTAINED, ABSTAINED if number else WRONG)
    return answers


def report_data(answers: Sequence[ModelAnswer]) -> ReportData:
    found = evaluate(answers, [], draws=1000, guard_margin=0.1)
    return ReportData(
        domain="harbor handbook",
        verdict=found.verdict,
        summary=found.summary,
        slices=found.slices,
        against_previous=None,
        judged=None,
        estimated=[
            EstimateComparison("qa_pairs", "TEACHER", (90, 120), (0.3, 0.5), 100, 0.45),
            EstimateComparison("baseline_answers", "BASELINE", (50, 60), (0.2, 0.3), 70, 0.35),
            EstimateComparison("student_answers", "STUDENT", (50, 60), None, 70, None),
        ],
        answers=answers,
        recall_at_k={"golden": 0.875},
        documents={"documents": 9, "chunks": 120},
        quarantine=[],
        chunk_tokens=[100, 120, 140],
        document_counts=[DocumentCounts("quay.pdf", 3, 360, 4)],
        pairs_per_chunk=[3, 1, 0],
        rejected={"quote_not_verbatim": [sample(ROW)]},
        samples=[sample_of_row(ROW.model_copy(update={"question": "What lifts 42 tonnes?"}))],
        gates={"accepted": 300, "quote_not_verbatim": 21},
        gate_meanings={"quote_not_verbatim": "A quotation does not stand in the document."},
        splits={
            "train": SplitCounts(200, 160, 14, {"cloze": 120, "what": 80}),
            "valid": SplitCounts(20, 16, 2, {"what": 20}),
            "eval": SplitCounts(40, 40, 4, {"who": 40}),
        },
        split_notes={"unit": "document"},
        models={"BASELINE": "embedded: embedded-reader", "STUDENT": "embedded: ft:embedded-reader:1"},
        hashes={"training": "ab" * 32},
        settings={"chunks.chunk_size": ("160", "default")},
        loss=[(1, 2.0, None), (2, 1.5, 1.7)],
        calls={"baseline_answers": UsageStats(calls=1200, usage=Usage(400_000, 0, 9_000), dollars=1.25, unpriced=7)},
        history=pd.DataFrame(columns=HISTORY),
        compared=COMPARED,
        bill=Bill(300, 0.45, 754.0, 1.25, (0.3, 0.5), 600.0),
        recorded_at=datetime(2026, 11, 28, 19, 49, tzinfo=UTC),
        use=StudentUse(
            address="http://127.0.0.1:8321/v1",
            model="ft:embedded-reader:1",
            before="Start `raft serve`.",
            price="costs nothing",
            curl="curl http://127.0.0.1:8321/v1/chat/completions",
            python="from openai import OpenAI",
            answer="<ANSWER>: 1871",
            removal=(Removal("the student", "raft purge 'harbor handbook' --students"),),
        ),
        document_of={("generated", f"q{number}"): "quay.pdf" for number in range(40)},
    )


def use_full_of(text: str) -> StudentUse:
    """A use whose every text is this one."""
    return StudentUse(text, text, text, text, text, text, text, (Removal("the student", text),))


def hostile_report() -> ReportData:
    """A report all of whose texts are markup."""
    answers = some_answers()
    hostile = {
        "question": f"Why? {HOSTILE}",
        "documents": [f"42 tonnes {HOSTILE}", "x"],
        "golden_answers": [f"42 tonnes {MARKUP}"],
        "model": HOSTILE,
    }
    quoting = render_answer(f"{BEGIN_QUOTE}{MARKUP}{END_QUOTE}", f"42 tonnes {MARKUP}")
    answers += [
        model_answer(answer=quoting, question_id="h", cluster="h", **(hostile | {"evaluated": "student"})),
        model_answer(answer="no", question_id="h", cluster="h", **(hostile | {"evaluated": "baseline"})),
    ]
    spoilt = ROW.model_copy(
        update={"question": HOSTILE, "answer": quoting, "documents": [HOSTILE] * 2, "path": HOSTILE}
    )
    return replace(
        report_data(answers),
        domain=HOSTILE,
        quarantine=[QuarantinedFile(path=HOSTILE, content_hash="", reason=HOSTILE, detail=HOSTILE)],
        models={"BASELINE": HOSTILE},
        settings={HOSTILE: (HOSTILE, HOSTILE)},
        gates={HOSTILE: 1},
        gate_meanings={HOSTILE: HOSTILE},
        rejected={HOSTILE: [sample(spoilt)]},
        samples=[sample_of_row(spoilt.model_copy(update={"question": f"Again: {HOSTILE}"}))],
        document_counts=[DocumentCounts(HOSTILE, 1, 1, 1)],
        split_notes={HOSTILE: HOSTILE},
        hashes={HOSTILE: HOSTILE},
        compared=HOSTILE,
        use=use_full_of(HOSTILE),
        document_of={("generated", answer.question_id): HOSTILE for answer in answers},
    )


def text_of(page: str) -> str:
    """What a reader sees, white space collapsed."""

    class Reader(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[str] = []

        def handle_starttag(self, tag: str, attrs: object) -> None:
            self.seen += [" "] * (tag not in ("mark", "bdi"))  # which stand inside sentences, everything else apart

        def handle_data(self, data: str) -> None:
            self.seen.append(data)

    reader = Reader()
    reader.feed(page)
    return " ".join("".join(reader.seen).split())


@pytest.fixture(scope="module")
def data() -> ReportData:
    return report_data(some_answers())


@pytest.fixture(scope="module")
def page(data: ReportData) -> str:
    return render_report(data)


def test_the_first_screen_has_what_a_decision_needs_and_then_come_the_plots(data: ReportData, page: str) -> None:
    body = text_of(page[page.index("<body>") :])
    assert body.startswith(
        "Skip to the content raft-assets evaluation harbor handbook better The fine-tuned student is "
    )
    first, _, after = body.partition("Plots")
    interval = data.verdict.interval
    assert interval is not None
    for fact in (
        f"+65.0 points, 95 % interval +{interval.low * 100:.1f} to +{interval.high * 100:.1f}",
        "token F1 0.0 → 65.0",
        "Questions 40 questions that the student's own teacher wrote, about 40 passages",
        f"Models {COMPARED}",
        "No model ",
        "Cost US$ 0.4500, estimated 0.3000–0.5000; with earlier runs 1.25",
        "Time 12 min 34 s from the first call to the scores, estimated 10 min 0 s",
        "Evaluated 2026-11-28 19:49 UTC",
        "Next Before you rely on it, write questions about at least 20 passages into questions.jsonl",
    ):
        assert fact in first
    assert after.index("Token F1 of baseline and student") < after.index("Why this verdict")
    assert data.verdict.sentence in after


def test_everything_behind_the_plots_is_folded_and_each_part_can_be_linked_to(page: str) -> None:
    behind = page[page.index('<details class="part">') : page.index("</main>")]
    parts = re.findall(r'<details class="part"><summary><h2>([^<]+)</h2></summary>\n<div id="([^"]+)">', behind)
    assert [name for _, name in parts] == [
        *("why", "use", "scores", "abstention", "answers", "data", "models", "left-out", "settings")
    ]
    assert "<details open" not in page
    assert page.count("<h2") == len(parts) + 1


def test_how_the_student_is_asked_and_removed_stands_in_the_report(page: str) -> None:
    text = text_of(page).partition("How to use this student")[2]
    for told in (
        "Address http://127.0.0.1:8321/v1 Model ft:embedded-reader:1 Price costs nothing First Start `raft serve`.",
        "curl http://127.0.0.1:8321/v1/chat/completions",
        "from openai import OpenAI",
        "It answered: <ANSWER>: 1871",
        "the student raft purge 'harbor handbook' --students",
    ):
        assert told in text


def test_no_question_is_on_the_page_twice(data: ReportData) -> None:
    """Not in two groups of examples, not under two arms or ids, and no sample repeats an example."""
    rows = [
        ROW.model_copy(update={"question_id": f"row{n}", "question": f"how much does  crane q{n} lift?"})
        for n in (1, 99)
    ]
    again = [*data.answers, *both("copy", WRONG, RIGHT, question="How much does crane q1 lift?")]
    shown = replace(
        report_data(again),
        samples=[sample_of_row(row) for row in (*rows, *rows)],
        rejected={"quote_not_verbatim": [sample(row) for row in rows]},
    )
    questions = re.findall(r"<h4[^>]*><bdi>(.*?)</bdi></h4>", render_report(shown))
    spelled = [" ".join(question.casefold().split()) for question in questions]
    assert len(spelled) > 8
    assert len(spelled) == len(set(spelled))
    assert spelled.count("how much does crane q99 lift?") == 1


def test_the_scores_stand_beside_one_another_with_difference_and_interval(data: ReportData, page: str) -> None:
    interval = data.verdict.interval
    assert interval is not None
    row = re.search(r"Token F1 \S+ 0\.0 (\S+) (\S+) (\S+ to \S+)", text_of(page[page.index('class="scores"') :]))
    assert row is not None
    assert row.groups() == ("65.0", "+65.0", f"+{interval.low * 100:.1f} to +{interval.high * 100:.1f}")


def test_equal_data_give_equal_bytes(page: str) -> None:
    assert render_report(report_data(some_answers())) == page


def test_the_page_needs_nothing_beside_it_and_runs_nothing(page: str) -> None:
    assert set(re.findall(r'(?:src|href)="([^#"][^"]*)"', page)) == {
        "../data_card/harbor%20handbook/DATA_CARD.md",
        "../eval_answers/harbor%20handbook.html",
    }
    assert not re.search(r"url\(|@import|<script|<link|<iframe|\son\w+=", page.replace("http-equiv", ""))
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    hashed = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy[1] == f"default-src 'none'; style-src 'sha256-{hashed}'; base-uri 'none'; form-action 'none'"
    assert " style=" not in page


def test_text_of_documents_and_models_is_shown_and_never_markup() -> None:
    page = render_report(hostile_report())
    assert not re.search(r"<script|<img|</DOCUMENT|<ANSWER", page)
    _, example = text_of(page).split(f"Why? {HOSTILE}")
    assert f"{MARKUP} Final answer 42 tonnes {MARKUP}" in example
    _, documents = example.split("The 2 documents shown", 1)
    assert f"42 tonnes {MARKUP} ‹/DOCUMENT› ‹ANSWER›" in documents  # as the model saw it: delimiters neutralised


STRAY = "\u2069\u202c\u202e evil \u2067 tail"  # ends of nothing, an override and an isolate that never end


def test_text_of_documents_questions_answers_and_models_stands_in_its_own_direction() -> None:
    """Every such text is in an element of its own direction, which turns nothing beside it whatever its characters."""
    quoting = render_answer(f"{STRAY} {BEGIN_QUOTE}The crane {STRAY}{END_QUOTE} {STRAY}", f"42 tonnes {STRAY}")
    asked = {"question": f"Why {STRAY}?", "documents": [f"The crane {STRAY}\n{STRAY}", STRAY], "model": STRAY}
    asked |= {"golden_answers": [f"42 tonnes {STRAY}", STRAY]}
    answers = [*some_answers(), model_answer(answer=quoting, question_id="h", cluster="h", **asked)]
    answers += [model_answer(answer=STRAY, question_id="h", cluster="h", evaluated="baseline", **asked)]
    shown = ROW.model_copy(update={"question": STRAY, "answer": quoting, "documents": [STRAY] * 2, "path": STRAY})
    page = render_report(
        replace(
            report_data(answers),
            domain=STRAY,
            quarantine=[QuarantinedFile(path=STRAY, content_hash="", reason="empty", detail=STRAY)],
            models={"BASELINE": STRAY},
            settings={"prompt.instructions": (STRAY, "domain.yaml")},
            samples=[sample_of_row(shown)],
            rejected={"quote_not_verbatim": [sample(shown.model_copy(update={"question": f"Again {STRAY}"}))]},
            compared=STRAY,
            use=use_full_of(STRAY),
            document_counts=[DocumentCounts(STRAY, 1, 1, 1)],
            against_previous={"decision": "worse", "sentence": STRAY},
            judged=JudgeSummary(60, {f"unreadable ({STRAY})": 3}, [], STRAY),
        )
    )
    verdict = {"decision": "better", "sentence": STRAY, "baseline_model": STRAY, "student_model": STRAY}
    index = render_index({STRAY: verdict | {"recorded_at": datetime(2026, 11, 4, tzinfo=UTC)}})
    for text in (page, index):
        outside, inside = directions_of(text)
        assert not [text for text in outside if re.search("[\u202a-\u202e\u2066-\u2069]|evil", text)]
        assert any("evil" in text for text in inside)
        for one in inside:
            assert close_direction(one) == one
    question = re.search(r"<h4[^>]*><bdi>(Why .*?)</bdi></h4>", page)
    assert question is not None
    assert question[1] == "Why \u202e evil \u2067 tail?\u2069\u202c"


def directions_of(page: str) -> tuple[list[str], list[str]]:
    """The texts of a page that stand in the page's own direction, and those that have one of their own.

    The latter are elements `<bdi>`, and what is no part of a line: the title, and texts of plots.
    """

    class Reader(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.own = 0
            self.outside: list[str] = []
            self.inside: list[str] = []

        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag in OF_THEIR_OWN:
                self.own += 1
                self.inside.append("")

        def handle_endtag(self, tag: str) -> None:
            self.own -= tag in OF_THEIR_OWN

        def handle_data(self, data: str) -> None:
            if self.own:
                self.inside[-1] += data
            else:
                self.outside.append(data)

    reader = Reader()
    reader.feed(page)
    return reader.outside, reader.inside


OF_THEIR_OWN = {"bdi", "title", "desc", "text"}


def test_quotes_and_answers_are_marked_in_document_and_answer() -> None:
    quoted = render_answer(f"{BEGIN_QUOTE}The crane on quay 2 lifts{END_QUOTE}", RIGHT)
    answers = [model_answer(answer=quoted), model_answer(WRONG, evaluated="baseline")]
    (group,) = choose_examples(answers, "generated")
    assert group.title == "Where the student gained most"
    (example,) = group.examples
    oracle, distractor = example.documents
    assert [(part.text, part.mark) for part in oracle.excerpt.segments][:4] == [
        ("The crane on quay 2 lifts", "quote"),
        (" ", ""),
        ("42 tonnes", "answer"),
        (". It was built in 1907.", ""),
    ]
    assert oracle.is_oracle
    assert {part.mark for part in distractor.excerpt.segments} == {""}
    assert [(part.text, part.mark) for part in example.student.text.reasoning.segments] == [
        ("The crane on quay 2 lifts", "quote")
    ]
    assert "".join(part.text for part in example.student.text.final_answer.segments) == RIGHT


def test_an_answer_without_the_form_is_shown_whole_and_says_what_is_missing() -> None:
    text = f"I think {BEGIN_QUOTE}an open quote, and no tag"
    shown = split_answer(text)
    assert "".join(part.text for part in shown.reasoning.segments) == text
    assert shown.final_answer.segments == ()
    answers = [
        *both("q", RIGHT, RIGHT),
        model_answer(evaluated="baseline", question_id="z", cluster="z"),
        model_answer(answer=text, question_id="z", cluster="z"),
    ]
    assert "(none: the answer tag is missing or empty)" in text_of(render_report(report_data(answers)))


def test_a_long_document_is_shortened_around_what_is_marked_and_says_so() -> None:
    text = "word " * 2000 + "the answer" + " word" * 2000
    excerpt = make_excerpt(mark_spans(text, quotes=["the answer"], answers=[]), 400)
    assert sum(len(part.text) for part in excerpt.segments) == 400
    assert "the answer" in [part.text for part in excerpt.segments]
    assert excerpt.left_out == len(text) - 400


def test_the_page_stays_small_however_much_there_is_to_show() -> None:
    long = {"documents": [f"{ORACLE} " * 3000, DISTRACTOR * 3000]}
    answers = [
        row
        for number in range(40)
        for row in both(f"q{number}", WRONG * 2000, RIGHT, question=f"{number}: {'Why? ' * 3000}", **long)
    ]
    grown = replace(
        report_data(answers),
        quarantine=[QuarantinedFile(path=f"{n}" * 50, content_hash="", reason="r", detail="d") for n in range(5000)],
        document_counts=[DocumentCounts(f"{n}.pdf" * 20, 1, 1, 1) for n in range(5000)],
        chunk_tokens=list(range(50_000)),
        pairs_per_chunk=[1] * 50_000,
        rejected={f"reason_{n}": [sample(ROW)] * 4 for n in range(20)},
        gates={f"reason_{n}": 1000 for n in range(20)},
        gate_meanings={f"reason_{n}": "Meaning." for n in range(20)},
    )
    page = render_report(grown)
    assert len(page.encode()) < 3_000_000
    assert "characters left out]" in page


def test_a_metric_that_the_page_does_not_know_stands_in_the_table() -> None:
    data = report_data(some_answers())
    known = data.summary[data.summary["metric"] == "token_f1"]
    told = replace(data, summary=pd.concat([data.summary, known.assign(metric="answer_flair")]))
    assert re.search(r"Answer flair \S+ 0\.0 65\.0", text_of(render_report(told)))


def test_the_data_part_shows_coverage_and_samples_of_what_was_kept_and_rejected(page: str) -> None:
    text = text_of(page)
    assert "Chunks with an accepted pair, per cent 66.7 Chunks without one 1 Accepted pairs per chunk 1.33" in text
    assert "quay.pdf 3 360 4" in text
    rejected = text.partition("Rejected: quote not verbatim (1 of 21)")[2]
    meaning = "A quotation does not stand in the document."
    assert rejected.startswith(f" {meaning} How much does the crane lift? quay.pdf, page 2")
    rows = text.partition("Sample rows")[2]
    assert "Final answer 42 tonnes 2 documents behind it" in rows
    assert "Document 2, the oracle: it holds the answer The crane on quay 2 lifts 42 tonnes." in rows


def test_the_score_is_taken_apart_by_question_oracle_and_distractors(page: str) -> None:
    text = text_of(page).partition("Plots")[2]
    assert "Token F1 by type of question generated, how: baseline 0.0, student 66.7. generated, who:" in text
    assert "by place of the oracle generated, document 1: baseline 0.0, student 66.7. generated, document 2:" in text
    assert "distractors, same questions generated, 1: baseline 0.0, student 100.0. generated, 10: baseline 0.0" in text
    assert "by document" not in text  # of which there is one


def test_marking_keeps_the_text_and_finds_answers_as_whole_words_only() -> None:
    text = "Of 4 cranes 42 lift 4\ntonnes."
    segments = mark_spans(text, quotes=["lift 4 tonnes."], answers=["4"])
    assert "".join(segment.text for segment in segments) == text
    assert [segment.text for segment in segments if segment.mark == "answer"] == ["4", "4"]
    assert [segment.text for segment in segments if segment.mark == "quote"] == ["lift ", "\ntonnes."]


@pytest.mark.parametrize(
    ("text", "answer", "marked"),
    [
        ("红桥火车站建于1932年。共有1932人", "1932年", ["1932年"]),  # between letters of a script without spaces
        ("橋は1932年に開通した", "1932", ["1932"]),
        ("राम और रामा", "राम", ["राम"]),  # a vowel sign belongs to its word
        ("في عام ١٩٣٢، افتتح", "عام ١٩٣٢", ["عام ١٩٣٢"]),
        ("Der Wald und Walder", "Wald", ["Wald"]),
    ],
)
def test_an_answer_is_marked_as_a_whole_word_in_any_script(text: str, answer: str, marked: list[str]) -> None:
    segments = mark_spans(text, quotes=[], answers=[answer])
    assert "".join(segment.text for segment in segments) == text
    assert [segment.text for segment in segments if segment.mark] == marked


def test_every_text_of_its_own_has_its_own_direction(page: str) -> None:
    blocks = re.findall(r"<h4[^>]*>|<p class=.reasoning[^>]*>|<p class=.final[^>]*>", page)
    assert len(blocks) > 10
    assert {block for block in blocks if 'dir="auto"' not in block} == set()
    assert len(re.findall(r'class="document[^>]*>.*\n\s*<p dir="auto">', page)) == page.count('class="document')


def test_examples_show_gains_losses_inventions_and_what_both_missed() -> None:
    answers = [
        *both("gain", WRONG, RIGHT),
        *both("loss", RIGHT, WRONG),
        *both("missed", WRONG, WRONG),
        *both("right", RIGHT, RIGHT),
        *unanswerable("invented", ABSTAINED, WRONG),
        *unanswerable("honest", ABSTAINED, ABSTAINED),
        *both("other slice", WRONG, RIGHT, source="golden"),
    ]
    found = {group.title: len(group.examples) for group in choose_examples(answers, "generated")}
    assert found == {
        "Where the student gained most": 1,
        "Where the student lost most": 1,
        "Where both were partly wrong": 1,
        "Where both were right": 1,
        "Where the student answered and should have abstained": 1,
    }


def test_embedded_models_are_never_taken_for_language_models(data: ReportData, page: str) -> None:
    assert text_of(page).count("extractive reader, not a language model") == 3  # first screen, baseline, student
    models = {"BASELINE": "https://api.openai.com/v1: gpt", "STUDENT": "openai: ft:gpt"}
    hosted = replace(data, models=models, compared="gpt at api.openai.com, against the same")
    assert "extractive reader" not in render_report(hosted)


def test_what_was_left_out_is_said_with_its_reason(data: ReportData) -> None:
    answers = [*data.answers, *both("f", RIGHT, RIGHT, status="failed")]
    answers += both("open", RIGHT, RIGHT, source="golden", arm="retrieved", oracle_chunk_ids=[])
    left_out = text_of(render_report(report_data(answers))).partition("Omissions")[2]
    for sentence in (
        "No judge is configured",
        "The arm closed book was not evaluated",
        "1 answer of the student scored 0: failed.",
        "1 golden question without evidence: evaluated in the retrieved arm only.",
    ):
        assert sentence in left_out


def test_an_estimate_stands_beside_the_bill(page: str) -> None:
    text = text_of(page)
    assert "qa pairs, teacher 90–120 100 0.3000–0.5000 0.4500 inside" in text
    assert "baseline answers, baseline 50–60 70 0.2000–0.3000 0.3500 outside" in text
    assert "student answers, student 50–60 70 unknown unknown unknown" in text


def test_a_judge_is_shown_with_what_is_doubtful_about_it(data: ReportData) -> None:
    judged = JudgeSummary(60, {"unreadable (no score)": 3}, [Agreement("fluency", 20, 0.85, 0.2)], "The judge is kin.")
    page = text_of(render_report(replace(data, judged=judged)))
    assert "No judge" not in page
    assert "The judge is kin." in page
    assert "Fluency 20 85.0 0.20" in page
    assert "3 judgements without a score: unreadable (no score)." in page


def test_abstentions_are_counted_where_they_are_right_and_where_they_are_wrong(page: str) -> None:
    table = text_of(page).partition("How often each model said")[2]
    assert "Generated, main wrong 40 0 0" in table
    assert "Generated, distractors only right 40 40 39" in table
    assert "Precision, generated 100.0 100.0 0.0" in table
    assert "Recall, generated 100.0 97.5 −2.5" in table


def test_a_student_that_fell_behind_the_one_before_is_told_on_the_first_screen(data: ReportData, page: str) -> None:
    assert 'class="against"' not in page
    sentence = "The student is worse than the previous one: <b>"
    told = text_of(render_report(replace(data, against_previous={"decision": "worse", "sentence": sentence})))
    assert "Before The student is worse than the previous one Cost" in told.partition("Plots")[0]
    assert sentence in told.partition("Why this verdict")[2]


def test_earlier_runs_appear_from_the_second_on(data: ReportData, page: str) -> None:
    assert "Earlier runs" not in page
    rows = [
        {
            "domain": "d",
            "run": str(day),
            "source": "generated",
            "arm": "main",
            "metric": "token_f1",
            "n": 40,
            "baseline": 0.3,
            "student": day / 10,
            "low": day / 10 - 0.4,
            "high": math.nan if day == 4 else 0.3,
            "recorded_at": datetime(2026, 11, day, 9, 30, tzinfo=UTC),
            "student_model": f"ft:{day}",
        }
        for day in (4, 5)
    ]
    history = text_of(render_report(replace(data, history=pd.DataFrame(rows)))).partition("Earlier runs")[2]
    assert "2026-11-04 09:30 ft:4 40 30.0 40.0 – 2026-11-05 09:30 ft:5 40 30.0 50.0 +10.0 to +30.0" in history


def test_a_domain_without_rows_still_has_a_page() -> None:
    empty = replace(
        report_data([]),
        recall_at_k={},
        chunk_tokens=[],
        document_counts=[],
        pairs_per_chunk=[],
        rejected={},
        samples=[],
        gates={},
        splits={},
        loss=[],
        calls={},
        documents={},
    )
    assert "there are no questions to compare on" in text_of(render_report(empty))


def test_the_page_is_well_structured(page: str) -> None:
    levels = [int(level) for level in re.findall(r"<h(\d)", page)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.count("<table") == page.count("<caption>")
    assert re.findall(r"<th(?! scope=)[ >]", page) == []
    anchors = set(re.findall(r'href="#([^"]+)"', page))
    assert anchors <= set(re.findall(r'id="([^"]+)"', page))
    opened, closed = re.findall(r"<(\w+)", page), re.findall(r"</(\w+)", page)
    for tag in ("section", "table", "tbody", "details", "div", "article", "svg", "dl"):
        assert opened.count(tag) == closed.count(tag)


def test_the_index_leads_to_every_report() -> None:
    verdict = {
        "decision": "cannot tell",
        "sentence": f"It cannot be told {HOSTILE}.",
        "baseline_model": "b",
        "student_model": "s",
        "recorded_at": datetime(2026, 11, 4, tzinfo=UTC),
    }
    page = render_index({"harbor handbook": verdict, "a&b/#": verdict})
    assert 'href="eval_report/harbor%20handbook.html"' in page
    assert 'href="eval_report/a%26b/%23.html"' in page
    assert 'href="eval_answers/harbor%20handbook.html"' in page
    assert "<script" not in page
    assert "No domain has been evaluated yet." in render_index({})


def test_the_cost_of_calls_is_shown_and_an_unknown_price_is_told(page: str) -> None:
    assert "1.2500 and 7 calls with unknown price" in page


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    channels = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(mode: int, page: str) -> None:
    blocks = re.findall(r":root \{(.*?)\}", page, re.DOTALL)
    colours = dict(re.findall(r"--(\w+): (#\w{6})", blocks[mode]))
    texts, backgrounds = ("ink", "muted", "student", "better", "worse", "unknown"), ("paper", "surface")
    pairs = [(text, ground) for text in texts for ground in backgrounds] + [("ink", "quote"), ("ink", "answer")]
    for text, ground in pairs:
        darker, lighter = sorted((luminance(colours[text]), luminance(colours[ground])))
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (text, ground)
