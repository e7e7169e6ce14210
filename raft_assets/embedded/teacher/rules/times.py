"""Rules that ask when, at what time, how often and for how long."""

import re
from collections.abc import Iterator

from raft_assets.embedded.teacher.cases import Case, QuestionDraft, belongs_to_verb
from raft_assets.embedded.teacher.phrases import TaggedSentence
from raft_assets.embedded.teacher.phrasing import inverted
from raft_assets.embedded.teacher.tagging import NOUNS

_MONTH = r"(?:January|February|March|April|May|June|July|August|September|October|November|December)"
_WEEKDAY = r"(?:Mondays?|Tuesdays?|Wednesdays?|Thursdays?|Fridays?|Saturdays?|Sundays?|weekdays|weekends)"
_YEAR = r"(?:1[0-9]|20)\d\d(?![\d–-])(?: (?:BC|AD))?"
_DAY = rf"(?:{_MONTH} \d{{1,2}}(?:, {_YEAR})?|\d{{1,2}} {_MONTH}(?: {_YEAR})?)"
_MONTH_OF_YEAR = rf"{_MONTH}(?:,? {_YEAR})?"
_CENTURY = r"(?:\d{1,2}(?:st|nd|rd|th)|[a-z]{4,}th|[a-z-]*(?:first|second|third)) century(?: (?:BC|AD))?"
_PERIOD = (
    rf"(?:(?:the )?(?:early |mid-|late |beginning of |end of )*(?:\d{{3,4}}s|{_CENTURY})|(?:early|late|mid) {_YEAR})"
)
_SEASON = r"(?:(?:early |late )?(?:spring|summer|autumn|winter)|the (?:spring|summer|autumn|winter|fall)(?: of \d{4})?)"
_NUMBER = (
    r"(?:\d[\d.,]*|a|an|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|twenty|thirty|forty"
    r"|fifty|sixty|seventy|eighty|ninety)(?:-[a-z]+)?"
)
_UNIT = r"(?:milliseconds?|seconds?|minutes?|hours?|days?|weeks?|months?|years?|decades?|centuries|nights?)"
_ABOUT = (
    r"(?:(?:about|around|roughly|nearly|almost|up to|at least|at most|more than|less than|over|approximately|only"
    r"|between) )*"
)
_DURATION = rf"{_ABOUT}{_NUMBER}(?:(?: to | or | and |–){_NUMBER})? (?:working |more )?{_UNIT}"
_CLOCK = (
    r"(?:\d{1,2}:\d{2}|noon|midnight|\d{1,2}(?:[.:]\d{2})? ?[ap]\.?m\.?"
    r"|(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\d{1,2}) o'clock)"
)
_MOMENT = rf"(?:{_CLOCK}|{_DAY}|{_MONTH_OF_YEAR}|{_YEAR})"
_TURN = rf"(?:{_UNIT}|{_MONTH}|{_WEEKDAY}|morning|evening|night|spring|summer|autumn|winter|quarter)"
_TIMES = r"(?:once|twice|(?:three|four|five|six|ten) times|up to \d+ times)"

# what a phrase of time looks like and which question it answers; the answer is the group
_TIME_PHRASES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (wh, re.compile(pattern + r"(?=[\s,.;]|$)", re.IGNORECASE))
    for wh, pattern in (
        ("In what year", rf"in ({_YEAR})"),
        ("When", rf"on ({_DAY}|{_WEEKDAY})"),
        ("When", rf"in ({_MONTH_OF_YEAR}|{_PERIOD}|{_SEASON})"),
        ("When", rf"(from {_MOMENT} (?:to|until) {_MOMENT})"),
        ("When", rf"(between {_MOMENT} and {_MOMENT})"),
        ("Since when", rf"since ({_DAY}|{_MONTH_OF_YEAR}|{_PERIOD}|{_YEAR})"),
        ("Until when", rf"until ({_MOMENT}|{_PERIOD})"),
        ("At what time", rf"at ({_CLOCK}(?:(?:, {_CLOCK})* and {_CLOCK})?)"),
        ("How often", rf"((?:every|each) (?:{_NUMBER} )?{_TURN})"),
        (
            "How often",
            rf"({_ABOUT}{_TIMES} (?:a|an|per|every|each) (?:second|minute|hour|day|week|month|year|shift|season))",
        ),
        ("When", rf"({_ABOUT}{_NUMBER}(?: (?:hundred|thousand|million|billion))? {_UNIT} ago)"),
        ("For how long", rf"for ({_DURATION})"),
        ("Within what time", rf"within ({_DURATION})"),
    )
)
_PHRASE_BEGINS = ("IN", "DT", "TO", "RB", "CD", "NNS", "NN", "JJ")
_NOT_BEHIND, _NOT_BEFORE = ("of", "old", "and", "or"), ("open", "valid", "only", "and", "or")
_AFTER_PHRASE = (*NOUNS, "JJ", "POS", "CD")  # a noun after the phrase owns it: "in 2012 dollars"


def time_in_lead(case: Case) -> Iterator[QuestionDraft]:
    """Ask when, answered by the leading phrase: "In 1793, Spallanzani noticed ..."."""
    clause, s = case.clause, case.s
    if clause.lead is None or not case.subject_is_named or clause.is_existential or clause.rest_points_elsewhere:
        return
    start, end = s.characters(*clause.lead)
    for wh, pattern in _TIME_PHRASES:
        match = pattern.match(s.text, start)
        if match and match.end() == end:
            question = inverted(clause, stop=clause.end) if _tense_fits(case, wh) else None
            if question and not case.points_back((clause.rest, clause.end)):
                yield QuestionDraft(f"{wh} {question}", match.span(1))
            return


def is_time(text: str) -> bool:
    """Return whether the whole text is a phrase of time."""
    return any(pattern.fullmatch(text) for _, pattern in _TIME_PHRASES)


def time_behind_verb(case: Case) -> Iterator[QuestionDraft]:
    """Ask when, answered by a phrase after the verb: "... were released in 1998"."""
    clause, s = case.clause, case.s
    if not case.subject_is_named or clause.is_existential or clause.rest_points_elsewhere:
        return
    for i in range(clause.rest, clause.end):
        if s.tag(i) not in _PHRASE_BEGINS or not belongs_to_verb(clause, i):
            continue
        for wh, pattern in _TIME_PHRASES:
            match = pattern.match(s.text, s.tokens[i].start)
            if match:
                yield from _ask_for_time(case, wh, i, match)
                return


def _ask_for_time(case: Case, wh: str, i: int, match: re.Match[str]) -> Iterator[QuestionDraft]:
    clause, s = case.clause, case.s
    end = next((k + 1 for k in range(i, clause.end) if s.tokens[k].end == match.end()), None)
    if end is None or s.word(i - 1) in _NOT_BEFORE or (end < clause.end and _goes_on(s, end)):
        return
    question = inverted(clause, stop=clause.end, drop=(i, end)) if _tense_fits(case, wh) else None
    if question and not case.points_back((clause.rest, clause.end)):
        yield QuestionDraft(f"{wh} {question}", match.span(1))


def _tense_fits(case: Case, wh: str) -> bool:
    """Return whether the verb's tense fits a year: "in 2009, the revolution shows no sign" is no event of 2009."""
    clause = case.clause
    return wh != "In what year" or clause.has_auxiliary or case.s.tag(clause.finite) not in ("VBZ", "VBP")


def _goes_on(s: TaggedSentence, end: int) -> bool:
    """Return whether what follows the phrase belongs to it: "in 2012 dollars", "for four hours at most"."""
    return s.tag(end) in _AFTER_PHRASE or s.word(end) in _NOT_BEHIND or s.word(end + 1) == "most"


_LASTS = re.compile(rf"(?:for )?({_DURATION})(?=[\s,.;]|$)")


def duration(case: Case) -> Iterator[QuestionDraft]:
    """Ask for how long: "The probation period lasts six months"."""
    clause, s = case.clause, case.s
    if not case.is_plain or clause.verb not in ("last", "take", "live") or clause.rest >= clause.end:
        return
    match = _LASTS.match(s.text, s.tokens[clause.rest].start)
    if match is None:
        return
    end = next((k + 1 for k in range(clause.rest, clause.end) if s.tokens[k].end >= match.end()), clause.end)
    question = inverted(clause, stop=clause.end, drop=(clause.rest, end))
    if question and s.tag(end) in ("", ".", ",", "IN", "TO", "CC", "RB", ";"):
        yield QuestionDraft(f"How long {question}", match.span(1))
