"""The forms in which RAFT rows leave the product: training files in the student's format, and exports that others read.

Prompts are the contract's; nothing here words one.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from raft_assets.raft.chunking import token_count
from raft_assets.raft.contract import render_messages, render_prompt, render_user
from raft_assets.raft.tables import RaftRow, Split
from raft_assets.settings import StudentSettings

FORMATS_VERSION = "1"  # changes whenever the same row gives another line

Form = Literal["hf", "chat", "completion", "eval"]
Container = Literal["jsonl", "parquet"]
Record = dict[str, Any]

# the names by which Hugging Face `datasets` knows the splits of a folder
FILE_OF_SPLIT: Mapping[Split, str] = {"train": "train", "valid": "validation", "eval": "test"}
TOKENS_PER_MESSAGE = (
    3  # what the chat format adds to each message, and once to each row (OpenAI cookbook, "how to count tokens")
)
TOKENIZER = "o200k_base"
ROWS_PER_GROUP = 1000  # of a Parquet file
# JSON allows these characters as they are, but readers that split lines by Unicode's rules break at them
_LINE_BREAKS = str.maketrans({"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"})


@dataclass(frozen=True)
class TrainingStats:
    """Size of a training file, in tokens of `TOKENIZER` as a chat model is billed for them, one pass."""

    rows: int
    tokens: int
    longest: int  # tokens of the longest row


def training_lines(rows: Iterable[RaftRow], settings: StudentSettings) -> Iterator[str]:
    """One JSON line per row, in the student's format: exactly the prompt that evaluation renders, and the answer."""
    record = _chat_record if settings.format == "chat" else _completion_record
    return (_json_line(record(row)) for row in rows)


def training_stats(lines: Iterable[str]) -> TrainingStats:
    """Counts what `training_lines` wrote."""
    lengths = [_tokens(json.loads(line)) for line in lines]
    return TrainingStats(rows=len(lengths), tokens=sum(lengths), longest=max(lengths, default=0))


def export(rows: Iterable[RaftRow], form: Form, container: Container, target: Path) -> list[Path]:
    """Writes a file per split that has rows into a folder that `datasets.load_dataset` reads; returns the files.

    `hf` and `eval` have the columns of RAFT's own raft.py and format.py (ShishirPatil/gorilla), `chat` and `completion`
    are training files. An earlier export of the same form in the folder is replaced, a half-written one is never seen.
    """
    target.mkdir(parents=True, exist_ok=True)
    files: dict[Split, Path] = {}
    with ExitStack() as stack:
        writers: dict[Split, Callable[[Record], None]] = {}
        for row in rows:
            if row.split not in writers:
                files[row.split] = target / f"{FILE_OF_SPLIT[row.split]}.{container}"
                writers[row.split] = stack.enter_context(_WRITERS[container](files[row.split], _SCHEMAS[form]))
            writers[row.split](_RECORDS[form](row))
    for name in FILE_OF_SPLIT.values():
        for other in {target / f"{name}.{kind}" for kind in _WRITERS} - set(files.values()):
            other.unlink(missing_ok=True)
    return [files[split] for split in FILE_OF_SPLIT if split in files]


def _chat_record(row: RaftRow) -> Record:
    return {"messages": [*render_messages(row.question, row.documents), {"role": "assistant", "content": row.answer}]}


def _completion_record(row: RaftRow) -> Record:
    return {"prompt": render_prompt(row.question, row.documents), "completion": row.answer}


def _hf_record(row: RaftRow) -> Record:
    """The columns of raft.py, with chunk ids for its placeholder titles; a left out oracle is empty."""
    return {
        "id": row.question_id,
        "type": "api call" if row.kind == "api" else "general",
        "question": row.question,
        "context": {"title": [row.document_chunk_ids], "sentences": [row.documents]},
        "oracle_context": "" if row.oracle_index is None else row.documents[row.oracle_index],
        "cot_answer": row.answer,
        "instruction": render_user(row.question, row.documents),
    }


def _eval_record(row: RaftRow) -> Record:
    """The columns that format.py's `eval` form has, and the one that eval.py asks with."""
    return {
        "question": row.question,
        "gold_final_answer": row.final_answer,
        "context": render_user("", row.documents).strip(),
        "instruction": render_user(row.question, row.documents),
    }


def _json_line(record: Record) -> str:
    return json.dumps(record, ensure_ascii=False).translate(_LINE_BREAKS)


def _tokens(record: Record) -> int:
    messages = record.get("messages")
    if messages is None:
        return token_count(record["prompt"], TOKENIZER) + token_count(record["completion"], TOKENIZER)
    contents = sum(
        token_count(message["role"], TOKENIZER) + token_count(message["content"], TOKENIZER) for message in messages
    )
    return contents + TOKENS_PER_MESSAGE * (len(messages) + 1)


@contextmanager
def _jsonl_writer(file: Path, _: pa.Schema) -> Iterator[Callable[[Record], None]]:
    with _replacing(file) as part, part.open("w", encoding="utf-8", newline="\n") as stream:
        yield lambda record: print(_json_line(record), file=stream)


@contextmanager
def _parquet_writer(file: Path, schema: pa.Schema) -> Iterator[Callable[[Record], None]]:
    waiting: list[Record] = []
    with _replacing(file) as part, pq.ParquetWriter(part, schema) as writer:

        def write(record: Record) -> None:
            waiting.append(record)
            if len(waiting) >= ROWS_PER_GROUP:
                flush()

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(waiting, schema))
            waiting.clear()

        yield write
        if waiting:
            flush()


@contextmanager
def _replacing(file: Path) -> Iterator[Path]:
    """A hidden file beside `file` that takes its place when all went well."""
    part = file.with_name(f".{file.name}.part")
    try:
        yield part
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


_TEXT = pa.string()
_RECORDS: Mapping[Form, Callable[[RaftRow], Record]] = {
    "hf": _hf_record,
    "chat": _chat_record,
    "completion": _completion_record,
    "eval": _eval_record,
}
_SCHEMAS: Mapping[Form, pa.Schema] = {
    "hf": pa.schema(
        {
            "id": _TEXT,
            "type": _TEXT,
            "question": _TEXT,
            "context": pa.struct([("title", pa.list_(pa.list_(_TEXT))), ("sentences", pa.list_(pa.list_(_TEXT)))]),
            "oracle_context": _TEXT,
            "cot_answer": _TEXT,
            "instruction": _TEXT,
        }
    ),
    "chat": pa.schema({"messages": pa.list_(pa.struct([("role", _TEXT), ("content", _TEXT)]))}),
    "completion": pa.schema({"prompt": _TEXT, "completion": _TEXT}),
    "eval": pa.schema({"question": _TEXT, "gold_final_answer": _TEXT, "context": _TEXT, "instruction": _TEXT}),
}
_WRITERS = {"jsonl": _jsonl_writer, "parquet": _parquet_writer}
