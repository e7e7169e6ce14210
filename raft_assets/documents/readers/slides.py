"""Presentations (`.pptx`): slides in order, titles as headings, lists, tables, diagrams, equations and notes."""

import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from raft_assets.documents.readers.archives import (
    check_elements,
    local_name,
    open_archive,
    read_left_out_parts,
    read_part,
    read_relations,
    read_title,
)
from raft_assets.documents.readers.cleaning import clean, to_one_line
from raft_assets.documents.readers.content import ParsedContent, Section
from raft_assets.documents.readers.left_out import LeftOutReason, count_words, counted
from raft_assets.documents.readers.office_math import replace_equations

PRESENTATION_PART = "ppt/presentation.xml"

_TITLES = frozenset({"title", "ctrTitle"})
_LISTS = frozenset({"body", "obj", ""})  # placeholders whose paragraphs are items; without a type they hold anything
_FURNITURE: dict[str, LeftOutReason] = {"ftr": "footer", "dt": "footer", "hdr": "header", "sldNum": "page_number"}


def read_pptx(data: bytes) -> ParsedContent:
    """Return a section per slide that has text and isn't hidden.

    Raises UnreadableError (corrupt, encrypted, too_large).
    """
    with open_archive(data, "presentation") as archive:
        check_elements(archive, "presentation")
        sections: list[Section] = []
        left_out: Counter[LeftOutReason] = Counter()
        for number, part in enumerate(dict.fromkeys(_slides(archive)), start=1):
            slide = _Slide(archive, part)
            text = slide.text()
            if slide.is_hidden:
                left_out["hidden"] += count_words(text)
                continue
            left_out.update(slide.left_out)
            if text:
                sections.append(Section(number, slide.title, text))
        for reason, root in read_left_out_parts(archive, {"ppt/comments/": "comment"}):
            texts = (element.text or "" for element in root.iter() if local_name(element) in ("text", "t"))
            left_out[reason] += sum(map(count_words, texts))
        title = read_title(archive)
    first_title = next((section.heading for section in sections if section.heading), "")
    is_usual = title.casefold() in ("", "powerpoint presentation", "powerpoint-präsentation", "présentation powerpoint")
    return ParsedContent("pptx", first_title if is_usual else title, tuple(sections), counted(left_out))


def _slides(archive: zipfile.ZipFile) -> Iterator[str]:
    """Yield the parts of the slides in the order in which they are shown."""
    relations = read_relations(archive, PRESENTATION_PART)
    for element in read_part(archive, PRESENTATION_PART).iter():
        if local_name(element) == "sldId":
            reference = next((value for key, value in element.attrib.items() if key.endswith("}id")), "")
            kind, part = relations.get(reference, ("", ""))
            if kind == "slide":
                yield part


@dataclass
class _Slide:
    """One slide with its notes; `title` and `left_out` are known after `text`."""

    archive: zipfile.ZipFile
    part: str
    title: str = ""
    is_hidden: bool = False
    left_out: Counter[LeftOutReason] = field(default_factory=Counter)

    def text(self) -> str:
        """Return the slide as Markdown: its title, what is on it, and its notes."""
        root = read_part(self.archive, self.part)
        self.is_hidden = root.get("show") in ("0", "false")
        relations = read_relations(self.archive, self.part)
        blocks = list(self._blocks(root, relations))
        notes = [part for kind, part in relations.values() if kind == "notesSlide"]
        for part in notes:
            blocks.extend(self._notes(part))
        if self.title:
            blocks.insert(0, f"## {self.title}")
        return clean("\n\n".join(blocks)).strip()

    def _blocks(self, root: Element, relations: dict[str, tuple[str, str]]) -> Iterator[str]:
        for shape in _shapes(root):
            if local_name(shape) == "graphicFrame":
                yield from self._graphic(shape, relations)
                continue
            replace_equations(shape)
            kind = _placeholder(shape)
            paragraphs = list(_paragraphs(shape))
            if kind in _FURNITURE:
                self.left_out[_FURNITURE[kind]] += sum(map(count_words, paragraphs))
            elif kind in _TITLES and not self.title:
                self.title = to_one_line(" ".join(paragraphs))
            elif kind in _LISTS and len(paragraphs) > 1:
                yield "\n".join(f"- {text}" for text in paragraphs)
            elif paragraphs:
                yield "\n\n".join(paragraphs)

    def _graphic(self, frame: Element, relations: dict[str, tuple[str, str]]) -> Iterator[str]:
        """Yield the text of a table or diagram; charts are counted."""
        for element in frame.iter():
            name = local_name(element)
            reference = next((value for key, value in element.attrib.items() if key.endswith(("}dm", "}id"))), "")
            kind, part = relations.get(reference, ("", ""))
            if name == "tbl":
                yield "\n".join(filter(None, map(_row_text, _children(element, "tr"))))
            elif name == "relIds" and kind == "diagramData":
                yield "\n".join(f"- {text}" for text in _diagram_texts(read_part(self.archive, part)))
            elif name == "chart" and kind == "chart":
                root = read_part(self.archive, part)
                self.left_out["graphic"] += sum(
                    count_words(one.text or "") for one in root.iter() if local_name(one) in ("t", "v")
                )

    def _notes(self, part: str) -> Iterator[str]:
        for shape in _shapes(read_part(self.archive, part)):
            paragraphs = list(_paragraphs(shape))
            if _placeholder(shape) == "body" and paragraphs:
                yield "Notes: " + "\n\n".join(paragraphs)


def _shapes(root: Element) -> Iterator[Element]:
    """Yield the shapes of a slide in order, those of groups in place, and one of several forms of a shape."""
    pending = [root]
    while pending:
        element = pending.pop()
        name = local_name(element)
        if name in ("sp", "graphicFrame"):
            yield element
        elif name == "AlternateContent":
            pending.extend(_form(element))
        else:
            pending.extend(reversed(element))


def _form(alternatives: Element) -> list[Element]:
    """Return the one of several forms of the same content that has text: the first is for the newest programs."""
    return [form for form in alternatives if _has_text(form)][:1]


def _has_text(element: Element) -> bool:
    return any(local_name(one) == "t" and (one.text or "").strip() for one in element.iter())


def _placeholder(shape: Element) -> str | None:
    """Return the type of a placeholder, empty where it has none; None for any other shape."""
    for element in shape.iter():
        if local_name(element) == "ph":
            return element.get("type", "")
    return None


def _paragraphs(shape: Element) -> Iterator[str]:
    """Yield the paragraphs of a shape or cell that have text, each on one line."""
    for element in shape.iter():
        if local_name(element) == "p":
            text = to_one_line("".join(_runs(element)))
            if text:
                yield text


def _runs(paragraph: Element) -> Iterator[str]:
    pending = [paragraph]
    while pending:
        element = pending.pop()
        name = local_name(element)
        if name == "t":
            yield element.text or ""
        elif name in ("br", "tab"):
            yield " "
        elif name == "AlternateContent":
            pending.extend(_form(element))
        else:
            pending.extend(reversed(element))


def _children(element: Element, name: str) -> Iterator[Element]:
    return (child for child in element if local_name(child) == name)


def _row_text(row: Element) -> str:
    cells = [" ".join(_paragraphs(cell)) for cell in _children(row, "tc")]
    return " | ".join(cells) if any(cells) else ""


def _diagram_texts(root: Element) -> Iterator[str]:
    """Yield the texts of a diagram; points of its presentation repeat them."""
    for point in root.iter():
        if local_name(point) == "pt" and point.get("type", "node") not in ("pres", "parTrans", "sibTrans"):
            text = " ".join(_paragraphs(point))
            if text:
                yield text
