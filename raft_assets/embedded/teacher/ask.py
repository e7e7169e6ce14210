"""The embedded teacher's public face: questions about a chunk, with answers that stand in it word for word."""

from dataclasses import dataclass

from raft_assets.embedded.teacher.checks import checked
from raft_assets.embedded.teacher.clauses import Clause, clauses
from raft_assets.embedded.teacher.cloze import cloze
from raft_assets.embedded.teacher.names import Names, names_in
from raft_assets.embedded.teacher.phrases import TaggedSentence
from raft_assets.embedded.teacher.phrasing import content_words
from raft_assets.embedded.teacher.questions import RULES, Case, alias
from raft_assets.embedded.teacher.reading import Prose, prose_of
from raft_assets.embedded.teacher.tagging import PROPER, tagged

TEACHER_VERSION = "1"
NAMES_AT_MOST = 0.55  # share of proper names; above it stand lists of credits, not sentences


@dataclass(frozen=True)
class AskedQuestion:
    """A question with its answer. `sentence` is an exact substring of the chunk, `answer` one of the sentence."""

    question: str
    answer: str
    sentence: str
    kind: str
    rule: str


@dataclass(frozen=True)
class _Ranked:
    asked: AskedQuestion
    score: float
    sentence: int


def ask(chunk: str, *, count: int) -> list[AskedQuestion]:
    """At most `count` questions about the chunk, best first, of different sentences first; the same for the same text, always.

    A cloze question comes only where no rule finds a question; nothing where nothing can be asked.
    """
    prose = prose_of(chunk)
    names = names_in(sentence.text for sentence in prose)
    sentences = [_tagged(sentence, names) for sentence in prose]
    ranked = [
        question
        for index, (sentence, s) in enumerate(zip(prose, sentences, strict=True))
        if s is not None
        for question in _questions(sentence, s, names, index)
        if _is_answered_only_here(question, prose)
    ]
    if not ranked:
        ranked = _cloze_questions(prose, sentences)[:1]
    return [question.asked for question in _spread(ranked)[:count]]


def _tagged(sentence: Prose, names: Names) -> TaggedSentence | None:
    """The sentence's tokens; None where it is not worth reading."""
    if not sentence.is_askable:
        return None
    tokens = tuple(tagged(sentence.text, names.proper))
    proper = sum(token.tag in PROPER for token in tokens)
    return None if len(tokens) > 14 and proper > NAMES_AT_MOST * len(tokens) else TaggedSentence(sentence.text, tokens)


def _questions(sentence: Prose, s: TaggedSentence, names: Names, index: int) -> list[_Ranked]:
    found: dict[str, _Ranked] = {}
    for clause in clauses(s):
        case = Case(clause, names)
        for entry in RULES:
            for draft in entry.rule(case):
                candidate = checked(draft, s.text, entry.name)
                if candidate:
                    answer = sentence.quote[candidate.start : candidate.end]
                    kind = _kind(candidate.question, entry.kind)
                    asked = AskedQuestion(candidate.question, answer, sentence.quote, kind, entry.name)
                    found.setdefault(candidate.question, _Ranked(asked, entry.preference + _worth(asked, clause), index))
    for draft in alias(s, names):
        candidate = checked(draft, s.text, "alias")
        if candidate:
            asked = AskedQuestion(candidate.question, sentence.quote[candidate.start : candidate.end], sentence.quote, "what", "alias")
            found.setdefault(candidate.question, _Ranked(asked, 1.2, index))
    return list(found.values())


_KINDS = {"who": "who", "whom": "who", "which": "which", "where": "where", "why": "why", "when": "when"}


def _kind(question: str, kind: str) -> str:
    """The kind by the question's first word where that word tells it."""
    return _KINDS.get(question.split()[0].lower(), kind)


def _worth(asked: AskedQuestion, clause: Clause) -> float:
    """Short questions with many words of meaning and short answers are preferred; so are first clauses and answers on one line."""
    length, answer_length = len(asked.question.split()), len(asked.answer.split())
    meaning = min(len(content_words(asked.question)), 7)
    broken = 0.1 if "\n" in asked.answer else 0.0
    return 0.05 * meaning - 0.012 * length - 0.012 * max(0, answer_length - 4) - broken - (0.0 if clause.is_first else 0.1)


def _is_answered_only_here(question: _Ranked, prose: list[Prose]) -> bool:
    """Whether no other sentence of the chunk shares as many words with the question."""
    asked = content_words(question.asked.question)
    shared = [sum(word in known for word in asked) for known in (set(content_words(sentence.text)) for sentence in prose)]
    return all(count < shared[question.sentence] for i, count in enumerate(shared) if i != question.sentence)


def _spread(ranked: list[_Ranked]) -> list[_Ranked]:
    """Best first; a sentence's second question comes behind every sentence's first."""
    ranked = sorted(ranked, key=lambda question: (-question.score, question.sentence, question.asked.question))
    rounds: dict[int, int] = {}
    order: list[tuple[int, _Ranked]] = []
    for question in ranked:
        order.append((rounds.get(question.sentence, 0), question))
        rounds[question.sentence] = rounds.get(question.sentence, 0) + 1
    return [question for _, question in sorted(order, key=lambda pair: pair[0])]


def _cloze_questions(prose: list[Prose], sentences: list[TaggedSentence | None]) -> list[_Ranked]:
    ranked = []
    for index, (sentence, s) in enumerate(zip(prose, sentences, strict=True)):
        gap = cloze(s) if s else None
        if gap:
            asked = AskedQuestion(gap.question, sentence.quote[gap.start : gap.end], sentence.quote, "cloze", "cloze")
            ranked.append(_Ranked(asked, gap.score, index))
    return _spread(ranked)
