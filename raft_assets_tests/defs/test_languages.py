"""A domain in each of five languages, from documents to a verdict, with all five roles over a socket."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from raft_assets.core.tables import QAPair, StudentAnswer
from raft_assets_tests.defs.language_domains import LANGUAGE_DOMAINS, Fact, LanguageDomain
from raft_assets_tests.defs.scripted_roles import Plan, ScriptedRoles
from raft_assets_tests.evaluation import mlqa
from raft_assets_tests.harness import ProjectHarness
from raft_assets_tests.llm.service import Service

PLANS = {
    "de": Plan(baseline=0.2, student=0.95),
    "ar": Plan(baseline=0.2, student=0.95),
    "zh": Plan(baseline=0.95, student=0.2),
    "ja": Plan(baseline=0.5, student=0.5),
    "hi": Plan(baseline=0.2, student=0.95),
}
VERDICTS = {"de": "better", "ar": "better", "zh": "worse", "ja": "cannot tell", "hi": "better"}
SETTINGS = """
questions: {questions_per_chunk: 3}
chunks: {chunk_size: 160, min_chunk_tokens: 16}
evaluation: {robustness_rows: 0, arms: [main, distractors_only]}
judging: {max_questions: 2, repeated_questions: 0, metrics: [similarity]}
verdict: {bootstrap_draws: 1000}
"""


@pytest.fixture(scope="module")
def roles() -> ScriptedRoles:
    return ScriptedRoles([fact for domain in LANGUAGE_DOMAINS.values() for fact in domain.facts], PLANS)


@pytest.fixture(scope="module")
def project(roles: ScriptedRoles, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProjectHarness]:
    service = Service()
    service.rule = roles
    found = ProjectHarness(tmp_path_factory.mktemp("languages"))
    addresses = {f"{role}_OPENAI_BASE_URL": service.url for role in ("TEACHER", "EMBEDDING", "STUDENT", "JUDGE")}
    keys = {name.replace("BASE_URL", "API_KEY"): "none" for name in addresses}
    found.own_variables = addresses | keys | roles.variables
    for code, domain in LANGUAGE_DOMAINS.items():
        for path, text in domain.documents().items():
            found.write(f"data/{code}/{path}", text)
        found.write(f"data/{code}/questions.jsonl", domain.golden())
        found.write(f"data/{code}/domain.yaml", SETTINGS)
    yield found
    service.stop()


@pytest.fixture(scope="module", params=list(LANGUAGE_DOMAINS))
def domain(project: ProjectHarness, request: pytest.FixtureRequest) -> LanguageDomain:
    last = "eval_report" if request.param == "ar" else "eval_scores"
    assert project.materialize(request.param, last), project.last_failure()
    return LANGUAGE_DOMAINS[request.param]


def fate(pair: QAPair | None) -> str:
    """What became of a question."""
    return "never asked" if pair is None else pair.reason or "accepted"


def test_right_pairs_are_accepted_and_wrong_ones_rejected_by_the_gates(
    project: ProjectHarness, domain: LanguageDomain
) -> None:
    pairs = {pair.question: pair for pair in project.lake.rows(QAPair, domain.code)}
    fates = {fact: fate(pairs.get(fact.question)) for fact in domain.facts}
    right = Counter(found for fact, found in fates.items() if fact.is_right)
    wrong = Counter(f"{fact.relation}: {found}" for fact, found in fates.items() if not fact.is_right)
    assert right["accepted"] >= 0.98 * right.total(), right
    passed = sum(count for found, count in wrong.items() if found.endswith(": accepted"))
    assert passed <= 0.05 * wrong.total(), wrong


def test_every_answer_is_scored_by_the_rules_of_its_language(
    project: ProjectHarness, domain: LanguageDomain, roles: ScriptedRoles
) -> None:
    facts = {question: fact for fact in domain.facts for question in (fact.question, fact.golden_question)}
    scored = project.results.query(
        "SELECT question, evaluated, final_answer, value FROM score_origins "
        f"WHERE domain = '{domain.code}' AND arm = 'main' AND metric = 'token_f1' AND evaluated <> 'reference'"
    )
    assert len(scored) > 2 * 24
    for row in scored.itertuples():
        fact = facts[row.question]
        assert row.final_answer == roles.planned(fact, is_student=row.evaluated == "student")
        assert row.value == pytest.approx(mlqa.f1(row.final_answer, fact.answer, domain.code)), row
    assert 0 < sum(0 < value < 1 for value in scored["value"]) < len(scored)
    assert {1.0, 0.0} <= set(scored["value"])


def test_an_abstention_is_recognized_in_the_language_and_nothing_else_is(
    project: ProjectHarness, domain: LanguageDomain
) -> None:
    answers = list(project.lake.rows(StudentAnswer, domain.code))
    assert {answer.language for answer in answers} == {domain.code}
    for answer in answers:
        shown = any(fact.sentence in text for text in answer.documents for fact in asked_facts(domain, answer.question))
        assert answer.abstained != shown, answer.final_answer


def asked_facts(domain: LanguageDomain, question: str) -> list[Fact]:
    return [fact for fact in domain.facts if question in (fact.question, fact.golden_question)]


def test_the_verdict_is_the_one_that_was_planted(project: ProjectHarness, domain: LanguageDomain) -> None:
    verdict = project.results.verdict(domain.code)
    assert verdict.decision == VERDICTS[domain.code], verdict.sentence
    assert verdict.slice == "golden"


@pytest.mark.parametrize("domain", ["ar"], indirect=True)
def test_arabic_text_runs_from_right_to_left_in_the_report(
    project: ProjectHarness, domain: LanguageDomain, chromium: str
) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(Path(project.lake.path("eval_report", domain.code, ".html")).as_uri())
        directions = page.evaluate(
            """[...document.querySelectorAll(".reasoning, .document p, .example h4")]
               .filter(block => /[\u0600-\u06ff]/.test(block.textContent))
               .map(block => getComputedStyle(block.querySelector("bdi") ?? block).direction)"""
        )
        browser.close()
    assert len(directions) > 10
    assert set(directions) == {"rtl"}


def test_what_the_student_learns_is_in_the_language(project: ProjectHarness, domain: LanguageDomain) -> None:
    lines = project.lake.read_lines("training_files", domain.code, "train.jsonl").decode().splitlines()
    answers = [json.loads(line)["messages"][-1]["content"] for line in lines]
    abstaining = [answer for answer in answers if domain.abstentions[0] in answer]
    assert 0 < len(abstaining) < len(answers)
    assert not any("do not contain" in answer for answer in answers)
