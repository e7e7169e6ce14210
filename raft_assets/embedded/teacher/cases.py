"""The input of a question rule: a clause with what its chunk has said before."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from raft_assets.embedded.teacher import words
from raft_assets.embedded.teacher.clauses import Clause
from raft_assets.embedded.teacher.names import Names, is_person_noun
from raft_assets.embedded.teacher.phrases import Span, TaggedSentence, has_name, head
from raft_assets.embedded.teacher.phrasing import inverted
from raft_assets.embedded.teacher.tagging import NOUNS, PROPER, is_number
from raft_assets.embedded.teacher.words import word_set


@dataclass(frozen=True)
class QuestionDraft:
    """A question before polishing and checks; `answer` are character positions in the sentence."""

    question: str
    answer: Span


@dataclass(frozen=True)
class Case:
    """A clause in its chunk.

    `introduced`: nouns that earlier sentences introduced. `has_topic`: every question will name what the whole chunk is
    about (an API), so that "the method" is understood.
    """

    clause: Clause
    names: Names
    introduced: frozenset[str] = frozenset()
    has_topic: bool = False

    @property
    def s(self) -> TaggedSentence:
        """The sentence."""
        return self.clause.sentence

    @cached_property
    def subject_is_named(self) -> bool:
        """Whether a question can use the subject, because it says by itself what it is."""
        s, span = self.s, self.clause.subject
        if self.has_topic:
            return not words.POINTING.intersection(s.lowered[slice(*span)])
        return self.is_self_contained(span) and not self._is_single_event

    @cached_property
    def subject_is_person(self) -> bool:
        """Whether the subject names a person, or is a name that its verb shows to be one."""
        s, span = self.s, self.clause.subject
        if all(self.names.is_person(s, part) for part in members(s, span)):
            return True
        return (
            self.clause.verb in words.HUMAN_VERBS and self.names.may_be_person(s, span) and not self.clause.is_passive
        )

    @cached_property
    def affirms(self) -> bool:
        """Whether the clause affirms something without referring to other sentences after its verb."""
        clause = self.clause
        return not (clause.is_negated or clause.is_existential or clause.rest_points_elsewhere)

    @cached_property
    def is_plain(self) -> bool:
        """Whether the clause affirms something about a subject that is named."""
        return self.affirms and self.subject_is_named

    @cached_property
    def _is_single_event(self) -> bool:
        """Whether an indefinite subject did something once, such as "A huge jump followed".

        It is no subject to ask about.
        """
        s, (start, end) = self.s, self.clause.subject
        return self._is_past and s.word(start) in ("a", "an") and end - start <= 4 and not has_name(s, (start, end))

    def ask(self, wh: str, *, stop: int, answer: Span, drop: Span | None = None) -> Iterator[QuestionDraft]:
        """Draft the question "wh + inverted clause", answered by the tokens `answer`."""
        question = inverted(self.clause, stop=stop, drop=drop)
        if question:
            yield QuestionDraft(f"{wh} {question}", self.s.characters(*answer))

    def is_self_contained(self, phrase: Span) -> bool:
        """Return whether a noun phrase says what it means without another sentence."""
        s = self.s
        lowered = [token.lower for token in s.tokens[slice(*phrase)] if token.tag not in ("(", ")", ",", '"')]
        if (
            not lowered
            or len(lowered) > 14
            or words.POINTING.intersection(lowered)
            or lowered[0] in words.QUANTIFIERS
            or lowered[-1] in ("one", "ones")
        ):
            return False
        if (
            s.word(head(s, phrase)).removesuffix("s") in _MEMBERS
            and not has_name(s, phrase)
            and lowered[-1] == s.word(head(s, phrase))
        ):
            return False
        if lowered[0] in ("a", "an", "the") and s.tag(phrase[0] + 1) in ("JJR", "RBR"):
            return False  # "the larger crane": larger than one that was mentioned
        if self.has_topic or has_name(s, phrase):
            return not self.points_back(phrase)
        if any(is_number(token) for token in s.tokens[slice(*phrase)]) and len(lowered) < 3:
            return False
        if lowered[0] in ("a", "an"):
            return len(lowered) > 2
        if lowered[0] == "the":
            return _definite_is_named(lowered) and not self.points_back(phrase)
        return len(lowered) > 1 or self._is_kind(phrase[0])

    def _is_kind(self, i: int) -> bool:
        """Return whether the single noun `i` means a whole kind: "boats", but not "experiments" or "team"."""
        s = self.s
        vague = words.BACK_POINTING_NOUNS if s.tag(i) == "NNS" and not self._is_past else words.GENERIC_NOUNS
        return len(s.word(i)) > 3 and s.word(i) not in vague

    def points_back(self, span: Span) -> bool:
        """Return whether a bare "the city" or "the first event" among the tokens means one mentioned before."""
        if self.has_topic:
            return False
        s = self.s
        for i in range(*span):
            if s.tag(i) in ("WDT", "WP", "WRB") or s.word(i) in ("that", "because"):
                return False
            if s.word(i) == "the" and self._is_bare_mention(i + 1):
                return True
        return False

    def _is_bare_mention(self, i: int) -> bool:
        """Return whether nothing follows "the" but a noun that another sentence explains."""
        s = self.s
        vague = s.word(i) in _VAGUE_MODIFIERS and s.word(i + 1) in words.BACK_POINTING_NOUNS
        noun = i + 1 if vague else i
        bare = s.tag(noun) in NOUNS - PROPER and s.tag(noun + 1) not in NOUNS | {"POS", "CD"}
        return bare and s.word(noun + 1) not in _COMPLEMENTS and self._is_known(s.word(noun))

    def _is_known(self, noun: str) -> bool:
        if self._is_past and noun not in words.UNIQUE_NOUNS:
            return True
        return noun in words.BACK_POINTING_NOUNS or noun in self.introduced or noun.removesuffix("s") in self.introduced

    @cached_property
    def _is_past(self) -> bool:
        """Whether the clause is about a single past event rather than about what is always so."""
        return self.s.tag(self.clause.finite) == "VBD" or self.s.word(self.clause.finite) in ("was", "were", "had")


# what says which one is meant
_COMPLEMENTS = ("of", "that", "who", "which", "between", "for", "where")
# of which animal or club, only another sentence says
_MEMBERS = word_set("male female pup adult juvenile individual member mother infant")
_VAGUE_MODIFIERS = word_set(
    "first second third final last new main original next same entire whole other following resulting early later"
    " previous two three four five six old young large small big best only current latest finished usual right"
    " wrong correct complete remaining known great different various certain"
)


def _definite_is_named(lowered: list[str]) -> bool:
    """Return whether "the ..." is more than "the method", "the new method" and "the first of them"."""
    nouns = lowered[1:]
    if len(nouns) == 1:
        return nouns[0] not in words.GENERIC_NOUNS and not is_person_noun(nouns[0])
    if len(nouns) <= 3 and nouns[-1] in words.GENERIC_NOUNS | words.BACK_POINTING_NOUNS:
        return not _VAGUE_MODIFIERS.issuperset(nouns[:-1])
    return not (len(nouns) == 2 and nouns[0] in _VAGUE_MODIFIERS)


def members(s: TaggedSentence, phrase: Span) -> list[Span]:
    """Return the members of a list "a, b and c"; the phrase itself where it is no list."""
    found: list[Span] = []
    start = phrase[0]
    for i in range(*phrase):
        if s.word(i) in (",", "and", "or", "&"):
            if i > start:
                found.append((start, i))
            start = i + 1
    return [*found, (start, phrase[1])] if start < phrase[1] else found


def is_personal(case: Case, phrase: Span) -> bool:
    """Return whether every member of the phrase is a person or a kind of persons."""
    s = case.s
    return all(case.names.is_person(s, part) or is_person_noun(s.word(head(s, part))) for part in members(s, phrase))


def belongs_to_verb(clause: Clause, i: int) -> bool:
    """Return whether a phrase at token `i` can only belong to the clause's verb, not to a noun before it."""
    s = clause.sentence
    between = range(clause.rest, i)
    if i - clause.rest > 11 or any(
        s.tag(k) in ("WDT", "WP", "WRB", "VBN", "VBD", "VBG", "VB", "(", ":", '"') for k in between
    ):
        return False
    if any(s.word(k) in ("that", "who", "which", *_HOLDS_PHRASE) for k in between):
        return False
    return s.word(i - 1) not in (*_HOLDS_PHRASE, "of")


# "the invention of X in 1990": the year is the invention's
_HOLDS_PHRASE = word_set(
    "due because invention publication birth death release creation foundation founding opening completion"
    " introduction establishment than as such like"
)
