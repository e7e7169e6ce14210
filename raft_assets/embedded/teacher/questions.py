"""The question rules: each reads a clause and drafts questions whose answer is a piece of the same sentence.

`RULES` is the table; a rule is a generator from a `Subject` (a clause with what is known about it) to drafts. What a draft must be like to be asked
is in `checks`.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from raft_assets.embedded.teacher import words
from raft_assets.embedded.teacher.clauses import Clause, clause_end
from raft_assets.embedded.teacher.names import Names, is_person_noun
from raft_assets.embedded.teacher.phrases import (
    Span,
    TaggedSentence,
    has_name,
    head,
    is_plural,
    noun_list_end,
    noun_phrase_end,
)
from raft_assets.embedded.teacher.phrasing import content_words, in_mid_sentence, inverted, predicate, subject
from raft_assets.embedded.teacher.tagging import NOUNS, PROPER, is_number


@dataclass(frozen=True)
class Draft:
    """A question before polishing and checks; `answer` are character positions in the sentence."""

    question: str
    answer: Span


@dataclass(frozen=True)
class Case:
    """A clause and the chunk's names: what a rule looks at."""

    clause: Clause
    names: Names

    @property
    def s(self) -> TaggedSentence:
        """The sentence."""
        return self.clause.sentence

    @cached_property
    def subject_is_named(self) -> bool:
        """Whether the subject says by itself what it is."""
        return is_self_contained(self.s, self.clause.subject)

    @cached_property
    def subject_is_person(self) -> bool:
        """Whether the subject names a person, or is a name that its verb shows to be one."""
        s, span = self.s, self.clause.subject
        if all(self.names.is_person(s, part) for part in _parts(s, span)):
            return True
        return self.clause.verb in words.HUMAN_VERBS and self.names.may_be_person(s, span) and not self.clause.is_passive

    @cached_property
    def is_plain(self) -> bool:
        """Whether the clause affirms something about a subject that is named, without pointing at other sentences."""
        clause = self.clause
        return self.subject_is_named and not (clause.is_negated or clause.is_existential or clause.rest_points_elsewhere)

    def ask(self, wh: str, *, stop: int, drop: Span | None, answer: Span) -> Iterator[Draft]:
        """ "wh + inverted clause", answered by the tokens `answer`."""
        question = inverted(self.clause, stop=stop, drop=drop)
        if question:
            yield Draft(f"{wh} {question}", self.s.characters(*answer))


Rule = Callable[[Case], Iterator[Draft]]


def is_self_contained(s: TaggedSentence, phrase: Span) -> bool:
    """Whether a noun phrase says what it means without another sentence."""
    lowered = [token.lower for token in s.tokens[slice(*phrase)] if token.tag not in ("(", ")", ",", '"')]
    if not lowered or len(lowered) > 14 or words.POINTING.intersection(lowered) or lowered[0] in words.QUANTIFIERS:
        return False
    if has_name(s, phrase):
        return True
    if any(is_number(token) for token in s.tokens[slice(*phrase)]) and len(lowered) < 3:
        return False
    if lowered[0] in ("a", "an"):
        return len(lowered) > 2
    if lowered[0] == "the":
        return _definite_is_named(lowered)
    return len(lowered) > 1 or (len(lowered[0]) > 3 and lowered[0] not in words.GENERIC_NOUNS)


_VAGUE_MODIFIERS = frozenset(
    "first second third final last new main original next same entire whole other following resulting early later previous two three four five six"
    " old young large small big best only current latest finished usual right wrong correct complete remaining".split()
)


def _definite_is_named(lowered: list[str]) -> bool:
    """Whether "the ..." is more than "the method", "the new method" and "the first of them"."""
    nouns = lowered[1:]
    if len(nouns) == 1:
        return nouns[0] not in words.GENERIC_NOUNS and not is_person_noun(nouns[0])
    if len(nouns) == 2 and nouns[0] in _VAGUE_MODIFIERS:
        return False
    return not (nouns[0] in words.GENERIC_NOUNS and nouns[1] in ("of", "in", "on", "at", "for", "from") and len(nouns) == 3 and nouns[2] in words.GENERIC_NOUNS)


def _parts(s: TaggedSentence, phrase: Span) -> list[Span]:
    """The members of a list "a, b and c"."""
    parts: list[Span] = []
    start = phrase[0]
    for i in range(*phrase):
        if s.word(i) in (",", "and", "&"):
            if i > start:
                parts.append((start, i))
            start = i + 1
    return [*parts, (start, phrase[1])] if start < phrase[1] else parts


# ---- when, how often, how long

_MONTH = r"(?:January|February|March|April|May|June|July|August|September|October|November|December)"
_WEEKDAY = r"(?:Mondays?|Tuesdays?|Wednesdays?|Thursdays?|Fridays?|Saturdays?|Sundays?|weekdays|weekends)"
_YEAR = r"(?:1[0-9]|20)\d\d(?![\d–-])(?: (?:BC|AD))?"
_DAY = rf"(?:{_MONTH} \d{{1,2}}(?:, {_YEAR})?|\d{{1,2}} {_MONTH}(?: {_YEAR})?)"
_MONTH_OF_YEAR = rf"{_MONTH}(?:,? {_YEAR})?"
_PERIOD = (
    rf"(?:(?:the )?(?:early |mid-|late |beginning of |end of )*(?:\d{{3,4}}s|(?:\d{{1,2}}(?:st|nd|rd|th)|[a-z]{{5,}}th|[a-z-]+first|[a-z-]+second|[a-z-]+third) century"
    rf"(?: (?:BC|AD))?)|(?:early|late|mid) {_YEAR})"
)
_SEASON = r"(?:(?:early |late )?(?:spring|summer|autumn|winter)|the (?:spring|summer|autumn|winter|fall)(?: of \d{4})?)"
_COUNT = r"(?:\d[\d.,]*|a|an|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|twenty|thirty|forty|fifty|sixty|ninety)"
_UNIT_OF_TIME = r"(?:milliseconds?|seconds?|minutes?|hours?|days?|weeks?|months?|years?|decades?|centuries|nights?)"
_DURATION = rf"(?:(?:about|around|roughly|nearly|almost|up to|at least|at most|more than|less than|over|approximately|only) )*{_COUNT}(?:(?: to | or |–){_COUNT})? (?:working |more )?{_UNIT_OF_TIME}"
_CLOCK = r"(?:\d{1,2}:\d{2}|noon|midnight|(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\d{1,2}) o'clock|\d{1,2}(?:[.:]\d{2})? ?[ap]\.?m\.?)"
_MOMENT = rf"(?:{_CLOCK}|{_DAY}|{_MONTH_OF_YEAR}|{_YEAR})"

# what a time phrase looks like and which question it answers; the answer is the group
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
        ("How often", rf"((?:every|each) (?:{_COUNT} )?(?:{_UNIT_OF_TIME}|{_MONTH}|{_WEEKDAY}|morning|evening|night|spring|summer|autumn|winter|quarter))"),
        ("How often", r"((?:once|twice|(?:three|four|five|six|ten) times|up to \d+ times) (?:a|an|per|every|each) (?:second|minute|hour|day|week|month|year|shift|season))"),
        ("For how long", rf"for ({_DURATION})"),
        ("Within what time", rf"within ({_DURATION})"),
    )
)
# the verbs' moment is not the clause's when a noun of these holds it: "the invention of X in 1990"
_HOLDS_DATE = frozenset("due because invention publication birth death release than as such like of".split())


def _time_in_lead(case: Case) -> Iterator[Draft]:
    """ "In 1793, Spallanzani noticed ..." """
    clause, s = case.clause, case.s
    if clause.lead is None or not case.subject_is_named or clause.is_existential or clause.rest_points_elsewhere:
        return
    start, end = s.characters(*clause.lead)
    for wh, pattern in _TIME_PHRASES:
        match = pattern.match(s.text, start)
        if match and match.end() == end:
            question = inverted(clause, stop=clause.end)
            if question:
                yield Draft(f"{wh} {question}", match.span(1))
            return


def _time_behind_verb(case: Case) -> Iterator[Draft]:
    """ "... were released in 1998" """
    clause, s = case.clause, case.s
    if not case.subject_is_named or clause.is_existential or clause.rest_points_elsewhere or clause.lead and has_name(s, clause.lead):
        return
    for i in range(clause.rest, clause.end):
        if s.tag(i) not in ("IN", "DT", "TO", "RB", "CD", "NNS", "NN", "JJ") or not _belongs_to_verb(clause, i):
            continue
        for wh, pattern in _TIME_PHRASES:
            match = pattern.match(s.text, s.tokens[i].start)
            if match is None:
                continue
            end = next((k for k in range(i, clause.end) if s.tokens[k].end >= match.end()), None)
            if end is None or s.tokens[end].end != match.end() or s.tag(end + 1) in (*NOUNS, "JJ", "POS", "CD") or s.word(end + 1) in ("of", "old", "in"):
                return
            question = inverted(clause, stop=clause.end, drop=(i, end + 1))
            if question:
                yield Draft(f"{wh} {question}", match.span(1))
            return


def _belongs_to_verb(clause: Clause, i: int) -> bool:
    """Whether a phrase at token `i` can only say something about the clause's verb."""
    s = clause.sentence
    between = range(clause.rest, i)
    if i - clause.rest > 11 or any(s.tag(k) in ("WDT", "WP", "WRB", "VBN", "VBD", "VBG", "VB", "(", ":", '"') for k in between):
        return False
    if any(s.word(k) in ("that", "who", "which", *_HOLDS_DATE - {"of"}) for k in between):
        return False
    return s.word(i - 1) not in _HOLDS_DATE


def _duration(case: Case) -> Iterator[Draft]:
    """ "The probation period lasts six months" """
    clause, s = case.clause, case.s
    if not case.is_plain or clause.verb not in ("last", "take", "live", "require"):
        return
    match = re.compile(rf"(?:for )?({_DURATION})(?=[\s,.;]|$)").match(s.text, s.tokens[clause.rest].start) if clause.rest < clause.end else None
    if match is None:
        return
    end = next((k + 1 for k in range(clause.rest, clause.end) if s.tokens[k].end >= match.end()), clause.end)
    question = inverted(clause, stop=clause.end, drop=(clause.rest, end))
    if question and s.tag(end) in ("", ".", ",", "IN", "TO", "CC", "RB", ";"):
        yield Draft(f"How long {question}", match.span(1))


# ---- how many, how much, how far


def _count_of_existence(case: Case) -> Iterator[Draft]:
    """ "There are 1,400 species of bats in ..." """
    clause, s = case.clause, case.s
    if not clause.is_existential or clause.rest_points_elsewhere:
        return
    number = _number_end(s, clause.rest, clause.end)
    if number is None:
        return
    end = noun_phrase_end(s, number, clause.end)
    if end > number and is_plural(s, (number, end)) and clause.end > end:
        question = f"How many {s.words(number, end)} {s.words(clause.finite, clause.rest)} there {s.words(end, clause.end)}"
        yield Draft(question, s.characters(clause.rest, number))


def _count_of_subject(case: Case) -> Iterator[Draft]:
    """ "Thirty-eight pairs raised chicks on the raft" """
    clause, s = case.clause, case.s
    start, end = clause.subject
    number = _number_end(s, start, end)
    if number is None or clause.rest_points_elsewhere or clause.is_negated:
        return
    if s.word(number) in ("of", "to", "or", "and", "percent", "%", "other", "more", "such", "these") or not s.any_tag(number, end, NOUNS):
        return
    if is_plural(s, (number, end)):
        yield Draft(f"How many {s.words(number, end)} {predicate(clause, singular=False)}", s.characters(start, number))


def _count_of_object(case: Case) -> Iterator[Draft]:
    """ "The dredger removes 95,000 tonnes of silt" and, with its preposition in front, "Samples are taken at twelve points" """
    clause, s = case.clause, case.s
    if not case.is_plain:
        return
    prepositions = ("at", "in", "on", "with", "to", "from", "over", "into", "under", "through")
    for i in range(clause.rest, clause.end):
        preposition = s.tokens[i - 1].word if s.word(i - 1) in prepositions and i - 1 >= clause.rest else ""
        is_object = i == clause.rest and not clause.is_copula
        number = _number_end(s, i, clause.end) if is_object or preposition else None
        if number is None:
            continue
        end = noun_phrase_end(s, number, clause.end)
        if end == number or not _is_countable(s, number, end) or not _belongs_to_verb(clause, i - bool(preposition)):
            return
        if s.word(end) in ("and", "or", ",", "old", "to", "–") and end < clause.end or s.word(end) in ("long", "wide", "high", "deep", "old"):
            return
        if preposition and (s.word(head(s, (number, end))) in _UNITS or clause.end - clause.rest > 9):
            return
        drop = (i - bool(preposition), end)
        yield from case.ask(f"{preposition} how many {s.words(number, end)}", stop=clause.end, drop=drop, answer=(i, number))
        return


_UNITS = frozenset(
    "second seconds minute minutes hour hours day days week weeks month months year years decades centuries percent times degrees milliseconds".split()
)


def _is_countable(s: TaggedSentence, start: int, end: int) -> bool:
    return is_plural(s, (start, end)) and s.word(start) not in ("of", "to", "or", "and", "percent", "%", "times", "more", "other")


def _number_end(s: TaggedSentence, start: int, stop: int) -> int | None:
    """End of a cardinal number above one, with its "about" and its "million", that begins at `start`."""
    i = start
    while i < stop and s.word(i) in words.APPROXIMATIONS:
        i += 1
    if i >= stop or not is_number(s.tokens[i]) or s.word(i) in ("one", "zero", "1", "half") or re.fullmatch(r"(?:1[5-9]|20)\d\ds?", s.word(i)):
        return None
    if s.tag(start - 1) in (*PROPER, "$") or s.word(start - 1) in ("number", "channel", "extension", "room", "berth", "version", "python"):
        return None
    while i < stop and (is_number(s.tokens[i]) or s.word(i) in ("and", "to", "or") and i + 1 < stop and is_number(s.tokens[i + 1])):
        i += 1
    return i


_MONEY = re.compile(
    r"((?:(?:over|about|around|approximately|nearly|almost|more than|at least|up to|an estimated|a total of|only|roughly) )?"
    r"(?:[$£€]\s?\d[\d.,]*(?: (?:million|billion|thousand))?"
    r"|(?:\d[\d.,]*|[a-z]+(?:-[a-z]+)?) (?:(?:million|billion|thousand) )?(?:euros?|dollars?|pounds|crowns?|cents|francs|pence)))(?=[\s,.;]|$)"
)
_LENGTH_UNITS = r"(?:cm|m|mm|km|kg|g|ft|feet|inches|in|met(?:er|re)s?|centimet(?:er|re)s?|millimet(?:er|re)s?|kilomet(?:er|re)s?|kilograms?|grams?|tonnes|tons|pounds|lb|years|minutes|hours|miles)"
_MEASURE = re.compile(
    rf"((?:(?:approximately|about|around|roughly|up to|over|nearly|only|at least|between|from|as much as|almost|less than|more than) )*"
    rf"(?:\d[\d.,]*|[a-z]+(?:-[a-z]+)?)(?:\s?(?:–|-|to|and)\s?(?:\d[\d.,]*|[a-z]+))? {_LENGTH_UNITS})(?: \([^)]*\))?"
    r"(?: (long|high|wide|tall|deep|thick|old|apart|away|in length|in height|in width|in diameter|in weight))?(?=[\s,.;]|$)"
)
_ADJECTIVE_OF = {"in length": "long", "in height": "high", "in width": "wide", "in weight": "heavy", "away": "far away", "apart": "far apart"}


def _amount_of_money(case: Case) -> Iterator[Draft]:
    """ "A night at a mooring costs 15 euros" """
    clause, s = case.clause, case.s
    if not case.is_plain or clause.verb not in ("cost", "gross", "earn", "pay", "raise", "receive", "spend", "collect", "generate") or clause.is_passive:
        return
    if clause.rest >= clause.end:
        return
    match = _MONEY.match(s.text, s.tokens[clause.rest].start)
    if match:
        end = next((k + 1 for k in range(clause.rest, clause.end) if s.tokens[k].end >= match.end()), clause.end)
        question = inverted(clause, stop=clause.end, drop=(clause.rest, end))
        if question and s.tag(end) not in (*NOUNS, "CD"):
            yield Draft(f"How much {question}", match.span(1))


def _measure(case: Case) -> Iterator[Draft]:
    """ "The raft is 12 metres long", "The bat weighs 2 grams" """
    clause, s = case.clause, case.s
    if not case.is_plain or clause.rest >= clause.end or not (clause.is_copula or clause.verb == "weigh"):
        return
    match = _MEASURE.match(s.text, s.tokens[clause.rest].start)
    if match is None or not s.any_tag(clause.rest, clause.rest + 4, ("CD",)) and not s.any_word(clause.rest, clause.rest + 3, tuple(words.SMALL_NUMBERS)):
        return
    dimension = match.group(2)
    if clause.verb == "weigh":
        yield from _weight(clause, match)
    elif dimension and dimension != "in diameter":
        yield Draft(f"How {_ADJECTIVE_OF.get(dimension, dimension)} {s.word(clause.finite)} {subject(clause)}", match.span(1))


def _weight(clause: Clause, match: re.Match[str]) -> Iterator[Draft]:
    question = inverted(clause, stop=clause.rest)
    if question:
        yield Draft(f"How much {question}", match.span(1))


# ---- by whom, called, what for, how, why


def _agent(case: Case) -> Iterator[Draft]:
    """ "The film is analysed by Professor Arne" """
    clause, s = case.clause, case.s
    if not (clause.is_passive and case.is_plain):
        return
    by = next((i for i in range(clause.rest, min(clause.rest + 7, clause.end)) if s.word(i) == "by"), None)
    if by is None or s.tag(by + 1) in ("VBG", "CD", "RB", "PRP$") or is_number(s.tokens[by + 1]):
        return
    end = noun_list_end(s, by + 1, clause.end)
    if end <= by + 1 or (end < clause.end and s.tag(end) not in ("IN", "TO")) or not _belongs_to_verb(clause, by):
        return
    agent = (by + 1, end)
    if _is_personal(case, agent):
        yield from case.ask("By whom", stop=clause.end, drop=(by, end), answer=agent)
    elif not has_name(s, agent) and end == clause.end and s.word(by + 1) not in words.PRONOUNS:
        yield from case.ask("What", stop=by + 1, drop=None, answer=agent)


def _is_personal(case: Case, phrase: Span) -> bool:
    """Whether every member of the phrase is a person or a kind of persons."""
    s = case.s
    return all(case.names.is_person(s, part) or (is_person_noun(s.word(head(s, part)))) for part in _parts(s, phrase))


_NAMING = {"know": ("as",), "refer": ("to", "as"), "call": (), "name": (), "title": (), "dub": (), "nickname": (), "term": ()}


def _called(case: Case) -> Iterator[Draft]:
    """ "Muscles of this kind are called superfast muscles" """
    clause, s = case.clause, case.s
    if not (clause.is_passive and case.subject_is_named) or clause.is_negated or clause.verb not in _NAMING:
        return
    start = clause.rest
    for particle in _NAMING[clause.verb]:
        if s.word(start) != particle:
            return
        start += 1
    end = noun_list_end(s, start, clause.end)
    if end > start and s.word(start) not in ("after", "for") and (end == clause.end or s.tag(end) == "IN"):
        yield from case.ask("What", stop=start, drop=None, answer=(start, end))


def _object_is_called(case: Case) -> Iterator[Draft]:
    """ "Residents called the horn the Moaning Cow" """
    clause, s = case.clause, case.s
    if clause.is_passive or not case.is_plain or clause.verb not in ("call", "name", "nickname", "dub", "term", "christen"):
        return
    middle = noun_phrase_end(s, clause.rest, clause.end)
    if middle > clause.rest and s.word(clause.rest) in ("the", "a", "an"):
        end = noun_phrase_end(s, middle, clause.end)
        if end == clause.end and end > middle and is_self_contained(s, (middle, end)):
            yield from case.ask("What", stop=middle, drop=None, answer=(middle, end))


def _used_for(case: Case) -> Iterator[Draft]:
    """ "Wax is used for sealing", "The tube is used to hear" """
    clause, s = case.clause, case.s
    if not (clause.is_passive and case.is_plain) or clause.verb not in ("use", "design", "require", "need", "employ"):
        return
    if s.word(clause.rest) == "for" and clause.verb != "require":
        yield from case.ask("What", stop=clause.rest + 1, drop=None, answer=(clause.rest + 1, clause.end))
    elif s.word(clause.rest) == "to" and s.tag(clause.rest + 1) == "VB":
        yield from case.ask("For what purpose", stop=clause.rest, drop=None, answer=(clause.rest, clause.end))


def _means(case: Case) -> Iterator[Draft]:
    """ "Bats find prey by listening to echoes" """
    clause, s = case.clause, case.s
    if not case.subject_is_named or clause.is_negated or clause.is_existential:
        return
    by = next((i for i in range(clause.rest, clause.end - 1) if s.word(i) == "by" and s.tag(i + 1) == "VBG"), None)
    if by is None or not _belongs_to_verb(clause, by) or s.any_tag(clause.rest, by, ("PRP",)):
        return
    if by - clause.rest >= 1 or clause.is_passive:
        yield from case.ask("How", stop=by, drop=None, answer=(by, clause.end))


_REASON = re.compile(r",? ?\b(because of|because|due to|as a result of|owing to|so that|in order to)\b (?=\w)")
_HEDGES = frozenset("largely mainly partly primarily part mostly simply just only even not probably possibly perhaps maybe".split())


def _reason(case: Case) -> Iterator[Draft]:
    """ "They cleaned the beach with shovels, because no equipment existed" """
    clause, s = case.clause, case.s
    if not case.subject_is_named or clause.is_existential or clause.rest >= len(s):
        return
    match = _REASON.search(s.text, s.tokens[clause.rest - 1].end)
    if match is None:
        return
    begin = next((i for i in range(clause.rest, len(s)) if s.tokens[i].start >= match.start(1)), None)
    if begin is None or s.word(begin - 1) in _HEDGES or (begin == clause.rest and not clause.is_passive and clause.is_copula):
        return
    stop = begin - 1 if s.word(begin - 1) == "," else begin
    if clause.end < stop or s.any_tag(clause.rest, stop, ("PRP",)) or s.any_word(clause.rest, stop, ("this", "these", "such", "those")):
        return
    first = next((i for i in range(begin, len(s)) if s.tokens[i].start >= match.end()), None)
    if first is None:
        return
    end = _reason_end(s, first, clause)
    answer_from = begin if match.group(1) in ("so that", "in order to") else first
    if end is not None and end - first >= 2:
        yield from case.ask("Why", stop=stop, drop=None, answer=(answer_from, end))


def _reason_end(s: TaggedSentence, first: int, clause: Clause) -> int | None:
    stop = len(s) - 1 if s.tag(len(s) - 1) == "." else len(s)
    end = clause_end(s, min(first + 2, stop), stop)
    return end if end is not None and end >= clause.rest else None


# ---- where

_PLACE_VERBS = frozenset(
    "locate find bear film shoot premiere hold live base set raise settle grow occur roost originate situate hatch emerge open launch play screen"
    " establish stay winter reside record stage exhibit breed lie stand meet store keep sit bury hang anchor moor park sell display berth nest"
    " hibernate lodge house build mount install place run start begin end".split()
)
_LOCATIVE_VERBS = frozenset("lie stand live roost reside locate situate sit hang breed nest hibernate winter store keep moor anchor meet house lodge".split())
_PLACE_PREPOSITIONS = frozenset("in at near on under beneath beside behind above opposite outside inside along throughout between".split())
_NO_PLACE = re.compile(
    r"\d{4}|\b(?:century|version|film|series|season|episode|novel|book|issue|comic|role|game|festival|term|order|case|use|condition|way|charge|favou?r|pair|row"
    r"|addition|contrast|general|particular|front|spring|summer|autumn|winter|month|year|week|day|hour|minute|time|night|morning|evening|danger|service"
    r"|weather|duty|request|board$|call|average|least|most|speed|level|rate|price|cost|risk|length|height|form|number|group|style|manner|" + _MONTH + r")s?\b",
    re.IGNORECASE,
)


def _place(case: Case) -> Iterator[Draft]:
    """ "A tide gauge stands in a well beneath the Pilot Steps" """
    clause, s = case.clause, case.s
    copula = clause.is_copula and s.word(clause.rest) in ("native", "endemic", "common")
    if not case.is_plain or not (clause.verb in _PLACE_VERBS or copula):
        return
    for i in range(clause.rest, clause.end - 1):
        if s.word(i) not in _PLACE_PREPOSITIONS and not (copula and s.word(i) == "to"):
            continue
        end = noun_list_end(s, i + 1, clause.end)
        if end <= i + 1 or not _belongs_to_verb(clause, i):
            return
        named = has_name(s, (i + 1, end))
        if i == clause.rest and clause.verb in _LOCATIVE_VERBS and (named or s.tag(i + 1) == "DT") and not _is_no_place(s, i + 1, end):
            yield from case.ask("Where", stop=i, drop=None, answer=(i, _place_chain_end(s, end, clause.end)))
            return
        if named and s.word(i) in ("in", "at", "near", "on") and not _is_no_place(s, i + 1, end) and not clause.verb == "find":
            end = _with_state(s, end, clause.end)
            yield from case.ask("Where", stop=clause.end, drop=(i, end), answer=(i, end))
        return


def _is_no_place(s: TaggedSentence, start: int, end: int) -> bool:
    return bool(_NO_PLACE.search(s.words(start, noun_phrase_end(s, start, end, of_phrases=False))))


def _place_chain_end(s: TaggedSentence, end: int, stop: int) -> int:
    """End of a chain of place phrases: "in a well beneath the steps"."""
    while end < stop and s.word(end) in _PLACE_PREPOSITIONS | {"of", "to", "from", "with"}:
        following = noun_list_end(s, end + 1, stop)
        if following == end + 1 or _is_no_place(s, end + 1, following):
            return end
        end = following
    return end


def _with_state(s: TaggedSentence, end: int, stop: int) -> int:
    """End of a place with the larger place behind its comma: "Ithaca, New York"."""
    while end + 1 < stop and s.word(end) == "," and s.tag(end + 1) == "NNP":
        end = noun_phrase_end(s, end + 1, stop)
    return end


# ---- what is, who is

_SUPERLATIVES = frozenset("first only largest main most father best second last oldest smallest longest highest".split())


def _definition(case: Case) -> Iterator[Draft]:
    """ "Seagrass is a flowering plant that ..." """
    clause, s = case.clause, case.s
    if not (clause.is_copula and case.is_plain) or clause.lead is not None or not clause.is_first:
        return
    start = clause.rest
    end = noun_phrase_end(s, start, clause.end)
    if end == start or not (s.word(start) in ("a", "an", "the") or s.tag(end - 1) == "NNS"):
        return
    is_person = case.subject_is_person
    superlative = s.any_tag(start, end, ("JJS", "RBS")) or s.any_word(start, end, tuple(_SUPERLATIVES))
    if superlative and s.word(start) == "the":
        if content_words(s.words(end, clause.end)) or has_name(s, (start, end)) or end - start > 4:
            yield Draft(f"{'Who' if is_person else 'What'} {s.word(clause.finite)} {s.words(start, clause.end)}", s.characters(*clause.subject))
    elif 2 <= clause.end - start <= 22 and not superlative and (end - start > 2 or clause.end > end):
        yield Draft(f"{'Who' if is_person else 'What'} {s.word(clause.finite)} {subject(clause)}", s.characters(start, clause.end))


def _apposition(case: Case) -> Iterator[Draft]:
    """ "Louis Jurine, a Swiss surgeon, blocked ..." """
    clause, s = case.clause, case.s
    start = clause.subject[1] + 1
    end = noun_phrase_end(s, start, clause.subject_stop)
    if s.word(clause.subject[1]) != "," or s.word(start) not in ("a", "an", "the") or not case.subject_is_person:
        return
    if end > start and s.word(end) in (",", "of", "at", "from", "in", "who") and end - start > 1:
        closing = next((i for i in range(end, clause.subject_stop) if s.word(i) == ","), clause.subject_stop)
        be = "was" if s.tag(clause.finite) == "VBD" else "is"
        yield Draft(f"Who {be} {subject(clause)}", s.characters(start, closing))


_ALIAS = re.compile(
    r"^((?:The |A |An )?[A-Z][\w'’ -]{2,50}?),? \(?(?:also|sometimes|commonly|often|better|otherwise) (?:known|referred to|called) (?:as )?(?:the )?"
    r"[\"“]?([A-Z\w][\w'’ -]{2,40}?)[\"”]?[,)]"
)


def alias(s: TaggedSentence, names: Names) -> Iterator[Draft]:
    """ "The harbour seal, also known as the common seal, ..." needs no clause."""
    match = _ALIAS.match(s.text)
    if match is None:
        return
    end = next((i + 1 for i in range(len(s)) if s.tokens[i].end >= match.end(1)), 0)
    if not end or s.any_tag(0, end, ("IN", "CC", "VBZ", "VBD", "VBP", "WDT", ",")) or re.search(r"\b(?:is|was|are|were|which|that|by|due)\b", match.group(2)):
        return
    if is_self_contained(s, (0, end)):
        be = "are" if is_plural(s, (0, end)) and not names.is_person(s, (0, end)) else "is"
        yield Draft(f"By what other name {be} {in_mid_sentence(s, 0, end)} known", match.span(2))


# ---- object and subject

_OBJECT_TAKES = frozenset(
    "wish need ability desire attempt right rights chance opportunity plan plans decision effort efforts permission capacity tendency power way ways"
    " capability time order option intention offer deal refusal failure search demand support reason".split()
)
_VAGUE_OBJECTS = frozenset(
    "birth rise emphasis attention advantage account care ability abilities time way lot part place role number years times amount use sense shape"
    " point need question effect everything something nothing".split()
)


def _object(case: Case) -> Iterator[Draft]:
    """ "Griffin coined the word ..." """
    clause, s = case.clause, case.s
    if not case.is_plain or clause.is_passive or clause.is_copula or clause.verb in words.LIGHT_VERBS or clause.rest >= clause.end:
        return
    start = clause.rest
    end = noun_list_end(s, start, clause.end)
    if end == start or s.tag(start) in ("RB", "VBN", "VBG", "PRP$", '"') or s.word(end - 1) in _VAGUE_OBJECTS:
        return
    if end < clause.end and (s.tag(end) not in ("IN", "TO") or s.word(end) in ("that", "than", "as", "whether", "of") or _is_complement(s, end)):
        return
    phrase = (start, end)
    if words.PRONOUNS.intersection(s.lowered[start:end]) or any(is_number(token) for token in s.tokens[start:end]):
        return
    if all(case.names.is_person(s, part) for part in _parts(s, phrase)):
        yield from case.ask("Whom", stop=clause.end, drop=phrase, answer=phrase)
    elif not has_name(s, phrase) and not is_person_noun(s.word(head(s, phrase))):
        yield from case.ask("What", stop=clause.end, drop=phrase, answer=phrase)


def _is_complement(s: TaggedSentence, end: int) -> bool:
    """Whether what stands behind the object belongs to its noun: "the right to vote"."""
    return s.word(end) in ("to", "for") and (s.tag(end + 1) == "VB" or s.word(end) == "for") and s.word(end - 1) in _OBJECT_TAKES


_NO_SUBJECT_HEADS = frozenset("way part number thing things time use case example lot variety majority series list group range type kind form half percent".split())
# sorts of things that people ask for by "which"
_WHICH_NOUNS = frozenset(
    "bat species cave river company university office ship country city town state island bridge museum team organization committee department"
    " agency college hospital laboratory magazine newspaper language planet mountain lake sea ocean boat vessel tug ferry crane berth lighthouse"
    " tower station station service club festival chapter event channel fund board family bird plant insect virus fungus gene protein"
    " school institute foundation module exception beach fish animal moth frog dredger tanker pub restaurant firm contractor".split()
)


def _subject(case: Case) -> Iterator[Draft]:
    """ "Who ...", "What ...", "Which bat ...": the whole predicate is the question."""
    clause, s = case.clause, case.s
    if not case.is_plain or clause.is_copula or clause.end - clause.rest < 2 or s.any_tag(clause.rest, clause.end, ("PRP$",)):
        return
    if s.word(clause.rest) in ("that", "if", "whether", "how") and not case.subject_is_person:
        return
    wh = _subject_word(case)
    if wh and len(content_words(s.words(clause.subject_stop, clause.end))) >= 3:
        asked = predicate(clause)
        if asked:
            yield Draft(f"{wh} {asked}", s.characters(*clause.subject))


def _subject_word(case: Case) -> str | None:
    """Who, What or Which, or None where the subject is no answer."""
    clause, s = case.clause, case.s
    span = clause.subject
    if case.subject_is_person:
        return "Who"
    noun = head(s, span)
    if len(_parts(s, span)) > 1 or s.word(noun) in _NO_SUBJECT_HEADS or any(is_number(token) for token in s.tokens[span[0] : noun + 1]):
        return None
    if s.tag(noun) in ("NN", "NNP") and noun > span[0] and s.word(noun) in _WHICH_NOUNS and not (noun - span[0] == 1 and s.tag(span[0]) == "DT"):
        return f"Which {s.word(noun)}"
    if s.tag(noun) not in ("NN", "NNS") or (s.word(span[0]) in ("the", "a", "an") and noun - span[0] == 1 and noun + 1 == span[1]):
        return None
    if is_person_noun(s.word(noun)) or (re.search(r"(?:ers?|ors?|ists?|ians?)$", s.word(noun)) and clause.verb in words.HUMAN_VERBS):
        return "Who" if noun > span[0] else None
    return None if re.search(r"(?:[^t]ers|ors|ists?|ians?)$", s.word(noun)) else "What"


# ---- the table


@dataclass(frozen=True)
class Entry:
    """A rule with the kind of its questions and how much they are preferred (from reading samples: the more precise, the higher)."""

    name: str
    kind: str
    preference: float
    rule: Rule


RULES: tuple[Entry, ...] = (
    Entry("time_in_lead", "when", 1.3, _time_in_lead),
    Entry("time_behind_verb", "when", 1.3, _time_behind_verb),
    Entry("duration", "how", 1.25, _duration),
    Entry("count_of_existence", "how", 1.1, _count_of_existence),
    Entry("count_of_subject", "how", 1.2, _count_of_subject),
    Entry("count_of_object", "how", 1.25, _count_of_object),
    Entry("amount_of_money", "how", 1.25, _amount_of_money),
    Entry("measure", "how", 1.2, _measure),
    Entry("agent", "who", 1.2, _agent),
    Entry("called", "what", 1.15, _called),
    Entry("object_is_called", "what", 1.15, _object_is_called),
    Entry("used_for", "what", 1.0, _used_for),
    Entry("means", "how", 1.15, _means),
    Entry("reason", "why", 1.2, _reason),
    Entry("place", "where", 1.2, _place),
    Entry("definition", "what", 1.05, _definition),
    Entry("apposition", "who", 1.1, _apposition),
    Entry("object", "what", 0.95, _object),
    Entry("subject", "what", 1.0, _subject),
)
