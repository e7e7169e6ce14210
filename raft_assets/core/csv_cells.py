"""Cells of CSV files that a spreadsheet takes for text and not for a formula, whatever a document or a name says."""

import re

# by what spreadsheets recognize formulas (the wide ones in East Asian locales), or what they strip before one
FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\t", "\r")
ESCAPE_PREFIX = "'"  # what a spreadsheet reads as "this is text"

_NUMBER = re.compile(r"[+-]?\d[\d.,]*(?:e[+-]?\d+)?", re.IGNORECASE)


def is_formula(text: str) -> bool:
    """Return whether a spreadsheet would compute the text."""
    return text.lstrip(" \n").startswith(FORMULA_STARTS)


def neutralize(value: object) -> object:
    """Return the value, of a text that would be computed with an apostrophe before it; numbers stay numbers."""
    if isinstance(value, str) and is_formula(value) and not _NUMBER.fullmatch(value):
        return f"{ESCAPE_PREFIX}{value}"
    return value
