"""What makes a span of a sentence likely to be the answer: the features of the span ranker, by name."""

from itertools import pairwise

import numpy as np

from raft_assets.embedded.encoder import Floats, normalize_vectors
from raft_assets.embedded.reader.passages import Sentence
from raft_assets.embedded.reader.questions import KINDS, Question
from raft_assets.embedded.reader.ranking import Candidates, Category, CategoryTable, Codes, Flags
from raft_assets.embedded.reader.spans import CATEGORIES, Positions
from raft_assets.embedded.reader.words import word_set

# name -> what it measures; the order is that of the columns
MEASURED = {
    "sentence score": "log probability of the sentence among all",
    "best sentence": "whether the sentence is ranked first",
    "second sentence": "whether it is ranked second",
    "share asked": "share of the span's meaningful words that stand in the question",
    "asked before": "words of the question among the four before, by four",
    "asked behind": "words of the question among the four behind, by four",
    "share before": "share of the sentence's words of the question that stand before",
    "share behind": "share of the sentence's words of the question that stand behind",
    "share in clause": "share of the sentence's words of the question that stand in the span's clause",
    "best clause": "whether no other clause of the sentence holds more of them",
    "breaks": "breaks between clauses in the span",
    "run before": "words in a row that end before the span and stand in the question, at most eight, by eight",
    "run behind": "the same, that begin behind it",
    "length": "log of the number of tokens",
    "meaning asked": "how near the span's words are to words of the question, mean",
    "most meaning asked": "the same, of its nearest word",
    "cosine": "of the span's mean state and the question",
    "wanted": "nearness of the span's mean state to the noun that names the answer",
    "meaning asked elsewhere": "as meaning asked, of the rest of the sentence",
    "meaning asked beside": "as most meaning asked, of the three words before and behind",
}
MEANING_DIMENSIONS = 24

_CLAUSE_BREAKS = word_set(", ; : ( ) — – while although though whereas but because due since and or which who that")
_LONGEST_RUN = 8
_QUOTE_MARKS = frozenset('"“”')
_FAR = 6
_DISTANCES = (*map(str, range(_FAR)), f"{_FAR}+")
_NEAR = tuple(f"{left}|{right}" for left in range(4) for right in range(4))
# The word before a span: none, not in the question, in it, or its last. The word behind it: likewise, the question's
# first, or the one that follows in the question what stands before ("what do kites develop in low wind": develop | in).
_LEFT = ("edge", "other", "asked", "last asked")
_RIGHT = ("edge", "other", "asked", "first asked", "next asked")
_JOINTS = tuple(f"{left}|{right}" for left in _LEFT for right in _RIGHT)
_MARKS_BEFORE, _MARKS_BEHIND = frozenset(",;:()"), frozenset(",;:().!?")
_EDGE = -2
TABLE = CategoryTable(
    (
        *CATEGORIES,
        Category("distance before", _DISTANCES),
        Category("distance behind", _DISTANCES),
        Category("distances", _NEAR, by_kind=True),
        Category("joint", _JOINTS, by_kind=True),
        Category("asked", ("nothing", "less", "most", "nothing of many", "less of many", "most of many")),
        Category("side", ("middle", "left", "right"), by_kind=True),
        Category("holds wanted", ("no", "yes", "at its end")),
        Category("beside wanted", ("no", "yes")),
    ),
    KINDS,
)


def describe(question: Question, sentence: Sentence, *, score: float, rank: int, axes: Floats) -> Candidates:
    """Return the features of a sentence's spans.

    `score`: log probability of the sentence; `axes` (384, MEANING_DIMENSIONS) project states.
    """
    spans = sentence.spans
    starts, ends = spans.starts, spans.ends
    asked = np.array([word in question.term_set for word in sentence.lemmas], bool) & sentence.is_content
    mean_states = _mean_states(sentence.token_states(), starts, ends)
    measured = np.stack(
        [
            np.full(len(starts), score),
            np.full(len(starts), float(rank == 0)),
            np.full(len(starts), float(rank == 1)),
            *_by_words(asked, sentence.is_content, starts, ends),
            *_by_clause(asked, sentence, starts, ends),
            *_runs(question, sentence, starts, ends),
            np.log(ends - starts),
            *_by_meaning(question, sentence, mean_states, starts, ends),
        ],
        axis=1,
    )
    codes = np.concatenate([spans.codes, _codes(question, sentence, asked, starts, ends)], axis=1)
    return Candidates(
        measured.astype(np.float32),
        codes.astype(np.int16),
        (mean_states @ axes).astype(np.float32),
        np.full(len(starts), question.kind, np.int64),
    )


def _by_words(asked: Flags, is_content: Flags, starts: Positions, ends: Positions) -> list[Floats]:
    """Measure: share asked, asked before, asked behind, share before, share behind."""
    count = len(asked)
    total = np.r_[0, np.cumsum(asked)]
    content = np.r_[0, np.cumsum(is_content)]
    inside = total[ends] - total[starts]
    everything = max(1, int(total[-1]))
    return [
        inside / np.maximum(1, content[ends] - content[starts]),
        (total[starts] - total[np.maximum(0, starts - 4)]) / 4,
        (total[np.minimum(count, ends + 4)] - total[ends]) / 4,
        total[starts] / everything,
        (total[-1] - total[ends]) / everything,
    ]


def _by_clause(asked: Flags, sentence: Sentence, starts: Positions, ends: Positions) -> list[Floats]:
    """Measure: share in clause, best clause, breaks."""
    clauses = np.cumsum([token.lower in _CLAUSE_BREAKS for token in sentence.tokens], dtype=np.int64)
    held = np.bincount(clauses, asked, minlength=1)
    of_span = clauses[starts]
    share = held[of_span] / max(1.0, float(held.sum()))
    return [share, (held[of_span] == held.max()).astype(np.float32), clauses[ends - 1] - of_span]


def _runs(question: Question, sentence: Sentence, starts: Positions, ends: Positions) -> list[Floats]:
    """Measure: run before, run behind."""
    known = _QUOTE_MARKS.union(question.frame)
    is_known = np.array([word in known for word in sentence.lemmas], bool)
    count = len(is_known)
    places = np.arange(count)
    last_unknown = np.maximum.accumulate(np.where(is_known, -1, places))
    next_unknown = np.minimum.accumulate(np.where(is_known, count, places)[::-1])[::-1]
    before = starts - 1 - np.r_[-1, last_unknown][starts]
    behind = np.r_[next_unknown, count][ends] - ends
    return [np.minimum(run, _LONGEST_RUN) / _LONGEST_RUN for run in (before, behind)]


def _by_meaning(
    question: Question, sentence: Sentence, mean_states: Floats, starts: Positions, ends: Positions
) -> list[Floats]:
    """Measure: meaning asked, most meaning asked, cosine, wanted, meaning asked elsewhere, meaning asked beside."""
    states, count = sentence.token_states(), len(sentence.tokens)
    nearness = (states @ question.states.T).max(axis=1) if len(question.words) else np.zeros(count, np.float32)
    total = np.r_[0, np.cumsum(nearness)]
    inside, lengths = total[ends] - total[starts], ends - starts
    wanted = np.zeros(len(starts), np.float32)
    if len(question.wanted_states):
        wanted = (mean_states @ question.wanted_states.T).max(axis=1)
    before = _maxima(nearness, np.maximum(0, starts - 3), starts)
    behind = _maxima(nearness, ends, np.minimum(count, ends + 3))
    return [
        inside / lengths,
        _maxima(nearness, starts, ends),
        mean_states @ question.encoded.vector,
        wanted,
        (total[-1] - inside) / np.maximum(1, count - lengths),
        np.maximum(before, behind),
    ]


def _codes(question: Question, sentence: Sentence, asked: Flags, starts: Positions, ends: Positions) -> Codes:
    count = len(asked)
    places = np.arange(count)
    last_asked = np.maximum.accumulate(np.where(asked, places, -99))
    next_asked = np.minimum.accumulate(np.where(asked, places, 999)[::-1])[::-1]
    before = np.minimum(_FAR, starts - 1 - np.r_[-99, last_asked][starts])
    behind = np.minimum(_FAR, np.r_[next_asked, 999][ends] - ends)
    total = np.r_[0, np.cumsum(asked)]
    inside, lengths = total[ends] - total[starts], ends - starts
    content_total = np.r_[0, np.cumsum(sentence.is_content)]
    content = np.maximum(1, content_total[ends] - content_total[starts])
    share = np.where(inside == 0, 0, np.where(inside < 0.5 * content, 1, 2))
    side = np.where(total[starts] == 0, 1, np.where(total[ends] == total[-1], 2, 0))
    is_wanted = np.array([word in question.wanted for word in sentence.lemmas], bool)
    wanted_total = np.r_[0, np.cumsum(is_wanted)]
    holds_wanted = (wanted_total[ends] > wanted_total[starts]).astype(np.int64)
    holds_wanted[is_wanted[ends - 1]] = 2
    beside_wanted = np.r_[False, is_wanted][starts] | np.r_[is_wanted, False][ends]
    near = np.minimum(3, before) * 4 + np.minimum(3, behind)
    joints = _joints(question, sentence, starts, ends)
    columns = [before, behind, near, joints, share + 3 * (lengths > 3), side, holds_wanted, beside_wanted]
    return np.stack(columns, axis=1).astype(np.int16)


def _joints(question: Question, sentence: Sentence, starts: Positions, ends: Positions) -> Positions:
    """Return where the words next to a span are in the question: positions in _JOINTS."""
    frame = question.frame
    number_of = {word: number for number, word in enumerate(dict.fromkeys(frame))}
    follows = np.zeros((len(number_of) + 1, len(number_of) + 1), bool)
    for word, following in pairwise(frame):
        follows[number_of[word], number_of[following]] = True
    # -1 of words that the question doesn't hold is the last row and column, where nothing follows
    left, right = (
        np.array([_EDGE if word in marks else number_of.get(word, -1) for word in sentence.lemmas], np.int64)
        for marks in (_MARKS_BEFORE, _MARKS_BEHIND)
    )
    before, behind = np.r_[_EDGE, left][starts], np.r_[right, _EDGE][ends]
    last, first = (number_of[frame[-1]], number_of[frame[0]]) if frame else (-1, -1)
    stands_left = np.where(before == _EDGE, 0, np.where(before < 0, 1, np.where(before == last, 3, 2)))
    stands_right = np.where(behind == _EDGE, 0, np.where(behind < 0, 1, np.where(behind == first, 3, 2)))
    joined = follows[np.maximum(before, -1), np.maximum(behind, -1)]
    return stands_left * len(_RIGHT) + np.where(joined, _RIGHT.index("next asked"), stands_right)


def _mean_states(states: Floats, starts: Positions, ends: Positions) -> Floats:
    """Return unit vectors (spans, 384)."""
    totals = np.concatenate([np.zeros_like(states[:1]), np.cumsum(states, axis=0)])
    return normalize_vectors(totals[ends] - totals[starts])


def _maxima(values: Floats, starts: Positions, ends: Positions) -> Floats:
    """Return the largest of values[start:end] for each pair, 0 where empty."""
    longest = int((ends - starts).max(initial=0))
    reach = starts[:, None] + np.arange(max(1, longest))
    found = np.where(reach < ends[:, None], np.r_[values, 0][np.minimum(reach, len(values))], 0)
    largest: Floats = found.max(axis=1)
    return largest
