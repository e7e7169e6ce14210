"""Rules that ask what or who something is and what it is called."""

import re
from collections.abc import Iterator

from raft_assets.embedded.teacher import words
from raft_assets.embedded.teacher.cases import Case, QuestionDraft
from raft_assets.embedded.teacher.names import is_person_noun
from raft_assets.embedded.teacher.phrases import has_name, head, is_plural, noun_list_end, noun_phrase_end
from raft_assets.embedded.teacher.phrasing import content_words, in_mid_sentence, subject
from raft_assets.embedded.teacher.words import word_set

# particles between the participle and the name: "known as", "referred to as"
_NAMING = {
    "know": ("as",),
    "refer": ("to", "as"),
    "call": (),
    "name": (),
    "title": (),
    "dub": (),
    "nickname": (),
    "term": (),
}
_SUPERLATIVES = (
    "first",
    "only",
    "largest",
    "main",
    "most",
    "father",
    "best",
    "last",
    "oldest",
    "smallest",
    "longest",
    "highest",
)
_EMPTY = word_set(
    "exception example problem question part matter reason result case sign way thing kind sort type number one"
    " ones improvement success feature factor step element concern development advance issue"
)


def called(case: Case) -> Iterator[QuestionDraft]:
    """Ask what something is called: "Muscles of this kind are called superfast muscles"."""
    clause, s = case.clause, case.s
    if not (clause.is_passive and case.subject_is_named) or clause.is_negated or clause.verb not in _NAMING:
        return
    start = clause.rest
    for particle in _NAMING[clause.verb]:
        if s.word(start) != particle:
            return
        start += 1
    end = noun_list_end(s, start, clause.end)
    if s.word(start) in ("after", "for") or (clause.verb in ("name", "title") and s.word(start) in ("a", "an")):
        return  # "was named an official event" is an honour, no name
    if end > start and (end == clause.end or s.tag(end) == "IN"):
        yield from case.ask("What", stop=start, answer=(start, end))


def object_is_called(case: Case) -> Iterator[QuestionDraft]:
    """Ask what somebody called something: "Residents called the horn the Moaning Cow"."""
    clause, s = case.clause, case.s
    if (
        clause.is_passive
        or not case.is_plain
        or clause.verb not in ("call", "name", "nickname", "dub", "term", "christen")
    ):
        return
    middle = noun_phrase_end(s, clause.rest, clause.end)
    end = noun_phrase_end(s, middle, clause.end)
    if (
        clause.end == end > middle > clause.rest
        and s.word(clause.rest) in ("the", "a", "an")
        and case.is_self_contained((middle, end))
    ):
        yield from case.ask("What", stop=middle, answer=(middle, end))


def definition(case: Case) -> Iterator[QuestionDraft]:
    """Ask what something is: "Seagrass is a flowering plant that ...".

    The other way round as well: "Polar bears are the largest ...".
    """
    clause, s = case.clause, case.s
    if not (clause.is_copula and case.affirms) or not clause.is_first:
        return
    start = clause.rest
    end = noun_phrase_end(s, start, clause.end)
    if end == start or not (s.word(start) in ("a", "an", "the") or s.tag(end - 1) == "NNS"):
        return
    complement = head(s, (start, end))
    is_person = case.subject_is_person or (has_name(s, clause.subject) and is_person_noun(s.word(complement)))
    wh = "Who" if is_person and s.word(complement) != "member" else "What"
    if s.word(start) == "the" and (s.any_tag(start, end, ("JJS", "RBS")) or s.any_word(start, end, _SUPERLATIVES)):
        specific = content_words(s.words(end, clause.end)) or has_name(s, (start, end)) or end - start > 4
        whole = s.word(clause.end) != "," or s.tag(clause.end + 1) in ("WDT", "WP", "WRB", "CC", "IN")
        if specific and whole and case.is_self_contained(clause.subject) and not case.points_back((start, clause.end)):
            yield QuestionDraft(
                f"{wh} {s.word(clause.finite)} {s.words(start, clause.end)}", s.characters(*clause.subject)
            )
    elif (
        clause.end - start <= 22
        and len(content_words(s.words(start, clause.end))) > 2
        and _may_be_defined(case)
        and s.word(complement) not in _EMPTY
    ):
        yield QuestionDraft(f"{wh} {s.word(clause.finite)} {subject(clause)}", s.characters(start, clause.end))


def _may_be_defined(case: Case) -> bool:
    """Return whether "what is X" names its X well enough: "the speed limit" could be anyone's."""
    s, span = case.s, case.clause.subject
    if not case.is_plain or (
        s.word(span[0]) == "the" and s.word(head(s, span)) in words.GENERIC_NOUNS and not has_name(s, span)
    ):
        return False
    return s.word(span[0]) not in ("a", "an") or s.tag(case.clause.finite) == "VBZ"


def apposition(case: Case) -> Iterator[QuestionDraft]:
    """Ask who or what the subject is: "Louis Jurine, a Swiss surgeon, blocked ..."."""
    clause, s = case.clause, case.s
    start = clause.subject[1] + 1
    end = noun_phrase_end(s, start, clause.subject_stop)
    if s.word(clause.subject[1]) != "," or s.word(start) not in ("a", "an", "the") or not case.subject_is_person:
        return
    if end - start > 1 and s.word(end) in (",", "of", "at", "from", "in", "who"):
        closing = next((i for i in range(end, clause.subject_stop) if s.word(i) == ","), clause.subject_stop)
        be = "was" if s.tag(clause.finite) == "VBD" else "is"
        yield QuestionDraft(f"Who {be} {subject(clause)}", s.characters(start, closing))


_ALIAS = re.compile(
    r"((?:The |A |An )?[A-Z][\w'’ -]{2,50}?),? \(?(?:also|sometimes|commonly|often|better|otherwise) "
    r"(?:known|referred to|called) (?:as )?(?:the )?"
    r"[\"“]?([A-Z\w][\w'’ -]{2,40}?)[\"”]?[,)]"
)
_VERB_INSIDE = re.compile(r"\b(?:is|was|are|were|which|that|by|due)\b")


def alias(case: Case) -> Iterator[QuestionDraft]:
    """Ask for the other name: "The harbour seal, also known as the common seal, ..."."""
    clause, s = case.clause, case.s
    match = _ALIAS.match(s.text)
    if match is None or not case.subject_is_named or not clause.is_first or clause.lead or clause.subject[0]:
        return
    end = next((i + 1 for i in range(len(s)) if s.tokens[i].end >= match.end(1)), 0)
    if end > clause.subject[1] or s.any_tag(0, end, ("IN", "CC")) or _VERB_INSIDE.search(match.group(2)):
        return
    be = "are" if is_plural(s, (0, end)) and not case.names.is_person(s, (0, end)) else "is"
    yield QuestionDraft(f"By what other name {be} {in_mid_sentence(s, 0, end)} known", match.span(2))
