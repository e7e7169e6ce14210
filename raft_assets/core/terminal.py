"""Text of documents and models as a terminal may show it."""

import unicodedata

# characters that turn the direction of a text: the text after them would seem to be elsewhere
_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# marks of direction that texts in Arabic and Hebrew hold between words: left out, because they are never seen
_BIDI_MARKS = frozenset("\u061c\u200e\u200f")
_UNSHOWN = _BIDI_CONTROLS | _BIDI_MARKS


def strip_control_characters(text: str) -> str:
    """Replace what a terminal would obey instead of showing it; line breaks stay, marks of direction are dropped."""
    return "".join(
        character if character == "\n" or not _is_control_character(character) else "\ufffd"
        for character in text.replace("\r\n", "\n").replace("\t", " ")
        if character not in _BIDI_MARKS
    )


def escape_control_characters(text: str) -> str:
    """Write the same characters of a JSON text as JSON escapes them, so that no string changes; line breaks stay."""
    return "".join(
        character if character == "\n" or not _is_control_character(character) else f"\\u{ord(character):04x}"
        for character in text
    )


def _is_control_character(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cs"} or character in _UNSHOWN
