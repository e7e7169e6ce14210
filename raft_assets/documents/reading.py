"""Read a file into a document with its pages, or into a row that says why not. The formats are in `readers`.

`document_text` is the pages' texts joined by a blank line, and every span in the lineage refers to it.
"""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from raft_assets.core.atomic import write_text
from raft_assets.core.identity import doc_id, short_digest
from raft_assets.core.tables import QuarantinedFile, SourceDocument
from raft_assets.documents.parsing import Parsed, from_record, to_record
from raft_assets.documents.readers.content import ParsedContent, UnreadableError
from raft_assets.documents.readers.ocr import is_available
from raft_assets.documents.readers.sniffing import KIND_BY_SUFFIX
from raft_assets.documents.reading_process import ReadingProcess
from raft_assets.settings.domains import DocumentFile

# changes where every domain has to read anew and to pay for what changes; better reading of some documents isn't that
READING_VERSION = "4"
PARSER_VERSION = "8"  # changes whenever any reader returns something else for the same bytes (ADR 0043)
PAGE_SEPARATOR = "\n\n"
DEFAULT_MAX_MB = 50

# whose reason may be gone when they are read again
_NOT_KEPT = frozenset({"unreadable", "too_costly"})


@dataclass(frozen=True)
class ReadDocument:
    """A document as the rest of the lineage sees it: rows of `source_documents`, in order."""

    pages: tuple[SourceDocument, ...]  # at least one; page.text == document_text[page.start:page.end]
    document_text: str

    @property
    def doc_id(self) -> str:
        """Id of the document."""
        return self.pages[0].doc_id

    @property
    def path(self) -> str:
        """Path relative to the domain."""
        return self.pages[0].path

    @property
    def kind(self) -> str:
        """The reader that read the file."""
        return self.pages[0].kind

    @property
    def title(self) -> str:
        """Title of the document."""
        return self.pages[0].title

    @property
    def left_out(self) -> dict[str, int]:
        """Words that the text leaves out, by reason."""
        return self.pages[0].left_out


@dataclass(frozen=True)
class ParseCache:
    """Results of reading files, by their bytes; a folder that may be deleted at any time."""

    folder: Path

    def get(self, file: DocumentFile) -> Parsed | None:
        """Return the stored result; None if there is none or it is broken."""
        try:
            return from_record(json.loads(self._entry(file).read_text("utf-8")))
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def put(self, file: DocumentFile, result: Parsed) -> None:
        """Store the result of reading the file."""
        write_text(self._entry(file), json.dumps(to_record(result), ensure_ascii=False))

    def _entry(self, file: DocumentFile) -> Path:
        # the extension counts too: it decides how text is read; and so does OCR, which is installed or not
        version = f"{PARSER_VERSION}-ocr" if is_available() else PARSER_VERSION
        return self.folder / f"{file.content_hash}-{version}-{short_digest(_normalize_suffix(file))[:8]}.json"


def read_documents(
    files: Iterable[DocumentFile],
    *,
    ids: Mapping[str, str] = MappingProxyType({}),
    memo: Path | None = None,
    max_file_mb: int = DEFAULT_MAX_MB,
) -> Iterator[ReadDocument | QuarantinedFile]:
    """Yield every file in order, read or quarantined, one at a time in memory.

    `ids` are those of documents by path; that of another one is the hash of its path. With `memo`, only new bytes are
    parsed.
    """
    seen: set[str] = set()
    with ReadingProcess() as process:
        for file in files:
            if file.path in seen:
                yield _quarantine(
                    file,
                    UnreadableError(
                        "same_name",
                        "Another file has the same name in a different unicode spelling; rename one of them.",
                    ),
                )
                continue
            seen.add(file.path)
            cache = ParseCache(memo) if memo else None
            yield read_document(file, process, name=ids.get(file.path), memo=cache, max_file_mb=max_file_mb)


def read_document(
    file: DocumentFile,
    process: ReadingProcess,
    *,
    name: str | None = None,
    memo: ParseCache | None = None,
    max_file_mb: int = DEFAULT_MAX_MB,
) -> ReadDocument | QuarantinedFile:
    """Return the document, or why it can't be read. Never raises for the content of a file.

    `process` reads it where it isn't a small text. `name`: its id; None: the hash of its path.
    """
    result = _check_file(file, max_file_mb) or (memo.get(file) if memo else None)
    if result is None:
        result = process.read(file)
        if memo and not (isinstance(result, UnreadableError) and result.reason in _NOT_KEPT):
            memo.put(file, result)
    if isinstance(result, UnreadableError):
        return _quarantine(file, result)
    return _build_document(file, result, name or doc_id(file.path))


def group_into_documents(rows: Iterable[SourceDocument]) -> Iterator[ReadDocument]:
    """Yield documents from rows of `source_documents`, in which the pages of a document follow one another."""
    for _, pages in itertools.groupby(rows, key=lambda row: row.doc_id):
        ordered = tuple(pages)
        yield ReadDocument(ordered, PAGE_SEPARATOR.join(page.text for page in ordered))


def _build_document(file: DocumentFile, content: ParsedContent, name: str) -> ReadDocument:
    rows: list[SourceDocument] = []
    start = 0
    for section in content.sections:
        end = start + len(section.text)
        rows.append(
            SourceDocument(
                doc_id=name,
                path=file.path,
                content_hash=file.content_hash,
                kind=content.kind,
                page=section.number,
                title=content.title or PurePosixPath(file.path).stem,
                heading=section.heading,
                start=start,
                end=end,
                text=section.text,
                left_out=dict(content.left_out),
                scanned=dict(content.scanned),
            )
        )
        start = end + len(PAGE_SEPARATOR)
    return ReadDocument(tuple(rows), PAGE_SEPARATOR.join(section.text for section in content.sections))


def _check_file(file: DocumentFile, max_file_mb: int) -> UnreadableError | None:
    if file.refusal:
        return UnreadableError("unsafe_name", file.refusal)
    if file.size <= max_file_mb * 1_000_000:
        return None
    size = f"{file.size / 1e6:.0f} MB"
    detail = f"The file has {size} and the limit is {max_file_mb} MB; split it, or raise documents.max_file_mb."
    return UnreadableError("too_large", detail)


def _quarantine(file: DocumentFile, error: UnreadableError) -> QuarantinedFile:
    return QuarantinedFile(
        path=file.path,
        content_hash=file.content_hash,
        reason=error.reason,
        detail=error.detail,
    )


def _normalize_suffix(file: DocumentFile) -> str:
    return KIND_BY_SUFFIX.get(PurePosixPath(file.path).suffix.casefold()) or PurePosixPath(file.path).suffix.casefold()
