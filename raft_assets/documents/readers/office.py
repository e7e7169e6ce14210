"""Word documents: mammoth converts `.docx` to HTML, which is read like any other HTML."""

import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from io import BytesIO
from xml.etree import ElementTree as ET

import mammoth

from raft_assets.documents.readers.archives import (
    XML_SUFFIXES,
    check_elements,
    open_archive,
    read_left_out_parts,
    read_part,
    read_title,
)
from raft_assets.documents.readers.content import ParsedContent
from raft_assets.documents.readers.left_out import LeftOutReason, count_words, counted
from raft_assets.documents.readers.office_math import replace_equations
from raft_assets.documents.readers.web import read_html

MAIN_PART = "word/document.xml"
_TEXT_PARTS = (MAIN_PART, "word/footnotes.xml", "word/endnotes.xml")
_LEFT_OUT_PARTS: dict[str, LeftOutReason] = {
    "word/header": "header",
    "word/footer": "footer",
    "word/comments.xml": "comment",
    "word/diagrams/data": "graphic",
    "word/charts/chart": "graphic",
}
_STYLES = "p[style-name='Title'] => h1:fresh\np[style-name='Subtitle'] => p:fresh"


def read_docx(data: bytes) -> ParsedContent:
    """Return the sections, which begin at headings; pictures, comments, headers and footers have no text.

    Raises UnreadableError (corrupt, encrypted, too_large).
    """
    with open_archive(data, "Word document") as archive:
        check_elements(archive, "Word document")
        title = read_title(archive)
        parts = {name: read_part(archive, name) for name in _TEXT_PARTS if name in archive.namelist()}
        left_out = _count_left_out(archive)
        if sum(replace_equations(root) for root in parts.values()):
            data = _with_parts(archive, parts)
    html = mammoth.convert_to_html(
        BytesIO(data), style_map=_STYLES, convert_image=mammoth.images.img_element(lambda _: {})
    ).value
    content = read_html(b"<!doctype html><meta charset=utf-8><main>" + html.encode("utf-8", "replace") + b"</main>")
    words = sum(count_words(text) for root in parts.values() for text in _paragraphs(root))
    left_out["unread"] = words - sum(count_words(section.text) for section in content.sections)
    return ParsedContent("docx", content.title or title, content.sections, counted(left_out))


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
    for reason, root in read_left_out_parts(archive, _LEFT_OUT_PARTS):
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
