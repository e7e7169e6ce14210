"""Data sets of RAFT's own raft.py become domains."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from raft_assets.core.errors import DataError
from raft_assets.dataset.import_raft_py import SourceContainer, import_dataset
from raft_assets.documents.chunking import chunk_document, token_count
from raft_assets.documents.reading import ReadDocument, read_documents
from raft_assets.pairs.imported import read_imported_pairs
from raft_assets.settings.domain import ChunkSettings
from raft_assets.settings.domains import list_documents
from raft_assets_tests.builders import an_answer, prose

CONTEXTS = [f"Passage {number}. {prose(str(number), length=10 + 15 * number)}." for number in range(5)]


def a_row(number: int, **changes: Any) -> dict[str, Any]:
    """As raft.py's add_chunk_to_dataset makes it: the oracle among the next two chunks."""
    oracle = CONTEXTS[number]
    shown = [CONTEXTS[(number + step) % len(CONTEXTS)] for step in (1, 0, 2)]
    return {
        "id": "seed_task_0",
        "type": "general",
        "question": f"What is passage {number}?",
        "context": {"title": [["placeholder_title"] * 3], "sentences": [shown]},
        "oracle_context": oracle,
        "cot_answer": an_answer(f"Passage {number}.", str(number)),
        "instruction": "".join(f"<DOCUMENT>{text}</DOCUMENT>\n" for text in shown) + f"What is passage {number}?",
    } | changes


ROWS = [a_row(number) for number in range(5)]


def written(source: Path, container: SourceContainer, rows: Sequence[dict[str, Any]] = ROWS) -> Path:
    """The rows as raft.py (`save_to_disk`) and its format.py write them."""
    if container == "jsonl":
        source.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    elif container == "parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), source)
    else:
        source.mkdir()
        (source / "state.json").write_text("{}")
        (source / "cache-12ab.arrow").write_bytes(b"what datasets caches")
        table = pa.Table.from_pylist(list(rows))
        for shard in range(2):
            part = table.slice(shard * 3, 3)
            with pa.ipc.new_stream(source / f"data-0000{shard}-of-00002.arrow", part.schema) as stream:
                stream.write_table(part)
    return source


@pytest.mark.parametrize("container", ["jsonl", "parquet", "arrow"])
def test_a_data_set_becomes_a_domain_with_a_chunk_per_context(container: SourceContainer, tmp_path: Path) -> None:
    made = import_dataset(written(tmp_path / "out", container), None, tmp_path / "data", "zoo")
    assert sorted(file.name for file in made.folder.iterdir()) == ["contexts.jsonl", "domain.yaml", "pairs.jsonl"]
    assert (made.pairs, made.contexts) == (5, 5)
    pairs = read_imported_pairs(made.folder / "pairs.jsonl")
    assert [(pair.question, pair.answer, pair.oracle) for pair in pairs] == [
        (row["question"], row["cot_answer"], row["oracle_context"]) for row in ROWS
    ]
    settings = yaml.safe_load((made.folder / "domain.yaml").read_text("utf-8"))
    assert settings["questions"] == {"questions_per_chunk": 0}
    (file,) = list_documents(made.folder)
    (document,) = read_documents([file])
    assert isinstance(document, ReadDocument)
    chunks = chunk_document(document, ChunkSettings(**settings["chunks"]))
    assert sorted(chunk.text for chunk in chunks) == sorted(CONTEXTS)
    assert made.longest == max(token_count(text, "o200k_base") for text in CONTEXTS)


def test_an_existing_domain_is_never_overwritten(tmp_path: Path) -> None:
    source = written(tmp_path / "out.jsonl", "jsonl")
    (tmp_path / "data" / "zoo").mkdir(parents=True)
    with pytest.raises(DataError, match="import under another name"):
        import_dataset(source, None, tmp_path / "data", "zoo")
    assert list((tmp_path / "data" / "zoo").iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"question": None}, "row 2, column question: "),
        ({"question": "Half a \ud800 pair?"}, "row 2, column question: "),
        ({"question": " "}, "row 2, column question: "),
        ({"oracle_context": ""}, "row 2, column oracle_context: "),
        ({"context": "a text"}, "row 2, column context: "),
        ({"context": {"sentences": ["a text"]}}, "row 2, column context.sentences.0: "),
    ],
)
def test_a_bad_row_is_told_with_file_row_and_column(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    source = written(tmp_path / "out.jsonl", "jsonl", [a_row(0), a_row(1, **changes)])
    with pytest.raises(DataError, match=f"out.jsonl, {told}"):
        import_dataset(source, None, tmp_path / "data", "zoo")
    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("out.jsonl", b'{"question": ', "row 1 is not valid JSON"),
        ("out.jsonl", b"\xff\xfe", "not UTF-8"),
        ("out.jsonl", b"[1]\n", "row 1: .*dictionary"),
        ("out.jsonl", b"\n", "contains no rows"),
        ("out.jsonl", b'{"messages": []}\n', "row 1, column cot_answer: .*chat or completion form"),
        ("out.parquet", b"PAR1 cut off", "can't be read as Parquet"),
        ("out.arrow", b"\xff\xff\xff\xff\x00\x01\x00\x00", "can't be read as Arrow"),
    ],
)
def test_a_file_that_is_no_such_data_set_is_told(name: str, content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=told):
        import_dataset(tmp_path / name, None, tmp_path / "data", "zoo")


def test_an_answer_that_the_model_refused_is_left_to_the_gates(tmp_path: Path) -> None:
    source = written(tmp_path / "out.jsonl", "jsonl", [a_row(0, cot_answer=None, question="Wie heißt das?")])
    made = import_dataset(source, None, tmp_path / "data", "zoo")
    assert [(pair.question, pair.answer) for pair in read_imported_pairs(made.folder / "pairs.jsonl")] == [
        ("Wie heißt das?", "")
    ]


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no file or folder"):
        import_dataset(tmp_path / "nowhere", None, tmp_path / "data", "zoo")
    with pytest.raises(DataError, match=r"There is no data-\*\.arrow or "):
        import_dataset(tmp_path, None, tmp_path / "data", "zoo")
