"""What rules without any model reach: the best sentences by BM25, and the most likely span by the question's type.

A student that is no better than this has learned nothing that needed a model. A sentence is scored by the stems of its
own words and of its passage's. Among the best ones that sentence wins whose span fits the question: a date for "when",
a name for "who", the value of a call for "how do I", else a long phrase near the question's words. The types of
questions are English; elsewhere the answer is such a phrase of the best sentence. The rules never abstain. They find
words again, not meaning: where people ask in other words than the documents, they find the wrong sentence.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import NamedTuple

import snowballstemmer

from raft_assets.core.language_words import terms
from raft_assets.core.languages import ENGLISH
from raft_assets.core.prompt_contract import BEGIN_QUOTE, END_QUOTE, render_answer
from raft_assets.core.sentences import split_sentences
from raft_assets.core.similarity import content_words, words
from raft_assets.core.tables import Arm, ModelAnswer

REFERENCE_MODEL = "no model: the best sentence by BM25, and a span by question type"
REFERENCE_ARMS: tuple[Arm, ...] = ("main", "retrieved")  # those that show documents among which the answer may be
K1, B = 1.2, 0.75  # of BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009, section 3.5)
DISTANCE_WEIGHT, FAR = 0.25, 10  # of a word between a phrase and the question's words, up to so many, in words of it
PASSAGE_WEIGHT = 0.5  # of a passage's score in that of its sentences
READ_SENTENCES = 4  # best ones whose spans compete
SENTENCE_CHARACTERS = 1000  # of longer ones, tables and lists, the rest isn't read: spans are compared with all words
MISFIT = 0.5  # what a sentence's score is multiplied by where it has nothing of the type that is asked for

_TOKEN = re.compile(r"[^\W_]+(?:[.,'’&/-][^\W_]+)*(?:'s)?|[%$€£°]|[^\w\s]")
_MONTH = r"(?:january|february|march|april|may|june|july|august|september|october|november|december)"
_WEEKDAY = r"(?:mon|tues|wednes|thurs|fri|satur|sun)days?"
_DATE = re.compile(
    rf"(?:\d{{1,2}} )?{_MONTH}(?: \d{{1,2}}\b,?)?(?: \d{{4}})?|(?:(?:early|late|mid)-? ?)?\b(?:1[0-9]|20)\d\d(?:s|\b)"
    rf"|\b\d{{1,2}}th century|\b\d{{1,2}}[:.]\d\d\b|\b{_WEEKDAY}\b|\b(?:in|during) (?:spring|summer|autumn|winter)\b",
    re.IGNORECASE,
)
_NUMBER_WORD = (
    r"one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen"
    r"|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|million|billion|half"
    r"|quarters?|thirds?|dozens?|once|twice"
)
_NUMBER = rf"(?:[$€£] ?)?(?:\d[\d,.]*\d|\d|\b(?:{_NUMBER_WORD})\b)(?:[ -](?:{_NUMBER_WORD})\b)*"
_QUANTITY = re.compile(
    rf"{_NUMBER}(?: (?:to|and|or) {_NUMBER})?(?: ?%| percent| per cent| ?°C| degrees(?: \w+)?| \w+)?", re.IGNORECASE
)
_NAME = re.compile(r"\b[A-Z][\w'’.-]*(?:(?: (?:of|the|de|la|van|von|der|du|and|for))* [A-Z0-9][\w'’.-]*)*")
_FULL_NAME = re.compile(r"(?<!\bin )(?<!\bat )(?<!\bof )(?<!\bto )(?<!\bthe )\b[A-Z][\w'’-]+(?: [A-Z][\w'’.-]*)+")
_PLACE = re.compile(r"\b(?:in|at|near|from|to|on|off|into|around|along|across|of) (?:the )?(" + _NAME.pattern + ")")
_SPOT = re.compile(
    r"\b((?:in|at|near|under|behind|beside|between|inside|on|above|below|along|outside) (?:the|an?|their|its) [\w' -]+)"
)
_REASON = re.compile(
    r"\b(?:because(?: of)?|since|so that|so|in order to|due to|as a result of|thanks to|therefore|to avoid|to keep)\b"
    r"([^.;]+)",
    re.IGNORECASE,
)
_PURPOSE = re.compile(r"\b((?:to|for) [a-z]{3,}(?: [^.,;]+)?)")
_MEANS = re.compile(r"\b((?:by|with|through|using) [^.,;]+)", re.IGNORECASE)
_CALL = re.compile(r"(?<![\w.])[\w.]++\(.*\)(?:\.\w+)*")
_ARGUMENT = re.compile(r"\bapi_arguments\.(\w[\w.*]*):")
_COUNTED = re.compile(r"\bhow many\b|\b(?:what|which) number\b")
_NOUN_ASKED = re.compile(
    r"\b(?:[Ww]hich|[Ww]hat) (?!(?:is|are|was|were|did|do|does|has|have|had|can|could|would|should|will|may)\b)([a-z]+)"
)
_BEARERS = (  # nouns that are asked for by a name
    "agency architect artist astronomer author bank biologist brand captain chemist city company country director"
    " engineer explorer festival firm founder inventor king leader man museum naturalist organization painter person"
    " physicist poet president professor queen researcher school scientist ship surgeon university woman writer"
)
_JOINTS = frozenset(("of", "the", "and", "a", "an", "for"))  # words that a phrase may have within it
_MARK = re.compile(r"\[\d{1,3}\]")  # of a footnote
_LABEL = re.compile(r"[^\W_]+(?: [^\W_]+){0,2}")  # few words and no mark: they say nothing


class _Type(NamedTuple):
    """A type of question: how it is recognized, and what in a sentence may answer it, the likeliest first."""

    asked: re.Pattern[str]
    spans: tuple[re.Pattern[str], ...]  # the first group is the span


class _Match(NamedTuple):
    """A span that may answer, and how well it fits: from 0 to 1."""

    span: str
    fit: float


@dataclass(frozen=True)
class _Sentence:
    text: str
    bare: str  # without marks of footnotes
    terms: Counter[str]
    passage: int


_ASKS_A_CALL = _Type(
    re.compile(
        r"\bhow (?:do|can|would|should|could) (?:i|you|we|one)\b|\b(?:which|what) (?:\w+ )?(?:call|function|method)\b"
        r"|\bwhat (?:do|can|should) (?:i|you|we|one) (?:call|use)\b"
    ),
    (_CALL,),
)
_TYPES = (
    _ASKS_A_CALL,
    _Type(re.compile(r"\b(?:which|what) (?:\w+ )?(?:argument|parameter)\b"), (_ARGUMENT,)),
    _Type(
        re.compile(r"\bwhen\b|\b(?:which|what) (?:\w+ )?(?:year|month|century|decade|date|day|time)\b|\bhow soon\b"),
        (_DATE,),
    ),
    _Type(
        re.compile(
            r"\bhow (?:\w+ )?(?:many|much|long|old|far|tall|high|deep|fast|big|large|wide|heavy|often|hot|cold|thick)\b"
            r"|\b(?:what|which) (?:\w+ )?(?:share|percentage|number|temperature|speed|amount|size|length|height|weight"
            r"|age|fraction|price|fee|distance|depth)\b|\b(?:what|which) (?:do|does|did) .* cost\b"
        ),
        (_QUANTITY,),
    ),
    _Type(
        re.compile(r"\bwhere\b|\b(?:what|which) (?:\w+ )?(?:city|country|place|town|state|region|island|river)\b"),
        (_PLACE, _SPOT),
    ),
    _Type(re.compile(r"\bwho(?:se|m)?\b"), (_FULL_NAME, _NAME)),
    _Type(re.compile(r"\bwhy\b|\bfor what (?:purpose|reason)\b"), (_REASON, _PURPOSE)),
    _Type(re.compile(r"\bhow\b"), (_MEANS,)),
)


def reference_answers(answers: Iterable[ModelAnswer]) -> list[ModelAnswer]:
    """Return what the rules answer to the questions that the baseline was asked in the arms that show documents."""
    return [_answer(answer) for answer in answers if answer.evaluated == "baseline" and answer.arm in REFERENCE_ARMS]


def answer_by_rules(question: str, documents: Sequence[str], language: str = ENGLISH) -> tuple[str, str]:
    """Return the sentence of the documents that most likely answers the question, and the span of it.

    Both are empty where the documents hold no sentence.
    """
    sentences = [
        _Sentence(" ".join(text.split()), bare, Counter(_terms(bare, language)), number)
        for number, document in enumerate(documents)
        for text in split_sentences(document)
        if (bare := " ".join(_MARK.sub(" ", text).split())) and not _is_heading(bare)
    ]
    if not sentences:
        return "", ""
    types = _TYPES if language == ENGLISH else ()
    kind = next((kind for kind in types if kind.asked.search(question.casefold())), None)
    scores = _scores(_terms(question, language), sentences)
    if kind is _ASKS_A_CALL:  # what a call does stands beside it
        scores = _of_calls(sentences, scores)
    order = sorted(range(len(sentences)), key=lambda place: (-scores[place], place))[:READ_SENTENCES]
    found = [(place, _best_span(question, kind, sentences[place].bare[:SENTENCE_CHARACTERS])) for place in order]
    best, match = max(found, key=lambda one: scores[one[0]] * one[1].fit)
    return sentences[best].text, match.span


def _answer(asked: ModelAnswer) -> ModelAnswer:
    sentence, span = answer_by_rules(asked.question, asked.documents, asked.language or ENGLISH)
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


@lru_cache(maxsize=1 << 16)
def _stem(word: str) -> str:
    return str(_stemmer().stemWord(word.casefold()))


@cache
def _stemmer() -> "snowballstemmer.stemmer":
    return snowballstemmer.stemmer("english")


def _terms(text: str, language: str) -> list[str]:
    """Return the stems of the words that say what a text is about."""
    return [_stem(word) for word in content_words(text)] if language == ENGLISH else terms(text, language)


def _scores(query: Sequence[str], sentences: Sequence[_Sentence]) -> list[float]:
    """Return the score of each sentence: its own by BM25, and a part of its passage's."""
    passages = [Counter[str]() for _ in range(max(sentence.passage for sentence in sentences) + 1)]
    for sentence in sentences:
        passages[sentence.passage].update(sentence.terms)
    of_passages = _bm25(query, passages)
    own = _bm25(query, [sentence.terms for sentence in sentences])
    return [
        score + PASSAGE_WEIGHT * of_passages[sentence.passage] for score, sentence in zip(own, sentences, strict=True)
    ]


def _of_calls(sentences: Sequence[_Sentence], scores: Sequence[float]) -> list[float]:
    """Return the best score of its passage for every sentence with a call, and nothing for the others."""
    best = dict[int, float]()
    for sentence, score in zip(sentences, scores, strict=True):
        best[sentence.passage] = max(score, best.get(sentence.passage, 0.0))
    return [best[sentence.passage] if _CALL.search(sentence.bare) else 0.0 for sentence in sentences]


def _bm25(query: Iterable[str], texts: Sequence[Counter[str]]) -> list[float]:
    count = len(texts)
    frequency = Counter(term for text in texts for term in text)
    mean = sum(text.total() for text in texts) / count or 1.0
    wanted = {
        term: math.log(1 + (count - frequency[term] + 0.5) / (frequency[term] + 0.5)) for term in dict.fromkeys(query)
    }
    return [
        sum(
            weight * found * (K1 + 1) / (found + K1 * (1 - B + B * text.total() / mean))
            for term, weight in wanted.items()
            if (found := text[term])
        )
        for text in texts
    ]


def _is_heading(sentence: str) -> bool:
    return sentence.startswith("#") or bool(_LABEL.fullmatch(sentence))


def _best_span(question: str, kind: _Type | None, sentence: str) -> _Match:
    """Return the span of the sentence that fits best; a phrase near the question's words where no type is asked for."""
    asked = {_stem(word) for word in words(question)}
    tiers = (_spans(pattern, sentence, asked) for pattern in kind.spans) if kind else ()
    spans = next(filter(None, tiers), None)
    if spans:
        best = min(spans, key=lambda span: _order(question.casefold(), asked, sentence, span))
        return _Match(_counted(question, best), 1.0)
    noun = _noun(question)
    if noun in _named_nouns() and (names := _spans(_NAME, sentence, asked)):
        return _Match(min(names, key=lambda name: _distance(sentence, name, asked)), 1.0)
    phrases = list(dict.fromkeys(_phrases(sentence, asked - {noun})))
    named = [
        phrase for phrase in phrases if noun and noun in map(_stem, words(phrase)) and not _is_asked(phrase, asked)
    ]
    nearest = min(
        named or [phrase for phrase in phrases if not _is_asked(phrase, asked)] or [sentence],
        key=lambda phrase: DISTANCE_WEIGHT * min(_distance(sentence, phrase, asked), FAR) - len(phrase.split()),
    )
    return _Match(nearest, MISFIT if kind else 1.0)


def _spans(pattern: re.Pattern[str], sentence: str, asked: set[str]) -> list[str]:
    found = (match[pattern.groups and 1].strip(" ,.") for match in pattern.finditer(sentence))
    return [span for span in found if not _is_asked(span, asked)]


def _noun(question: str) -> str:
    """Return the stem of the noun that names what is asked for ("which *board* ..."); empty if there is none."""
    asked = _NOUN_ASKED.search(question)
    return _stem(asked[1]) if asked else ""


@cache
def _named_nouns() -> frozenset[str]:
    return frozenset(map(_stem, _BEARERS.split()))


def _counted(question: str, span: str) -> str:
    """Return a quantity without the things that are counted, where the question names them."""
    number = re.match(_NUMBER, span, re.IGNORECASE)
    return number[0] if number and _COUNTED.search(question.casefold()) else span


def _order(question: str, asked: set[str], sentence: str, span: str) -> tuple[bool, float]:
    """Return what is compared between spans of one type; the least comes first.

    Where the question counts things ("how many piles"), those that have its noun; else those that don't have its words.
    """
    has_asked = any(_stem(word) in asked for word in span.split()[1:])
    return has_asked != bool(_COUNTED.search(question)), _distance(sentence, span, asked)


def _distance(sentence: str, span: str, asked: set[str]) -> float:
    """Return how many words lie between a span and the question's words, on average of the nearest three."""
    start = sentence.find(span)
    end = start + len(span)
    between = sorted(
        len(sentence[match.end() : start].split())
        if match.end() <= start
        else len(sentence[end : match.start()].split())
        for match in _TOKEN.finditer(sentence)
        if _stem(match[0]) in asked and content_words(match[0]) and not start <= match.start() < end
    )[:3]
    return sum(between) / len(between) if between else math.inf


def _is_asked(span: str, asked: set[str]) -> bool:
    """Return whether the question has the span's words already, or the span has no word that says anything."""
    return {_stem(word) for word in content_words(span)} <= asked


def _phrases(sentence: str, asked: set[str]) -> Iterator[str]:
    """Yield the runs of words that the question doesn't have, between function words, marks and verbs."""
    run = list[re.Match[str]]()
    for token in [*_TOKEN.finditer(sentence), None]:
        is_joint = token is not None and bool(run) and token[0].casefold() in _JOINTS
        if token and (is_joint or (_is_of_phrase(token[0]) and _stem(token[0]) not in asked)):
            run.append(token)
            continue
        while run and run[-1][0].casefold() in _JOINTS:
            run.pop()
        if run:
            yield sentence[run[0].start() : run[-1].end()]
        run = []


@lru_cache(maxsize=1 << 16)
def _is_of_phrase(word: str) -> bool:
    """Return whether a word may stand in a phrase of nouns: by the dictionary it isn't a verb or an adverb alone."""
    from lemminflect import getAllLemmas  # loads its tables

    if not content_words(word):
        return False
    parts = getAllLemmas(word.casefold())
    return not parts or word[0].isupper() or bool(parts.keys() & {"NOUN", "PROPN", "ADJ"})
