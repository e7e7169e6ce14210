"""The lake: a folder per asset, a file per domain, readable with pandas or DuckDB.

Tables are Parquet with the schema of their row model, streamed in and out; records are JSON; training files are JSONL.
Every file appears whole or not at all. The root is a local folder or any fsspec address (`abfs://...`).
"""

import json
import os
import socket
import types
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.request import getproxies

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from raft_assets.core.atomic import abandoned_drafts, publish
from raft_assets.core.errors import DataError, RaftError, SettingsError, is_disk_full
from raft_assets.core.stored_fields import digest_content, is_added
from raft_assets.core.tables import (
    AzureJudgedAnswer,
    BaselineAnswer,
    Chunk,
    ChunkEmbedding,
    GoldenQuestion,
    JudgedAnswer,
    QAPair,
    QuarantinedFile,
    RaftRow,
    RefusedChunk,
    Row,
    SourceDocument,
    StudentAnswer,
)
from raft_assets.llm.azure_sign_in import storage_credential
from raft_assets.settings.blob import CONNECTION_STRING_VARIABLE, parse_blob_address, storage_options
from raft_assets.settings.environment import Environment
from raft_assets.settings.project import Project

if TYPE_CHECKING:
    from pyarrow.dataset import Dataset

BLOB_ROLE = "Storage Blob Data Contributor"
ROWS_PER_BATCH = 5_000  # rows in memory at a time while a table streams
DIGEST_KEY = "raft_digest"  # in the metadata of a Parquet file: the digest of its rows
SAMPLE_ROWS = 5  # rows that a write hands back for previews
EVALUATIONS = "evaluations"  # folder of a folder per domain, in it one per run with a file per table of the results
LAST_TABLE = "runs"  # of an evaluation: it is whole once this file is there
STATE = ".raft"  # folder of a lake that several machines share: what they keep beside the tables, see `records`

TABLES: Mapping[str, type[Row]] = {
    model.table: model
    for model in (
        SourceDocument,
        QuarantinedFile,
        Chunk,
        ChunkEmbedding,
        RefusedChunk,
        GoldenQuestion,
        QAPair,
        RaftRow,
        BaselineAnswer,
        StudentAnswer,
        JudgedAnswer,
        AzureJudgedAnswer,
    )
}

R = TypeVar("R", bound=Row)


@dataclass(frozen=True)
class WriteResult:
    """The outcome of a write. `digest` is a hash of the content, whatever the file format's version."""

    address: str
    rows: int
    digest: str
    sample: Sequence[Row]


class Lake:
    """Reads and writes the files of the lineage under `root`, a folder or an address.

    `environment` contains the credentials for an address; a folder needs none.
    """

    def __init__(self, root: str, environment: Environment | None = None) -> None:
        self.root = root
        self._environment = environment or Environment(process={}, files={})

    @classmethod
    def of(cls, project: Project) -> Self:
        """Return the lake of a project."""
        return cls(project.lake, project.environment)

    @cached_property
    def _root(self) -> UPath:
        """The root with its credentials, which are looked up where they are needed and are stored in no resource."""
        try:
            with _translate_errors(self.root):
                options = storage_options(self.root, self._environment, storage_credential)
                root: UPath = UPath(self.root, **options)
        except ImportError as error:
            raise SettingsError(
                f"The lake {self.root} needs another library ({error}): install raft-assets[azure]."
            ) from error
        return root

    @property
    def is_local(self) -> bool:
        """Whether the root is a folder of this machine."""
        return "://" not in self.root or self.root.startswith("file://")

    @property
    def state(self) -> UPath:
        """Folder of what several machines share beside the tables."""
        return self._root / STATE

    @contextmanager
    def told(self) -> Iterator[None]:
        """Raise SettingsError, one sentence, where Azure's library fails in the block."""
        with _translate_errors(self.root):
            yield

    def datasets(self, mentioned_in: str | None = None) -> Iterator[tuple[str, "Dataset"]]:
        """Yield the tables of which some domain has a file: the rows of all domains, with a first column `domain`.

        Rows are read only where they are asked for. With a text, only the tables that it mentions.
        """
        from pyarrow import dataset, fs

        handler: Any = fs.FSSpecHandler  # the stubs take it for abstract
        files = fs.LocalFileSystem() if self.is_local else fs.PyFileSystem(handler(self.filesystem))
        kind, domain = dataset.ParquetFileFormat(), dataset.field("domain")
        for table in TABLES:
            if mentioned_in is not None and table not in mentioned_in:
                continue
            with _translate_errors(self.root):
                fragments, schemas = [], []
                for file in self._files_of(table):
                    part = kind.make_fragment(file.path, files, partition_expression=domain == file.stem)
                    with _told_as_damage(file):
                        schemas.append(part.physical_schema)
                    fragments.append(part)
            if fragments:
                columns = pa.unify_schemas(schemas, promote_options="permissive")  # an older file may lack some
                schema = pa.schema([pa.field("domain", pa.string()), *columns])
                yield table, dataset.FileSystemDataset(fragments, schema, kind, files)

    @property
    def filesystem(self) -> Any:
        """The fsspec file system behind a root that isn't local."""
        return self._root.fs

    def _files_of(self, table: str) -> list[UPath]:
        folder = self._root / table
        return sorted(folder.glob("*.parquet")) if folder.is_dir() else []

    def check_writable(self) -> None:
        """Raise SettingsError if the lake can't be written."""
        _check_host(self.root, self._environment)
        with _translate_errors(self.root):
            probe = self._root / ".raft-doctor"
            try:
                self._publish(probe, lambda file: _write_text(file, "raft doctor checks whether this can be written"))
                probe.unlink()
            except OSError as error:
                if not self.is_local or is_disk_full(error):
                    raise
                raise SettingsError(
                    f"The lake {self.root} can't be written ({error.strerror}): make the folder writable for this "
                    "user, or set RAFT_LAKE to one that is."
                ) from error

    def path(self, table: str, domain: str, suffix: str = ".parquet") -> UPath:
        """Return the address of a domain's file in a table's folder."""
        if not domain or domain in (".", "..") or "/" in domain or "\\" in domain:
            raise DataError(f"{domain!r} is not a domain: name a folder of data/ without its path.")
        return self._root / table / f"{domain}{suffix}"

    @property
    def index_path(self) -> UPath:
        """Address of the index over all reports."""
        return self._root / "index.html"

    def write_index(self, text: str) -> str:
        """Write the index over all reports and return its address."""
        return self._publish(self.index_path, lambda file: _write_text(file, text))

    def write(self, model: type[R], domain: str, rows: Iterable[R]) -> WriteResult:
        """Stream the rows into the domain's Parquet file; the previous one stays until the new one is whole.

        Raises DataError for a row of another table.
        """
        schema, hasher, sample, count = arrow_schema(model), sha256(), list[Row](), 0

        def fill(file: Path) -> None:
            nonlocal count
            with pq.ParquetWriter(file, schema, compression="zstd") as writer:
                for batch in _group_rows(rows, ROWS_PER_BATCH):
                    if wrong := next((row for row in batch if not isinstance(row, model)), None):
                        raise DataError(f"A row of {type(wrong).__name__} can't be written into {model.table}.")
                    contents = [row.model_dump() for row in batch]
                    for row, content in zip(batch, contents, strict=True):
                        digested = digest_content(row, content)
                        hasher.update(
                            json.dumps(digested, ensure_ascii=False, sort_keys=True).encode("utf-8", "surrogatepass")
                            + b"\n"
                        )
                    writer.write_table(pa.Table.from_pylist(contents, schema=schema))
                    sample.extend(batch[: SAMPLE_ROWS - len(sample)])
                    count += len(batch)
                writer.add_key_value_metadata({DIGEST_KEY: hasher.hexdigest()})

        address = self._publish(self.path(model.table, domain), fill)
        return WriteResult(address, count, hasher.hexdigest(), sample)

    def rows(self, model: type[R], domain: str) -> Iterator[R]:
        """Iterate over the rows in order, streamed. Raises as `batches` does."""
        for batch in self.batches(model, domain):
            for content in batch.to_pylist(maps_as_pydicts="strict"):
                yield model.model_construct(**content)

    def batches(self, model: type[Row], domain: str) -> Iterator[pa.RecordBatch]:
        """Iterate over the rows in order, some thousand at a time, as columns.

        Raises DataError if the file is missing or its columns are not those of the model.
        """
        table = model.table
        with self._open_parquet(table, domain) as parquet:
            expected, actual = _schema_of(model, parquet.schema_arrow), parquet.schema_arrow
            if actual.names != expected.names or actual.types != expected.types:
                wrong = sorted(set(_column_types(expected)) ^ set(_column_types(actual)))
                raise DataError(
                    f"{self.path(table, domain)} has different columns than {table} ({', '.join(wrong)}). "
                    f"Materialize {table} again."
                )
            yield from parquet.iter_batches(ROWS_PER_BATCH)

    def digest(self, table: str, domain: str) -> str:
        """Return the digest of the rows, as `write` returned it."""
        with self._open_parquet(table, domain) as parquet:
            return (parquet.metadata.metadata or {})[DIGEST_KEY.encode()].decode()

    def write_lines(self, table: str, domain: str, name: str, lines: Iterable[str]) -> WriteResult:
        """Stream lines into `table/domain/name`, UTF-8."""
        hasher, count = sha256(), 0

        def fill(file: Path) -> None:
            nonlocal count
            with file.open("w", encoding="utf-8", newline="\n") as stream:
                for line in lines:
                    stream.write(line + "\n")
                    hasher.update(line.encode() + b"\n")
                    count += 1

        address = self._publish(self.path(table, domain, "") / name, fill)
        return WriteResult(address, count, hasher.hexdigest(), [])

    def read_lines(self, table: str, domain: str, name: str) -> bytes:
        """Return what `write_lines` wrote; empty where there is no such file."""
        path = self.path(table, domain, "") / name
        with _translate_errors(self.root):
            return path.read_bytes() if path.exists() else b""

    def write_text(self, table: str, domain: str, suffix: str, text: str) -> str:
        """Write a whole text (a report, a record) and return its address."""
        return self._publish(self.path(table, domain, suffix), lambda file: _write_text(file, text))

    def write_record(self, table: str, domain: str, record: Mapping[str, Any]) -> str:
        """Write a JSON record and return its address."""
        return self.write_text(table, domain, ".json", json.dumps(record, ensure_ascii=False, indent=1, sort_keys=True))

    def read_record(self, table: str, domain: str) -> dict[str, Any]:
        """Read a JSON record. Raises DataError if it is missing."""
        if not self.exists(table, domain, ".json"):
            raise DataError(_missing_message(table, domain))
        with _translate_errors(self.root):
            return json.loads(self.path(table, domain, ".json").read_text("utf-8"))  # type: ignore[no-any-return]

    def exists(self, table: str, domain: str, suffix: str = ".parquet") -> bool:
        """Return whether the domain's file of the table exists."""
        with _translate_errors(self.root):
            # not `is_file`, by which adlfs takes every failure of Azure for a missing file
            return self.path(table, domain, suffix).exists()

    def domains(self, table: str, suffix: str = ".parquet") -> set[str]:
        """Return the domains that have a file of the table."""
        with _translate_errors(self.root):
            folder = self._root / table
            folder.fs.invalidate_cache()  # other programs write and delete as well
            found: list[str] = folder.fs.find(folder.path)
        return {Path(name).name.removesuffix(suffix) for name in found if name.endswith(suffix)}

    def files(self) -> set[str]:
        """Return the names of all files as they are now, relative to the root, such as `chunks/bats.parquet`.

        Raises SettingsError if the lake can't be read: nothing is taken for gone that may be there.
        """
        if self.is_local:
            try:
                return set(_walk(Path(self._root.path)))
            except OSError as error:
                raise SettingsError(
                    f"The lake {self.root} can't be read ({error.strerror}: {error.filename}): make it a folder that "
                    "this user can read, or set RAFT_LAKE."
                ) from error
        with _translate_errors(self.root):
            self._root.fs.invalidate_cache()  # other programs write and delete as well
            found: list[str] = self._root.fs.find(self._root.path)
        root = self._root.path.strip("/")
        return {name.strip("/").removeprefix(root).lstrip("/") for name in found}

    def is_damaged(self, name: str) -> bool:
        """Return whether a table or record, by its name as in `files`, can't be read, as after a crash of the machine.

        What a table's end says of it is read, not its rows. On object storage a file is there whole or not at all.
        """
        file = self._root / name
        if not self.is_local or file.suffix not in (".parquet", ".json"):
            return False
        try:
            if file.suffix == ".json":
                json.loads(file.read_bytes())
            else:
                with file.open("rb") as stream, pq.ParquetFile(stream):
                    pass
        except FileNotFoundError:  # another program deleted it meanwhile
            return False
        except (ValueError, OSError) as error:  # of Arrow as well
            if isinstance(error, OSError) and error.errno:  # this program can't read it now; nothing is known of it
                raise
            return True
        return False

    def evaluations(self) -> set[tuple[str, str]]:
        """Return domain and run of every evaluation that is whole."""
        if not self.is_local:
            return set(self.evaluation_versions())
        parts = (name.split("/") for name in self.files() if name.startswith(f"{EVALUATIONS}/"))
        return {(part[1], part[2]) for part in parts if part[3:] == [f"{LAST_TABLE}.parquet"]}

    def evaluation_versions(self) -> dict[tuple[str, str], str]:
        """Return what the files of every whole evaluation are known by, which changes whenever they are written.

        By domain and run. One listing of a lake that is an address.
        """
        folder = self._root / EVALUATIONS
        with _translate_errors(self.root):
            folder.fs.invalidate_cache()  # other machines write as well
            found: dict[str, dict[str, Any]] = folder.fs.find(folder.path, detail=True)
        versions = dict[tuple[str, str], str]()
        for name, info in found.items():
            parts = name.strip("/").removeprefix(folder.path.strip("/")).strip("/").split("/")
            if parts[2:] == [f"{LAST_TABLE}.parquet"]:
                versions[parts[0], parts[1]] = str(info.get("etag") or info.get("ETag") or info.get("created"))
        return versions

    def write_evaluation(self, domain: str, run: str, tables: Mapping[str, pa.Table]) -> None:
        """Write the rows of a run, by table of the results store."""
        folder = self.path(EVALUATIONS, domain, "") / run
        with _translate_errors(self.root):
            (folder / f"{LAST_TABLE}.parquet").unlink(missing_ok=True)  # not whole, until all of it is there again
        for table in sorted(tables, key=lambda name: name == LAST_TABLE):
            write = partial(pq.write_table, tables[table], compression="zstd")
            self._publish(folder / f"{table}.parquet", write)

    def read_evaluation(self, domain: str, run: str) -> dict[str, pa.Table]:
        """Return the rows of a run as they were written. Raises DataError if a file is damaged."""
        folder, found = self.path(EVALUATIONS, domain, "") / run, dict[str, pa.Table]()
        with _translate_errors(self.root):
            for file in folder.glob("*.parquet"):
                with _told_as_damage(file), file.open("rb") as stream:
                    found[file.stem] = pq.read_table(stream)
        return found

    def give_up_evaluation(self, domain: str, run: str) -> None:
        """Mark a run's evaluation as one that isn't whole; its files stay."""
        last = self.path(EVALUATIONS, domain, "") / run / f"{LAST_TABLE}.parquet"
        with _translate_errors(self.root):
            last.rename(last.with_name(f"{LAST_TABLE}.damaged"))

    def delete_broken_evaluations(self, domain: str) -> None:
        """Delete what is there of a domain's evaluations that aren't whole."""
        whole, folder = self.evaluations(), self.path(EVALUATIONS, domain, "")
        with _translate_errors(self.root):
            for run in folder.iterdir() if folder.is_dir() else ():
                if (domain, run.name) not in whole:
                    run.fs.rm(run.path, recursive=True)

    def purge(self, domain: str, *, keep: Collection[str] = ()) -> list[str]:
        """Remove every file of a domain except those of the tables to keep, and return their addresses.

        What killed processes left of files that they were writing goes as well.
        """
        with _translate_errors(self.root):
            removed = [path for _, path in self.files_of(domain, keep=keep)]
            for draft in (draft for path in self._possible_files(domain, keep) for draft in abandoned_drafts(path)):
                draft.unlink(missing_ok=True)
            for path in removed:
                if path.is_dir():
                    path.fs.rm(path.path, recursive=True)
                else:
                    path.unlink()
        return [str(path) for path in removed]

    def files_of(self, domain: str, *, keep: Collection[str] = ()) -> list[tuple[str, UPath]]:
        """Return the files and folders of a domain with their tables, except those of the tables to keep."""
        with _translate_errors(self.root):
            return [(path.parent.name, path) for path in self._possible_files(domain, keep) if path.exists()]

    def _possible_files(self, domain: str, keep: Collection[str]) -> list[UPath]:
        root = self._root
        found = sorted(folder.name for folder in root.iterdir() if folder.is_dir()) if root.is_dir() else []
        tables = [name for name in found if name != STATE]  # a domain may be called `jobs`
        return [
            self.path(table, domain, suffix)
            for table in tables
            if table not in keep
            for suffix in (".parquet", ".json", ".html", "")
        ]

    def count(self, table: str, domain: str) -> int:
        """Return the number of rows of a table; 0 where there is no such table."""
        if not self.exists(table, domain):
            return 0
        with self._open_parquet(table, domain) as parquet:
            return int(parquet.metadata.num_rows)

    @contextmanager
    def _open_parquet(self, table: str, domain: str) -> Iterator[pq.ParquetFile]:
        if not self.exists(table, domain):
            raise DataError(_missing_message(table, domain))
        with (
            _translate_errors(self.root),
            _told_as_damage(self.path(table, domain)),
            self.path(table, domain).open("rb") as stream,
            pq.ParquetFile(stream) as parquet,
        ):
            yield parquet

    def _publish(self, target: UPath, fill: Callable[[Path], None]) -> str:
        with _translate_errors(self.root):
            publish(target, fill)
        return target.path if self.is_local else str(target)


_SCALARS: Mapping[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    datetime: pa.timestamp("us", "UTC"),
}


@contextmanager
def _told_as_damage(file: UPath | str) -> Iterator[None]:
    """Raise DataError where a Parquet file isn't one, as after a crash of the machine or a copy that broke off."""
    try:
        yield
    except pa.ArrowInvalid as error:
        raise DataError(
            f"{file} is damaged ({str(error).partition('. ')[0]}). Delete it: the next `raft run` makes it again, and "
            "answers of models are taken from the call store."
        ) from error


@contextmanager
def _translate_errors(root: str) -> Iterator[None]:
    """Turn errors of a cloud's library into one sentence; errors of a local disk are clear enough themselves."""
    try:
        yield
    except Exception as error:
        if "://" not in root or isinstance(error, RaftError) or not _is_azure_error(error):
            raise
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise SettingsError(
            f"The lake {root} can't be used ({type(error).__name__}: {reason}). Check that the container exists, "
            f"and ask for the role {BLOB_ROLE} on it, or set AZURE_STORAGE_CONNECTION_STRING."
        ) from None


def _check_host(root: str, environment: Environment) -> None:
    """Raise SettingsError if the storage account has no address: Azure's library would retry for 80 s."""
    place = parse_blob_address("The lake", root, environment)
    if (
        place is None or environment.get(CONNECTION_STRING_VARIABLE) or getproxies().get("https")
    ):  # other errors of the address are found elsewhere
        return
    host = f"{place.account}.blob.core.windows.net"
    try:
        socket.getaddrinfo(host, 443)
    except OSError as error:
        raise SettingsError(
            f"The lake {root} can't be used: {host} can't be resolved ({error.strerror}). Check the account name in "
            "RAFT_LAKE, and the network."
        ) from error


def _is_azure_error(error: BaseException | None) -> bool:
    """Return whether Azure's library, or a library between it and this one, is the cause."""
    if error is None:
        return False
    return type(error).__module__.startswith("azure.") or _is_azure_error(error.__cause__ or error.__context__)


def _schema_of(model: type[Row], found: pa.Schema) -> pa.Schema:
    """Return the schema that a file should have: columns that were added later may be absent from an older one."""
    fields = model.model_fields
    return pa.schema(
        [field for field in arrow_schema(model) if field.name in found.names or not is_added(fields[field.name])]
    )


def arrow_schema(model: type[Row]) -> pa.Schema:
    """Return the Arrow schema of a row model; descriptions become field metadata."""
    return pa.schema(
        [
            pa.field(name, _arrow_type(info.annotation), metadata={"description": info.description or ""})
            for name, info in model.model_fields.items()
        ]
    )


def _arrow_type(annotation: Any) -> pa.DataType:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return pa.string()
    if origin in (typing.Union, types.UnionType):
        return _arrow_type(next(argument for argument in arguments if argument is not type(None)))
    if origin is list:
        return pa.list_(pa.float32() if arguments[0] is float else _arrow_type(arguments[0]))
    if origin is dict:
        return pa.map_(_arrow_type(arguments[0]), _arrow_type(arguments[1]))
    return _SCALARS[annotation]


def _column_types(schema: pa.Schema) -> list[str]:
    return [f"{name} {kind}" for name, kind in zip(schema.names, schema.types, strict=True)]


def _group_rows(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, size)):
        yield batch


def _walk(root: Path) -> Iterator[str]:
    """Yield the names of all files below a folder, none where it doesn't exist; raises OSError if it can't be read."""

    def fail(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    for folder, _, names in os.walk(root, onerror=fail):
        yield from (Path(folder, name).relative_to(root).as_posix() for name in names)


def _write_text(file: Path, text: str) -> None:
    file.write_text(text, "utf-8")


def _missing_message(table: str, domain: str) -> str:
    return f"{table} of {domain!r} is not in the lake. Materialize it: raft run {domain!r} --select {table}"
