"""E-books (`.epub`): the chapters in the order in which they are read, each read like any other HTML."""

import zipfile
from collections import Counter
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from raft_assets.documents.readers.archives import (
    MAX_ELEMENTS,
    TEXT_SUFFIXES,
    check_elements,
    local_name,
    open_archive,
    read_part,
    resolve_part,
)
from raft_assets.documents.readers.cleaning import to_one_line
from raft_assets.documents.readers.content import ParsedContent, Section, UnreadableError
from raft_assets.documents.readers.left_out import LeftOutReason, counted
from raft_assets.documents.readers.web import count_page_words, read_html

CONTAINER_PART, ENCRYPTION_PART = "META-INF/container.xml", "META-INF/encryption.xml"
_FONT_MASKS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")  # that protect fonts, not text


def read_epub(data: bytes) -> ParsedContent:
    """Return the sections of all chapters; the table of contents and other lists of places are left out.

    Raises UnreadableError (corrupt, encrypted, too_large).
    """
    with open_archive(data, "e-book") as archive:
        check_elements(archive, "e-book")
        if ENCRYPTION_PART in archive.namelist() and not _protects_fonts_only(read_part(archive, ENCRYPTION_PART)):
            raise UnreadableError("encrypted", "The e-book is protected against copying; get it without protection.")
        package_part = next(
            element.get("full-path", "")
            for element in read_part(archive, CONTAINER_PART).iter()
            if local_name(element) == "rootfile"
        )
        package = read_part(archive, package_part)
        title = next((to_one_line(one.text or "") for one in package.iter() if local_name(one) == "title"), "")
        sections: list[Section] = []
        left_out: Counter[LeftOutReason] = Counter()
        elements = 0
        for part, is_navigation in _chapters(archive, package_part, package):
            chapter = archive.read(part)
            elements += chapter.count(b"<")
            if elements > 2 * MAX_ELEMENTS:  # an element has a beginning and an end
                raise UnreadableError(
                    "too_large", f"The e-book has more than {MAX_ELEMENTS:,} elements, which no text needs; split it."
                )
            if is_navigation:
                left_out["navigation"] += count_page_words(chapter)
                continue
            content = read_html(chapter)
            left_out.update(content.left_out)  # type: ignore[arg-type]
            for section in content.sections:
                sections.append(Section(len(sections) + 1, section.heading, section.text))
    first_heading = next((section.heading for section in sections if section.heading), "")
    return ParsedContent("epub", title or first_heading, tuple(sections), counted(left_out))


def _chapters(archive: zipfile.ZipFile, package_part: str, package: Element) -> Iterator[tuple[str, bool]]:
    """Yield the parts in reading order, and whether each is a table of contents or another list of places."""
    names = set(archive.namelist())
    items = {element.get("id", ""): element for element in package.iter() if local_name(element) == "item"}
    tables = {
        resolve_part(package_part, element.get("href", ""))
        for element in package.iter()
        if local_name(element) == "reference" and element.get("type", "") == "toc"
    }
    seen: set[str] = set()
    for reference in package.iter():
        item = items.get(reference.get("idref", "")) if local_name(reference) == "itemref" else None
        if item is None:
            continue
        part = resolve_part(package_part, item.get("href", ""))
        if part not in names:
            raise KeyError(f"it has no {part}")
        if part not in seen and part.casefold().endswith(TEXT_SUFFIXES):
            yield part, part in tables or "nav" in item.get("properties", "").split()
        seen.add(part)


def _protects_fonts_only(encryption: Element) -> bool:
    methods = [one.get("Algorithm", "") for one in encryption.iter() if local_name(one) == "EncryptionMethod"]
    return set(methods) <= set(_FONT_MASKS)
