"""Small plots as SVG texts, without JavaScript and without a plotting library.

A plot is drawn for one of two places. Inside the report it takes the page's colours (CSS variables), so that dark mode
and print work; `standalone` plots have fixed colours and a background, for images such as those in Dagster's Markdown.
Every plot has a name (`title`) and describes its content in words (`desc`). All stay below 6 kB.
"""

from __future__ import annotations

import base64
import html
import math
import re
import statistics
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from raft_assets.core.bidi import close_direction
from raft_assets.evaluation.summary import sort_for_display
from raft_assets.evaluation.wording import count_noun, format_percent, format_points

if TYPE_CHECKING:
    import pandas as pd

WIDTH = 460  # units of the view box: text of 12 units stays readable when a phone shrinks the plot to 340 pixels
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 42, 40
PLOT_HEIGHT = 150
MAX_BINS = 24
MAX_POINTS = 120  # of one line; more would pass 6 kB and can't be told apart
CHARACTER = 6.4  # mean width of a character at 12 units
EDGE, ROW, HEADING, MAX_LABEL = 10, 24, 24, 18  # of interval_bars: left margin, heights, characters of a name
SCALE_LEFT, SCALE_RIGHT, SPREAD_LEFT, SPREAD_RIGHT = 148, 274, 330, 436  # its two panels: scores, and differences
DIFFERENCES = ["difference", "low", "high"]


@dataclass(frozen=True)
class Palette:
    """Colours by what they are for."""

    ink: str
    muted: str
    grid: str
    baseline: str
    student: str
    worse: str
    paper: str | None


INLINE = Palette(
    "currentColor", "var(--muted)", "var(--rule)", "var(--baseline)", "var(--student)", "var(--worse)", None
)
FIXED = Palette("#1d2430", "#5b6472", "#dfe3e8", "#8a93a1", "#0b7a75", "#b02a2a", "#ffffff")


def data_uri(svg: str) -> str:
    """Return the plot as an address that Markdown and `<img>` show in place."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def histogram(values: Sequence[float], *, title: str, x_label: str, standalone: bool = False) -> str:
    """Draw how often which values occur, in at most `MAX_BINS` bins of a round width."""
    colours = _palette(standalone=standalone)
    if not values:
        return _svg(title, "No values.", "", TOP + 20, colours)
    whole = all(float(value).is_integer() for value in values)
    width = _round_step((max(values) - min(values)) / MAX_BINS, whole=whole)
    first = math.floor(min(values) / width)
    counts = [0] * (math.floor(max(values) / width) - first + 1)
    for value in values:
        counts[math.floor(value / width) - first] += 1
    axes = Axes(first * width, (first + len(counts)) * width, 0, max(counts), whole_x=whole, whole_y=True)
    bar = axes.x(width) - axes.x(0) - 1
    bars = "".join(
        f'<rect x="{axes.x(place * width) + 0.5:.1f}" y="{axes.y(count):.1f}" '
        f'width="{bar:.1f}" height="{axes.y(0) - axes.y(count):.1f}"/>'
        for place, count in enumerate(counts, first)
        if count
    )
    summary = (
        f"{count_noun(len(values), 'value')} from {_format_number(min(values))} to {_format_number(max(values))}, "
        f"median {_format_number(statistics.median(values))}."
    )
    body = axes.draw(colours, x_label=x_label, y_label="count") + f'<g fill="{colours.student}">{bars}</g>'
    return _svg(title, summary, body, axes.height, colours)


def line(
    xs: Sequence[float],
    series: Mapping[str, Sequence[float | None]],
    *,
    title: str,
    x_label: str,
    y_label: str,
    standalone: bool = False,
) -> str:
    """Draw up to two series over `xs`, (n,) each.

    Points that are missing or not finite are left out, and their neighbours joined.
    """
    colours = _palette(standalone=standalone)
    points = {
        name: [(x, y) for x, y in zip(xs, ys, strict=True) if y is not None and math.isfinite(y)]
        for name, ys in series.items()
    }
    points = {name: _thin(line_points) for name, line_points in points.items() if line_points}
    if not points:
        return _svg(title, "No values.", "", TOP + 20, colours)
    places, heights = zip(*(point for line_points in points.values() for point in line_points), strict=True)
    whole = all(float(x).is_integer() for x in places)
    axes = Axes(min(places), max(places), min(0.0, *heights), max(heights), whole_x=whole, whole_y=False)
    styles = {
        name: (colour, dash)
        for name, colour, dash in zip(series, (colours.student, colours.baseline), ("", "5 3"), strict=False)
    }
    drawn = "".join(_draw_polyline(line_points, axes, *styles[name]) for name, line_points in points.items())
    summary = " ".join(
        f"{name}: {count_noun(len(line_points), 'point')} from {_format_number(line_points[0][1])} to "
        f"{_format_number(line_points[-1][1])}, lowest {_format_number(min(y for _, y in line_points))}."
        for name, line_points in points.items()
    )
    legend = _draw_legend([(name, *styles[name]) for name in points], colours)
    return _svg(
        title, summary, axes.draw(colours, x_label=x_label, y_label=y_label) + drawn + legend, axes.height, colours
    )


def interval_bars(
    summary: pd.DataFrame,
    *,
    title: str,
    metric: str,
    standalone: bool = False,
    names: tuple[str, str] = ("baseline", "student"),
) -> str:
    """Draw baseline and student as dots, in per cent, and next to them their difference with its 95 % interval.

    There is a row per slice and arm of a summary that has this metric; a column `label` names the rows instead. An
    interval that doesn't touch the zero line is coloured: that difference is not chance. `names`: of the two models.
    """
    colours = _palette(standalone=standalone)
    rows = sort_for_display(summary[summary["metric"] == metric])
    if rows.empty:
        return _svg(title, "No values.", "", TOP + 20, colours)
    least, most = (float(edge) for edge in (rows[DIFFERENCES].min().min(), rows[DIFFERENCES].max().max()))
    across = _DifferencePanel(min(least, 0.0), max(most, 0.0, least + 0.02))
    y, drawn, told, source = float(TOP + 4), [], [], ""
    for row in rows.to_dict("records"):
        name = close_direction(str(row.get("label", row["arm"])).replace("_", " "))
        if row["source"] != source:
            source = row["source"]
            drawn.append(_draw_text(EDGE, y + 16, f"{source} questions", colours.muted, weight="600"))
            y += HEADING
        drawn.append(
            _draw_text(
                EDGE, y + ROW / 2 + 4, name if len(name) <= MAX_LABEL else f"{name[: MAX_LABEL - 1]}…", colours.ink
            )
        )
        drawn.append(_draw_dots(row, y + ROW / 2, colours) + _draw_difference(row, y + ROW / 2, across, colours))
        told.append(
            f"{source}, {name}: {names[0]} {format_percent(row['baseline'])}, "
            f"{names[1]} {format_percent(row['student'])}."
        )
        y += ROW
    top = TOP + HEADING
    rules = f'<path d="M{SCALE_LEFT} {top}V{y:g}M{SCALE_RIGHT} {top}V{y:g}" stroke="{colours.grid}"/>'
    rules += f'<path d="M{across.x(0):.1f} {top}V{y:g}" stroke="{colours.muted}" stroke-dasharray="2 3"/>'
    ends = [(SCALE_LEFT, "0"), (SCALE_RIGHT, "100 %"), (across.x(0), "0")]
    ends += [
        (across.x(edge), format_points(edge)) for edge in (across.low, across.high) if abs(edge) > across.width / 5
    ]
    ticks = "".join(_draw_text(x, y + 15, text, colours.muted, anchor="middle", size=11) for x, text in ends)
    heads = _draw_text(SCALE_LEFT - 4, TOP - 8, names[0], colours.muted, weight="600")
    heads += f'<circle cx="{SCALE_LEFT - 12}" cy="{TOP - 12}" r="4" fill="{colours.baseline}"/>'
    heads += _draw_text(SCALE_LEFT + 76, TOP - 8, names[1], colours.student, weight="600")
    heads += f'<circle cx="{SCALE_LEFT + 68}" cy="{TOP - 12}" r="4.5" fill="{colours.student}"/>'
    heads += _draw_text(WIDTH - RIGHT, TOP - 8, "difference, 95 %", colours.ink, anchor="end", weight="600")
    return _svg(title, " ".join(told), rules + heads + "".join(drawn) + ticks, y + 26, colours)


@dataclass(frozen=True)
class _DifferencePanel:
    """The panel of differences and the values at its edges, of which one may be zero."""

    low: float
    high: float

    @property
    def width(self) -> float:
        return self.high - self.low

    def x(self, value: float) -> float:
        """Return the horizontal place of a difference."""
        return SPREAD_LEFT + (value - self.low) / self.width * (SPREAD_RIGHT - SPREAD_LEFT)


@dataclass(frozen=True)
class Axes:
    """A plotting area and the values at its edges; `whole`: ticks between whole numbers would mean nothing."""

    left: float
    right: float
    bottom: float
    top: float
    whole_x: bool
    whole_y: bool

    @property
    def height(self) -> float:
        """Height of the whole plot."""
        return TOP + PLOT_HEIGHT + BOTTOM

    def x(self, value: float) -> float:
        """Return the horizontal place of a value."""
        return LEFT + (value - self.left) / ((self.right - self.left) or 1) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Return the vertical place of a value."""
        return TOP + PLOT_HEIGHT - (value - self.bottom) / ((self.top - self.bottom) or 1) * PLOT_HEIGHT

    def draw(self, colours: Palette, *, x_label: str, y_label: str) -> str:
        """Draw grid, ticks and labels."""
        floor = TOP + PLOT_HEIGHT
        columns, rows = (
            _ticks(self.left, self.right, whole=self.whole_x),
            _ticks(self.bottom, self.top, whole=self.whole_y),
        )
        rules = "".join(f'<path d="M{LEFT} {self.y(tick):.1f}H{WIDTH - RIGHT}"/>' for tick in rows)
        ticks = [
            _draw_text(LEFT - 6, self.y(tick) + 4, _format_number(tick), colours.muted, anchor="end") for tick in rows
        ]
        ticks += [
            _draw_text(self.x(tick), floor + 16, _format_number(tick), colours.muted, anchor="middle")
            for tick in columns
        ]
        labels = _draw_text((LEFT + WIDTH - RIGHT) / 2, floor + 33, x_label, colours.muted, anchor="middle")
        labels += _draw_text(LEFT - 36, TOP - 8, y_label, colours.muted)
        return f'<g stroke="{colours.grid}">{rules}</g>{"".join(ticks)}{labels}'


def _draw_dots(row: Mapping[Hashable, Any], y: float, colours: Palette) -> str:
    before, after = (SCALE_LEFT + row[name] * (SCALE_RIGHT - SCALE_LEFT) for name in ("baseline", "student"))
    left, right = sorted((before, after))
    values = sorted(((before, format_percent(row["baseline"])), (after, format_percent(row["student"]))))
    labels = _draw_text(left - 7, y + 4, values[0][1], colours.muted, anchor="end", size=11)
    labels += _draw_text(right + 7, y + 4, values[1][1], colours.muted, size=11)
    return (
        f'<path d="M{left:.1f} {y:g}H{right:.1f}" stroke="{colours.grid}" stroke-width="3"/>'
        f'<circle cx="{before:.1f}" cy="{y:g}" r="4" fill="{colours.baseline}"/>'
        f'<circle cx="{after:.1f}" cy="{y:g}" r="4.5" fill="{colours.student}"/>{labels}'
    )


def _draw_difference(row: Mapping[Hashable, Any], y: float, across: _DifferencePanel, colours: Palette) -> str:
    middle = across.x(row["difference"])
    if math.isnan(row["low"]):
        return f'<circle cx="{middle:.1f}" cy="{y:g}" r="3" fill="none" stroke="{colours.muted}"/>'
    colour = colours.student if row["low"] > 0 else colours.worse if row["high"] < 0 else colours.muted
    low, high = (across.x(row[end]) for end in ("low", "high"))
    return (
        f'<path d="M{low:.1f} {y:g}H{high:.1f}" stroke="{colour}" stroke-width="6" stroke-opacity=".4"/>'
        f'<circle cx="{middle:.1f}" cy="{y:g}" r="3" fill="{colour}"/>'
    )


def _draw_polyline(points: Sequence[tuple[float, float]], axes: Axes, colour: str, dash: str) -> str:
    places = [(f"{axes.x(x):.0f}", f"{axes.y(y):.1f}") for x, y in points]
    if len(points) == 1:
        return f'<circle cx="{places[0][0]}" cy="{places[0][1]}" r="3" fill="{colour}"/>'
    path = " ".join(",".join(place) for place in places)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{_dash_attribute(dash)}/>'


def _dash_attribute(dash: str) -> str:
    return f' stroke-dasharray="{dash}"' if dash else ""


def _draw_legend(entries: Sequence[tuple[str, str, str]], colours: Palette) -> str:
    x, parts = float(WIDTH - RIGHT), []
    for name, colour, dash in reversed(entries):
        parts.append(_draw_text(x, TOP - 8, name, colours.ink, anchor="end"))
        x -= len(name) * CHARACTER + 6
        parts.append(
            f'<path d="M{x - 16:.0f} {TOP - 12}h16" stroke="{colour}" stroke-width="4"{_dash_attribute(dash)}/>'
        )
        x -= 28
    return "".join(parts)


def _draw_text(
    x: float, y: float, content: str, colour: str, *, anchor: str = "start", size: int = 12, weight: str = "normal"
) -> str:
    unlike_default = {"text-anchor": (anchor, "start"), "font-size": (size, 12), "font-weight": (weight, "normal")}
    attributes = "".join(f' {name}="{value}"' for name, (value, default) in unlike_default.items() if value != default)
    return f'<text x="{x:.0f}" y="{y:.0f}" fill="{colour}"{attributes}>{_escape(content)}</text>'


def _svg(title: str, summary: str, body: str, height: float, colours: Palette) -> str:
    background = f'<rect width="{WIDTH}" height="{height:.0f}" fill="{colours.paper}"/>' if colours.paper else ""
    size = f' width="{WIDTH}" height="{height:.0f}"' if colours.paper else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}"{size} role="img" '
        f'font-family="system-ui,sans-serif" font-size="12">'
        f"<title>{_escape(title)}</title><desc>{_escape(summary)}</desc>{background}"
        f"{_draw_text(LEFT - 36, 14, title, colours.ink, size=13, weight='600')}{body}</svg>"
    )


def _palette(*, standalone: bool) -> Palette:
    return FIXED if standalone else INLINE


def _ticks(low: float, high: float, *, whole: bool) -> list[float]:
    """Return about four round values between the two, ends included where they are round."""
    if low == high:
        return [low]
    step = _round_step((high - low) / 5, whole=whole)
    return [index * step for index in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _round_step(least: float, *, whole: bool = False) -> float:
    """Return the smallest of 1, 2, 5, 10, 20, ... (and of 0.1, 0.2, ... unless `whole`) that is not below `least`."""
    least = max(least, 1.0 if whole else 1e-9)
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * (1 - 1e-9))


def _thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return at most about `MAX_POINTS` of the points, the last included."""
    stride = math.ceil(len(points) / MAX_POINTS)
    kept = list(points[::stride])
    return kept if kept[-1] == points[-1] else [*kept, points[-1]]


def _format_number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.3g}"


def _escape(text: str) -> str:
    """Escape a text for XML, which knows no control characters; it turns no direction beyond its end."""
    return html.escape(re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", close_direction(text)))
