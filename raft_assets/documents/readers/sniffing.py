"""Which reader a file needs: by its content if that is unmistakable, else by its extension."""

import re
from pathlib import PurePosixPath

from raft_assets.documents.readers.archives import list_parts
from raft_assets.documents.readers.content import FileKind, UnreadableError
from raft_assets.documents.readers.ebooks import CONTAINER_PART
from raft_assets.documents.readers.office import MAIN_PART
from raft_assets.documents.readers.pictures import is_picture
from raft_assets.documents.readers.slides import PRESENTATION_PART
from raft_assets.documents.readers.spreadsheets import WORKBOOK_PART

KIND_BY_SUFFIX: dict[str, FileKind] = {
    ".pdf": "pdf",
    ".docx": "docx",
    ".md": "md",
    ".markdown": "md",
    ".txt": "txt",
    ".text": "txt",
    ".rst": "txt",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".ipynb": "ipynb",
    ".pptx": "pptx",
    ".pptm": "pptx",
    ".ppsx": "pptx",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".epub": "epub",
    ".rtf": "rtf",
    ".png": "image",
    ".jpg": "image",
    ".jpeg": "image",
    ".tif": "image",
    ".tiff": "image",
    ".webp": "image",
}
READABLE = (
    "PDF, Word (.docx), PowerPoint (.pptx), Excel (.xlsx), EPUB, RTF, Markdown, text, HTML, CSV, JSON or JSON Lines"
)
_HEAD = 4096  # bytes that are inspected
_OFFICE_SUFFIXES = frozenset(
    {
        ".doc",
        ".odt",
        ".ppt",
        ".odp",
        ".xls",
        ".xlsb",
        ".ods",
        ".pages",
    }
)
_BINARY_STARTS = (
    b"GIF8",
    b"\x1f\x8b",
    b"\x7fELF",
    b"MZ\x90",
    b"BZh",
    b"\xfd7zXZ",
    b"7z\xbc\xaf",
    b"Rar!",
    b"SQLite format",
    b"PAR1",
)
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")  # the container in which Office wraps a document with a password
_KIND_BY_PART: dict[str, FileKind] = {
    MAIN_PART: "docx",
    PRESENTATION_PART: "pptx",
    WORKBOOK_PART: "xlsx",
    CONTAINER_PART: "epub",
}
_BY_CONTENT = frozenset({"pdf", "docx", "pptx", "xlsx", "epub", "rtf", "image"})  # kinds that files show by themselves
_ZIP, _OLE, _RTF, _PDF = b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"{\\rtf", b"%PDF-"
_HTML = re.compile(
    rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)\b",
    re.IGNORECASE | re.DOTALL,
)
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff", b"<\0?\0x\0", b"\0<\0?\0x")  # byte order marks, or an XML declaration
_CONTROL_BYTES = bytes(code for code in range(32) if code not in b"\t\n\r\f\x0b\x1b")


def detect_kind(path: str, data: bytes) -> FileKind:
    """Return the reader for a file. Raises UnreadableError (empty, binary, unsupported, encrypted, corrupt)."""
    suffix, head = PurePosixPath(path).suffix.casefold(), data[:_HEAD]
    if not data.strip():
        raise UnreadableError("empty", "The file is empty; put text into it or delete it.")
    if _is_pdf(suffix, head):
        return "pdf"
    if head.startswith(_ZIP):
        parts = list_parts(data)
        if kind := next((kind for part, kind in _KIND_BY_PART.items() if part in parts), None):
            return kind
    if head.startswith(_RTF):
        return "rtf"
    if is_picture(head):
        return "image"
    _reject_office(suffix, head, data)
    _reject_binary(head)
    if _HTML.match(head.removeprefix(b"\xef\xbb\xbf")):
        return "html"
    kind = KIND_BY_SUFFIX.get(suffix)
    if kind in _BY_CONTENT:
        raise UnreadableError("corrupt", f"The file is named {suffix} and is none; export it again.")
    return kind or _kind_without_reader(suffix)


def _is_pdf(suffix: str, head: bytes) -> bool:
    """Return whether a file is a PDF; bytes before its mark are none of a text that says how PDFs begin."""
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(_PDF):
        return True
    return _PDF in head[:1024] and (KIND_BY_SUFFIX.get(suffix, "pdf") == "pdf" or not _is_text(head))


def _is_text(head: bytes) -> bool:
    controls = len(head) - len(head.translate(None, _CONTROL_BYTES))
    return b"\0" not in head and controls <= len(head) // 20


def is_plain_text(data: bytes) -> bool:
    """Return whether a file is no archive, PDF, RTF or picture, which take work before they are text."""
    head = data[:_HEAD]
    return not (head.startswith((_ZIP, _OLE, _RTF)) or _PDF in head[:1024] or is_picture(head))


def _kind_without_reader(suffix: str) -> FileKind:
    if suffix:
        raise UnreadableError(
            "unsupported",
            f"Files that end in {suffix} are not read; save the file as {READABLE}, or move it out of the domain.",
        )
    return "txt"  # README, LICENSE


def _reject_office(suffix: str, head: bytes, data: bytes) -> None:
    if head.startswith(_OLE) and _ENCRYPTED in data:
        raise UnreadableError("encrypted", "The document has a password; save it without one.")
    if head.startswith(_ZIP) and KIND_BY_SUFFIX.get(suffix) in _BY_CONTENT:
        raise UnreadableError("corrupt", f"The file is named {suffix} and holds no such document; export it again.")
    office = head.startswith((_ZIP, _OLE)) and suffix in _OFFICE_SUFFIXES
    if office or head.startswith(_OLE):
        raise UnreadableError("unsupported", f"Such office files are not read; save the file as {READABLE}.")


def _reject_binary(head: bytes) -> None:
    if head.startswith(_UTF16_MARKS):
        return
    if head.startswith((_ZIP, *_BINARY_STARTS)) or not _is_text(head):
        raise UnreadableError(
            "binary",
            f"The file is not text; move it out of the domain, or save what it says as {READABLE}.",
        )
