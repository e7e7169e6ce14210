"""How many answers a second a model gives by calls at once, and so how many calls at once are worth making.

Most services that people run themselves (vLLM, llama.cpp, Ollama, TGI) reject nothing: more calls than they work on
wait in a queue, and nothing but the latency says so. By Little's law, calls at once divided by their mean latency are
answers a second. So latencies are kept by octaves of calls at once, and where the next octave brings hardly more
answers a second than the one before, the window has grown enough. A server whose latency merely rises with its load, as
one that computes in batches does, still answers more calls a second, and is used further.
"""

import math
from dataclasses import dataclass, field

MIN_GAIN = 0.2  # of what calls at once grew by, in answers a second; a queue gains nothing
CLEAR_GAIN = 0.7  # which the first answers may show
HARMLESS_S = 0.5  # of latency: a queue of that length disturbs nobody
FRESH_S, FRESH_LATENCIES = 60.0, 20.0  # how long a latency is believed: so many seconds, or times itself
MAX_WEIGHT = 50.0  # answers of an octave that count; older ones fade
MIN_ANSWERS = 4.0  # of an octave before it may reduce the window, or let it grow where the gain isn't clear
ENOUGH_ANSWERS = 16.0  # after which less than `MIN_ANSWERS` of fewer calls at once don't hinder growth
CERTAINTY = 2.0  # standard errors
USUAL_SPREAD, USUAL_WEIGHT = 0.2, 1.0  # of latencies, relative, and the answers that this assumption counts for


@dataclass
class Level:
    """Latencies of an octave of calls at once; all but `at`, when the last one was recorded, are sums."""

    answers: float = 0.0
    at_once: float = 0.0
    seconds: float = 0.0
    squares: float = 0.0
    at: float = 0.0

    @property
    def mean_at_once(self) -> float:
        """Calls at once."""
        return self.at_once / self.answers

    @property
    def latency_s(self) -> float:
        """Mean latency."""
        return self.seconds / self.answers

    @property
    def variance(self) -> float:
        """Of the latency, relative to its square."""
        return max(0.0, self.squares / self.answers / max(self.latency_s, 1e-9) ** 2 - 1.0)

    def is_fresh(self, now: float) -> bool:
        """Return whether there is a latency that still holds."""
        return bool(self.answers) and now - self.at <= max(FRESH_S, FRESH_LATENCIES * self.latency_s)

    def record(self, at_once: int, seconds: float, now: float) -> None:
        """Add an answer; what is too old is forgotten, and what is many answers old fades."""
        keep = min(1.0, MAX_WEIGHT / (self.answers + 1)) if self.is_fresh(now) else 0.0
        self.answers = self.answers * keep + 1
        self.at_once = self.at_once * keep + at_once
        self.seconds = self.seconds * keep + seconds
        self.squares = self.squares * keep + seconds**2
        self.at = now


@dataclass(frozen=True)
class Outlook:
    """What is known of more calls at once: `at_once` were worth making.

    `is_open`: nothing speaks against more. Otherwise more of them brought no more answers a second: certainly, or only
    as it seems so far.
    """

    at_once: float
    is_open: bool
    is_certain: bool = False


@dataclass
class Throughput:
    """Latencies by octave: 1 call at once, 2 or 3, 4 to 7, and so on."""

    levels: list[Level] = field(default_factory=list)

    def record(self, at_once: int, seconds: float, now: float) -> None:
        """Add the latency of a call that was one of so many at once."""
        octave = at_once.bit_length() - 1
        while len(self.levels) <= octave:
            self.levels.append(Level())
        self.levels[octave].record(at_once, seconds, now)

    def outlook(self, now: float) -> Outlook | None:
        """Return what is known at present; None before the first answer."""
        known = [level for level in self.levels if level.is_fresh(now)]
        if not known:
            return None
        useful, *others = known
        variance = self._variance()
        for level in [level for level in others[:-1] if level.answers >= MIN_ANSWERS] + others[-1:]:
            if level.latency_s >= HARMLESS_S:
                is_certain = _is_certain(useful, level, variance)
                if not _is_worthwhile(useful, level, in_vain=is_certain):
                    octave = 2.0 ** int(math.log2(useful.mean_at_once))
                    return Outlook(2 * octave - 1, is_open=False, is_certain=is_certain)
            useful = level
        return Outlook(useful.mean_at_once, is_open=True)

    def _variance(self) -> float:
        """Return that of latencies, relative to their squares, as far as it is known."""
        answers, variance = USUAL_WEIGHT, USUAL_WEIGHT * USUAL_SPREAD**2
        for level in self.levels:
            if level.answers:
                answers += level.answers
                variance += level.answers * level.variance
        return variance / answers


def _is_certain(fewer: Level, more: Level, variance: float) -> bool:
    """Return whether it isn't by chance that `more` calls at once bring no more answers a second."""
    if more.answers < MIN_ANSWERS:
        return False
    error = math.sqrt(variance * (1 / fewer.answers + 1 / more.answers))
    growth = math.log(more.mean_at_once / fewer.mean_at_once)
    return _gain(fewer, more) + CERTAINTY * error / growth < MIN_GAIN


def _is_worthwhile(fewer: Level, more: Level, *, in_vain: bool) -> bool:
    """Return whether `more` calls at once seem to bring more answers a second; `in_vain`: certainly not."""
    gain = _gain(fewer, more)
    if gain >= MIN_GAIN:
        return gain >= CLEAR_GAIN or more.answers >= MIN_ANSWERS
    return not in_vain and more.answers >= ENOUGH_ANSWERS and fewer.answers < MIN_ANSWERS


def _gain(fewer: Level, more: Level) -> float:
    """Return the relative gain in answers a second per relative growth in calls at once: 1 without any queue."""
    growth = math.log(more.mean_at_once / fewer.mean_at_once)
    slowdown = math.log(max(more.latency_s, 1e-9) / max(fewer.latency_s, 1e-9))
    return 1.0 - slowdown / growth
