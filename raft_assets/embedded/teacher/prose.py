"""Questions about sentences of prose: every rule on every clause, then a choice among the results."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from raft_assets.embedded.teacher import words
from raft_assets.embedded.teacher.asked import GeneratedQuestion, Ranked
from raft_assets.embedded.teacher.cases import Case, QuestionDraft
from raft_assets.embedded.teacher.checks import checked
from raft_assets.embedded.teacher.clauses import clauses
from raft_assets.embedded.teacher.cloze import cloze
from raft_assets.embedded.teacher.names import Names, introduced_in, names_in
from raft_assets.embedded.teacher.phrases import TaggedSentence
from raft_assets.embedded.teacher.phrasing import content_words
from raft_assets.embedded.teacher.reading import Prose
from raft_assets.embedded.teacher.rules.table import RULES, Rule
from raft_assets.embedded.teacher.rules.times import is_time
from raft_assets.embedded.teacher.tagging import PROPER, tagged

NAMES_AT_MOST = 0.55  # share of proper names; above it are lists of credits, not sentences
_KINDS = {
    "who": "who",
    "whom": "who",
    "by whom": "who",
    "which": "which",
    "where": "where",
    "why": "why",
    "when": "when",
}


@dataclass(frozen=True)
class Passage:
    """The sentences of a chunk with all that the rules need to know about them.

    `tags` are None where a sentence is not worth reading.
    """

    prose: Sequence[Prose]
    tags: Sequence[TaggedSentence | None]
    names: Names
    topic: str

    @classmethod
    def of(cls, prose: Sequence[Prose], topic: str = "") -> "Passage":
        """Tag the sentences.

        `topic`: what the sentences are all about where each leaves it out, such as the name of an API's call.
        """
        names = names_in(sentence.text for sentence in prose)
        return cls(prose, [_tagged(sentence, names) for sentence in prose], names, topic)


def wh_questions(passage: Passage) -> list[Ranked]:
    """Return all questions that the rules find and that no other sentence of the passage answers as well."""
    found: dict[str, Ranked] = {}
    introduced: frozenset[str] = frozenset()
    for index, (sentence, s) in enumerate(zip(passage.prose, passage.tags, strict=True)):
        for question in _questions_of(passage, index, s, introduced) if s else ():
            found.setdefault(question.asked.question, question)
        introduced |= introduced_in(sentence.text)
    return list(found.values())


def cloze_questions(passage: Passage) -> list[Ranked]:
    """Return the best gap of every sentence."""
    ranked = []
    for index, (sentence, s) in enumerate(zip(passage.prose, passage.tags, strict=True)):
        gap = cloze(s) if s else None
        if gap:
            asked = GeneratedQuestion(
                gap.question, sentence.quote[gap.start : gap.end], sentence.quote, "cloze", "cloze"
            )
            ranked.append(Ranked(asked, gap.score, index))
    return ranked


def _tagged(sentence: Prose, names: Names) -> TaggedSentence | None:
    if not sentence.is_askable:
        return None
    tokens = tuple(tagged(sentence.text, names.proper))
    proper = sum(token.tag in PROPER for token in tokens)
    return None if len(tokens) > 14 and proper > NAMES_AT_MOST * len(tokens) else TaggedSentence(sentence.text, tokens)


def _questions_of(passage: Passage, index: int, s: TaggedSentence, introduced: frozenset[str]) -> Iterator[Ranked]:
    quote = passage.prose[index].quote
    for clause in clauses(s):
        case = Case(clause, passage.names, introduced, has_topic=bool(passage.topic))
        for rule in RULES:
            for draft in _within_lead(case, rule):
                candidate = checked(draft, s.text, rule.name, has_topic=case.has_topic)
                if candidate is None or not _is_answered_only_here(candidate.question, index, passage.prose):
                    continue
                question = about_topic(candidate.question, case, passage.topic)
                asked = GeneratedQuestion(
                    question, quote[candidate.start : candidate.end], quote, _kind(candidate.question, rule), rule.name
                )
                yield Ranked(asked, rule.preference + _worth(asked, case), index)


def _within_lead(case: Case, rule: Rule) -> Iterator[QuestionDraft]:
    """Yield the rule's drafts.

    Where a phrase leads the sentence, the question begins with it as well: "In the 1960s, what ...".
    """
    lead = case.clause.lead
    if lead is None or rule.name == "time_in_lead":
        yield from rule.drafts(case)
        return
    s = case.s
    text = s.words(*lead)
    if _DISCOURSE.fullmatch(text):
        yield from rule.drafts(case)
    elif not rule.name.startswith("time") and (
        is_time(text[0].lower() + text[1:]) or case.is_self_contained((lead[0] + 1, lead[1]))
    ):
        for draft in rule.drafts(case):
            yield QuestionDraft(f"{text}, {draft.question[0].lower()}{draft.question[1:]}", draft.answer)


_DISCOURSE = re.compile(
    r"in (?:addition|fact|contrast|general|particular|reality|practice|total|short|turn|the end)"
    r"|for (?:example|instance)|as a result|of course|on average|on the other hand|by contrast|at (?:first|last)"
    r"|above all",
    re.IGNORECASE,
)


def about_topic(question: str, case: Case, topic: str) -> str:
    """Return the question with the topic named: in place of "the function" if that is the subject, else in front."""
    if not topic:
        return question
    s, (start, end) = case.s, case.clause.subject
    if end - start == 2 and s.word(start) == "the" and s.word(start + 1) in words.TOPIC_NOUNS:
        return question.replace(f"the {s.word(start + 1)}", topic, 1)
    if "the call raise" in question:
        return question.replace("the call", topic, 1)
    return f"For {topic}, {question[0].lower()}{question[1:]}"


def _kind(question: str, rule: Rule) -> str:
    """Return the kind by the question's first words, if they show it."""
    first = question.lower().split()
    return _KINDS.get(first[0]) or _KINDS.get(" ".join(first[:2])) or rule.kind


def _worth(asked: GeneratedQuestion, case: Case) -> float:
    """Prefer short questions with many words of meaning and short answers.

    First clauses and answers on one line are preferred as well.
    """
    length, answer_length = len(asked.question.split()), len(asked.answer.split())
    meaning = min(len(content_words(asked.question)), 7)
    broken = 0.1 if "\n" in asked.answer else 0.0
    return (
        0.05 * meaning
        - 0.012 * length
        - 0.012 * max(0, answer_length - 4)
        - broken
        - (0.0 if case.clause.is_first else 0.1)
    )


def _is_answered_only_here(question: str, index: int, prose: Sequence[Prose]) -> bool:
    """Return whether no other sentence shares as many words of meaning with the question."""
    asked = content_words(question)
    shared = [sum(word in known for word in asked) for known in (sentence.content for sentence in prose)]
    return all(count < shared[index] for i, count in enumerate(shared) if i != index)
