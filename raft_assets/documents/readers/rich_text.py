r"""Rich Text Format (`.rtf`): paragraphs, headings, list items, tables, footnotes and the text of links.

One pass over control words, groups and characters, as the specification (Microsoft, RTF 1.9.1) has them. Groups nest as
deep as they like: what a group changes is on a list, not on the stack of calls. Nothing that a file names is opened.
"""

import codecs
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from raft_assets.documents.readers.cleaning import clean, to_one_line
from raft_assets.documents.readers.content import ParsedContent, UnreadableError, find_headings, split_sections
from raft_assets.documents.readers.left_out import LeftOutReason, count_words, counted

MAX_DEPTH = 100_000  # groups within groups: writers nest some tens
MAX_TABLES_BYTES = 2_000_000  # within which fonts and styles are listed

_TOKEN = re.compile(
    rb"\\(?P<word>[a-zA-Z]{1,32})(?P<number>-?\d{1,10})?[ ]?"
    rb"|\\'(?P<byte>[0-9a-fA-F]{2})|\\(?P<symbol>[^a-zA-Z])|(?P<brace>[{}])|[\r\n]+|(?P<text>[^\\{}\r\n]+)",
    re.DOTALL,
)
# groups without text of the document; so is any other that begins with \* and isn't among those with text
_WITHOUT_TEXT = frozenset(
    {"fonttbl", "colortbl", "stylesheet", "listtable", "listoverridetable", "revtbl", "rsidtbl", "pict", "objdata"}
)
_WITHOUT_TEXT |= {"themedata", "colorschememapping", "latentstyles", "datastore", "fldinst", "info", "generator"}
_WITHOUT_TEXT |= {"filetbl", "xmlnstbl", "mmathPr", "pnseclvl", "template", "xe", "tc", "ftnsep", "ftnsepc", "aftnsep"}
_WITHOUT_TEXT |= {"aftnsepc", "sp", "shprslt", "nonesttables", "nonshppict", "passwordhash"}
_WITH_TEXT = frozenset({"shpinst", "shptxt", "nesttableprops"})
_ITEM_MARKS = frozenset({"pntext", "listtext"})  # groups with the bullet or number of a list item
_LEFT_OUT: dict[str, LeftOutReason] = {
    **dict.fromkeys(("header", "headerl", "headerr", "headerf"), "header"),
    **dict.fromkeys(("footer", "footerl", "footerr", "footerf"), "footer"),
    "annotation": "comment",
}
_CHARACTERS = {"tab": "\t", "line": "\n", "emdash": "—", "endash": "–", "bullet": "•", "lquote": "‘", "rquote": "’"}
_CHARACTERS |= {"ldblquote": "“", "rdblquote": "”", "emspace": " ", "enspace": " ", "qmspace": " "}
_SYMBOLS = {"~": "\u00a0", "_": "-", "{": "{", "}": "}", "\\": "\\"}
_PARAGRAPH_ENDS = frozenset({"par", "sect", "page", "column"})
# of fonts, by their \fcharset; 0 and 1 mean the code page of the document
_CHARSETS = {77: "mac_roman", 128: "cp932", 129: "cp949", 130: "johab", 134: "gb18030", 136: "big5hkscs"}
_CHARSETS |= {161: "cp1253", 162: "cp1254", 163: "cp1258", 177: "cp1255", 178: "cp1256", 186: "cp1257"}
_CHARSETS |= {204: "cp1251", 222: "cp874", 238: "cp1250"}
_CODE_PAGES = {936: "gb18030", 950: "big5hkscs", 10000: "mac_roman", 65001: "utf-8"}
_ANSI, _FONT = re.compile(rb"\\ansicpg(\d{3,5})"), re.compile(rb"\\f(\d{1,5})[^{};]{0,200}?\\fcharset(\d{1,3})")
_STYLE = re.compile(rb"\{\\s(\d{1,5})\b([^{}]{0,1000})\}")
_OUTLINE = re.compile(rb"\\outlinelevel([0-8])\b")
_TITLE = re.compile(rb"\{\\title[ \r\n]([^{}]{1,1000})\}")

Sink = Literal["text", "note", "nothing"] | LeftOutReason


@dataclass(frozen=True)
class _State:
    """What a group inherits and may change."""

    sink: Sink = "text"  # where its characters go
    codec: str = "cp1252"
    unicode_skip: int = 1  # how many characters after a \u stand for it, for programs that don't know it
    heading: int = 0  # level of the paragraph as a heading, from 1
    is_in_table: bool = False
    is_hidden: bool = False


def read_rtf(data: bytes) -> ParsedContent:
    """Return the sections, which begin at headings. Raises UnreadableError (corrupt)."""
    head = data[:MAX_TABLES_BYTES]
    ansi = _ANSI.search(head)
    codec = _find_codec(int(ansi[1])) if ansi else "cp1252"
    fonts = {int(number): _CHARSETS.get(int(charset), codec) for number, charset in _FONT.findall(head)}
    styles = {
        int(number): int(level[1]) + 1 for number, text in _STYLE.findall(head) if (level := _OUTLINE.search(text))
    }
    reader = _Reader(fonts, styles, _State(codec=codec))
    text = clean(reader.read(data))
    title_match = _TITLE.search(head)
    title = to_one_line(_Reader(fonts, styles, _State(codec=codec)).read(title_match[1])) if title_match else ""
    first_heading = next((words for _, words in find_headings(text)), "")
    left_out = {reason: count_words("".join(parts)) for reason, parts in reader.left_out.items()}
    return ParsedContent("rtf", title or first_heading, split_sections(text), counted(left_out))


def _find_codec(code_page: int) -> str:
    name = _CODE_PAGES.get(code_page, f"cp{code_page}")
    try:
        return codecs.lookup(name).name
    except LookupError:
        return "cp1252"


@dataclass
class _Reader:
    """Collects the paragraphs of a file."""

    fonts: Mapping[int, str]  # codecs by number
    styles: Mapping[int, int]  # levels of headings by number
    state: _State
    groups: list[_State] = field(default_factory=list)
    is_first: bool = False  # whether the next control word may say what the group is
    is_optional: bool = False  # after \*
    to_skip: int = 0
    raw: bytearray = field(default_factory=bytearray)  # not decoded yet
    pieces: list[str] = field(default_factory=list)  # of the paragraph
    notes: list[str] = field(default_factory=list)  # of the paragraph's footnotes
    cells: list[str] = field(default_factory=list)  # of the row
    is_item: bool = False
    written: list[str] = field(default_factory=list)
    is_in_list: bool = False  # whether the block before is a row or an item, after which the next follows closely
    left_out: defaultdict[LeftOutReason, list[str]] = field(default_factory=lambda: defaultdict(list))

    def read(self, data: bytes) -> str:
        """Return the text as Markdown. Raises UnreadableError (corrupt)."""
        position = 0
        while match := _TOKEN.match(data, position):
            position = match.end()
            if match["text"]:
                self._bytes(match["text"])
            elif match["word"]:
                number = int(match["number"]) if match["number"] else None
                if match["word"] == b"bin":  # so many bytes of a picture follow
                    position += max(0, number or 0)
                self._control(match["word"].decode("ascii"), number)
            elif match["brace"]:
                self._brace(match["brace"])
            elif match["byte"]:
                self._bytes(bytes.fromhex(match["byte"].decode("ascii")))
            elif match["symbol"]:
                self._symbol(match["symbol"].decode("latin-1"))
        self._end_row()
        self.state = _State(codec=self.state.codec)  # whatever groups were left open
        self._end_paragraph()
        return "".join(self.written)

    def _brace(self, brace: bytes) -> None:
        self._decode()
        self.to_skip = 0
        if brace == b"{":
            if len(self.groups) >= MAX_DEPTH:
                raise UnreadableError(
                    "corrupt", "The file has groups in groups without end; open it and save it again."
                )
            self.groups.append(self.state)
        elif self.groups:
            self.state = self.groups.pop()
        self.is_first, self.is_optional = brace == b"{", False

    def _symbol(self, symbol: str) -> None:
        if symbol == "*":
            self.is_optional = True
        elif symbol in "\r\n":
            self._control("par", None)
        else:
            self.is_first = False
            self._add(_SYMBOLS.get(symbol, ""))

    def _control(self, word: str, number: int | None) -> None:
        is_first, self.is_first = self.is_first, False
        if self.state.sink == "nothing":
            return
        if word == "u" and number is not None:
            self._add(chr(number % 0x10000))
            self.to_skip = self.state.unicode_skip
        elif self.to_skip:
            self.to_skip -= 1
        elif is_first and self._begin_group(word):
            self._decode()
        elif word in _CHARACTERS:
            self._add(_CHARACTERS[word])
        elif self.state.sink != "text":
            self._add(" " if word in _PARAGRAPH_ENDS else "")
            self._take_property(word, number)
        elif word in ("cell", "nestcell"):
            self._end_cell()
        elif word in ("row", "nestrow"):
            self._end_row()
        elif word in _PARAGRAPH_ENDS:
            self._end_paragraph()
        else:
            self._take_property(word, number)

    def _begin_group(self, word: str) -> bool:
        """Return whether the word says what the group is; then its characters go where they belong."""
        if word in _ITEM_MARKS:
            self.is_item = True
        if word in _LEFT_OUT:
            self.state = replace(self.state, sink=_LEFT_OUT[word])
        elif word == "footnote":
            self.state = replace(self.state, sink="note")
            self.notes.append("\n\n")
        elif word in _WITHOUT_TEXT or word in _ITEM_MARKS or (self.is_optional and word not in _WITH_TEXT):
            self.state = replace(self.state, sink="nothing")
        else:
            return False
        return True

    def _take_property(self, word: str, number: int | None) -> None:
        """Take what a control word says about the characters after it."""
        if word == "f" and number is not None:
            self._decode()
            self.state = replace(self.state, codec=self.fonts.get(number, self.state.codec))
        elif word == "uc" and number is not None:
            self.state = replace(self.state, unicode_skip=min(max(number, 0), 10))
        elif word == "pard":
            self.state = replace(self.state, heading=0, is_in_table=False)
        elif word == "intbl":
            self.state = replace(self.state, is_in_table=True)
        elif word == "s" and number is not None:
            self.state = replace(self.state, heading=self.styles.get(number, 0))
        elif word == "outlinelevel" and number is not None:
            self.state = replace(self.state, heading=number + 1 if 0 <= number < 9 else 0)
        elif word == "plain":
            self._decode()
            self.state = replace(self.state, is_hidden=False)
        elif word in ("v", "deleted"):
            self._decode()
            self.state = replace(self.state, is_hidden=number != 0)

    # ---- characters ----

    def _bytes(self, data: bytes) -> None:
        self.is_first = False
        if self.state.sink == "nothing":
            return
        skipped = min(self.to_skip, len(data))
        self.to_skip -= skipped
        self.raw += data[skipped:]

    def _decode(self) -> None:
        """Put the bytes that were read into the text."""
        if self.raw:
            text, self.raw = self.raw.decode(self.state.codec, "replace"), bytearray()
            self._put(text)

    def _add(self, text: str) -> None:
        self._decode()
        if text and self.state.sink != "nothing":
            self._put(text)

    def _put(self, text: str) -> None:
        sink = "hidden" if self.state.is_hidden and self.state.sink in ("text", "note") else self.state.sink
        if sink == "text":
            self.pieces.append(text)
        elif sink == "note":
            self.notes.append(text)
        elif sink != "nothing":
            self.left_out[sink].append(text)

    # ---- blocks ----

    def _take_paragraph(self) -> str:
        self._decode()
        text, self.pieces = _joined(self.pieces), []
        return text

    def _end_paragraph(self) -> None:
        if self.state.is_in_table:  # one of several paragraphs of a cell
            self._add("\n")
            return
        text, level = self._take_paragraph(), self.state.heading
        notes, self.notes = _joined(self.notes), []
        is_item, self.is_item = self.is_item, False
        if text.strip() and level:
            self._write(f"{'#' * min(level, 6)} {to_one_line(text)}")
        elif text.strip():
            self._write(f"- {to_one_line(text)}" if is_item else text.strip(), is_close=is_item)
        for note in notes.split("\n\n"):
            if note.strip():
                self._write(to_one_line(note))

    def _end_cell(self) -> None:
        self.cells.append(to_one_line(self._take_paragraph()))
        self.is_item = False

    def _end_row(self) -> None:
        cells, self.cells = self.cells, []
        if any(cells):
            self._write(" | ".join(cells), is_close=True)

    def _write(self, text: str, *, is_close: bool = False) -> None:
        if self.written:
            self.written.append("\n" if is_close and self.is_in_list else "\n\n")
        self.written.append(text)
        self.is_in_list = is_close


def _joined(pieces: list[str]) -> str:
    """Return the pieces with halves of surrogate pairs put together."""
    return "".join(pieces).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
