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


def format_interval(low: float, high: float) -> str:
    """Format the ends of an interval of differences of shares, in points."""
    return f"{format_points(low)} to {format_points(high)}"


def count_noun(count: int, noun: str) -> str:
    """Return a count with its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def format_dollars(dollars: float) -> str:
    """Format US dollars: to the cent from one dollar on, below with as many digits as it takes to see them."""
    return f"{dollars:,.2f}" if dollars >= 1 or dollars == 0 else f"{dollars:.4f}"


def format_rate(per_second: float) -> str:
    """Format how many of something there are a second, or a minute or an hour where they are fewer than one."""
    if per_second >= 1:
        return f"{per_second:,.0f}/s"
    return f"{per_second * 60:.0f}/min" if per_second >= 1 / 60 else f"{per_second * 3600:.0f}/h"


def format_duration(seconds: float) -> str:
    """Format a length of time in its two largest units."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
