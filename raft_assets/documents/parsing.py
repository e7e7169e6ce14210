"""The content of one file, by the reader of its kind, in whatever process it is called. These are in `readers`."""

import hashlib
import logging
import re
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from raft_assets.documents.readers.content import FileKind, ParsedContent, Section, UnreadableError
from raft_assets.documents.readers.decoding import decode
from raft_assets.documents.readers.delimited import read_delimited
from raft_assets.documents.readers.ebooks import read_epub
from raft_assets.documents.readers.entries import read_json, read_json_lines
from raft_assets.documents.readers.left_out import describe_reason
from raft_assets.documents.readers.notebooks import read_notebook
from raft_assets.documents.readers.office import read_docx
from raft_assets.documents.readers.pdf import read_pdf
from raft_assets.documents.readers.pictures import read_picture
from raft_assets.documents.readers.prose import read_prose
from raft_assets.documents.readers.rich_text import read_rtf
from raft_assets.documents.readers.slides import read_pptx
from raft_assets.documents.readers.sniffing import detect_kind
from raft_assets.documents.readers.spreadsheets import read_xlsx
from raft_assets.documents.readers.web import read_html
from raft_assets.settings.domains import DocumentFile

log = logging.getLogger(__name__)
_HAS_WORD = re.compile(r"[^\W_]")

_READERS: dict[FileKind, Callable[[bytes], ParsedContent]] = {
    "pdf": read_pdf,
    "docx": read_docx,
    "pptx": read_pptx,
    "xlsx": read_xlsx,
    "epub": read_epub,
    "html": read_html,
    "rtf": read_rtf,
    "image": read_picture,
    "md": lambda data: read_prose(decode(data), "md"),
    "txt": lambda data: read_prose(decode(data), "txt"),
    "json": lambda data: read_json(decode(data)),
    "jsonl": lambda data: read_json_lines(decode(data)),
    "csv": lambda data: read_delimited(decode(data), "csv"),
    "tsv": lambda data: read_delimited(decode(data), "tsv"),
    "ipynb": lambda data: read_notebook(decode(data)),
}

Parsed = ParsedContent | UnreadableError


def read_bytes(file: DocumentFile) -> bytes:
    """Return the bytes of a file. Raises UnreadableError (unreadable) where they aren't those that were hashed."""
    try:
        data = file.absolute.read_bytes()
    except OSError as error:
        raise UnreadableError(
            "unreadable",
            f"The file can't be opened ({error.strerror}); check its permissions.",
        ) from error
    if hashlib.sha256(data).hexdigest() != file.content_hash:
        raise UnreadableError("unreadable", "The file changed while it was being read; run again.")
    return data


def parse(path: str, data: bytes) -> Parsed:
    """Return the content of a file, or why it can't be read. Never raises for what the file holds.

    `path`: relative to its domain; its suffix says how text is read.
    """
    try:
        content = _READERS[detect_kind(path, data)](data)
    except UnreadableError as error:
        return error
    except Exception as error:  # one file must never stop the others, whatever a parser does
        log.exception("reading %s failed", path)
        return UnreadableError(
            "corrupt",
            f"Reading the file failed ({type(error).__name__}); open it and save it again.",
        )
    if any(_HAS_WORD.search(section.text) for section in content.sections):
        return content
    left_out = ", ".join(f"{describe_reason(reason)} {count:,}" for reason, count in content.left_out.items())
    besides = f" besides the words that are left out ({left_out})" if left_out else ""
    return UnreadableError("no_text", f"The file holds no text{besides}; put text into it or delete it.")


def to_record(parsed: Parsed) -> dict[str, Any]:
    """Return what was read in the form in which it is stored and handed from process to process."""
    if isinstance(parsed, UnreadableError):
        return {"reason": parsed.reason, "detail": parsed.detail}
    return asdict(parsed)


def from_record(record: dict[str, Any]) -> Parsed:
    """Return what was read. Raises KeyError, TypeError for what is no such record."""
    if "reason" in record:
        return UnreadableError(record["reason"], record["detail"])
    return ParsedContent(
        record["kind"],
        record["title"],
        tuple(Section(**section) for section in record["sections"]),
        record["left_out"],
        record["scanned"],
    )
