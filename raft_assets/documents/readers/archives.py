"""Archives that hold documents (.docx, .pptx, .xlsx, .epub), within bounds.

Nothing is unpacked before the archive's own directory says that it stays within bounds; zip readers return no more
bytes than the directory says. Archives within an archive are never opened, and nothing that a part names is fetched.
"""

import posixpath
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import IO
from urllib.parse import unquote
from xml.etree import ElementTree as ET
from xml.parsers import expat

from raft_assets.documents.readers.cleaning import to_one_line
from raft_assets.documents.readers.content import UnreadableError
from raft_assets.documents.readers.left_out import LeftOutReason

XML_SUFFIXES = (".xml", ".rels")
TEXT_SUFFIXES = (*XML_SUFFIXES, ".xhtml", ".html", ".htm", ".opf")
MAX_TEXT_MB = 100  # of the text inside, unpacked: the longest novels have 10
MAX_ELEMENTS = 500_000  # of all XML, which are read in half a minute: a page has some hundreds
# text of this size and more is none where it was packed more tightly; Word packs 10 to 30
MIN_BOMB_MB, MAX_RATIO = 5, 100
MAX_PARTS = 10_000

_PROPERTIES_PART = "docProps/core.xml"
_TITLE = "{http://purl.org/dc/elements/1.1/}title"


@contextmanager
def open_archive(data: bytes, noun: str) -> Iterator[zipfile.ZipFile]:
    """Open an archive whose text stays within bounds; `noun` is what people call such a file.

    Raises UnreadableError (corrupt, encrypted, too_large), also for what is found to be damaged while it is open.
    """
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            _check_size(archive, noun)
            yield archive
    except (
        zipfile.BadZipFile,
        ValueError,
        KeyError,
        EOFError,
        NotImplementedError,
        zlib.error,
        ET.ParseError,
    ) as error:
        raise UnreadableError(
            "corrupt", f"The {noun} is damaged ({to_one_line(str(error))}); open it and save it again."
        ) from error


def list_parts(data: bytes) -> frozenset[str]:
    """Return the names of the parts of an archive; none where the bytes are no archive."""
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            return frozenset(archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return frozenset()


def check_elements(archive: zipfile.ZipFile, noun: str, maximum: int = MAX_ELEMENTS) -> None:
    """Check that all XML has few elements and declares no entities. Raises UnreadableError (too_large, corrupt).

    Office programs write no DTD, and entities can expand to any size. Parts that are no XML are left to those who need
    them.
    """
    count = 0

    def refuse(*_: object) -> None:
        raise UnreadableError(
            "corrupt", f"The {noun} declares entities, as none does; save it again where it was made."
        )

    def begin(*_: object) -> None:
        nonlocal count
        count += 1
        if count > maximum:
            raise UnreadableError(
                "too_large", f"The {noun} has more than {maximum:,} elements, which no text needs; split it."
            )

    for name in dict.fromkeys(archive.namelist()):
        if not _is_checked(name):
            continue
        parser = expat.ParserCreate()
        parser.StartDoctypeDeclHandler = refuse
        parser.StartElementHandler = begin
        with archive.open(name) as stream, suppress(expat.ExpatError):
            parser.ParseFile(stream)


def open_part(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    """Open the XML of a part, after `check_elements`.

    Raises KeyError where there is none, ValueError for one whose name doesn't say that it is XML: nothing checked it.
    """
    if not _is_checked(name):
        raise ValueError(f"{name} is no XML")
    return archive.open(name)


def read_part(archive: zipfile.ZipFile, name: str) -> ET.Element:
    """Return the XML of a part. Raises what `open_part` does, and ET.ParseError."""
    with open_part(archive, name) as stream:
        return ET.fromstring(stream.read())  # noqa: S314 - its DTD and size are checked before


def _is_checked(name: str) -> bool:
    return name.casefold().endswith((*XML_SUFFIXES, ".opf"))


def read_left_out_parts(
    archive: zipfile.ZipFile, reasons: Mapping[str, LeftOutReason]
) -> Iterator[tuple[LeftOutReason, ET.Element]]:
    """Yield the XML of the parts whose names begin as `reasons` says, each with its reason, without damaged ones."""
    for name in dict.fromkeys(archive.namelist()):
        reason = next((reason for start, reason in reasons.items() if name.startswith(start)), None)
        if reason and name.endswith(".xml"):
            with suppress(ET.ParseError):
                yield reason, read_part(archive, name)


def read_relations(archive: zipfile.ZipFile, part: str) -> dict[str, tuple[str, str]]:
    """Return the parts that a part of an office document refers to: by id, the last word of the type and the name."""
    folder, name = posixpath.split(part)
    relations = f"{folder}/_rels/{name}.rels"
    if relations not in archive.namelist():
        return {}
    return {
        relation.get("Id", ""): (
            relation.get("Type", "").rpartition("/")[2],
            resolve_part(part, relation.get("Target", "")),
        )
        for relation in read_part(archive, relations)
        if relation.get("TargetMode") != "External"
    }


def resolve_part(part: str, target: str) -> str:
    """Return the name of the part that another part names by a relative address."""
    path = unquote(target.partition("#")[0])
    return posixpath.normpath(posixpath.join("/", posixpath.dirname(part), path)).lstrip("/")


def read_title(archive: zipfile.ZipFile) -> str:
    """Return the title in the properties of an office document; empty where it has none."""
    if _PROPERTIES_PART not in archive.namelist():
        return ""
    with suppress(ET.ParseError):
        title = read_part(archive, _PROPERTIES_PART).find(_TITLE)
        return to_one_line(title.text or "") if title is not None else ""
    return ""


def local_name(element: ET.Element) -> str:
    """Return the name of an element without its namespace."""
    return str(element.tag).rpartition("}")[2]


def _check_size(archive: zipfile.ZipFile, noun: str) -> None:
    parts = archive.infolist()
    texts = [part for part in parts if part.filename.casefold().endswith(TEXT_SUFFIXES)]
    size, packed = sum(part.file_size for part in texts), sum(part.compress_size for part in texts)
    is_bomb = size > MIN_BOMB_MB * 1_000_000 and size > MAX_RATIO * packed
    if size > MAX_TEXT_MB * 1_000_000 or len(parts) > MAX_PARTS or is_bomb:
        raise UnreadableError(
            "too_large",
            f"The {noun} unpacks from {packed / 1e6:,.1f} to {size / 1e6:,.0f} MB in {len(parts):,} parts, "
            "which no text needs; save its text as a new document.",
        )
    if any(part.flag_bits & 1 for part in parts):
        raise UnreadableError("encrypted", f"The {noun} is encrypted; save it without a password.")
