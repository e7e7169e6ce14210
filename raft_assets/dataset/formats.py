"""The formats in which RAFT rows leave the product: training files in the student's format, and exports.

Prompts are the contract's; nothing here words one.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from raft_assets.core.errors import DataError
from raft_assets.core.prompt_contract import escape_answer, parse_answer, render_user_message
from raft_assets.core.tables import RaftRow, Split
from raft_assets.llm.prompts import answer_request
from raft_assets.settings.domain import DomainSettings

FORMATS_VERSION = "2"  # changes whenever the same row gives another line

ExportFormat = Literal["hf", "chat", "completion", "eval"]
Container = Literal["jsonl", "parquet"]
Record = dict[str, Any]

# the names by which Hugging Face `datasets` knows the splits of a folder
FILE_OF_SPLIT: Mapping[Split, str] = {"train": "train", "valid": "validation", "eval": "test"}
# what the chat format adds to each message, and once to each row (OpenAI cookbook, "how to count tokens")
TOKENS_PER_MESSAGE = 3
BOM = "\ufeff"
ROWS_PER_GROUP = 1000  # of a Parquet file
# JSON allows these characters as they are, but readers that split lines by Unicode's rules break at them
_LINE_BREAKS = str.maketrans({"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"})


@dataclass(frozen=True)
class TrainingStats:
    """The contents of a training file, in tokens as a chat model is billed for them, one pass.

    `too_long`: question ids of the rows that are longer than the student's context; they count as rows of the file
    unless the settings drop them.
    """

    rows: int
    tokens: int
    longest: int  # tokens of the longest row, whether it is dropped or not
    too_long: tuple[str, ...]


def training_stats(rows: Iterable[RaftRow], settings: DomainSettings, count: Callable[[str], int]) -> TrainingStats:
    """Count what `training_lines` writes of the rows.

    `count` returns how many tokens a text has for the student.
    """
    limits = settings.training_files
    kept = tokens = longest = 0
    too_long = list[str]()
    for row in rows:
        length = _count_tokens(_training_record(row, settings), count)
        longest = max(longest, length)
        if length > limits.context_tokens:
            too_long.append(row.question_id)
        if length <= limits.context_tokens or limits.too_long != "drop":
            kept, tokens = kept + 1, tokens + length
    return TrainingStats(kept, tokens, longest, tuple(too_long))


def training_lines(
    rows: Iterable[RaftRow], settings: DomainSettings, *, dropped: Collection[str] = (), bom: bool = False
) -> Iterator[str]:
    """Yield one JSON line per row, in the student's format.

    It has exactly the prompt that evaluation renders, and the answer. Rows whose question id is in `dropped` have none.
    `bom`: the first line begins with a byte order mark.
    """
    start = BOM if bom else ""
    for row in rows:
        if row.question_id not in dropped:
            yield start + _json_line(_training_record(row, settings))
            start = ""


def write_export(
    rows: Iterable[RaftRow],
    form: ExportFormat,
    container: Container,
    target: Path,
    *,
    settings: DomainSettings,
    oracles: Mapping[str, str],
) -> list[Path]:
    """Write a file per split that has rows into a folder that `datasets.load_dataset` reads; return the files.

    `hf` and `eval` have the columns of RAFT's own raft.py and format.py (ShishirPatil/gorilla), `chat` and `completion`
    are training files of the domain's settings. `oracles`: chunk id to text, for oracles that were left out. An earlier
    export in the same format in the folder is replaced, and a half-written one is never visible.
    """
    target.mkdir(parents=True, exist_ok=True)
    record_of, schema = _record_builders(settings, oracles)[form], _schema(form, settings)
    files: dict[Split, Path] = {}
    with ExitStack() as stack:
        writers: dict[Split, Callable[[Record], None]] = {}
        for row in rows:
            if row.split not in writers:
                files[row.split] = target / f"{FILE_OF_SPLIT[row.split]}.{container}"
                writers[row.split] = stack.enter_context(_WRITERS[container](files[row.split], schema))
            writers[row.split](record_of(row))
    for name in FILE_OF_SPLIT.values():
        for other in {target / f"{name}.{kind}" for kind in _WRITERS} - set(files.values()):
            other.unlink(missing_ok=True)
    return [files[split] for split in FILE_OF_SPLIT if split in files]


def _record_builders(
    settings: DomainSettings, oracles: Mapping[str, str]
) -> Mapping[ExportFormat, Callable[[RaftRow], Record]]:
    return {
        "hf": lambda row: _hf_record(row, oracles),
        "chat": lambda row: _chat_record(row, settings),
        "completion": lambda row: _completion_record(row, settings),
        "eval": _eval_record,
    }


def _training_record(row: RaftRow, settings: DomainSettings) -> Record:
    return (_chat_record if settings.student.format == "chat" else _completion_record)(row, settings)


def _chat_record(row: RaftRow, settings: DomainSettings) -> Record:
    files, answer = settings.training_files, {"role": "assistant", "content": escape_answer(row.answer)}
    weight = files.abstention_weight if parse_answer(row.answer).abstained else files.answer_weight
    return {
        "messages": [*_render_prompt(row, "chat", settings), answer if weight is None else answer | {"weight": weight}]
    }


def _completion_record(row: RaftRow, settings: DomainSettings) -> Record:
    return {"prompt": _render_prompt(row, "completion", settings), "completion": escape_answer(row.answer)}


def _render_prompt(row: RaftRow, form: Literal["chat", "completion"], settings: DomainSettings) -> Any:
    """Return the prompt as evaluation sends it: messages or a text."""
    most, instructions = settings.evaluation.max_answer_tokens, settings.prompt.instructions
    has_examples = settings.student.examples == "always"
    request = answer_request(
        row.question, row.documents, form, most, instructions, has_examples=has_examples, language=row.language
    )
    return request.body["messages" if form == "chat" else "prompt"]


def _hf_record(row: RaftRow, oracles: Mapping[str, str]) -> Record:
    """Return the columns of raft.py, with chunk ids for its placeholder titles.

    As there, an oracle that was left out is still named.
    """
    oracle = oracles.get(row.chunk_id) if row.oracle_index is None else row.documents[row.oracle_index]
    if oracle is None:
        raise DataError(f"The oracle of row {row.question_id} is no chunk any more: materialize qa_dataset again.")
    return {
        "id": row.question_id,
        "type": "api call" if row.kind == "api" else "general",
        "question": row.question,
        "context": {"title": [row.document_chunk_ids], "sentences": [row.documents]},
        "oracle_context": oracle,
        "cot_answer": escape_answer(row.answer),
        "instruction": render_user_message(row.question, row.documents),
    }


def _eval_record(row: RaftRow) -> Record:
    """Return the columns of format.py's `eval` format, and the one that eval.py asks with."""
    return {
        "question": row.question,
        "gold_final_answer": row.final_answer,
        "context": render_user_message("", row.documents).strip(),
        "instruction": render_user_message(row.question, row.documents),
    }


def _json_line(record: Record) -> str:
    return json.dumps(record, ensure_ascii=False).translate(_LINE_BREAKS)


def _count_tokens(record: Record, count: Callable[[str], int]) -> int:
    messages = record.get("messages")
    if messages is None:
        return count(record["prompt"]) + count(record["completion"])
    contents = sum(count(message["role"]) + count(message["content"]) for message in messages)
    return contents + TOKENS_PER_MESSAGE * (len(messages) + 1)


def _schema(form: ExportFormat, settings: DomainSettings) -> pa.Schema:
    """Return the columns of a Parquet file; messages have weights if the settings give some."""
    files = settings.training_files
    if form != "chat" or files.answer_weight is files.abstention_weight is None:
        return _SCHEMAS[form]
    message = pa.struct([("role", _TEXT), ("content", _TEXT), ("weight", pa.int8())])
    return pa.schema({"messages": pa.list_(message)})


@contextmanager
def _jsonl_writer(file: Path, _: pa.Schema) -> Iterator[Callable[[Record], None]]:
    with _replace_atomically(file) as part, part.open("w", encoding="utf-8", newline="\n") as stream:
        yield lambda record: print(_json_line(record), file=stream)


@contextmanager
def _parquet_writer(file: Path, schema: pa.Schema) -> Iterator[Callable[[Record], None]]:
    waiting: list[Record] = []
    with _replace_atomically(file) as part, pq.ParquetWriter(part, schema) as writer:

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
def _replace_atomically(file: Path) -> Iterator[Path]:
    """Yield a hidden file next to `file` that replaces it if the block succeeds."""
    part = file.with_name(f".{file.name}.part")
    try:
        yield part
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


_TEXT = pa.string()
_SCHEMAS: Mapping[ExportFormat, pa.Schema] = {
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
