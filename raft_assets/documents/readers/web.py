"""HTML: the main content as text with Markdown's marks for headings, list items, tables and code."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from selectolax.lexbor import LexborHTMLParser, LexborNode

from raft_assets.documents.readers.cleaning import clean, to_one_line
from raft_assets.documents.readers.content import ParsedContent, split_sections
from raft_assets.documents.readers.decoding import decode, find_declared_encoding
from raft_assets.documents.readers.left_out import LeftOutReason, count_words, counted
from raft_assets.documents.readers.web_furniture import (
    NO_TEXT,
    count_left_out,
    find_furniture,
    is_page_header,
    is_within,
    text_below,
)

MAX_OUTSIDE = 4  # times the words of the main content that may stand outside it and its furniture
_WHITE_SPACE = re.compile(r"\s+")
_MAIN = ("main", "[role=main]", "article")  # the first that occurs exactly once
_PAGE_HEADER = "header, [role=banner]"  # inside main content a header holds the title
_LINES = frozenset({"br", "button"})  # what is not on the line of what is before it
_FIELDS = frozenset({"input", "label", "select", "textarea", "output", "meter", "progress"})  # apart from words beside
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_LISTS = frozenset({"ul", "ol", "menu"})
_CELLS = frozenset({"td", "th"})
_BLOCKS = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "caption",
        "center",
        "dd",
        "details",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "header",
        "hgroup",
        "hr",
        "legend",
        "li",
        "main",
        "nav",
        "p",
        "pre",
        "section",
        "summary",
        "table",
        "tbody",
        "td",
        "tfoot",
        "th",
        "thead",
        "tr",
    ]
) | {*_HEADINGS, *_LISTS}


def read_html(data: bytes) -> ParsedContent:
    """Return the main content; the title is the first heading, else the page's <title>.

    The tree is walked without recursion: pages nest as deep as they like.
    """
    tree = LexborHTMLParser(decode(data, find_declared_encoding(data)))
    page_title = tree.css_first("title")
    title = to_one_line(page_title.text()) if page_title else ""
    furniture = find_furniture(tree)
    content, text = _main_content(tree, furniture)
    sections = split_sections(clean(text))
    first_heading = next((section.heading for section in sections if section.heading), "")
    left_out = count_left_out(tree.body, content, furniture)
    return ParsedContent("html", first_heading or title, sections, counted(left_out))


def count_page_words(data: bytes) -> int:
    """Return the number of words of a page, all of its furniture included."""
    body = LexborHTMLParser(decode(data, find_declared_encoding(data))).body
    return count_words(text_below(body)) if body else 0


def _main_content(tree: LexborHTMLParser, furniture: dict[int, LeftOutReason]) -> tuple[LexborNode | None, str]:
    """Return the main content and its text; without one the body, and headers of the page become furniture."""
    for selector in _MAIN:
        nodes = tree.css(selector)
        if len(nodes) == 1 and not is_within(nodes[0], furniture):
            text = _TextRenderer(furniture).of(nodes[0])
            if text.strip() and not _is_lesser_part(nodes[0], tree.body, furniture):
                return nodes[0], text
    for node in tree.css(_PAGE_HEADER):
        if node.mem_id not in furniture and is_page_header(node):
            furniture[node.mem_id] = "header"
    return tree.body, _TextRenderer(furniture).of(tree.body)


def _is_lesser_part(node: LexborNode, body: LexborNode | None, furniture: Mapping[int, LeftOutReason]) -> bool:
    """Return whether most of a page's text stands outside what it marks as its main content: a picture's, a teaser."""
    if body is None:
        return False
    apart = dict(furniture) | {header.mem_id: "header" for header in body.css(_PAGE_HEADER) if is_page_header(header)}
    words = count_left_out(body, node, apart)["outside_main"]
    return words > MAX_OUTSIDE * max(1, count_words(text_below(node)))


@dataclass
class _TextRenderer:
    """Renders the text of a tree without its furniture, block by block, in one walk."""

    furniture: Mapping[int, LeftOutReason]
    written: list[str] = field(default_factory=list)
    separator: str = ""  # what comes before the next block
    marker: str = ""  # what the next block begins with
    inline: list[str] = field(default_factory=list)  # of the block that the walk is in
    row: list[str] = field(default_factory=list)
    cell: list[str] = field(default_factory=list)
    lists: int = 0  # how many lists, table cells and <pre> the walk is in
    cells: int = 0
    verbatim: int = 0

    def of(self, root: LexborNode | None) -> str:
        """Return the text below `root`."""
        pending: list[tuple[LexborNode, bool]] = [(root, True)] if root else []
        while pending:
            node, entering = pending.pop()
            tag = str(node.tag)
            if not entering:
                self._leave(tag)
            elif node.is_text_node:
                text = node.text_content or ""
                self.inline.append(text if self.verbatim else _WHITE_SPACE.sub(" ", text))
            elif node.is_element_node and tag not in NO_TEXT and node.mem_id not in self.furniture:
                self._enter(tag)
                pending.append((node, False))
                pending.extend((child, True) for child in reversed(list(node.iter(include_text=True))))
        self._flush()
        return "".join(self.written)

    def _enter(self, tag: str) -> None:
        if tag in _LINES:
            self.inline.append("\n")
        if tag in _FIELDS:
            self.inline.append(" ")
        if tag not in _BLOCKS:
            return
        self._flush()
        if tag in _HEADINGS:
            self.marker = "#" * _HEADINGS[tag] + " "
        elif tag == "li":
            self.marker = "- "
        self._count(tag, 1)

    def _leave(self, tag: str) -> None:
        if tag in _FIELDS:
            self.inline.append(" ")
        if tag == "button":
            self.inline.append("\n")
        if tag not in _BLOCKS:
            return
        self._flush()
        self._count(tag, -1)
        if tag in _HEADINGS or tag == "li":
            self.marker = ""
        if tag in _CELLS and not self.cells:
            self.row.append(" ".join(self.cell))
            self.cell = []
        elif tag == "tr" and not self.cells and any(self.row):
            self._write(" | ".join(self.row), then="\n")
            self.row = []
        elif tag == "table" or (tag in _LISTS and not self.lists):
            self.separator = "\n\n"

    def _count(self, tag: str, step: int) -> None:
        self.lists += step * (tag in _LISTS)
        self.cells += step * (tag in _CELLS)
        self.verbatim += step * (tag == "pre")

    def _flush(self) -> None:
        text, self.inline = "".join(self.inline), []
        if not text.strip():
            return
        lines = [line for line in map(to_one_line, text.split("\n")) if line]
        if self.cells:
            self.cell.append(" ".join(lines))
        elif self.verbatim:
            self._write(f"```\n{text.strip(chr(10))}\n```", then="\n\n")
        else:
            words = ("\n" if self.marker in {"", "- "} else " ").join(lines)
            self._write(self.marker + words, then="\n" if self.lists else "\n\n")
            self.marker = ""

    def _write(self, text: str, then: str) -> None:
        self.written.append(self.separator + text)
        self.separator = then
