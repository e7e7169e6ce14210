"""A person's verdicts and a judge's, all the way: files, staleness, gates, rows."""

from collections import Counter
from collections.abc import Iterator

import pandas as pd
import pytest

from raft_assets.core.identity import draw
from raft_assets.core.tables import QAPair, RaftRow
from raft_assets.settings.domains import REVIEWS_FILE
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.harness import ProjectHarness
from raft_assets_tests.llm.service import Reply, Seen, Service, chat, error


def pairs_of(project: ProjectHarness) -> list[QAPair]:
    return list(project.lake.rows(QAPair, SMALL))


def test_verdicts_go_out_and_come_back_and_cost_no_call(copied: ProjectHarness) -> None:
    exported = copied.raft_here("review", "export", SMALL, "--to", "review.csv", "--rejected")
    assert exported.returncode == 0, exported.stderr
    file = copied.folder / "review.csv"
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    before = pairs_of(copied)
    assert len(table) == sum(bool(pair.question) for pair in before)
    overridden = next(pair for pair in before if pair.reason in ("not_self_contained", "answer_not_supported"))
    rejected = next(row for row in copied.lake.rows(RaftRow, SMALL) if row.split == "train")
    table.loc[table["question_id"] == rejected.question_id, ["verdict", "note"]] = ["reject", "nobody asks that"]
    table.loc[table["question_id"] == overridden.question_id, "verdict"] = "accept"
    table.loc[len(table)] = dict.fromkeys(table.columns, "") | {"question_id": "gone", "verdict": "accept"}
    table.to_csv(file, index=False)

    imported = copied.raft_here("review", "import", SMALL, "review.csv")
    assert imported.returncode == 0, imported.stderr
    assert "1 accepted, 1 rejected" in imported.stdout
    assert "1 question_ids belong to no pair" in imported.stderr
    assert "gone" in imported.stderr
    assert "qa_pairs" in copied.not_fresh(SMALL)
    assert copied.materialize(SMALL, "qa_dataset")
    assert copied.metadata("qa_pairs", SMALL)["calls_made"] == 0
    assert copied.metadata("qa_pairs", SMALL)["reviewed"] == 2

    after = {pair.question_id: pair for pair in pairs_of(copied)}
    assert after[rejected.question_id].reason == "rejected_by_reviewer"
    assert after[rejected.question_id].review_note == "nobody asks that"
    assert after[overridden.question_id].accepted
    assert overridden.reason in after[overridden.question_id].gates.values()
    assert rejected.question_id not in {row.question_id for row in copied.lake.rows(RaftRow, SMALL)}

    # the file is a document to nobody, and a purge knows what was derived from it
    assert "source_documents" not in copied.not_fresh(SMALL)
    (copied.folder / "data" / SMALL / REVIEWS_FILE).unlink()
    assert copied.raft_here("purge", SMALL, "--document", REVIEWS_FILE, "--yes").returncode == 0
    assert not copied.lake.exists("qa_pairs", SMALL)


def test_a_purged_document_that_a_note_quotes_is_told(copied: ProjectHarness) -> None:
    pair = next(pair for pair in pairs_of(copied) if pair.accepted and len(pair.quotes[0].split()) > 10)
    copied.write("review.jsonl", "")
    copied.write(
        "review.jsonl",
        pd.DataFrame(
            [{"question_id": pair.question_id, "verdict": "reject", "note": f"It says: {pair.quotes[0]}"}]
        ).to_json(orient="records", lines=True),
    )
    assert copied.raft_here("review", "import", SMALL, "review.jsonl").returncode == 0
    (copied.folder / "data" / SMALL / pair.path).unlink()
    told = copied.raft_here("purge", SMALL, "--document", pair.path, "--yes").stdout
    assert f"{REVIEWS_FILE}: not touched; lines 1 contain the text, delete them yourself" in told


def test_a_wrong_review_file_is_one_sentence_and_changes_nothing(copied: ProjectHarness) -> None:
    copied.write("review.csv", "question_id,verdict\nx,perhaps\n")
    ended = copied.raft_here("review", "import", SMALL, "review.csv")
    assert ended.returncode == 2
    assert "row 1, column verdict" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (copied.folder / "data" / SMALL / REVIEWS_FILE).exists()


@pytest.fixture
def judge() -> Iterator[Service]:
    service = Service()
    yield service
    service.stop()


def test_the_judge_sees_what_passed_the_other_gates_and_never_accepts_by_silence(
    copied: ProjectHarness, judge: Service
) -> None:
    def verdict(seen: Seen) -> Reply:
        question = seen.question.partition("Question: ")[2].partition("\n")[0]
        number = draw(0, question)
        if number < 0.2:
            return chat('```json\n{"supported": false, "reason": "It says nothing of the kind."}\n```')
        if number < 0.3:
            return chat("Yes, I would say so.")
        if number < 0.4:
            return error(400, code="content_filter", message="filtered")
        return chat('{"supported": true, "reason": "It says so."}')

    judge.rule = verdict
    before = pairs_of(copied)
    copied.own_variables.clear()
    copied.write(".env", f"JUDGE_OPENAI_BASE_URL={judge.url}\nJUDGE_OPENAI_DEPLOYMENT=stern\n")
    assert "qa_pairs" in copied.not_fresh(SMALL)
    assert copied.materialize(SMALL, "qa_pairs")

    passed = {pair.question_id for pair in before if pair.accepted}
    pairs = pairs_of(copied)
    judged = {pair.question_id: pair for pair in pairs if "judge" in pair.gates}
    assert judged.keys() == passed
    assert len(judge.seen) == len(passed)
    assert all("<DOCUMENT>" in seen.question for seen in judge.seen)
    reasons = Counter(pair.reason for pair in judged.values())
    assert reasons.keys() == {"", "judged_unsupported", "judge_failed"}
    assert all(pair.judge_call or pair.reason == "judge_failed" for pair in judged.values())
    assert {pair.judge_remark for pair in pairs if pair.reason == "judged_unsupported"} == {
        "It says nothing of the kind."
    }
    assert all(pair.judge_remark for pair in pairs if pair.reason == "judge_failed")
    told = str(copied.metadata("qa_pairs", SMALL)["judge"])
    assert "judge\\_failed" in told
    assert f"| {reasons['judge_failed']} |" in told

    seen = len(judge.seen)
    assert copied.materialize(SMALL, "qa_pairs", force=True)
    assert copied.metadata("qa_pairs", SMALL)["calls_made"] == 0
    again = [request for request in judge.seen[seen:] if verdict(request).status == 200]
    assert again == []  # what the judge said is stored; only calls that failed are tried again
