"""Rules that ask how many, how much, how long and how high."""

import re
from collections.abc import Iterator

from raft_assets.embedded.teacher import words
from raft_assets.embedded.teacher.cases import Case, QuestionDraft, belongs_to_verb
from raft_assets.embedded.teacher.phrases import TaggedSentence, head, is_plural, noun_phrase_end
from raft_assets.embedded.teacher.phrasing import inverted, predicate, subject
from raft_assets.embedded.teacher.tagging import NOUNS, PROPER, is_number
from raft_assets.embedded.teacher.words import word_set

_FRONTED = ("at", "in", "on", "to", "from", "into")
_PHRASAL = word_set("send bring hand take fill turn give check book cut move break")  # "sent in 386 reports"
_TIME_UNITS = word_set(
    "second seconds minute minutes hour hours day days week weeks month months year years decades centuries"
    " percent times milliseconds"
)
_NUMBER_IS_NAME = (
    "number",
    "channel",
    "extension",
    "room",
    "berth",
    "version",
    "python",
    "page",
    "chapter",
    "gate",
    "type",
    "category",
    "division",
)


def count_of_existence(case: Case) -> Iterator[QuestionDraft]:
    """Ask how many there are: "There are 1,400 species of bats in ..."."""
    clause, s = case.clause, case.s
    if not clause.is_existential or clause.rest_points_elsewhere:
        return
    number = _number_end(s, clause.rest, clause.end)
    if number is None:
        return
    end = noun_phrase_end(s, number, clause.end)
    if _is_countable(s, number, end) and clause.end > end:
        question = (
            f"How many {s.words(number, end)} {s.words(clause.finite, clause.rest)} there {s.words(end, clause.end)}"
        )
        yield QuestionDraft(question, s.characters(clause.rest, number))


def count_of_subject(case: Case) -> Iterator[QuestionDraft]:
    """Ask how many did something: "Thirty-eight pairs raised chicks on the raft"."""
    clause, s = case.clause, case.s
    start, end = clause.subject
    number = _number_end(s, start, end)
    if (
        number is None
        or clause.rest_points_elsewhere
        or clause.is_negated
        or case.points_back((clause.rest, clause.end))
    ):
        return
    if s.any_tag(number, end, NOUNS) and _is_countable(s, number, end):
        yield QuestionDraft(
            f"How many {s.words(number, end)} {predicate(clause, singular=False)}", s.characters(start, number)
        )


def count_of_object(case: Case) -> Iterator[QuestionDraft]:
    """Ask how many were affected: "It removes 95,000 tonnes of silt".

    With its preposition in front as well: "Samples are taken at twelve points".
    """
    clause, s = case.clause, case.s
    if not case.is_plain or case.points_back((clause.rest, clause.end)):
        return
    for i in range(clause.rest, clause.end):
        preposition = s.tokens[i - 1].word if s.word(i - 1) in _FRONTED and i - 1 >= clause.rest else ""
        is_object = i == clause.rest and not clause.is_copula
        number = _number_end(s, i, clause.end) if is_object or preposition else None
        if number is None or s.word(i) in ("least", "most"):
            continue
        end = noun_phrase_end(s, number, clause.end)
        before = i - bool(preposition)
        if s.word(end) == "ago" or (before == clause.rest and clause.verb in _PHRASAL and preposition == "in"):
            return
        if (
            _is_countable(s, number, end)
            and belongs_to_verb(clause, before)
            and not _is_range_or_list(s, before, end, clause.end)
        ):
            if preposition and (s.word(head(s, (number, end))) in _TIME_UNITS or clause.end - clause.rest > 9):
                return
            yield from case.ask(
                f"{preposition} how many {s.words(number, end)}",
                stop=clause.end,
                drop=(before, end),
                answer=(i, number),
            )
        return


def _is_range_or_list(s: TaggedSentence, start: int, end: int, stop: int) -> bool:
    """Return whether it is one of several numbers, or a measure: "from 1 to 64 bytes", "two metres long"."""
    if "from" in s.lowered[max(start - 4, 0) : start] and s.word(start) == "to":
        return True
    return (s.word(end) in ("and", "or", ",", "to", "–") and end < stop) or s.word(end) in (
        "long",
        "wide",
        "high",
        "deep",
        "old",
        "thick",
        "tall",
    )


def _is_countable(s: TaggedSentence, start: int, end: int) -> bool:
    return end > start and is_plural(s, (start, end)) and s.word(start) not in _NOT_COUNTED


_NOT_COUNTED = word_set("of to or and percent % times more other such these")


def _number_end(s: TaggedSentence, start: int, stop: int) -> int | None:
    """Return the end of a cardinal number above one, with its "about" and its "million", that begins at `start`."""
    i = start
    if s.word(i) in ("to", "at", "as", "up") and s.word(i + 1) not in ("to", "least", "most", "many"):
        return None
    while i < stop and s.word(i) in words.APPROXIMATIONS:
        i += 1
    if (
        i >= stop
        or not is_number(s.tokens[i])
        or s.word(i) in ("one", "zero", "1", "half")
        or re.fullmatch(r"(?:1[5-9]|20)\d\ds?", s.word(i))
    ):
        return None
    if s.tag(start - 1) in (*PROPER, "$") or s.word(start - 1) in _NUMBER_IS_NAME:
        return None
    while i < stop and (
        is_number(s.tokens[i]) or (s.word(i) in ("and", "to", "or") and i + 1 < stop and is_number(s.tokens[i + 1]))
    ):
        i += 1
    return i


_MONEY = re.compile(
    r"((?:(?:over|about|around|approximately|nearly|almost|more than|at least|up to|an estimated|a total of|only"
    r"|roughly) )?"
    r"(?:[$£€]\s?\d[\d.,]*(?: (?:million|billion|thousand))?"
    r"|(?:\d[\d.,]*|[a-z]+(?:-[a-z]+)?) (?:(?:million|billion|thousand) )?"
    r"(?:euros?|dollars?|pounds|crowns?|cents|francs|pence)))(?=[\s,.;]|$)"
)
_MONEY_VERBS = word_set("cost gross earn pay raise receive spend collect generate")


def amount_of_money(case: Case) -> Iterator[QuestionDraft]:
    """Ask how much something costs: "A night at a mooring costs 15 euros"."""
    clause, s = case.clause, case.s
    if not case.is_plain or clause.verb not in _MONEY_VERBS or clause.is_passive or clause.rest >= clause.end:
        return
    match = _MONEY.match(s.text, s.tokens[clause.rest].start)
    if match is None:
        return
    end = next((k + 1 for k in range(clause.rest, clause.end) if s.tokens[k].end >= match.end()), clause.end)
    question = inverted(clause, stop=clause.end, drop=(clause.rest, end))
    if question and s.tag(end) not in (*NOUNS, "CD"):
        yield QuestionDraft(f"How much {question}", match.span(1))


_LENGTH_UNITS = (
    r"(?:cm|m|mm|km|kg|g|ft|feet|inches|in|met(?:er|re)s?|centimet(?:er|re)s?|millimet(?:er|re)s?|kilomet(?:er|re)s?|kilograms?|grams?|tonnes|tons"
    r"|pounds|lb|years|minutes|hours|miles)"
)
_MEASURE = re.compile(
    r"((?:(?:approximately|about|around|roughly|up to|over|nearly|only|at least|between|from|as much as|almost"
    r"|less than|more than) )*"
    rf"(?:\d[\d.,]*|[a-z]+(?:-[a-z]+)?)(?:\s?(?:–|-|to|and)\s?(?:\d[\d.,]*|[a-z]+))? {_LENGTH_UNITS})(?: \([^)]*\))?"
    r"(?: (long|high|wide|tall|deep|thick|old|apart|away|in length|in height|in width|in weight))?(?=[\s,.;]|$)"
)
_ADJECTIVE_OF = {
    "in length": "long",
    "in height": "high",
    "in width": "wide",
    "in weight": "heavy",
    "away": "far away",
    "apart": "far apart",
}


def measure(case: Case) -> Iterator[QuestionDraft]:
    """Ask how long, high or heavy something is: "The raft is 12 metres long", "The bat weighs 2 grams"."""
    clause, s = case.clause, case.s
    if not case.is_plain or clause.rest >= clause.end or not (clause.is_copula or clause.verb == "weigh"):
        return
    match = _MEASURE.match(s.text, s.tokens[clause.rest].start)
    if match is None or not any(is_number(token) for token in s.tokens[clause.rest : clause.rest + 4]):
        return
    if clause.verb == "weigh":
        question = inverted(clause, stop=clause.rest)
        yield from [QuestionDraft(f"How much {question}", match.span(1))] if question else []
    elif match.group(2):
        dimension = _ADJECTIVE_OF.get(match.group(2), match.group(2))
        yield QuestionDraft(f"How {dimension} {s.word(clause.finite)} {subject(clause)}", match.span(1))
