"""What rules without any model reach: the best sentence by BM25, and its most likely span by the question's type.

A student that is no better than this has learned nothing that needed a model. The types of questions are English;
elsewhere the answer is the part of the best sentence that the question doesn't have. The rules never abstain. They find
words again, not meaning: where people ask in other words than the documents, they find the wrong sentence (of the
shipped golden questions they find the right one for 28 of 132, a sentence encoder for 37).
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from raft_assets.core.prompt_contract import BEGIN_QUOTE, END_QUOTE, render_answer
from raft_assets.core.sentences import split_sentences
from raft_assets.core.similarity import content_words, words
from raft_assets.core.tables import Arm, ModelAnswer

REFERENCE_MODEL = "no model: the best sentence by BM25, and a span by question type"
REFERENCE_ARMS: tuple[Arm, ...] = ("main", "retrieved")  # those that show documents among which the answer may be
K1, B = 1.2, 0.75  # of BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009, section 3.5)
GRAM_LETTERS = 4  # of the runs of letters by which sentences are compared, so that "lifted" is found by "lift"
STEM_LETTERS = 5  # of a word that count where it is asked whether the question has it

_TOKEN = re.compile(r"[^\W_]+(?:[.,'’-][^\W_]+)*|[%$€£°]")
_MONTH = r"(?:january|february|march|april|may|june|july|august|september|october|november|december)"
_DATE = re.compile(
    rf"(?:\d{{1,2}} )?{_MONTH}(?: \d{{1,2}},)?(?: \d{{4}})?|\b(?:1[0-9]|20)\d\d\b(?:s|\b)|\b\d{{1,2}}th century",
    re.IGNORECASE,
)
_NUMBER_WORD = (
    r"one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen"
    r"|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|million|billion|half"
    r"|quarters?|thirds?|dozens?|once|twice"
)
_QUANTITY = re.compile(
    rf"(?:[$€£] ?)?(?:\d[\d,.]*\d|\d|\b(?:{_NUMBER_WORD})\b)(?:[ -](?:{_NUMBER_WORD})\b)*"
    r"(?: ?%| percent| per cent| ?°C| degrees(?: \w+)?| \w+)?",
    re.IGNORECASE,
)
_NAME = re.compile(r"\b[A-Z][\w'’.-]*(?:(?: (?:of|the|de|la|van|von|der|du|and|for))* [A-Z0-9][\w'’.-]*)*")
_PLACE = re.compile(r"\b(?:in|at|near|from|to|on|off|into|around|along|across|of) (?:the )?(" + _NAME.pattern + ")")
_REASON = re.compile(
    r"\b(?:because(?: of)?|since|so that|in order to|due to|as a result of|thanks to|therefore|to avoid|to keep)\b(.+)",
    re.IGNORECASE,
)
_WHEN = re.compile(r"\bwhen\b|\bin (?:which|what) (?:year|month|century|decade)\b|\b(?:what|which) (?:year|date|day)\b")
_HOW_MANY = re.compile(
    r"\bhow (?:\w+ )?(?:many|much|long|old|far|tall|high|deep|fast|big|large|wide|heavy|often|hot|cold)\b"
    r"|\b(?:what|which) (?:\w+ )?"
    r"(?:share|percentage|number|temperature|speed|amount|size|length|height|weight|age|fraction)\b"
)
_WHO = re.compile(r"\bwho(?:se|m)?\b")
_WHERE = re.compile(r"\bwhere\b|\b(?:what|which) (?:\w+ )?(?:city|country|place|town|state|region|island|river)\b")
_WHY = re.compile(r"\bwhy\b")


@dataclass(frozen=True)
class _Sentence:
    text: str
    terms: Counter[str]


def reference_answers(answers: Iterable[ModelAnswer]) -> list[ModelAnswer]:
    """Return what the rules answer to the questions that the baseline was asked in the arms that show documents."""
    return [_answer(answer) for answer in answers if answer.evaluated == "baseline" and answer.arm in REFERENCE_ARMS]


def answer_by_rules(question: str, documents: Sequence[str]) -> tuple[str, str]:
    """Return the sentence of the documents that shares most with the question, and the span of it that may answer.

    Both are empty where the documents hold no sentence.
    """
    sentences = [_Sentence(text, Counter(_grams(text))) for document in documents for text in split_sentences(document)]
    if not sentences:
        return "", ""
    scores = _bm25(_grams(question), sentences)
    best = max(range(len(sentences)), key=lambda place: (scores[place], -place))
    sentence = " ".join(sentences[best].text.split())
    return sentence, _span(question, sentence)


def _answer(asked: ModelAnswer) -> ModelAnswer:
    sentence, span = answer_by_rules(asked.question, asked.documents)
    quote = f"{BEGIN_QUOTE}{sentence}{END_QUOTE}" if sentence else ""
    return ModelAnswer.model_validate(
        asked.model_dump()
        | {
            "evaluated": "reference",
            "model": REFERENCE_MODEL,
            "answer": render_answer(quote, span) if span else "",
            "final_answer": span,
            "quotes": [sentence] if sentence else [],
            "abstained": False,
            "well_formed": bool(span),
            "status": "ok",
            "detail": "",
            "call": "",
        }
    )


def _stem(word: str) -> str:
    return word[:STEM_LETTERS].rstrip("s") or word


def _grams(text: str) -> list[str]:
    """Return the runs of letters of the words that say what a text is about; a shorter word is one."""
    return [
        word[start : start + GRAM_LETTERS]
        for word in content_words(text)
        for start in range(max(1, len(word) - GRAM_LETTERS + 1))
    ]


def _terms(text: str) -> list[str]:
    return [_stem(word) for word in content_words(text)]


def _bm25(query: Iterable[str], sentences: Sequence[_Sentence]) -> list[float]:
    count = len(sentences)
    frequency = Counter(term for sentence in sentences for term in sentence.terms)
    mean = sum(sentence.terms.total() for sentence in sentences) / count or 1.0
    wanted = {
        term: math.log(1 + (count - frequency[term] + 0.5) / (frequency[term] + 0.5)) for term in dict.fromkeys(query)
    }
    return [
        sum(
            weight * found * (K1 + 1) / (found + K1 * (1 - B + B * sentence.terms.total() / mean))
            for term, weight in wanted.items()
            if (found := sentence.terms[term])
        )
        for sentence in sentences
    ]


def _span(question: str, sentence: str) -> str:
    asked = {_stem(word) for word in words(question)}
    lower = question.casefold()
    for pattern, candidates in (
        (_WHEN, lambda: _matches(_DATE, sentence)),
        (_HOW_MANY, lambda: _quantities(lower, sentence, asked)),
        (_WHERE, lambda: (match[1] for match in _PLACE.finditer(sentence))),
        (_WHO, lambda: _matches(_NAME, sentence)),
        (_WHY, lambda: (match[1].strip(" ,.") for match in _REASON.finditer(sentence))),
    ):
        if pattern.search(lower):
            for candidate in candidates():
                if not _is_asked(candidate, asked):
                    return candidate
    return _longest_new_run(sentence, asked)


def _matches(pattern: re.Pattern[str], sentence: str) -> Iterator[str]:
    return (match[0].strip(" ,.") for match in pattern.finditer(sentence))


def _quantities(question: str, sentence: str, asked: set[str]) -> list[str]:
    """Return the quantities of the sentence: first those of what is counted, where the question names it.

    Where it doesn't ("how long"), first those whose unit the question doesn't have, as "quay 2 lifts 42 tonnes".
    """
    counts = "how many" in question
    found = list(_matches(_QUANTITY, sentence))
    return sorted(found, key=lambda span: any(_stem(word.casefold()) in asked for word in span.split()[1:]) != counts)


def _is_asked(span: str, asked: set[str]) -> bool:
    """Return whether the question has the span's words already, or the span has no word that says anything."""
    return set(_terms(span)) <= asked


def _longest_new_run(sentence: str, asked: set[str]) -> str:
    """Return the longest run of words that the question doesn't have, without stop words at its ends."""
    best, run = (0, 0, 0), list[re.Match[str]]()
    for token in [*_TOKEN.finditer(sentence), None]:
        if token and not set(_terms(token[0])) & asked:
            run.append(token)
            continue
        while run and not content_words(run[0][0]):
            run.pop(0)
        while run and not content_words(run[-1][0]):
            run.pop()
        if run and len(run) > best[0]:
            best = (len(run), run[0].start(), run[-1].end())
        run = []
    return sentence[best[1] : best[2]] if best[0] else sentence
