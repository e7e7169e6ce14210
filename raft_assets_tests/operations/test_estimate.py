"""What a run will cost, before it starts: counted from the documents, the settings and what is stored."""

import json
import shutil
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest

from raft_assets.core.tables import Chunk, QAPair, RaftRow
from raft_assets.documents.chunking import token_count
from raft_assets.llm.capabilities import Capabilities
from raft_assets.llm.completion_form import CHAT, COMPLETION
from raft_assets.llm.prompts import answer_request
from raft_assets.operations.corpus import read_corpus
from raft_assets.operations.estimate import (
    DATASET,
    MAX_WIDTH_PREVIEWED,
    PREVIEWED_CHUNKS,
    estimate_calls,
)
from raft_assets.operations.expected_pairs import LANGUAGE_MODEL, RetrievedShare
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.process import records_of
from raft_assets.operations.ranges import MAX_WIDTH, CallEstimate
from raft_assets.operations.report import collect_report_data
from raft_assets.pairs.generation import first_round_plan
from raft_assets.settings.endpoints import Role
from raft_assets.settings.project import Project
from raft_assets.storage.call_store import open_call_store
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.harness import ProjectHarness

TEACHER = ("qa_pairs", Role.TEACHER)
PAID = """
TEACHER_OPENAI_BASE_URL=https://llm.invalid/v1
TEACHER_OPENAI_DEPLOYMENT=some-model
TEACHER_OPENAI_API_KEY=none
"""  # where nobody listens: an estimate asks nobody
PRICES = '- {model: some-model, input: 2.0, output: 8.0, source: "a contract", date: 2026-11-26}'


def forecasts(project: ProjectHarness, *, fresh: Collection[str] = ()) -> dict[tuple[str, Role], CallEstimate]:
    models = ModelClients(Project.load(project.folder))
    found = estimate_calls(models, SMALL, read_corpus(models, SMALL, fresh=fresh), fresh=fresh)
    return {(one.asset, one.role): one for one in found}


@pytest.fixture
def paid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProjectHarness:
    """Two documents and a teacher that costs money."""
    monkeypatch.delenv("RAFT_PROVIDER", raising=False)
    project = ProjectHarness(tmp_path)
    project.copy_domain("bats", SMALL, documents=2)
    project.write(".env", PAID)
    return project


def test_what_is_stored_is_not_estimated_again(copied: ProjectHarness) -> None:
    found = forecasts(copied)
    pairs = list(copied.lake.rows(QAPair, SMALL))
    made = {key for pair in pairs for key in (pair.question_call, pair.answer_call) if key}
    assert (found[TEACHER].calls, found[TEACHER].stored) == (0, len(made))
    assert found[TEACHER].assumed == ()
    assert found["chunk_embeddings", Role.EMBEDDING].calls == 0
    copied.write(f"data/{SMALL}/more.md", "# Roosts\n\nThe roost at Alba mill was found in 1931 by Ann Bell.\n")
    again = forecasts(copied)
    assert again[TEACHER].stored == len(made)
    assert 2 <= again[TEACHER].calls <= 5  # one call that asks, and one for every question
    assert again["chunk_embeddings", Role.EMBEDDING].calls == 1


def test_stored_answers_of_an_evaluation_are_not_estimated_again(copied: ProjectHarness) -> None:
    copied.write(f"data/{SMALL}/domain.yaml", "evaluation: {top_k: 2}\n")
    fresh = {"source_documents", *DATASET, "qa_pairs", "finetuned_model", "deployment"}
    found = forecasts(copied, fresh=fresh)
    assert copied.materialize(SMALL, "baseline_answers", "student_answers")
    for role in (Role.BASELINE, Role.STUDENT):
        asset = f"{role.value.lower()}_answers"
        asked = copied.metadata(asset, SMALL)
        assert (found[asset, role].calls, found[asset, role].stored) == (asked["calls_made"], asked["calls_from_store"])
        assert found[asset, role].stored > found[asset, role].calls > 0  # those with retrieved passages
    trained_anew = forecasts(copied, fresh=fresh - {"finetuned_model", "deployment"})["student_answers", Role.STUDENT]
    known = found["student_answers", Role.STUDENT]
    assert (trained_anew.stored, trained_anew.calls) == (0, known.calls + known.stored)


def test_the_training_is_estimated_by_its_file(copied: ProjectHarness) -> None:
    """Nothing that only validates is trained on, and nothing that a golden question holds out."""
    copied.write(f"data/{SMALL}/domain.yaml", "training: {n_epochs: 2}\n")
    counted = copied.lake.read_record("training_files", SMALL)["train"]
    before = forecasts(copied)["finetuned_model", Role.STUDENT].usage.input_tokens
    assert before == pytest.approx(2 * counted["tokens"], rel=0.35)  # of few documents, without a golden question
    chunks = list(copied.lake.rows(Chunk, SMALL))
    golden = [
        {"id": chunk.chunk_id, "question": "What is it?", "answers": ["it"], "evidence": [chunk.text]}
        for chunk in chunks[: len(chunks) // 2]
    ]
    copied.write(f"data/{SMALL}/questions.jsonl", "".join(f"{json.dumps(one)}\n" for one in golden))
    held_out = forecasts(copied)["finetuned_model", Role.STUDENT].usage.input_tokens
    assert 0 < held_out < before * (1 - len(golden) / len(chunks)) * 1.01


def test_a_project_that_is_fresh_will_ask_nothing(finished: ProjectHarness) -> None:
    told = finished.raft_here("estimate", SMALL)
    assert told.returncode == 0, told.stderr
    assert f"{SMALL}: everything is fresh, no calls are needed." in told.stdout


def test_a_document_that_came_since_is_estimated_and_a_domain_without_one_is_told(copied: ProjectHarness) -> None:
    copied.write(f"data/{SMALL}/more.md", "# Roosts\n\nThe roost at Alba mill was found in 1931 by Ann Bell.\n")
    (copied.folder / "data" / "void").mkdir()
    copied.write("data/void/a.txt", "   ")
    told = copied.raft_here("estimate", SMALL, "void", "--json")
    assert told.returncode == 1
    assert "void: No document of 'void' could be read" in told.stderr
    asked = {(line["asset"], line["role"]): line["calls"] for line in map(json.loads, told.stdout.splitlines())}
    assert 2 <= asked["qa_pairs", "TEACHER"] <= 5


def test_money_is_tokens_times_price_and_an_unknown_price_is_told(paid: ProjectHarness) -> None:
    assert forecasts(paid)[TEACHER].dollars is None
    paid.write("prices.yaml", PRICES)
    teacher = forecasts(paid)[TEACHER]
    assert teacher.calls > 0
    assert teacher.usage.output_tokens > teacher.calls / 2 * LANGUAGE_MODEL.answer_tokens[0]
    assert teacher.low.dollars is not None
    assert teacher.high.dollars is not None
    for end in (teacher, teacher.low, teacher.high):
        assert end.dollars == pytest.approx((2 * end.usage.input_tokens + 8 * end.usage.output_tokens) / 1e6)
    assert (
        teacher.low.dollars < (teacher.dollars or 0) < teacher.high.dollars <= MAX_WIDTH * teacher.low.dollars * 1.001
    )
    assert set(teacher.assumed) == {"questions per call", "length of answers"}
    (line, *_) = [
        one
        for one in map(
            json.loads, paid.raft_here("estimate", SMALL, "--json", variables={"RAFT_PROVIDER": ""}).stdout.splitlines()
        )
        if (one["asset"], one["role"]) == ("qa_pairs", "TEACHER")
    ]
    assert (line["calls"], line["dollars"]) == (teacher.calls, teacher.dollars)
    with open_call_store(paid.opened) as store:
        assert store.stats().calls == 0


HOSTED_STUDENT = {"BASE_URL": "https://llm.invalid/v1", "DEPLOYMENT": "some-model", "API_KEY": "none"}
EMBEDDED = """
TEACHER_OPENAI_BASE_URL={address}
TEACHER_OPENAI_DEPLOYMENT=embedded-teacher
TEACHER_OPENAI_API_KEY=none
EMBEDDING_OPENAI_BASE_URL={address}
EMBEDDING_OPENAI_DEPLOYMENT=embedded-encoder
EMBEDDING_OPENAI_API_KEY=none
STUDENT_OPENAI_BASE_URL={address}
STUDENT_OPENAI_DEPLOYMENT=embedded-reader
STUDENT_OPENAI_API_KEY=none
"""  # the embedded models at an address that costs money
EMBEDDED_PRICES = (
    '- {model: "embedded-*", service: "https://llm.invalid/v1", input: 2.0, output: 8.0, training: 25.0, '
    "source: invented, date: 2026-11-28}"
)


@pytest.fixture
def priced(finished: ProjectHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProjectHarness:
    """The documents of the finished project, where nothing is stored and the same models cost money."""
    monkeypatch.delenv("RAFT_PROVIDER", raising=False)
    project = ProjectHarness(tmp_path)
    shutil.copytree(finished.folder / "data", project.folder / "data", dirs_exist_ok=True)
    project.write(".env", EMBEDDED.format(address="https://llm.invalid/v1"))
    project.write("prices.yaml", EMBEDDED_PRICES)
    return project


def billed(finished: ProjectHarness, asset: str) -> float:
    """What the calls of an asset of the finished project would have cost, by the invented prices."""
    with open_call_store(finished.opened) as store:
        usages = [call.usage for call in store.calls() if call.origin.asset == asset]
    return sum(2 * usage.input_tokens + 8 * usage.output_tokens for usage in usages) / 1e6


def test_the_bill_is_inside_the_range_which_is_at_most_twice_as_wide(
    finished: ProjectHarness, priced: ProjectHarness
) -> None:
    found = forecasts(priced)
    for asset in ("chunk_embeddings", "qa_pairs", "baseline_answers", "student_answers"):
        low = sum(one.low.dollars or 0 for (name, _), one in found.items() if name == asset)
        high = sum(one.high.dollars or 0 for (name, _), one in found.items() if name == asset)
        assert low <= billed(finished, asset) <= high, asset
        assert high <= MAX_WIDTH * low * 1.001, asset
    tuned = finished.lake.read_record("finetuned_model", SMALL)
    training = found["finetuned_model", Role.STUDENT]
    assert training.low.dollars is not None
    assert training.high.dollars is not None
    assert training.low.dollars <= tuned["trained_tokens"] * 25 / 1e6 <= training.high.dollars


def test_what_the_embedded_teacher_will_ask_is_computed_and_nothing_is_stored(
    finished: ProjectHarness, priced: ProjectHarness
) -> None:
    teacher = forecasts(priced)[TEACHER]
    with open_call_store(finished.opened) as store:
        made = [call for call in store.calls() if (call.origin.asset, call.role) == TEACHER]
    assert teacher.low.calls == teacher.high.calls == teacher.calls == len(made)
    assert teacher.usage.output_tokens == pytest.approx(sum(call.usage.output_tokens for call in made), rel=0.02)
    assert teacher.assumed == ()
    with open_call_store(priced.opened) as store:
        assert store.stats().calls == 0


def test_what_a_preview_shows_of_retrieval_is_weighed_with_what_is_assumed() -> None:
    """Whole chunks are the sample: pairs of one chunk pass or fail together."""
    assumed = (0.7, 0.9)
    even, clustered, all_pass = (
        RetrievedShare([(4, 2)] * 20).ends(assumed),
        RetrievedShare([(4, 4), (4, 0)] * 10).ends(assumed),
        RetrievedShare([(4, 4)] * 200).ends(assumed),
    )
    assert 0.5 < sum(even) / 2 < 0.8
    assert sum(even) == pytest.approx(sum(clustered))
    assert clustered[1] - clustered[0] > even[1] - even[0]
    assert 0.95 < all_pass[0] < all_pass[1] <= 1.0
    assert RetrievedShare([(4, 2)] * 4).ends(assumed) == assumed  # too few chunks
    assert RetrievedShare(is_gate=False).ends(assumed) == (1.0, 1.0)


def test_after_a_preview_of_twenty_chunks_ranges_are_narrow_and_hold_what_is_asked(copied: ProjectHarness) -> None:
    settings = copied.opened.settings(SMALL).values
    plan = first_round_plan(list(copied.lake.rows(Chunk, SMALL)), settings.questions)
    previewed = {chunk.chunk_id for chunk, _ in plan[:PREVIEWED_CHUNKS]}
    later = {
        key
        for pair in copied.lake.rows(QAPair, SMALL)
        if pair.chunk_id not in previewed
        for key in (pair.question_call, pair.answer_call)
    }
    with open_call_store(copied.opened) as store:
        asked = [call for call in store.calls() if call.key in later or call.origin.asset == "baseline_answers"]
        store.forget(lambda call: call.key in later)
    copied.lake.path("splits", SMALL, ".json").unlink()  # nothing was drawn yet
    found = forecasts(copied)
    for asset, role in (TEACHER, ("baseline_answers", Role.BASELINE)):
        low, high = (
            end.usage.input_tokens + end.usage.output_tokens
            for end in (found[asset, role].low, found[asset, role].high)
        )
        made = sum(
            call.usage.input_tokens + call.usage.output_tokens
            for call in asked
            if (call.origin.asset, call.role) == (asset, role)
        )
        assert low <= made <= high <= 1.001 * MAX_WIDTH_PREVIEWED * low, asset
    # the vectors of all passages are known, so what retrieval keeps is computed as well
    training = found["finetuned_model", Role.STUDENT]
    low, high = training.low.usage.input_tokens, training.high.usage.input_tokens
    assert low <= copied.lake.read_record("finetuned_model", SMALL)["trained_tokens"] <= high <= 1.12 * low


def test_pairs_that_only_train_are_no_questions_of_the_evaluation(copied: ProjectHarness) -> None:
    """Clozes don't evaluate; with every answer stored, the rows are those of the lineage."""
    rows = list(copied.lake.rows(RaftRow, SMALL))
    evaluated = sum(row.split == "eval" for row in rows)
    assert any(row.kind == "cloze" for row in rows)
    copied.write(f"data/{SMALL}/domain.yaml", "evaluation: {arms: [main, closed_book], robustness_rows: 0}")
    baseline = forecasts(copied)["baseline_answers", Role.BASELINE]
    assert baseline.low.calls == baseline.high.calls == baseline.calls == 2 * evaluated
    assert "accepted pairs" not in baseline.assumed


def test_the_texts_that_a_service_takes_at_once_are_known_from_it(paid: ProjectHarness) -> None:
    paid.write(".env", EMBEDDED.format(address="https://llm.invalid/v1"))
    texts = forecasts(paid)["chunk_embeddings", Role.EMBEDDING]
    project = Project.load(paid.folder)
    endpoint = project.endpoints[Role.EMBEDDING]
    Capabilities.of(records_of(project), endpoint, endpoint.model).find_out("texts_a_call", 2)
    halves = forecasts(paid)["chunk_embeddings", Role.EMBEDDING]
    chunks = len(read_corpus(ModelClients(project), SMALL).chunks)
    assert (texts.calls, halves.calls) == (-(-chunks // 64), -(-chunks // 2))


def test_the_epochs_that_a_service_chose_are_those_of_the_next_training(copied: ProjectHarness) -> None:
    job = copied.lake.read_record("finetuned_model", SMALL)
    tokens = copied.lake.read_record("training_files", SMALL)["train"]["tokens"]
    copied.write(".env", "".join(f"STUDENT_OPENAI_{name}={value}\n" for name, value in HOSTED_STUDENT.items()))
    before = forecasts(copied)["finetuned_model", Role.STUDENT]
    assert "epochs" in before.assumed
    chosen = {"base_model": HOSTED_STUDENT["DEPLOYMENT"], "trained_tokens": 20 * tokens}
    copied.lake.write_record("finetuned_model", SMALL, job | chosen)
    after = forecasts(copied)["finetuned_model", Role.STUDENT]
    assert after.usage.input_tokens > 1.5 * before.usage.input_tokens
    assert after.low.usage.input_tokens < 20 * tokens < after.high.usage.input_tokens


def test_the_embedded_reader_always_trains_as_long_as_it_is_estimated(copied: ProjectHarness) -> None:
    """Whatever its trainings of before took: versions before ended some early."""
    job = copied.lake.read_record("finetuned_model", SMALL)
    training = forecasts(copied)["finetuned_model", Role.STUDENT]
    assert "epochs" not in training.assumed
    assert training.low.usage.input_tokens <= job["trained_tokens"] <= training.high.usage.input_tokens
    assert training.high.usage.input_tokens <= 1.3 * training.low.usage.input_tokens  # every answer is stored
    copied.lake.write_record("finetuned_model", SMALL, job | {"trained_tokens": job["trained_tokens"] // 2})
    assert forecasts(copied)["finetuned_model", Role.STUDENT] == training


def test_the_report_sets_the_estimate_and_the_bill_side_by_side(copied: ProjectHarness) -> None:
    report = copied.lake.path("eval_report", SMALL, ".html")
    assert "No estimate was stored" in report.read_text("utf-8")
    pairs = list(copied.lake.rows(QAPair, SMALL))
    rows = [
        {
            "asset": asset,
            "role": role,
            "calls": 10,
            "dollars": 0.0,
            "low": {"calls": 1, "dollars": 0.0},
            "high": {"calls": 10_000, "dollars": 0.0},
            "seconds": 30.0,
        }
        for asset, role in (
            ("chunk_embeddings", "EMBEDDING"),
            ("qa_pairs", "TEACHER"),
            ("finetuned_model", "STUDENT"),
            ("deployment", "STUDENT"),
        )
    ]
    copied.lake.write_record("estimate", SMALL, {"made": 0.0, "rows": rows})
    data = collect_report_data(SMALL, copied.lake, ModelClients(copied.opened), copied.results)
    shown = {(one.asset, one.role): one for one in data.estimated}
    made = {key for pair in pairs for key in (pair.question_call, pair.answer_call) if key}
    assert shown["qa_pairs", "TEACHER"].asked == len(made)
    assert shown["qa_pairs", "TEACHER"].calls == (1, 10_000)
    chunks = sum(1 for _ in copied.lake.rows(Chunk, SMALL))
    assert shown["chunk_embeddings", "EMBEDDING"].asked == -(-chunks // 64)  # calls, as they are estimated, not texts
    assert shown["deployment", "STUDENT"].asked == 1
    # nothing was paid, so the calls are compared; a free training is in no ledger
    assert {one.asset: one.is_inside for one in data.estimated} == {
        "chunk_embeddings": True,
        "qa_pairs": True,
        "finetuned_model": None,
        "deployment": True,
    }
    assert replace(shown["qa_pairs", "TEACHER"], calls=(len(made) + 1, 10_000)).is_inside is False
    bill = data.bill
    assert bill is not None
    assert bill.calls > len(made)
    assert (bill.dollars, bill.estimated_dollars, bill.estimated_seconds) == (0.0, (0.0, 0.0), 120.0)
    assert bill.seconds is not None
    assert bill.seconds > 0
    # an estimate of a run to come is not beside the one that was made
    copied.lake.write_record("estimate", SMALL, {"made": 4e9, "rows": rows})
    later = collect_report_data(SMALL, copied.lake, ModelClients(copied.opened), copied.results).bill
    assert later == replace(bill, estimated_dollars=None, estimated_seconds=None)


def test_fewer_questions_cost_less(paid: ProjectHarness) -> None:
    most = forecasts(paid)[TEACHER]
    paid.write(f"data/{SMALL}/domain.yaml", "questions: {questions_per_chunk: 1}\nevaluation: {arms: [main]}")
    least = forecasts(paid)[TEACHER]
    assert least.calls < most.calls / 2
    assert least.usage.input_tokens < most.usage.input_tokens


def test_worked_examples_are_counted_in_every_prompt_that_shows_them(paid: ProjectHarness) -> None:
    found: dict[str, dict[tuple[str, Role], CallEstimate]] = {}
    for examples in ("never", "always", "auto"):
        paid.write(f"data/{SMALL}/domain.yaml", f"student: {{format: completion, examples: {examples}}}")
        found[examples] = forecasts(paid)
    assert found["auto"] == found["always"]  # nothing of the domain was made without them
    with_and_without = (answer_request("Why?", ["a"], "completion", 1, has_examples=shown) for shown in (True, False))
    longer, shorter = (token_count(one.body["prompt"], tokenizer="o200k_base") for one in with_and_without)
    more = longer - shorter
    for asset, role in (
        ("baseline_answers", Role.BASELINE),
        ("student_answers", Role.STUDENT),
        ("deployment", Role.STUDENT),
    ):
        with_examples, without = found["always"][asset, role], found["never"][asset, role]
        assert with_examples.calls == without.calls
        added = with_examples.usage.input_tokens - without.usage.input_tokens
        assert 0.6 * more <= added / without.calls <= 1.1 * more  # those of the closed book are shorter
    trained = {name: found[name]["finetuned_model", Role.STUDENT].usage.input_tokens for name in ("always", "never")}
    assert trained["always"] > 1.2 * trained["never"]


def test_a_model_that_takes_no_chat_is_known_to_be_shown_worked_examples(paid: ProjectHarness) -> None:
    before = forecasts(paid)
    project = Project.load(paid.folder)
    for role in (Role.TEACHER, Role.BASELINE):
        endpoint = project.endpoints[role]
        Capabilities.of(records_of(project), endpoint, endpoint.model).learn(CHAT, COMPLETION)
    after = forecasts(paid)
    for asked in (TEACHER, ("baseline_answers", Role.BASELINE)):
        assert after[asked].usage.input_tokens > before[asked].usage.input_tokens + 100 * before[asked].calls
