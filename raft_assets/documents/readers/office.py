"""Word documents: mammoth converts `.docx` to HTML, which is read like any other HTML.

Nothing is unpacked before the archive's own directory says that it stays within bounds; zip readers return no more
bytes than the directory says.
"""

import re
import zipfile
from io import BytesIO

import mammoth

from raft_assets.documents.readers.cleaning import to_one_line
from raft_assets.documents.readers.content import ParsedContent, UnreadableError
from raft_assets.documents.readers.web import read_html

MAIN_PART, PROPERTIES_PART = "word/document.xml", "docProps/core.xml"
MAX_TEXT_MB = 100  # of the XML inside, unpacked: the longest novels have 10
MAX_PARTS = 10_000
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
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise UnreadableError(
            "corrupt", f"The Word document is damaged ({to_one_line(str(error))}); open it and save it again."
        ) from error
    html = mammoth.convert_to_html(
        BytesIO(data), style_map=_STYLES, convert_image=mammoth.images.img_element(lambda _: {})
    ).value
    content = read_html(b"<!doctype html><meta charset=utf-8><main>" + html.encode("utf-8", "replace") + b"</main>")
    return ParsedContent("docx", content.title or title, content.sections)


def _check_archive(archive: zipfile.ZipFile) -> None:
    parts = archive.infolist()
    size = sum(part.file_size for part in parts if part.filename.endswith((".xml", ".rels")))
    if size > MAX_TEXT_MB * 1_000_000 or len(parts) > MAX_PARTS:
        raise UnreadableError(
            "too_large",
            f"The Word document unpacks to {size / 1e6:,.0f} MB in {len(parts):,} parts, which no text needs; "
            "save its text as a new document.",
        )
    if any(part.flag_bits & 1 for part in parts):
        raise UnreadableError("encrypted", "The Word document is encrypted; save it without a password.")
    for part in parts:
        if part.filename.endswith((".xml", ".rels")):
            with archive.open(part) as stream:
                if b"<!DOCTYPE" in stream.read(4096):  # Word writes none, and entities can expand to any size
                    raise UnreadableError(
                        "corrupt", "The Word document declares entities, as none does; save it again with Word."
                    )


def _read_title(archive: zipfile.ZipFile) -> str:
    if PROPERTIES_PART not in archive.namelist():
        return ""
    match = _TITLE.search(archive.read(PROPERTIES_PART).decode("utf-8", "replace"))
    return to_one_line(match[1]) if match else ""
