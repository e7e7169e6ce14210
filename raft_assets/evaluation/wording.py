"""Numbers as people read them, alike in verdict, report and plots."""

import math

MINUS = "\N{MINUS SIGN}"


def format_percent(share: float | None) -> str:
    """Format a share of one in per cent, without the sign; a dash where there is none."""
    return "–" if share is None or math.isnan(share) else f"{share * 100:.1f}"


def format_points(difference: float) -> str:
    """Format a difference of shares in points of a hundred, signed, with a true minus."""
    return format_signed(difference * 100)


def format_signed(difference: float) -> str:
    """Format a difference with its sign and one decimal."""
    text = f"{difference:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", MINUS)


def count_noun(count: int, noun: str) -> str:
    """Return a count with its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
