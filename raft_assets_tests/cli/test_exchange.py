"""Data sets that leave and enter: an export is imported again, and goes the whole way without a teacher."""

import json

from raft_assets.core.prompt_contract import parse_answer
from raft_assets.core.tables import Chunk, QAPair, RaftRow
from raft_assets.pairs.imported import read_imported_pairs
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.harness import ProjectHarness

COPY = "copy of an export"


def test_an_exported_data_set_is_imported_and_evaluated_without_a_teacher(copied: ProjectHarness) -> None:
    exported = copied.raft_here("export", SMALL, "--format", "hf", "--container", "parquet", "--to", "out")
    assert exported.returncode == 0, exported.stderr
    imported = copied.raft_here("import", COPY, "out")
    assert imported.returncode == 0, imported.stderr
    again = copied.raft_here("import", COPY, "out")
    assert (again.returncode, "import under another name" in again.stderr) == (2, True)

    rows = list(copied.lake.rows(RaftRow, SMALL))
    folder = copied.folder / "data" / COPY
    pairs = read_imported_pairs(folder / "pairs.jsonl")
    assert sorted((pair.question, pair.answer) for pair in pairs) == sorted((row.question, row.answer) for row in rows)
    texts = {chunk.chunk_id: chunk.text for chunk in copied.lake.rows(Chunk, SMALL)}
    contexts = [json.loads(line)["text"] for line in (folder / "contexts.jsonl").read_text("utf-8").split("\n")[:-1]]
    shown = {text for row in rows for text in row.documents} | {texts[row.chunk_id] for row in rows}
    assert sorted(contexts) == sorted(shown)

    with (folder / "domain.yaml").open("a", encoding="utf-8") as settings:
        settings.write("training: {n_epochs: 1}\nevaluation: {arms: [main], max_rows: 30}\n")  # a quick verdict
    assert copied.materialize(COPY)
    assert copied.metadata("qa_pairs", COPY)["calls_made"] == 0
    assert COPY in copied.results.verdicts()
    judged = list(copied.lake.rows(QAPair, COPY))
    assert len(judged) == len(pairs) == copied.metadata("qa_pairs", COPY)["imported"]
    assert not {pair.reason for pair in judged} & {"oracle_not_found", "quote_not_verbatim"}
    abstaining = sum(parse_answer(pair.answer).abstained for pair in pairs)
    assert sum(pair.accepted for pair in judged) >= 0.9 * (len(pairs) - abstaining)


def test_a_pair_whose_oracle_is_in_no_document_is_a_rejected_row_with_its_reason(copied: ProjectHarness) -> None:
    lost = {"question": "Who sings in the sea?", "answer": "<ANSWER>: whales", "oracle": "Whales sing in the sea."}
    copied.write(f"data/{SMALL}/pairs.jsonl", json.dumps(lost) + "\n")
    assert {"qa_pairs"} <= set(copied.not_fresh(SMALL))
    assert copied.materialize(SMALL, "qa_pairs")
    (pair,) = (pair for pair in copied.lake.rows(QAPair, SMALL) if pair.question == lost["question"])
    assert (pair.accepted, pair.reason) == (False, "oracle_not_found")
