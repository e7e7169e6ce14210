"""A conservative clause parser: lead phrase, subject, verb group, rest.

It reads simple declarative clauses and gives up on everything else: a clause that is read wrongly becomes a wrong
question, one that is not read costs nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from raft_assets.embedded.teacher import words
from raft_assets.embedded.teacher.morphology import base_form, forms_of, is_known_as
from raft_assets.embedded.teacher.phrases import Span, TaggedSentence, head, noun_list_end, noun_phrase_end
from raft_assets.embedded.teacher.tagging import ADJECTIVES, FINITE, NOUNS, PROPER
from raft_assets.embedded.teacher.words import word_set

SHORTEST, LONGEST = 5, 48  # tokens of a sentence that is worth parsing
_AUXILIARIES = word_set("is are was were has have had do does did")
_BE = word_set("is are was were")
_NO_SUBJECT = word_set("PRP EX WDT WP WRB CC RB VBN IN TO VB MD UH RBR .")
_SUBJECT_PREPOSITIONS = word_set(
    "of in on at for from to with between by within near about against among behind under over into without above"
    " below through beyond along around beneath beside outside inside throughout during off"
)
_BREAKS = word_set("; : ? ! … ... [ ]")
_LEAD_LENGTH = 14  # tokens between a leading preposition and its comma


@dataclass(frozen=True)
class Clause:
    """A finite clause; all numbers are token positions. `rest` to `end` is what follows the verb group."""

    sentence: TaggedSentence
    lead: Span | None
    subject: Span
    subject_stop: int
    finite: int
    main: int
    rest: int
    end: int
    is_first: bool

    @cached_property
    def verb(self) -> str:
        """Infinitive of the main verb."""
        return base_form(self.sentence.word(self.main)) or self.sentence.word(self.main)

    @cached_property
    def has_auxiliary(self) -> bool:
        """Whether the finite verb may stand before the subject in a question."""
        return self.finite != self.main or self.sentence.word(self.finite) in _BE

    @cached_property
    def is_copula(self) -> bool:
        """Whether the clause says what something is."""
        return self.main == self.finite and self.sentence.word(self.finite) in _BE

    @cached_property
    def is_passive(self) -> bool:
        """Whether the main verb is a passive participle."""
        group = self.sentence.lowered[self.finite : self.main]
        return (
            self.main != self.finite
            and bool({*_BE, "be", "been", "being"}.intersection(group))
            and self.sentence.tag(self.main) in ("VBN", "VBD")
        )

    @cached_property
    def is_negated(self) -> bool:
        """Whether the verb or what follows it directly is denied."""
        around = self.sentence.lowered[self.subject_stop : min(self.end, self.rest + 1)]
        return bool(
            {"not", "n't", "never", "no", "nothing", "nobody", "hardly", "scarcely", "neither", "nor"}.intersection(
                around
            )
        )

    @cached_property
    def is_existential(self) -> bool:
        """Whether the clause begins with "there is"."""
        return self.sentence.word(self.subject[0]) == "there"

    @cached_property
    def rest_points_elsewhere(self) -> bool:
        """Whether a pronoun follows the verb."""
        s = self.sentence
        that_one = any(
            s.word(i) == "that" and s.tag(i - 1) in ("IN", "TO") for i in range(self.rest, self.end)
        )  # "of that sum"
        return that_one or s.any_tag(self.rest, self.end, ("PRP",)) or s.any_word(self.rest, self.end, _DEMONSTRATIVES)


_DEMONSTRATIVES = ("this", "these", "those", "such", "here", "there", "former", "latter", "itself", "themselves")


def clauses(s: TaggedSentence) -> list[Clause]:
    """Return the main clauses of the sentence that could be read, in order; empty if none could."""
    if not SHORTEST <= len(s) <= LONGEST:
        return []
    stop = _sentence_stop(s)
    if stop is None:
        return []
    first = _clause(s, *_opening(s, stop), stop, is_first=True)
    if first is None:
        return []
    return [first, *_following(first, stop)]


def _following(first: Clause, stop: int) -> Iterator[Clause]:
    """Yield the clause after "..., and"; only one, because errors add up."""
    s, end = first.sentence, first.end
    if s.word(end) != "," or s.word(end + 1) not in ("and", "but", "while", "whereas"):
        return
    second = _clause(s, None, end + 2, stop, is_first=False)
    if second is not None:
        yield second


def _sentence_stop(s: TaggedSentence) -> int | None:
    """Return where the part of the sentence that is worth parsing ends; None if its punctuation is too hard."""
    stop = len(s) - 1 if s.word(len(s) - 1) in (".", "!") else len(s)
    if s.tag(len(s) - 1) == '"' and s.word(len(s) - 2) in (".", ","):
        stop = len(s) - 2
    hard = next((i for i in range(stop) if s.word(i) in _BREAKS), None)
    if hard is None:
        return stop
    return hard if s.word(hard) in (";", ":") and hard > 7 else None


def _opening(s: TaggedSentence, stop: int) -> tuple[Span | None, int]:
    """Return the leading prepositional phrase (None if there is none) and where the subject begins.

    The subject begins at the sentence's end if it can't be determined.
    """
    start = 0
    if s.word(0) in words.OPENING_ADVERBS and s.word(1) == ",":
        start = 2
    elif s.word(0) in words.VAGUE_OPENERS:
        return None, stop
    if s.word(start) in words.DROPPED_CLAUSE_OPENERS:
        return None, _behind_subordinate(s, start, stop)
    if s.tag(start) not in ("IN", "TO") or s.word(start) in words.CLAUSE_OPENERS:
        return None, start
    comma = next((i for i in range(start + 1, min(start + _LEAD_LENGTH, stop)) if s.word(i) == ","), None)
    if comma is not None and s.tag(comma + 1) == "CD" and s.tag(comma - 1) == "CD":  # "On May 3, 1990, ..."
        return (start, comma + 2), comma + 2 + (s.word(comma + 2) == ",")
    if comma is None:
        return _lead_without_comma(s, start, stop)
    if s.any_tag(start, comma, (*FINITE, "WDT", "WP", "WRB")):
        return None, stop
    return (start, comma), comma + 1


def _behind_subordinate(s: TaggedSentence, start: int, stop: int) -> int:
    """Return where the main clause begins after "Although ..., ".

    The sentence's end if the comma isn't the only one.
    """
    commas = [i for i in range(start, stop) if s.word(i) == ","]
    if not commas or not s.any_tag(start, commas[0], tuple(FINITE)):
        return stop
    return commas[0] + 1 if len(commas) == 1 or noun_phrase_end(s, commas[0] + 1, commas[1]) < commas[1] else stop


def _lead_without_comma(s: TaggedSentence, start: int, stop: int) -> tuple[Span | None, int]:
    """Return the only lead that is safe without its comma, "In 1984 X did ...", and where the subject begins."""
    end = start + 1
    while end < stop and (
        s.tag(end) == "CD" or s.word(end) in ("the", "early", "mid", "late") or s.tokens[end].word in _MONTH_WORDS
    ):
        end += 1
    if (
        end > start + 1
        and s.word(start) in ("in", "on", "by", "since", "during")
        and s.word(end - 1)[:2] in ("15", "16", "17", "18", "19", "20")
    ):
        return (start, end), end
    return None, stop


_MONTH_WORDS = word_set("January February March April May June July August September October November December")


def _clause(s: TaggedSentence, lead: Span | None, start: int, stop: int, *, is_first: bool) -> Clause | None:
    if start >= stop:
        return None
    existential = s.word(start) == "there"
    if not existential and (
        s.word(start) in words.PRONOUNS - words.QUANTIFIERS
        or (s.tag(start) in _NO_SUBJECT and s.word(start) not in words.APPROXIMATIONS)
    ):
        return None
    finite = _finite_verb(s, start, stop)
    if finite is None:
        return None
    subject_stop = finite
    while subject_stop > start and s.tag(subject_stop - 1) == "RB" and s.word(subject_stop - 1) != "away":
        subject_stop -= 1
    subject_end = _without_apposition(s, start, subject_stop)
    if subject_end is None or not (existential or _is_subject(s, start, subject_end)):
        return None
    group = _verb_group(s, finite, stop)
    if group is None:
        return None
    main, rest = group
    end = clause_end(s, rest, stop)
    if end is None or _has_second_verb(s, rest, end) or _shares_object(s, rest, end) or _is_cut_inside(s, rest, end):
        return None
    if not existential and not _agrees(s, (start, subject_end), finite):
        return None
    if not is_first and subject_end - start == 1 and s.tag(start) not in ("NNS", "NNP"):
        return None
    return Clause(s, lead, (start, subject_end), subject_stop, finite, main, rest, end, is_first)


def _finite_verb(s: TaggedSentence, start: int, stop: int) -> int | None:
    """Return the first finite verb outside parentheses and quotations; None if a relative clause comes before it."""
    depth, quoted = 0, False
    for i in range(start, stop):
        tag, word = s.tag(i), s.word(i)
        depth += (tag == "(") - (tag == ")")
        if tag == '"':
            quoted = not quoted
        if depth or quoted:
            continue
        if tag in ("WDT", "WP", "WRB") or word in ("that", "whose"):
            return None
        if i > start and (word in _AUXILIARIES or (tag in FINITE and (tag == "MD" or base_form(word)))):
            return i
    return None


def _without_apposition(s: TaggedSentence, start: int, stop: int) -> int | None:
    """Return the end of the subject before an apposition between commas; None if commas mean something else."""
    commas = [i for i in range(start, stop) if s.word(i) == ","]
    if not commas or noun_list_end(s, start, stop) == stop:
        return stop
    if len(commas) >= 2 and commas[-1] == stop - 1 and s.word(commas[0] + 1) not in ("and", "or"):
        return commas[0]
    return None


def _is_subject(s: TaggedSentence, start: int, end: int) -> bool:
    """Return whether the tokens are noun phrases joined by prepositions, with parentheses allowed."""
    i = start
    while i < end:
        if s.tag(i) == "(":
            i = next((k + 1 for k in range(i, end) if s.tag(k) == ")"), end)
            if i >= end:
                return True
            continue
        phrase_end = noun_list_end(s, i, end)
        if phrase_end == i:
            return False
        i = phrase_end
        if s.tag(i) == "VBN" and i < end and s.word(i + 1) in _SUBJECT_PREPOSITIONS:
            i += 1  # "a file opened in text mode"
        if i < end and s.tag(i) in ("IN", "TO") and s.word(i) in _SUBJECT_PREPOSITIONS:
            i += 1
        elif i < end and s.tag(i) != "(":
            return False
    return end > start and s.tag(end - 1) not in ("IN", "TO")


def _verb_group(s: TaggedSentence, finite: int, stop: int) -> tuple[int, int] | None:
    """Return the main verb and the end of the verb group that begins with the finite verb."""
    word = s.word(finite)
    if s.tag(finite) != "MD" and word not in _AUXILIARIES:
        return finite, finite + 1
    i = finite + 1
    while i < stop and (
        s.tag(i) == "RB" or s.word(i) in ("not", "n't", "been", "being", "be", "have", "first", "both")
    ):
        i += 1
    if (
        i < stop
        and s.tag(i) in ("VB", "VBN", "VBG", "VBD")
        and not (word in ("has", "have", "had") and s.tag(i) == "VBG")
    ):
        return i, i + 1
    if s.tag(finite) != "MD":
        return finite, finite + 1
    return (i - 1, i) if s.word(i - 1) in ("be", "have") else None


def clause_end(s: TaggedSentence, start: int, stop: int) -> int | None:
    """Return where the clause ends whose verb group ends at `start`: before a subordinate or second clause.

    None if a comma can't be understood.
    """
    depth = 0
    for i in range(start, stop):
        tag, word = s.tag(i), s.word(i)
        depth += (tag == "(") - (tag == ")")
        if depth:
            continue
        if word in ("—", "–", "-") and s.text[s.tokens[i].start - 1] == " ":
            return i
        if word == ",":
            verdict = _comma_ends(s, start, i, stop)
            if verdict is None:
                return None
            if verdict:
                return i
        if word in ("and", "but", "or", "yet") and not _clause_is_open(s, start, i) and _conjunction_ends(s, i, stop):
            return i
        if (
            word in ("while", "whereas", "although", "though", "if", "unless", "because", "so")
            and i > start
            and s.word(i + 1) not in ("of", "that")
        ):
            return i
    return stop


def _clause_is_open(s: TaggedSentence, start: int, i: int) -> bool:
    """Return whether a clause before token `i` still waits for its verb: "showed that cold and hunger can ..."."""
    opener = next(
        (
            k
            for k in range(i - 1, start - 1, -1)
            if s.tag(k) in ("WRB", "WP", "WDT") or s.word(k) in ("that", "whether", "if")
        ),
        None,
    )
    return opener is not None and not s.any_tag(opener, i, tuple(FINITE))


def _comma_ends(s: TaggedSentence, start: int, i: int, stop: int) -> bool | None:
    """Return whether the clause ends at the comma `i`.

    None if the comma is between names (City, State) and can't be distinguished from a list.
    """
    word, tag = s.word(i + 1), s.tag(i + 1)
    if s.tag(i - 1) in ADJECTIVES and tag in ADJECTIVES | {"VBN", "VBD"} and s.tag(i + 2) in NOUNS:
        return False
    if (
        word in words.SUBORDINATORS
        or tag in FINITE
        or tag in ("WDT", "WP", "WRB", "VBG", "IN", "PRP", "TO", "VBN", "EX", "RB")
    ):
        return True
    if word in ("and", "or", "but", "nor"):
        is_list = "," in s.lowered[start:i]
        # "the strength of the wind, and the length of its fetch."
        goes_on = is_list or (i + 2 < stop and noun_list_end(s, i + 2, stop) == stop)
        return word == "but" or not goes_on or _begins_clause(s, i + 2, stop)
    if s.tag(i - 1) in ADJECTIVES | {"VBN"} and tag in ADJECTIVES | {"VBN"} | NOUNS:
        return False
    if tag == "CD" and s.tag(i - 1) == "CD" and s.tag(i - 2) in PROPER:
        return False  # "May 3, 1990"
    following = noun_phrase_end(s, i + 1, stop)
    if following > i + 1 and s.tag(following) in FINITE:
        return True  # "green bins take food waste, blue bins take plastic and ..."
    if s.tag(i - 1) in PROPER and tag in PROPER:
        return _comma_between_names(s, i, stop)
    return not any(word in ("and", "or") for word in s.lowered[i + 1 : stop])


def _comma_between_names(s: TaggedSentence, i: int, stop: int) -> bool | None:
    end = noun_phrase_end(s, i + 1, stop, of_phrases=False)
    if end - i <= 4 and (end >= stop or s.tag(end) in ("IN", "TO", "WRB")):
        return False
    return (
        None
        if end < stop and s.word(end) not in (",", "and")
        else not any(word == "and" for word in s.lowered[i + 1 : stop])
    )


def _begins_clause(s: TaggedSentence, i: int, stop: int) -> bool:
    """Return whether a second predicate or clause begins at `i`, after a comma and a conjunction."""
    if i < stop and s.tag(i) in ("VBD", "VBZ", "VBP", "VBN", "VBG", "MD", "PRP", "RB", "IN", "WDT", "TO", "VB", "EX"):
        return True
    end = noun_list_end(s, i, stop)
    return _verb_soon(s, end, stop)


def _verb_soon(s: TaggedSentence, i: int, stop: int) -> bool:
    """Return whether a finite verb comes before the next comma."""
    for k in range(i, min(i + 12, stop)):
        if s.word(k) in (",", "that") or s.tag(k) in ("WDT", "WP", "WRB"):
            return False
        if s.tag(k) in FINITE:
            return True
    return False


def _conjunction_ends(s: TaggedSentence, i: int, stop: int) -> bool:
    """Return whether a second predicate begins after the conjunction `i`, which no comma announces."""
    following = i + 1
    if s.word(i) == "and" and "between" in s.lowered[max(i - 4, 0) : i]:
        return False
    if s.word(i) == "but" or s.tag(following) in (*FINITE, "PRP", "EX") or s.word(following) in _AUXILIARIES:
        return True
    if s.tag(following) == "RB" or s.word(following) == "then":
        following += 1
    if (
        s.tag(following) == "NN"
        and s.tag(following + 1) in ("DT", "PRP$", "TO", "PRP")
        and {"VB", "VBD"} & forms_of(s.word(following))
    ):
        return True  # "sweep the hall and wash the roof"
    if s.tag(following) in FINITE:
        return True
    end = noun_phrase_end(s, following, stop)
    if s.tag(following) in ("VBN", "VB") and end == following and s.tag(following + 1) in _AFTER_VERB:
        return True
    return end > following and s.tag(end) in FINITE


_AFTER_VERB = ("DT", "IN", "TO", "CD", "PRP$", "NNS", "NN", "JJ", "JJR", "RB", "NNP")


def _has_second_verb(s: TaggedSentence, start: int, end: int) -> bool:
    """Return whether a second finite verb follows with nothing to introduce it: the first was misread."""
    introduced = s.any_tag(start, end, ("WDT", "WP", "WRB")) or s.any_word(start, end, _INTRODUCERS)
    return not introduced and any(
        s.word(i) in _AUXILIARIES or (s.tag(i) in FINITE and not is_known_as(s.word(i), "NOUN"))
        for i in range(start, end)
    )


def _shares_object(s: TaggedSentence, rest: int, end: int) -> bool:
    """Return whether the verb's object follows a second verb: "developed and sold the kite"."""
    return rest == end and s.word(end) in ("and", "or", ",") and s.any_tag(end + 1, end + 3, (*FINITE, "VB", "VBN"))


def _is_cut_inside(s: TaggedSentence, rest: int, end: int) -> bool:
    """Return whether the end is inside a clause that a question word opened.

    Such as "dictate how weight and pressure is applied".
    """
    opener = next((i for i in range(end - 1, rest - 1, -1) if s.tag(i) in ("WRB", "WP", "WDT")), None)
    return opener is not None and s.word(opener + 1) != "to" and not s.any_tag(opener, end, tuple(FINITE))


def _agrees(s: TaggedSentence, subject: Span, finite: int) -> bool:
    """Return whether subject and verb agree in number; if they don't, one of them was misread."""
    noun = head(s, subject)
    if (
        s.tag(noun) not in ("NN", "NNS")
        or s.word(noun) in words.COLLECTIVE_NOUNS
        or s.any_word(*subject, ("and", "or", "&"))
    ):
        return True
    plural = s.tag(noun) == "NNS"
    if s.tag(finite) == "VBZ" or s.word(finite) in ("is", "has", "was", "does"):
        return not plural
    return plural or not (s.tag(finite) == "VBP" or s.word(finite) in ("are", "have", "were", "do"))


_INTRODUCERS = word_set(
    "that which who whose where when what how if whether because while after before until since as than"
)
