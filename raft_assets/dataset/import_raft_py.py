"""Datasets of RAFT's own raft.py (ShishirPatil/gorilla) as domains: contexts become documents, pairs stay pairs.

What belongs here: reading such a dataset and writing the domain's folder. What becomes of the pairs belongs in `pairs`.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from pydantic import BaseModel, ConfigDict

from raft_assets.core.errors import DataError
from raft_assets.core.identity import normalize
from raft_assets.core.jsonl import NonEmptyText, validate_as
from raft_assets.documents.chunking import token_count
from raft_assets.documents.readers.cleaning import clean
from raft_assets.pairs.imported import ImportedPair
from raft_assets.settings.domain import ChunkSettings, DocumentSettings
from raft_assets.settings.domains import PAIRS_FILE, SETTINGS_FILE, check_domain_name

SourceContainer = Literal["jsonl", "parquet", "arrow"]
CONTEXTS_FILE = "contexts.jsonl"
TOKENIZER: Literal["o200k_base"] = "o200k_base"
MAX_CHUNK_TOKENS, MIN_CHUNK_TOKENS = 8000, 16  # bounds of chunks.chunk_size, tokens
BATCH_ROWS = 1000
ARROW_STREAM = b"\xff\xff\xff\xff"  # with which every message of the stream format begins
_OTHER_FORMS = frozenset({"messages", "prompt"})  # columns of raft.py's chat and completion formats


class _Context(BaseModel):
    model_config = ConfigDict(frozen=True)

    sentences: list[list[str]]


class _Row(BaseModel):
    """The columns that are read of a row of raft.py; an answer that its model refused to give is null."""

    model_config = ConfigDict(frozen=True)

    question: NonEmptyText
    context: _Context
    oracle_context: NonEmptyText
    cot_answer: str | None


@dataclass(frozen=True)
class ImportSummary:
    """The result of an import.

    `longest`: tokens of the longest context, which a chunk holds up to `MAX_CHUNK_TOKENS`.
    """

    folder: Path
    pairs: int
    contexts: int
    longest: int


def import_dataset(source: Path, container: SourceContainer | None, data: Path, domain: str) -> ImportSummary:
    """Create the domain's folder in `data` from a dataset; it appears complete or not at all.

    `source` is a JSON Lines or Parquet file, or a folder of them or of `datasets.Dataset.save_to_disk`; the container
    is detected by the content if it isn't given. Raises DataError naming file, row and column, and if the domain
    already exists.
    """
    check_domain_name(domain)
    target = data / domain
    if target.exists():
        raise DataError(f"The folder {target} already exists: import under another name, or move that folder.")
    files = _find_files(source, container)
    data.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=data, prefix="."))
    try:
        counts = _write(draft, files)
        draft.chmod(0o755)  # a temporary folder is its owner's alone
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return ImportSummary(target, *counts)


def _write(folder: Path, files: Mapping[Path, SourceContainer]) -> tuple[int, int, int]:
    """Write pairs, contexts and settings; return pairs, contexts and tokens of the longest context."""
    pairs = longest = 0
    contexts: set[str] = set()
    with (
        (folder / PAIRS_FILE).open("w", encoding="utf-8") as pairs_file,
        (folder / CONTEXTS_FILE).open("w", encoding="utf-8") as contexts_file,
    ):
        for file, container in files.items():
            for number, row in enumerate(_ROWS[container](file), start=1):
                source = _validate_row(row, f"{file}, row {number}")
                pair = ImportedPair(
                    question=source.question, answer=source.cot_answer or "", oracle=source.oracle_context
                )
                print(json.dumps(pair.model_dump(), ensure_ascii=False), file=pairs_file)
                pairs += 1
                for text in (source.oracle_context, *(text for group in source.context.sentences for text in group)):
                    if normalize(text) and normalize(text) not in contexts:
                        contexts.add(normalize(text))
                        longest = max(longest, token_count(clean(text), TOKENIZER))
                        print(json.dumps({"text": text}, ensure_ascii=False), file=contexts_file)
    if not pairs:
        raise DataError(f"{', '.join(map(str, files))} contains no rows: name the dataset that raft.py wrote.")
    settings = _build_settings(longest, (folder / CONTEXTS_FILE).stat().st_size)
    head = "# An imported data set: a context is a chunk, and the teacher is asked nothing.\n"
    (folder / SETTINGS_FILE).write_text(head + yaml.safe_dump(settings, sort_keys=False), "utf-8")
    return pairs, len(contexts), longest


def _build_settings(longest: int, size: int) -> dict[str, Any]:
    chunk_size = min(max(longest, MIN_CHUNK_TOKENS), MAX_CHUNK_TOKENS)
    chunks = ChunkSettings(tokenizer=TOKENIZER, chunk_size=chunk_size, min_chunk_tokens=1)
    settings: dict[str, Any] = {
        "chunks": chunks.model_dump(include={"tokenizer", "chunk_size", "min_chunk_tokens"}),
        "questions": {"questions_per_chunk": 0},
    }
    megabytes = -(-size // 2**20)
    if megabytes > DocumentSettings().max_file_mb:
        settings["documents"] = {"max_file_mb": megabytes}
    return settings


def _validate_row(row: Any, where: str) -> _Row:
    if isinstance(row, dict) and "cot_answer" not in row and _OTHER_FORMS & row.keys():
        raise DataError(
            f"{where}, column cot_answer: it is missing, this is raft.py's chat or completion format, which doesn't "
            "say where the answer is. Import the folder that raft.py saved next to it (--output), or its hf format."
        )
    return validate_as(row, _Row, where, part="column")


# ---- containers ----


@contextmanager
def _translate_errors(file: Path, kind: str) -> Iterator[None]:
    try:
        yield
    except pa.ArrowInvalid as error:
        raise DataError(
            f"{file} can't be read as {kind} ({' '.join(str(error).split())}): it may be cut off; write it again."
        ) from error


def _find_files(source: Path, container: SourceContainer | None) -> dict[Path, SourceContainer]:
    """Return the files of the dataset with their containers, in order."""
    if source.is_file():
        return {source: container or _detect_container(source)}
    if not source.is_dir():
        raise DataError(f"There is no file or folder {source}: name the dataset that raft.py wrote.")
    for kind, pattern in _PATTERNS.items():
        files = sorted(source.rglob(pattern)) if container in (None, kind) else []
        if files:
            return dict.fromkeys(files, kind)
    raise DataError(
        f"There is no {' or '.join(_PATTERNS.values() if container is None else [_PATTERNS[container]])} in {source}: "
        "name the dataset that raft.py wrote."
    )


def _detect_container(file: Path) -> SourceContainer:
    with file.open("rb") as stream:
        start = stream.read(8)
    if start.startswith(b"PAR1"):
        return "parquet"
    return "arrow" if start.startswith(ARROW_STREAM) else "jsonl"


def _read_json_lines(file: Path) -> Iterator[Any]:
    number = 0
    try:
        with file.open(encoding="utf-8-sig", newline="\n") as stream:
            for line in stream:
                if line.strip():
                    number += 1
                    yield json.loads(line)
    except UnicodeDecodeError as error:
        raise DataError(f"{file}, row {number + 1} is not UTF-8: save the file as UTF-8.") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{file}, row {number} is not valid JSON ({error}): fix it there.") from error


def _parquet_rows(file: Path) -> Iterator[Any]:
    with _translate_errors(file, "Parquet"), pq.ParquetFile(file) as table:
        for batch in table.iter_batches(BATCH_ROWS):
            yield from batch.to_pylist()


def _arrow_rows(file: Path) -> Iterator[Any]:
    with _translate_errors(file, "Arrow"), closing(pa.memory_map(str(file))) as stored:
        for batch in pa.ipc.open_stream(stored):
            yield from batch.to_pylist()


_PATTERNS: Mapping[SourceContainer, str] = {
    "arrow": "data-*.arrow",  # of save_to_disk; what `datasets` caches next to them has other names
    "parquet": "*.parquet",
    "jsonl": "*.jsonl",
}
_ROWS: Mapping[SourceContainer, Callable[[Path], Iterator[Any]]] = {
    "jsonl": _read_json_lines,
    "parquet": _parquet_rows,
    "arrow": _arrow_rows,
}
