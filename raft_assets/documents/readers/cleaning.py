"""Text as every reader leaves it: one spelling per character, one kind of space and line end, nothing invisible."""

import re
import unicodedata

# the ligatures of typesetting; full NFKC would also turn x² into x2 and ½ into 1⁄2
_LIGATURES = {
    0xFB00: "ff",
    0xFB01: "fi",
    0xFB02: "fl",
    0xFB03: "ffi",
    0xFB04: "ffl",
    0xFB05: "st",
    0xFB06: "st",
}
# joiners stay: Persian and emoji need them
_INVISIBLE = dict.fromkeys([0x00AD, 0x200B, 0x2060, 0xFEFF, *range(0xFFF9, 0xFFFC)])
_CONTROLS = dict.fromkeys(code for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in (0x09, 0x0A))
_SPACES = dict.fromkeys((0x00A0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000), " ")
_TABLE = _CONTROLS | _INVISIBLE | _LIGATURES | _SPACES
_LINE_ENDS = re.compile(r"\r\n?|[\x0b\x85\u2028]")
_PARAGRAPH_ENDS = re.compile(r"[\x0c\u2029]")
_TRAILING = re.compile(r"[ \t]+$", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n{3,}")


def clean(text: str) -> str:
    """Return the text in NFC without control and zero-width characters, trailing spaces and repeated blank lines."""
    # JSON can spell half a surrogate pair, which no table could hold
    text = text.encode("utf-8", "replace").decode("utf-8")
    text = _PARAGRAPH_ENDS.sub("\n\n", _LINE_ENDS.sub("\n", text))
    text = unicodedata.normalize("NFC", text.translate(_TABLE))
    return _BLANK_LINES.sub("\n\n", _TRAILING.sub("", text)).strip("\n")


def to_one_line(text: str) -> str:
    """Return the cleaned text on one line with single spaces."""
    return " ".join(clean(text).split())


def drop_blank_lines(text: str) -> str:
    """Return the cleaned text with its line breaks and without its blank lines."""
    return "\n".join(line for line in clean(text).split("\n") if line.strip())
