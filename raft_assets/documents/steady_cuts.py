"""Where a section that is too long is cut so that an edit moves few cuts.

What belongs here: choosing among the places where a section may be cut. Which these are, and what a cut at each costs,
is found in `documents/chunking`.

Chunks are taken from the section's beginning, one after the other. Each ends where a cut costs least among the places
that it can reach, so it depends on nothing behind them: text that is appended leaves all cuts before the last chunk
alone. Equal costs are told apart by a draw over the words at the cut, so that after an edit in the middle the same
place wins again, wherever the chunks before it began.
"""

import bisect
import math
from collections.abc import Callable, Sequence

from raft_assets.core.identity import draw

# shares of the maximum
MIN_FILL = 0.4  # a chunk is less full only where no cut is within reach
MIN_REST = 1 / 3  # less text is not left for the last chunk: both are then cut evenly
KIND_COST = 2.0  # times the cost of its kind
# and by the share of the chunk that it leaves empty: little up to a share, so that most places cost the same whatever
# chunk they end, and much above it
ENOUGH = 0.7  # of a chunk
EMPTY_COST, HALF_EMPTY_COST = 0.3, 3.0
DRAWN_COST = 0.8  # times the root of the draw, by which a few places cost far less than their neighbours
CONTEXT = 16  # characters on either side of a cut that its draw depends on

Drawn = Callable[[int], float]


def drawn_by_words(text: str) -> Drawn:
    """Return a function that gives a number in [0, 1) for an offset, which depends on the words around it only."""

    def drawn(offset: int) -> float:
        before, after = text[max(0, offset - CONTEXT) : offset].strip(), text[offset : offset + CONTEXT].strip()
        return draw(0, before, after)

    return drawn


def steady_cuts(
    tokens: Sequence[int], costs: Sequence[float], drawn: Drawn, limit: int, *, least: int = 0, fill: bool = True
) -> list[int]:
    """Return the numbers of the units that begin a chunk, the first included.

    Unit i has the tokens from `tokens[i]` to `tokens[i + 1]`, and a cut before it costs `costs[i]`; `drawn(i)` is in
    [0, 1). A chunk has at most `limit` tokens unless it is a single unit, and `least` where that is possible. Without
    `fill`, chunks of any size in between are as good.
    """
    cuts = [0]
    while tokens[-1] - tokens[cuts[-1]] > limit and cuts[-1] < len(tokens) - 2:
        cuts.append(_next_cut(tokens, costs, drawn, cuts[-1], limit=limit, least=least, fill=fill))
    return cuts


def _next_cut(
    tokens: Sequence[int],
    costs: Sequence[float],
    drawn: Drawn,
    first: int,
    *,
    limit: int,
    least: int,
    fill: bool,
) -> int:
    begin, end = tokens[first], tokens[-1]
    reached = min(bisect.bisect_right(tokens, begin + limit) - 1, len(tokens) - 2)
    if reached <= first:
        return first + 1  # a unit that is too long by itself
    lowest = bisect.bisect_left(tokens, begin + max(least, MIN_FILL * limit), first + 1)
    within = range(min(lowest, reached), reached + 1)

    def cost(unit: int) -> float:
        filled = (tokens[unit] - begin) / limit
        emptiness = EMPTY_COST * (1 - filled) + HALF_EMPTY_COST * max(0.0, ENOUGH - filled) if fill else 0.0
        return KIND_COST * costs[unit] + emptiness

    chosen, lowest_cost = within[0], math.inf
    for undrawn, unit in sorted((cost(unit), unit) for unit in within):
        if undrawn > lowest_cost:  # so is every further one, whatever it draws
            break
        drawn_cost = undrawn + DRAWN_COST * math.sqrt(drawn(unit))
        if (drawn_cost, unit) < (lowest_cost, chosen):
            chosen, lowest_cost = unit, drawn_cost
    if end - tokens[chosen] >= max(least, MIN_REST * limit):
        return chosen
    halves = [unit for unit in range(first + 1, reached + 1) if end - tokens[unit] <= limit]

    def uneven(unit: int) -> float:
        return costs[unit] + sum((1 - part / limit) ** 2 for part in (tokens[unit] - begin, end - tokens[unit]))

    return min(halves, key=uneven, default=chosen)
