"""Training files in the lineage: what the settings say of them, and what is too long."""

import codecs
import json

import pytest

from raft_assets.core.prompt_contract import CONTRACT_PARTS
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.harness import ProjectHarness

OWN_WORDS = f"Answer as the harbour master would: {' '.join(CONTRACT_PARTS)}"


def test_rows_that_are_too_long_fail_the_asset_or_are_left_out_and_counted(copied: ProjectHarness) -> None:
    longest = int(str(copied.metadata("training_files", SMALL)["longest_row_tokens"]))
    rows = int(str(copied.metadata("training_files", SMALL)["train_rows"]))
    limit = f"training_files: {{context_tokens: {longest - 20}"
    copied.write(f"data/{SMALL}/domain.yaml", f"{limit}}}\n")
    assert not copied.materialize(SMALL, "training_files")
    (reason,) = copied.states(SMALL)["training_files"].reasons
    assert "longer than the student's context" in reason
    assert "too_long: drop" in reason
    copied.write(f"data/{SMALL}/domain.yaml", f"{limit}, too_long: drop, bom: true}}\n")
    assert copied.materialize(SMALL, "training_files")
    told = copied.metadata("training_files", SMALL)
    train = copied.lake.read_lines("training_files", SMALL, "train.jsonl")
    assert train.startswith(codecs.BOM_UTF8)
    assert train.count(b"\n") == told["train_rows"]
    counted = copied.lake.read_record("training_files", SMALL)
    dropped = [*counted["train"]["too_long"], *counted["valid"]["too_long"]]
    assert len(dropped) == told["dropped_as_too_long"] > 0
    assert counted["train"]["rows"] == told["train_rows"] == rows - len(counted["train"]["too_long"])


def test_teacher_baseline_and_student_are_told_the_domains_own_instructions(copied: ProjectHarness) -> None:
    copied.write(f"data/{SMALL}/domain.yaml", f"prompt: {{instructions: {json.dumps(OWN_WORDS)}}}\n")
    stale = copied.not_fresh(SMALL)
    assert {"qa_pairs", "training_files", "baseline_answers", "deployment"} <= set(stale)
    assert not {"source_documents", "chunks", "chunk_embeddings", "golden_questions"} & set(stale)
    assert copied.materialize(SMALL, "training_files")
    line = copied.lake.read_lines("training_files", SMALL, "train.jsonl").split(b"\n")[0]
    assert json.loads(line)["messages"][0] == {"role": "system", "content": OWN_WORDS}
    assert int(str(copied.metadata("qa_pairs", SMALL)["calls_made"])) > 0


@pytest.mark.parametrize("service", ["openai", "azure"])
def test_a_byte_order_mark_follows_the_students_service(copied: ProjectHarness, service: str) -> None:
    address = {"openai": "BASE_URL", "azure": "ENDPOINT"}[service]
    prefix = {"openai": "STUDENT_OPENAI", "azure": "STUDENT_AZURE_OPENAI"}[service]
    del copied.own_variables["RAFT_PROVIDER"]
    copied.own_variables |= {
        f"{prefix}_{address}": "http://127.0.0.1:9",
        f"{prefix}_API_KEY": "k",
        f"{prefix}_DEPLOYMENT": "m",
    }
    assert copied.materialize(SMALL, "training_files")
    train = copied.lake.read_lines("training_files", SMALL, "train.jsonl")
    assert train.startswith(codecs.BOM_UTF8) == (service == "azure")
