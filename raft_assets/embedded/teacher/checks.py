"""What a drafted question must be in order to be asked: well-formed, self-contained, not answered by itself."""

import re
from dataclasses import dataclass

from raft_assets.embedded.teacher import words
from raft_assets.embedded.teacher.cases import QuestionDraft
from raft_assets.embedded.teacher.phrasing import content_words, polished

QUESTION_WORDS = range(3, 29)  # words of a question
LONG_ANSWERS = frozenset(
    ("definition", "reason", "used_for", "means", "apposition", "place")
)  # rules whose answer is a phrase, not a name
LONGEST_ANSWER, LONGEST_NAME = 24, 12  # words
GIVEN_AWAY = 0.6  # share of an answer's words that its question may contain
_NEEDED_CONTENT = {"apposition": 1, "called": 2, "place": 2, "definition": 1}
_MAY_END_IN_PREPOSITION = frozenset(("called", "used_for", "agent"))

_POINTING = re.compile(
    r"\b(?:he|she|it|they|him|them|this|these|those|here|we|you|I|us|me|former|latter|itself|themselves|said"
    r"|following|above|below|similar|respective|respectively|corresponding|aforementioned|another|comparable"
    r"|that (?:point|time|day|year|period|moment)|the other|the same(?! time)|one of the|every one|each one"
    r"|a different)\b"
)
_PERSON_FIRST = re.compile(
    r"(?:[\w ]+, )?[\w ]*?\b(?:did|does|has|had|was|is|will|can|could|may|must|would|Who)\b [A-Z]"
)
_POSSESSIVE = re.compile(r"\b(his|her|its|their)\b")
_DANGLING = re.compile(
    r"[,;:–—-]\s*\?$|\b(?:and|or|of|the|a|an|in|to|by|with|for|which|that|as|from|at|than|on|into|their|its)\?$"
)
# a comparison at the end says with what only in the sentence before; a range needs both its ends
_INCOMPLETE = re.compile(
    r"\b(?:closer|earlier|later|better|worse|further|farther|more|less|larger|smaller|higher|lower|faster|slower|longer"
    r"|shorter)(?: in \d{4})?\?$"
    r"|\b(?:between|both) (?:(?! and ).)*$|\beither (?:(?! or ).)*$"
)
# an enumeration that is cut off before its last member
_OPEN_LIST = re.compile(r"\b(?:including|such as|features)\b(?:(?! and | or ).)*,(?:(?! and | or ).)*\?$")
# "In November 2014, 20 athletes" taken for a date and a number
_TORN_LEAD = re.compile(r"(?:In|On|At|By|Since) [^,?]*\d{4}, \d+, ")
_REPEATED = re.compile(r"\b(\w+(?: \w+)?) \1\b", re.IGNORECASE)  # a label ran into the sentence that it precedes
_UNIT_LESS = re.compile(r"\b(?:over|under|about|around|nearly|almost|than|least|most|up to) [\d.,]+$")
# words that the tagger took for another part of speech: an adverb, a participle, a plural that became the verb
_MISTAKEN_ANSWER = re.compile(r"[A-Z]\w+ly [a-z]|.*\b(?:multiple|several|various|many) (?:[\w-]+ )?[\w-]*[^s\W]$")
_MISTAKEN_QUESTION = re.compile(
    r"(?:What|Who|Which [\w ]+?) (?:based|built|designed|known|located|made|named|produced|used|held)"
    r" (?:as|at|by|for|from|in|of|on|to)\b"
    r"|\b(?:is|are|was|were) (?:based|built|held|located|made|used) (?:the|an?)\b|\bdid [^?]* hold (?:at|in|on)\b"
)
_BARE_NOUN = re.compile(r"(?:the|this|that|an?) ([\w-]+)", re.IGNORECASE)
_REFERENCE_MARK = re.compile(r"\[[\w ]{1,20}\]")


@dataclass(frozen=True)
class Candidate:
    """A question that may be asked, and its answer's span in the sentence."""

    question: str
    start: int
    end: int


def checked(draft: QuestionDraft, text: str, rule: str, *, has_topic: bool = False) -> Candidate | None:
    """Return the draft as it can be asked; None if it can't.

    `text`: the sentence on one line. `has_topic`: the topic will be added to the question.
    """
    start, end = _trimmed(text, *draft.answer)
    question, answer = polished(draft.question), " ".join(text[start:end].split())
    if (
        not answer
        or not _is_well_formed(question, 1 if has_topic else _NEEDED_CONTENT.get(rule, 3), rule)
        or not _is_self_contained(question, rule)
    ):
        return None
    if not _is_answer(answer, rule, has_topic=has_topic) or _gives_away(question, answer, rule):
        return None
    return Candidate(question, start, end)


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the answer without marks at its ends, and without a parenthesis that it opens and doesn't close."""
    answer = text[start:end]
    if answer.count("(") > answer.count(")"):
        end = start + answer.rindex("(")
    while start < end and text[start] in ' ,;:"“”':
        start += 1
    while start < end and text[end - 1] in ' ,;:"“”':
        end -= 1
    return start, end


def _is_well_formed(question: str, needed: int, rule: str) -> bool:
    if len(question.split()) not in QUESTION_WORDS or len(content_words(question)) < needed:
        return False
    if (
        question.count('"') % 2
        or question.count("“") != question.count("”")
        or re.search(r"[()\[\]{}|*_`]{2}|https?:", question)
    ):
        return False
    if any(
        pattern.search(question) for pattern in (_INCOMPLETE, _OPEN_LIST, _REPEATED, _MISTAKEN_QUESTION, _TORN_LEAD)
    ):
        return False
    return rule in _MAY_END_IN_PREPOSITION or not _DANGLING.search(question)


def _is_self_contained(question: str, rule: str) -> bool:
    """Return whether the question refers to nothing outside of it; a possessive must have its owner before it."""
    if _POINTING.search(question):
        return False
    possessive = _POSSESSIVE.search(question)
    if possessive is None:
        return True
    before = question[: possessive.start()]
    if rule in ("subject", "definition", "count_of_subject"):
        return False
    if possessive.group(1) == "their":
        return bool(re.search(r"[a-z]s\b|\bpeople\b", before))
    return possessive.group(1) == "its" or bool(_PERSON_FIRST.match(before))


def _is_answer(answer: str, rule: str, *, has_topic: bool) -> bool:
    longest = LONGEST_ANSWER if rule in LONG_ANSWERS else LONGEST_NAME
    if (
        len(answer.split()) > longest
        or answer.count('"') % 2
        or answer.count("(") != answer.count(")")
        or _REFERENCE_MARK.search(answer)
        or _REPEATED.search(answer)
        or _MISTAKEN_ANSWER.match(answer)
        or (not rule.startswith("count") and _UNIT_LESS.search(answer))
    ):
        return False
    if rule not in ("reason", "used_for", "means") and _POINTING.search(answer.lower()):
        return False
    if re.match(r"(?:an? |the )?(?:different|other|similar|certain|same)\b", answer, re.IGNORECASE):
        return False
    bare = _BARE_NOUN.fullmatch(answer)
    vague = bare is not None and bare.group(1).lower() in words.GENERIC_NOUNS and not has_topic
    return bool(re.search(r"\w", answer)) and not vague


def _gives_away(question: str, answer: str, rule: str) -> bool:
    asked = question.lower()
    meaning = content_words(answer) or answer.lower().split()
    if rule not in ("reason", "definition", "used_for") and re.search(rf"\b{re.escape(answer.lower())}\b", asked):
        return True
    # "competitors" give "compete" away
    return sum((word[:6] if len(word) > 7 else word) in asked for word in meaning) > GIVEN_AWAY * len(meaning)
