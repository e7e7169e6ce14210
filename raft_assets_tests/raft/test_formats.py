"""Training files and exports."""

import json
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raft_assets.raft.chunking import token_count
from raft_assets.raft.formats import Container, Form, export, training_lines, training_stats
from raft_assets.raft.prompting import answer_request
from raft_assets.raft.tables import RaftRow, Split
from raft_assets.settings import StudentSettings

CHAT, COMPLETION = StudentSettings(format="chat"), StudentSettings(format="completion")


def a_row(
    split: Split = "train",
    *,
    question: str = "What flies?",
    documents: tuple[str, ...] = ("Bats fly.", "Moths, too."),
    kind: str = "what",
) -> RaftRow:
    return RaftRow(
        question_id=f"q-{split}",
        question=question,
        documents=list(documents),
        document_chunk_ids=[f"c{number}" for number in range(len(documents))],
        oracle_index=0,
        has_oracle=True,
        answer="It says: ##begin_quote##Bats fly.##end_quote##\n<ANSWER>: bats",
        final_answer="bats",
        split=split,
        unit="document:d",
        chunk_id="c0",
        doc_id="d",
        path="d.md",
        kind=kind,
    )


ROWS = [a_row("train"), a_row("valid"), a_row("eval", kind="api")]
TEXTS = st.text(min_size=1, max_size=30)


@settings(deadline=None)
@given(question=TEXTS, documents=st.lists(TEXTS, min_size=1, max_size=3).map(tuple))
def test_a_chat_row_is_the_prompt_that_evaluation_renders_byte_for_byte_and_the_answer(
    question: str, documents: tuple[str, ...]
) -> None:
    row = a_row(question=question, documents=documents)
    (line,) = training_lines([row], CHAT)
    *prompt, answer = json.loads(line)["messages"]
    assert prompt == answer_request(question, documents, "chat", 100).body["messages"]
    assert answer == {"role": "assistant", "content": row.answer}


@settings(deadline=None)
@given(question=TEXTS, documents=st.lists(TEXTS, min_size=1, max_size=3).map(tuple))
def test_a_completion_row_is_the_prompt_that_evaluation_renders_byte_for_byte_and_the_answer(
    question: str, documents: tuple[str, ...]
) -> None:
    row = a_row(question=question, documents=documents)
    (line,) = training_lines([row], COMPLETION)
    assert json.loads(line) == {
        "prompt": answer_request(question, documents, "completion", 100).body["prompt"],
        "completion": row.answer,
    }


def test_a_line_stays_one_line_for_every_reader_of_lines() -> None:
    text = "one\ntwo\r\u2028three\u2029four\x85five\x0csix"
    (line,) = training_lines([a_row(documents=(text,))], CHAT)
    assert len(line.splitlines()) == 1
    assert text in json.loads(line)["messages"][1]["content"]


def test_text_of_other_alphabets_stays_readable() -> None:
    (line,) = training_lines([a_row(question="Was frißt die Fledermaus? 蝙蝠?")], CHAT)
    assert "frißt" in line
    assert "蝙蝠" in line


def test_the_tokens_of_a_training_file_are_those_of_its_prompts_and_answers() -> None:
    rows = [a_row(), a_row(documents=("Bats fly. " * 50,))]
    completion = training_stats(training_lines(rows, COMPLETION))
    lengths = [
        token_count(answer_request(row.question, row.documents, "completion", 1).body["prompt"], "o200k_base")
        + token_count(row.answer, "o200k_base")
        for row in rows
    ]
    assert (completion.rows, completion.tokens, completion.longest) == (2, sum(lengths), max(lengths))
    assert training_stats(training_lines(rows, CHAT)).tokens > completion.tokens
    assert (training_stats([]).rows, training_stats([]).longest) == (0, 0)


COLUMNS: dict[Form, list[str]] = {
    "hf": ["id", "type", "question", "context", "oracle_context", "cot_answer", "instruction"],
    "chat": ["messages"],
    "completion": ["prompt", "completion"],
    "eval": ["question", "gold_final_answer", "context", "instruction"],
}


def records(file: Path) -> list[dict[str, object]]:
    if file.suffix == ".parquet":
        rows: list[dict[str, object]] = pq.read_table(file).to_pylist()
        return rows
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


@pytest.mark.parametrize("container", ["jsonl", "parquet"])
@pytest.mark.parametrize(("form", "columns"), COLUMNS.items(), ids=COLUMNS.keys())
def test_an_export_is_a_file_per_split_with_the_columns_of_its_form(
    form: Form, columns: list[str], container: Container, tmp_path: Path
) -> None:
    files = export(ROWS, form, container, tmp_path / "out")
    assert [file.name for file in files] == [f"{name}.{container}" for name in ("train", "validation", "test")]
    assert sorted(tmp_path.joinpath("out").iterdir()) == sorted(files)
    for file in files:
        assert [list(record) for record in records(file)] == [columns]


def test_both_containers_hold_the_same(tmp_path: Path) -> None:
    for form in COLUMNS:
        lines, tables = (
            export(ROWS, form, container, tmp_path / form / container) for container in ("jsonl", "parquet")
        )
        assert [records(file) for file in lines] == [records(file) for file in tables]


def test_the_chat_export_is_the_training_file(tmp_path: Path) -> None:
    train, *_ = export(ROWS, "chat", "jsonl", tmp_path)
    assert train.read_text("utf-8").splitlines() == list(training_lines(ROWS[:1], CHAT))


def test_the_hf_export_has_what_raft_py_writes(tmp_path: Path) -> None:
    (train, _, test) = (records(file)[0] for file in export(ROWS, "hf", "jsonl", tmp_path))
    row = ROWS[0]
    assert train["context"] == {"title": [["c0", "c1"]], "sentences": [row.documents]}
    assert (train["type"], test["type"]) == ("general", "api call")
    assert (train["oracle_context"], train["cot_answer"]) == (row.documents[0], row.answer)
    assert str(train["instruction"]).startswith("<DOCUMENT>Bats fly.</DOCUMENT>\n<DOCUMENT>")
    assert str(train["instruction"]).endswith(f"\n{row.question}")


def test_a_row_without_its_oracle_exports_no_oracle(tmp_path: Path) -> None:
    row = a_row().model_copy(update={"oracle_index": None, "has_oracle": False})
    assert records(export([row], "hf", "parquet", tmp_path)[0])[0]["oracle_context"] == ""


def test_a_split_without_rows_has_no_file_and_an_earlier_export_of_the_folder_goes(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    export(ROWS, "hf", "parquet", tmp_path)
    files = export(ROWS[:1], "chat", "jsonl", tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "README.md", *files])


def test_an_export_that_fails_leaves_the_earlier_one(tmp_path: Path) -> None:
    (before,) = export(ROWS[:1], "hf", "jsonl", tmp_path)
    text = before.read_text("utf-8")

    def failing() -> object:
        yield a_row(question="Another?")
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        export(failing(), "hf", "jsonl", tmp_path)  # type: ignore[arg-type]
    assert [file.read_text("utf-8") for file in tmp_path.iterdir()] == [text]


def test_exports_are_read_by_pandas_and_duckdb(tmp_path: Path) -> None:
    many = [a_row().model_copy(update={"question_id": str(number)}) for number in range(2500)]
    lines, table = (export(many, "hf", container, tmp_path / container)[0] for container in ("jsonl", "parquet"))
    assert len(pd.read_json(lines, lines=True)) == len(pd.read_parquet(table)) == 2500
    with duckdb.connect() as connection:
        query = "select count(distinct id), any_value(context.sentences[1][1]) from read_parquet(?)"
        assert connection.execute(query, [str(table)]).fetchall() == [(2500, "Bats fly.")]
