"""The data card of a data set, and the same data set built again from its manifest."""

import json
import shutil
from pathlib import Path

import pytest

from raft_assets.core.errors import DataError
from raft_assets.core.prompt_contract import FIRST_INSTRUCTION_HASHES
from raft_assets.core.tables import PAGED_KINDS, Chunk, QAPair, RaftRow, SourceDocument
from raft_assets.dataset.manifest import read_manifest
from raft_assets.operations.rebuild import restore_inputs
from raft_assets.pairs.gates import GATES_VERSION
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.harness import ProjectHarness

CARD = ["README.md", "data_card.json", "manifest.json"]


def manifest_of(project: ProjectHarness) -> Path:
    """A copy of the manifest that stands in the lake."""
    return Path(shutil.copy(project.lake.path("data_card", SMALL, "") / "manifest.json", project.folder))


def test_the_card_counts_what_is_in_the_lake_and_stands_beside_every_export(copied: ProjectHarness) -> None:
    folder = copied.folder / "out"
    assert copied.raft_here("export", SMALL, "--to", "out").returncode == 0
    assert [file.name for file in sorted(folder.iterdir())] == [*CARD, "test.jsonl", "train.jsonl", "validation.jsonl"]
    card = json.loads((folder / "data_card.json").read_text("utf-8"))
    pages = list(copied.lake.rows(SourceDocument, SMALL))
    pairs = list(copied.lake.rows(QAPair, SMALL))
    rows = list(copied.lake.rows(RaftRow, SMALL))
    counts = card["counts"]
    found = (counts["documents"], counts["pages"], counts["sections"])
    paged = sum(page.kind in PAGED_KINDS for page in pages)
    assert found == (len({page.path for page in pages}), paged, len(pages) - paged)
    assert counts["chunk_tokens"] == sum(chunk.tokens for chunk in copied.lake.rows(Chunk, SMALL))
    assert counts["pairs"] == len(pairs) == sum(counts["pairs_by_gate"].values())
    assert counts["pairs_by_gate"]["accepted"] == sum(pair.accepted for pair in pairs)
    assert counts["rows"] == {split: sum(row.split == split for row in rows) for split in ("train", "valid", "eval")}
    assert {source["path"]: source["sha256"] for source in card["sources"]} == {
        page.path: page.content_hash for page in pages
    }
    assert card["models"].keys() == {"TEACHER", "EMBEDDING", "STUDENT"}
    told = (folder / "README.md").read_text("utf-8")
    assert all(source["path"] in told and source["sha256"] in told for source in card["sources"])
    assert "no language model" in told
    assert "`chunks.chunk_size` | `160`" in told

    copied.write(f"data/{SMALL}/domain.yaml", "dataset: {distractors: 2}\n")
    assert copied.materialize(SMALL, "qa_dataset")
    ended = copied.raft_here("export", SMALL, "--to", "out")
    assert "--select data_card" in ended.stderr
    assert not [name for name in CARD if (folder / name).exists()], "a card of older rows"


def test_the_same_data_set_is_built_again_after_the_lake_is_gone(copied: ProjectHarness) -> None:
    copied.write(f"data/{SMALL}/domain.yaml", "dataset: {distractors: 2, seed: 7}\n")
    assert copied.materialize(SMALL, "data_card")
    manifest = manifest_of(copied)
    assert read_manifest(manifest).chunk_form == {"steady": True, "evenly": []}
    digest = copied.lake.digest("qa_dataset", SMALL)
    shutil.rmtree(copied.folder / ".raft")
    (copied.folder / "data" / SMALL).rename(copied.folder / "data" / "again")
    (copied.folder / "data" / "again" / "domain.yaml").unlink()
    ended = copied.raft_here("rebuild", str(manifest), "--domain", "again")
    assert ended.returncode == 0, ended.stderr
    assert digest in ended.stdout
    assert copied.lake.digest("qa_dataset", "again") == digest
    assert copied.opened.settings("again").values.dataset.seed == 7

    record = json.loads(manifest.read_text("utf-8"))
    trained = [unit for unit, split in record["splits"]["register"].items() if split == "train"]
    record["splits"]["register"][trained[0]] = "eval"
    manifest.write_text(json.dumps(record), "utf-8")
    ended = copied.raft_here("rebuild", str(manifest), "--domain", "again")
    assert ended.returncode == 1
    assert ended.stderr.startswith("qa_dataset differs: ")


def test_a_rebuild_from_other_inputs_is_refused_with_every_difference(copied: ProjectHarness) -> None:
    manifest = manifest_of(copied)
    record = json.loads(manifest.read_text("utf-8"))
    record["versions"]["gates"] = "0"
    record["models"]["TEACHER"] = "https://example.org: gpt"
    manifest.write_text(json.dumps(record), "utf-8")
    changed = min((copied.folder / "data" / SMALL).glob("*.md"))
    changed.write_text(changed.read_text("utf-8") + "\nOne more sentence stands here.\n", "utf-8")
    copied.write(f"data/{SMALL}/new.md", "# New\n")
    copied.write(f"data/{SMALL}/domain.yaml", "chunks: {chunk_size: 150}\n")
    splits = copied.lake.read_record("splits", SMALL)
    with pytest.raises(DataError) as refused:
        restore_inputs(copied.opened, copied.lake, read_manifest(manifest), SMALL)
    for sentence in (
        f"{changed.name} has different content.",
        "new.md is not in the manifest.",
        "The setting chunks.chunk_size is 150 here and 160 in the manifest.",
        f"The version of gates is '{GATES_VERSION}' here and '0' in the manifest.",
        "The model of TEACHER is 'embedded: embedded-teacher",
        "Without",
    ):
        assert sentence in str(refused.value)
    assert copied.lake.read_record("splits", SMALL) == splits


def test_a_manifest_names_the_instructions_and_one_without_was_made_with_the_first(copied: ProjectHarness) -> None:
    manifest = manifest_of(copied)
    record = json.loads(manifest.read_text("utf-8"))
    assert record["versions"].pop("prompt contract") == FIRST_INSTRUCTION_HASHES["contract"]
    manifest.write_text(json.dumps(record), "utf-8")
    restore_inputs(copied.opened, copied.lake, read_manifest(manifest), SMALL)
    record["versions"]["prompt contract"] = "0"
    manifest.write_text(json.dumps(record), "utf-8")
    with pytest.raises(DataError, match="The version of prompt contract"):
        restore_inputs(copied.opened, copied.lake, read_manifest(manifest), SMALL)


def test_what_is_no_manifest_is_told(finished: ProjectHarness) -> None:
    with pytest.raises(DataError, match=r"data_card\.json, field .*Name the manifest\.json"):
        read_manifest(Path(finished.lake.path("data_card", SMALL, "") / "data_card.json"))
