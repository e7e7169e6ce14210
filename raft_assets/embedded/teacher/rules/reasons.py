"""Rules that ask why, how and what for."""

import re
from collections.abc import Iterator

from raft_assets.embedded.teacher.cases import Case, QuestionDraft, belongs_to_verb
from raft_assets.embedded.teacher.clauses import clause_end
from raft_assets.embedded.teacher.tagging import FINITE
from raft_assets.embedded.teacher.words import word_set


def used_for(case: Case) -> Iterator[QuestionDraft]:
    """Ask what something is used for: "Wax is used for sealing", "The tube is used to hear"."""
    clause, s = case.clause, case.s
    if not (clause.is_passive and case.is_plain) or clause.verb not in ("use", "design", "require", "need", "employ"):
        return
    if s.word(clause.rest) == "for" and clause.verb in ("use", "employ"):
        yield from case.ask("What", stop=clause.rest + 1, answer=(clause.rest + 1, clause.end))
    elif s.word(clause.rest) == "to" and s.tag(clause.rest + 1) == "VB":
        yield from case.ask("For what purpose", stop=clause.rest, answer=(clause.rest, clause.end))


def means(case: Case) -> Iterator[QuestionDraft]:
    """Ask how something is done: "Bats find prey by listening to echoes"."""
    clause, s = case.clause, case.s
    if not case.subject_is_named or clause.is_negated or clause.is_existential:
        return
    by = next((i for i in range(clause.rest, clause.end - 1) if s.word(i) == "by" and s.tag(i + 1) == "VBG"), None)
    if by is None or not belongs_to_verb(clause, by) or s.any_tag(clause.rest, by, ("PRP",)):
        return
    if (by > clause.rest or clause.is_passive) and not case.points_back((clause.rest, by)):
        yield from case.ask("How", stop=by, answer=(by, clause.end))


_REASON = re.compile(r"\b(because of|because|due to|as a result of|owing to|so that|in order to)\b (?=\w)")
_PURPOSES = ("so that", "in order to")  # part of the answer, which is no sentence without them
_HEDGES = word_set(
    "largely mainly partly primarily part mostly simply just only even not probably possibly perhaps maybe"
)


def reason(case: Case) -> Iterator[QuestionDraft]:
    """Ask why: "They cleaned the beach with shovels, because no equipment existed"."""
    clause, s = case.clause, case.s
    if not case.subject_is_named or clause.is_existential:
        return
    match = _REASON.search(s.text, s.tokens[clause.rest - 1].end)
    begin = next((i for i in range(clause.rest, len(s)) if match and s.tokens[i].start == match.start(1)), None)
    first = next((i for i in range(clause.rest, len(s)) if match and s.tokens[i].start == match.end()), None)
    if (
        match is None
        or begin is None
        or first is None
        or s.word(begin - 1) in _HEDGES
        or (begin == clause.rest and clause.is_copula)
    ):
        return
    stop = begin - 1 if s.word(begin - 1) == "," else begin
    if (
        clause.end < stop
        or s.any_word(clause.rest, stop, ("that", "who", "which", "whether"))
        or s.any_tag(clause.rest, stop, ("PRP",))
        or s.any_word(clause.rest, stop, ("this", "these", "such", "those"))
    ):
        return
    sentence_stop = next((i for i in range(first, len(s)) if s.word(i) in (".", ":", ";", "!")), len(s))
    verb = (
        next((i for i in range(first, sentence_stop) if s.tag(i) in FINITE), first + 1)
        if match.group(1) in ("because", "so that")
        else first + 1
    )
    end = clause_end(s, min(verb + 1, sentence_stop), sentence_stop)
    if end is not None and end - first >= 2 and not case.points_back((clause.rest, stop)):
        yield from case.ask("Why", stop=stop, answer=(begin if match.group(1) in _PURPOSES else first, end))
