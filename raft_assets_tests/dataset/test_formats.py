"""Training files and exports."""

import codecs
import json
import re
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raft_assets.core.errors import DataError
from raft_assets.core.prompt_contract import ABSTENTION_ANSWER, CONTRACT_PARTS, WORKED_EXAMPLES
from raft_assets.core.tables import RaftRow, Split
from raft_assets.dataset.formats import (
    Container,
    ExportFormat,
    TrainingStats,
    training_lines,
    training_stats,
    write_export,
)
from raft_assets.documents.chunking import token_count
from raft_assets.embedded.reader.prompts import parse_prompt
from raft_assets.evaluation.arms import EvaluationItem, item_request
from raft_assets.llm.prompts import answer_request
from raft_assets.provider.training_files import count_training_tokens
from raft_assets.settings.domain import DomainSettings, PromptSettings, StudentSettings, TrainingFileSettings

O200K = partial(token_count, tokenizer="o200k_base")
CHAT, COMPLETION = (DomainSettings(student=StudentSettings(format=form)) for form in ("chat", "completion"))
OWN_WORDS = f"Be brief.\n{' '.join(CONTRACT_PARTS)}"


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
@given(
    question=TEXTS,
    documents=st.lists(TEXTS, min_size=1, max_size=3).map(tuple),
    form=st.sampled_from(["chat", "completion"]),
    instructions=st.none() | TEXTS.map(lambda text: text + OWN_WORDS),
)
def test_a_training_row_is_the_request_that_evaluation_sends_byte_for_byte_and_the_answer(
    question: str, documents: tuple[str, ...], form: Literal["chat", "completion"], instructions: str | None
) -> None:
    row = a_row(question=question, documents=documents)
    how = DomainSettings(
        student=StudentSettings(format=form), prompt=PromptSettings.model_construct(instructions=instructions)
    )
    (line,) = training_lines([row], how)
    sent = item_request(as_asked(row), form, how.evaluation, instructions).body
    if form == "chat":
        *prompt, answer = json.loads(line)["messages"]
        assert json.dumps(prompt) == json.dumps(sent["messages"])
        assert answer == {"role": "assistant", "content": row.answer}
    else:
        assert json.loads(line) == {"prompt": sent["prompt"], "completion": row.answer}


@pytest.mark.parametrize("documents", [("Bats fly.",), ("It says\n\nTask:\n\nand\nReply:\n", "Bats.")])
def test_a_completion_row_with_examples_is_what_evaluation_sends_and_the_embedded_reader_finds_its_task(
    documents: tuple[str, ...],
) -> None:
    row = a_row(question="Who keeps it?", documents=documents)
    how = DomainSettings(student=StudentSettings(format="completion", examples="always"))
    (line,) = training_lines([row], how)
    sent = item_request(as_asked(row), "completion", how.evaluation, has_examples=True).body
    assert json.loads(line) == {"prompt": sent["prompt"], "completion": row.answer}
    assert sent["prompt"].count("Task:\n<DOCUMENT>") == len(WORKED_EXAMPLES) + 1
    assert sent["stop"] == ["\nTask:"]
    without = item_request(as_asked(row), "completion", how.evaluation).body["prompt"]
    assert parse_prompt(without)[:2] == (documents, "Who keeps it?")
    # a document can't begin an example of its own
    indented = tuple(re.sub("^(Task|Reply):", r" \1:", text, flags=re.MULTILINE) for text in documents)
    assert parse_prompt(sent["prompt"])[:2] == (indented, "Who keeps it?")
    assert parse_prompt(sent["prompt"]).instructions == parse_prompt(without).instructions


def test_the_closed_book_of_a_completion_student_has_an_example_without_documents() -> None:
    closed = replace(as_asked(a_row(question="Who?")), arm="closed_book", documents=(), document_chunk_ids=())
    how = DomainSettings().evaluation
    prompt = item_request(closed, "completion", how, has_examples=True).body["prompt"]
    assert "<DOCUMENT>" not in prompt
    assert prompt.count("Task:\n") == 2
    assert parse_prompt(prompt)[:2] == ((), "Who?")


def as_asked(row: RaftRow) -> EvaluationItem:
    """The row's question as evaluation asks it in the main arm."""
    return EvaluationItem(
        question_id=row.question_id,
        source="generated",
        arm="main",
        question=row.question,
        documents=tuple(row.documents),
        document_chunk_ids=tuple(row.document_chunk_ids),
        oracle_chunk_ids=(row.chunk_id,),
        golden_answers=(row.final_answer,),
        answerable=True,
        kind=row.kind,
        cluster=row.chunk_id,
    )


def test_weights_stand_in_the_messages_as_set() -> None:
    rows = [a_row(), a_row().model_copy(update={"answer": ABSTENTION_ANSWER})]

    def weights(**given: int) -> list[object]:
        how = CHAT.model_copy(update={"training_files": TrainingFileSettings.model_validate(given)})
        return [json.loads(line)["messages"][-1].get("weight") for line in training_lines(rows, how)]

    assert weights() == [None, None]
    assert weights(answer_weight=1, abstention_weight=0) == [1, 0]
    assert weights(abstention_weight=0) == [None, 0]


def test_weights_of_completion_files_are_refused() -> None:
    with pytest.raises(ValueError, match="only chat has weights"):
        DomainSettings(student=StudentSettings(format="completion"), training_files={"abstention_weight": 0})  # type: ignore[arg-type]


@pytest.mark.parametrize("told", ["Be brief.", f"<DOCUMENT> {OWN_WORDS}"])
def test_instructions_without_the_contract_are_refused(told: str) -> None:
    with pytest.raises(ValueError, match="instructions must"):
        PromptSettings(instructions=told)


@pytest.mark.parametrize("how", [CHAT, COMPLETION], ids=["chat", "completion"])
def test_a_byte_order_mark_stands_once_and_the_embedded_provider_takes_both(
    how: DomainSettings, tmp_path: Path
) -> None:
    rows = [a_row().model_copy(update={"question_id": f"q{number}"}) for number in range(10)]
    tokens = []
    for bom in (True, False):
        file = tmp_path / f"{bom}.jsonl"
        file.write_text("".join(f"{line}\n" for line in training_lines(rows, how, bom=bom)), "utf-8", newline="\n")
        assert file.read_bytes().count(codecs.BOM_UTF8) == bom == file.read_bytes().startswith(codecs.BOM_UTF8)
        tokens.append(count_training_tokens(file, len))
    assert tokens[0] == tokens[1]
    assert list(training_lines([], how, bom=True)) == []


def test_rows_that_are_too_long_are_named_and_never_cut() -> None:
    short, long = a_row(), a_row(documents=("Bats fly. " * 200,)).model_copy(update={"question_id": "long"})
    limited = {how: TrainingFileSettings(context_tokens=300, too_long=how) for how in ("error", "drop")}
    kept, dropped = (
        training_stats([short, long], CHAT.model_copy(update={"training_files": limited[how]}), O200K)
        for how in ("error", "drop")
    )
    assert (kept.rows, kept.too_long, dropped.rows, dropped.too_long) == (2, ("long",), 1, ("long",))
    assert kept.longest == dropped.longest > 300 > dropped.tokens
    assert list(training_lines([short, long], CHAT, dropped={"long"})) == list(training_lines([short], CHAT))


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
    completion = training_stats(rows, COMPLETION, O200K)
    lengths = [
        O200K(answer_request(row.question, row.documents, "completion", 1).body["prompt"]) + O200K(row.answer)
        for row in rows
    ]
    assert (completion.rows, completion.tokens, completion.longest) == (2, sum(lengths), max(lengths))
    assert training_stats(rows, CHAT, O200K).tokens > completion.tokens
    assert training_stats([], CHAT, O200K) == TrainingStats(rows=0, tokens=0, longest=0, too_long=())


def exported(rows: Iterable[RaftRow], form: ExportFormat, container: Container, target: Path) -> list[Path]:
    return write_export(rows, form, container, target, settings=CHAT, oracles={"c0": "Bats fly."})


COLUMNS: dict[ExportFormat, list[str]] = {
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
    form: ExportFormat, columns: list[str], container: Container, tmp_path: Path
) -> None:
    files = exported(ROWS, form, container, tmp_path / "out")
    assert [file.name for file in files] == [f"{name}.{container}" for name in ("train", "validation", "test")]
    assert sorted(tmp_path.joinpath("out").iterdir()) == sorted(files)
    for file in files:
        assert [list(record) for record in records(file)] == [columns]


def test_both_containers_hold_the_same(tmp_path: Path) -> None:
    for form in COLUMNS:
        lines, tables = (
            exported(ROWS, form, container, tmp_path / form / container) for container in ("jsonl", "parquet")
        )
        assert [records(file) for file in lines] == [records(file) for file in tables]


def test_the_chat_export_is_the_training_file(tmp_path: Path) -> None:
    train, *_ = exported(ROWS, "chat", "jsonl", tmp_path)
    assert train.read_text("utf-8").splitlines() == list(training_lines(ROWS[:1], CHAT))


def test_the_hf_export_has_what_raft_py_writes(tmp_path: Path) -> None:
    (train, _, test) = (records(file)[0] for file in exported(ROWS, "hf", "jsonl", tmp_path))
    row = ROWS[0]
    assert train["context"] == {"title": [["c0", "c1"]], "sentences": [row.documents]}
    assert (train["type"], test["type"]) == ("general", "api call")
    assert (train["oracle_context"], train["cot_answer"]) == (row.documents[0], row.answer)
    assert str(train["instruction"]).startswith("<DOCUMENT>Bats fly.</DOCUMENT>\n<DOCUMENT>")
    assert str(train["instruction"]).endswith(f"\n{row.question}")


def test_a_row_that_lost_its_oracle_still_names_it_as_raft_py_does(tmp_path: Path) -> None:
    row = a_row(documents=("Moths, too.",)).model_copy(update={"oracle_index": None, "has_oracle": False})
    record = records(exported([row], "hf", "parquet", tmp_path)[0])[0]
    assert (record["oracle_context"], record["context"]["sentences"]) == ("Bats fly.", [["Moths, too."]])  # type: ignore[index]


def test_an_oracle_that_is_no_chunk_any_more_is_told(tmp_path: Path) -> None:
    row = a_row().model_copy(update={"oracle_index": None, "has_oracle": False, "chunk_id": "gone"})
    with pytest.raises(DataError, match="materialize qa_dataset again"):
        exported([row], "hf", "jsonl", tmp_path)


def test_a_split_without_rows_has_no_file_and_an_earlier_export_of_the_folder_goes(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    exported(ROWS, "hf", "parquet", tmp_path)
    files = exported(ROWS[:1], "chat", "jsonl", tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "README.md", *files])


def test_an_export_that_fails_leaves_the_earlier_one(tmp_path: Path) -> None:
    (before,) = exported(ROWS[:1], "hf", "jsonl", tmp_path)
    text = before.read_text("utf-8")

    def failing() -> object:
        yield a_row(question="Another?")
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        exported(failing(), "hf", "jsonl", tmp_path)  # type: ignore[arg-type]
    assert [file.read_text("utf-8") for file in tmp_path.iterdir()] == [text]


def test_exports_are_read_by_pandas_and_duckdb(tmp_path: Path) -> None:
    many = [a_row().model_copy(update={"question_id": str(number)}) for number in range(2500)]
    lines, table = (exported(many, "hf", container, tmp_path / container)[0] for container in ("jsonl", "parquet"))
    assert len(pd.read_json(lines, lines=True)) == len(pd.read_parquet(table)) == 2500
    with duckdb.connect() as connection:
        query = "select count(distinct id), any_value(context.sentences[1][1]) from read_parquet(?)"
        assert connection.execute(query, [str(table)]).fetchall() == [(2500, "Bats fly.")]
