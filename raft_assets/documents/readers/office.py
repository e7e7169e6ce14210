"""Word documents: mammoth converts `.docx` to HTML, which is read like any other HTML.

Nothing is unpacked before the archive's own directory says that it stays within bounds; zip readers return no more
bytes than the directory says.
"""

import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from io import BytesIO
from xml.etree import ElementTree as ET
from xml.parsers import expat

import mammoth

from raft_assets.documents.readers.cleaning import to_one_line
from raft_assets.documents.readers.content import ParsedContent, UnreadableError
from raft_assets.documents.readers.left_out import LeftOutReason, count_words, counted
from raft_assets.documents.readers.office_math import replace_equations
from raft_assets.documents.readers.web import read_html

MAIN_PART, PROPERTIES_PART = "word/document.xml", "docProps/core.xml"
XML_SUFFIXES = (".xml", ".rels")
MAX_TEXT_MB = 100  # of the XML inside, unpacked: the longest novels have 10
MAX_ELEMENTS = 500_000  # of all XML, which are read in half a minute: a page has some hundreds
MIN_BOMB_MB, MAX_RATIO = (
    5,
    100,
)  # XML of this size and more is no text where it was packed more tightly; Word packs 10 to 30
MAX_PARTS = 10_000
_TEXT_PARTS = (MAIN_PART, "word/footnotes.xml", "word/endnotes.xml")
_LEFT_OUT_PARTS: tuple[tuple[str, LeftOutReason], ...] = (
    ("word/header", "header"),
    ("word/footer", "footer"),
    ("word/comments.xml", "comment"),
    ("word/diagrams/data", "graphic"),
    ("word/charts/chart", "graphic"),
)
_STYLES = "p[style-name='Title'] => h1:fresh\np[style-name='Subtitle'] => p:fresh"
_TITLE = re.compile(r"<dc:title>([^<]*)</dc:title>")


def is_docx(data: bytes) -> bool:
    """Return whether the bytes are an archive that holds a Word document, whatever the file is called."""
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            return MAIN_PART in archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return False


def read_docx(data: bytes) -> ParsedContent:
    """Return the sections, which begin at headings; pictures, comments, headers and footers have no text.

    Raises UnreadableError (corrupt, encrypted, too_large).
    """
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            _check_archive(archive)
            title = _read_title(archive)
            parts = _text_parts(archive)
            left_out = _count_left_out(archive)
            if sum(replace_equations(root) for root in parts.values()):
                data = _with_parts(archive, parts)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, zlib.error, ET.ParseError) as error:
        raise UnreadableError(
            "corrupt", f"The Word document is damaged ({to_one_line(str(error))}); open it and save it again."
        ) from error
    html = mammoth.convert_to_html(
        BytesIO(data), style_map=_STYLES, convert_image=mammoth.images.img_element(lambda _: {})
    ).value
    content = read_html(b"<!doctype html><meta charset=utf-8><main>" + html.encode("utf-8", "replace") + b"</main>")
    words = sum(count_words(text) for root in parts.values() for text in _paragraphs(root))
    left_out["unread"] = words - sum(count_words(section.text) for section in content.sections)
    return ParsedContent("docx", content.title or title, content.sections, counted(left_out))


def _check_archive(archive: zipfile.ZipFile) -> None:
    parts = archive.infolist()
    size = sum(part.file_size for part in parts if part.filename.endswith(XML_SUFFIXES))
    packed = sum(part.compress_size for part in parts if part.filename.endswith(XML_SUFFIXES))
    is_bomb = size > MIN_BOMB_MB * 1_000_000 and size > MAX_RATIO * packed
    if size > MAX_TEXT_MB * 1_000_000 or len(parts) > MAX_PARTS or is_bomb:
        raise UnreadableError(
            "too_large",
            f"The Word document unpacks from {packed / 1e6:,.1f} to {size / 1e6:,.0f} MB in {len(parts):,} parts, "
            "which no text needs; save its text as a new document.",
        )
    if any(part.flag_bits & 1 for part in parts):
        raise UnreadableError("encrypted", "The Word document is encrypted; save it without a password.")
    elements = 0
    for part in parts:
        if part.filename.endswith(XML_SUFFIXES):
            elements += _count_elements(archive, part.filename)
        if elements > MAX_ELEMENTS:
            raise UnreadableError(
                "too_large",
                f"The Word document has more than {MAX_ELEMENTS:,} elements, which no text needs; split it.",
            )


def _count_elements(archive: zipfile.ZipFile, name: str) -> int:
    """Return how many elements a part has, at most one more than is allowed. Raises UnreadableError for a DTD.

    Word writes no DTD, and entities can expand to any size. Parts that are no XML are left to those who need them.
    """
    count = 0

    def refuse(*_: object) -> None:
        raise UnreadableError("corrupt", "The Word document declares entities, as none does; save it again with Word.")

    def begin(*_: object) -> None:
        nonlocal count
        count += 1
        if count > MAX_ELEMENTS:
            raise UnreadableError(
                "too_large",
                f"The Word document has more than {MAX_ELEMENTS:,} elements, which no text needs; split it.",
            )

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = begin
    with archive.open(name) as stream, suppress(expat.ExpatError):
        parser.ParseFile(stream)
    return count


def _text_parts(archive: zipfile.ZipFile) -> dict[str, ET.Element]:
    """Return the parts whose text is read. They have no DTD."""
    names = [name for name in _TEXT_PARTS if name in archive.namelist()]
    return {name: ET.fromstring(archive.read(name)) for name in names}  # noqa: S314 - checked before


def _with_parts(archive: zipfile.ZipFile, parts: Mapping[str, ET.Element]) -> bytes:
    """Return the archive's XML with other parts."""
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") as changed:
        for name in dict.fromkeys(archive.namelist()):
            if name.endswith(XML_SUFFIXES):
                changed.writestr(name, ET.tostring(parts[name]) if name in parts else archive.read(name))
    return stream.getvalue()


def _count_left_out(archive: zipfile.ZipFile) -> Counter[LeftOutReason]:
    """Count the words of headers, footers, comments, charts and diagrams."""
    words: Counter[LeftOutReason] = Counter()
    for name in dict.fromkeys(archive.namelist()):
        reason = next((reason for start, reason in _LEFT_OUT_PARTS if name.startswith(start)), None)
        if reason and name.endswith(".xml"):
            with suppress(ET.ParseError):
                root = ET.fromstring(archive.read(name))  # noqa: S314 - checked before
                words[reason] += sum(count_words(text) for text in _paragraphs(root))
    return words


def _paragraphs(root: ET.Element) -> Iterator[str]:
    """Yield the text of each paragraph, once where it is stored for old and new readers, and not where it was moved."""
    texts: list[str] = []
    pending = [root]
    while pending:
        element = pending.pop()
        name = element.tag.rpartition("}")[2]
        if name in {"Choice", "moveFrom", "instrText", "delText"}:
            continue
        if name in {"p", "tab", "br", "cr"}:
            texts.append(" ")
        if name == "t":
            texts.append(element.text or "")
        pending.extend(reversed(element))
    yield "".join(texts)


def _read_title(archive: zipfile.ZipFile) -> str:
    if PROPERTIES_PART not in archive.namelist():
        return ""
    match = _TITLE.search(archive.read(PROPERTIES_PART).decode("utf-8", "replace"))
    return to_one_line(match[1]) if match else ""
