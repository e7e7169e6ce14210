"""Rules that ask who or what did something, and what or whom it was done to."""

import re
from collections.abc import Iterator

from raft_assets.embedded.teacher import words
from raft_assets.embedded.teacher.cases import Case, QuestionDraft, belongs_to_verb, is_personal, members
from raft_assets.embedded.teacher.morphology import forms_of
from raft_assets.embedded.teacher.names import is_person_noun
from raft_assets.embedded.teacher.phrases import Span, TaggedSentence, has_name, head, noun_list_end
from raft_assets.embedded.teacher.phrasing import content_words, predicate
from raft_assets.embedded.teacher.tagging import NOUNS, PROPER, is_number
from raft_assets.embedded.teacher.words import word_set


def agent(case: Case) -> Iterator[QuestionDraft]:
    """Ask by whom or what it was done: "The film is analysed by Professor Arne"."""
    clause, s = case.clause, case.s
    if not (clause.is_passive and case.is_plain):
        return
    by = next((i for i in range(clause.rest, min(clause.rest + 7, clause.end)) if s.word(i) == "by"), None)
    if (
        by is None
        or s.tag(by + 1) in ("VBG", "CD", "RB", "PRP$")
        or is_number(s.tokens[by + 1])
        or not belongs_to_verb(clause, by)
    ):
        return
    end = noun_list_end(s, by + 1, clause.end)
    span = (by + 1, end)
    if (
        end <= by + 1
        or (end < clause.end and s.tag(end) not in ("IN", "TO"))
        or case.points_back((clause.rest, clause.end))
    ):
        return
    if is_personal(case, span):
        if s.word(end) == "," and s.tag(end + 1) in PROPER:
            return  # "by the yacht designer, Ben Lexcen, ..."
        yield from case.ask("By whom", stop=clause.end, drop=(by, end), answer=span)
    elif (
        not has_name(s, span)
        and end == clause.end
        and s.word(by + 1) not in words.PRONOUNS | {"default", "hand", "law"}
        and by == clause.rest
    ):
        yield from case.ask("What", stop=by + 1, answer=span)


# nouns whose complement follows them, so that the object alone is half an answer
_TAKES_COMPLEMENT = word_set(
    "wish need ability desire attempt right rights chance opportunity plan plans decision effort efforts"
    " permission capacity tendency power way ways capability time order option intention offer deal refusal"
    " failure search demand support reason"
)
_VAGUE_OBJECTS = word_set(
    "birth rise emphasis attention advantage account care ability abilities time way lot part place role number"
    " years times amount use sense shape point need question effect door everything something nothing completion free"
)


def object_(case: Case) -> Iterator[QuestionDraft]:
    """Ask what or whom it was done to: "Griffin coined the word ..."."""
    clause, s = case.clause, case.s
    if (
        not case.is_plain
        or clause.is_passive
        or clause.is_copula
        or clause.verb in words.LIGHT_VERBS
        or clause.rest >= clause.end
    ):
        return
    start = clause.rest
    end = noun_list_end(s, start, clause.end)
    span = (start, end)
    if not case.has_topic and end - start == 2 and s.word(start) == "the":
        return  # "the route" is no answer
    if (
        end == start
        or not _is_whole_object(s, span, clause.end)
        or "," in s.lowered[end : clause.end]
        or case.points_back((start, clause.end))
    ):
        return
    if all(case.names.is_person(s, part) for part in members(s, span)):
        yield from case.ask("Whom", stop=clause.end, drop=span, answer=span)
    elif (case.has_topic or not has_name(s, span)) and not is_person_noun(s.word(head(s, span))):
        yield from case.ask("What", stop=clause.end, drop=span, answer=span)


def _is_whole_object(s: TaggedSentence, span: Span, stop: int) -> bool:
    """Return whether the phrase is the verb's object, all of it and nothing else."""
    start, end = span
    if (
        s.tag(start) in ("RB", "VBN", "VBG", "PRP$", '"')
        or s.word(head(s, span)) in _VAGUE_OBJECTS
        or words.PRONOUNS.intersection(token.lower for token in s.tokens[start:end] if token.word != "None")
    ):
        return False
    if any(is_number(token) for token in s.tokens[start:end]) or _ends_in_verb(s, span):
        return False
    if end == stop:
        return True
    takes_more = (
        s.word(end) in ("to", "for")
        and (s.tag(end + 1) == "VB" or s.word(end) == "for")
        and s.word(end - 1) in _TAKES_COMPLEMENT
    )
    return s.tag(end) in ("IN", "TO") and s.word(end) not in ("that", "than", "as", "whether", "of") and not takes_more


def _ends_in_verb(s: TaggedSentence, span: Span) -> bool:
    """Return whether the last member of a list is rather a second verb: "check every room and report to ..."."""
    last = members(s, span)[-1]
    bare = last[1] - last[0] == 1 and last != span and s.tag(last[0]) == "NN"
    return bare and "VB" in forms_of(s.word(last[0])) and s.tag(last[1]) in ("TO", "IN", "DT")


_NO_SUBJECT_HEADS = word_set(
    "way part number thing things time use case example lot variety majority series list group range type kind"
    " form half rest"
)
# verbs that make "what ..." a question about a list or a word
_NO_SUBJECT_VERBS = word_set("include mean call name term regard exist follow happen occur arise")
# sorts of things that people ask for by "which"
_WHICH_NOUNS = word_set(
    "bat species cave river company university office ship country city town state island bridge museum team"
    " organization committee department agency college hospital laboratory magazine newspaper language planet"
    " mountain lake sea ocean boat vessel tug ferry crane berth lighthouse tower station service club festival"
    " chapter event channel fund board family bird plant insect virus fungus gene protein authority school"
    " institute foundation beach fish animal moth frog dredger tanker pub restaurant firm contractor house"
    " parameter option"
)
_PERSON_ENDING = re.compile(r"(?:[^t]ers?|ors?|ists?|ians?)$")


def subject(case: Case) -> Iterator[QuestionDraft]:
    """Ask for the subject, with the whole predicate as the question: "Who ...", "What ...", "Which bat ..."."""
    clause, s = case.clause, case.s
    if not case.affirms or not case.is_self_contained(clause.subject) or clause.verb in _NO_SUBJECT_VERBS:
        return
    if (
        clause.is_copula
        or not s.any_tag(clause.rest, clause.end, (*NOUNS, "CD"))
        or s.any_tag(clause.rest, clause.end, ("PRP$",))
    ):
        return
    if (s.word(clause.rest) in ("that", "if", "whether", "how") and not case.subject_is_person) or case.points_back(
        (clause.rest, clause.end)
    ):
        return
    wh = _subject_word(case)
    if wh and len(content_words(s.words(clause.subject_stop, clause.end))) >= (2 if case.has_topic else 3):
        asked = predicate(clause)
        if asked:
            yield QuestionDraft(f"{wh} {asked}", s.characters(*clause.subject))


def _subject_word(case: Case) -> str | None:
    """Return Who, What or Which, or None if the subject is no answer."""
    clause, s = case.clause, case.s
    span = clause.subject
    if case.subject_is_person:
        return "Who"
    noun = head(s, span)
    word, tag = s.word(noun), s.tag(noun)
    if (
        len(members(s, span)) > 1
        or word in _NO_SUBJECT_HEADS
        or any(is_number(token) for token in s.tokens[span[0] : noun + 1])
    ):
        return None
    bare = s.tag(span[0]) == "DT" and noun - span[0] == 1 and noun + 1 == span[1]
    if word.removesuffix("s") in words.ORGANISATION_NOUNS and not clause.is_passive and clause.verb != "consist":
        return None if bare else "Who"
    if tag in ("NN", "NNP") and noun > span[0] and word in _WHICH_NOUNS and not bare:
        return f"Which {word}"
    if tag not in ("NN", "NNS") or (bare and not case.has_topic) or s.any_tag(*span, ('"',)):
        return None
    if case.has_topic:
        return None if bare and word in words.TOPIC_NOUNS else "What"
    if is_person_noun(word) or (
        _PERSON_ENDING.search(word) and clause.verb in words.HUMAN_VERBS and not clause.is_passive
    ):
        return "Who" if noun > span[0] or tag == "NNS" else None
    return None if _PERSON_ENDING.search(word) else "What"
