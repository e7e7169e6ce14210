"""What makes a sentence likely to hold the answer: the features of the sentence ranker, by name."""

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from raft_assets.embedded.encoder import Floats, normalize_vectors
from raft_assets.embedded.reader.passages import Sentence
from raft_assets.embedded.reader.questions import KINDS, Question
from raft_assets.embedded.reader.ranking import Candidates, Category, CategoryTable
from raft_assets.embedded.reader.spans import FIELDS
from raft_assets.embedded.reader.words import MONTHS, NUMBER_WORDS, PRONOUNS

# name -> what it measures; the order is that of the columns
MEASURED = {
    "cosine": "of question and sentence",
    "document_cosine": "of question and mean of the document's sentences",
    "window_cosine": "of question and sentence with half of the one before",
    "best_cosine_in_document": "of any sentence of the document",
    "meaning": "how well the question's words are matched by states of the sentence, mean",
    "meaning_by_rarity": "the same, rare words counting more",
    "recall": "share of the question's words in the sentence, rare words counting more",
    "window_recall": "the same in the sentence and the one before",
    "document_recall": "the same in the document",
    "precision": "share of the sentence's words in the question",
    "bm25": "Okapi BM25 over the documents of the prompt, by the question's total",
    "pairs": "share of the question's neighbouring words that are neighbours in the sentence",
    "names": "share of the question's names in the sentence and (less) in the document",
    "numbers": "share of the question's numbers in the sentence",
    "answer_kind": "whether something of the kind asked for stands in the sentence",
    "cosine_rank": "1 / rank by cosine",
    "recall_rank": "1 / rank by recall",
    "position": "in the document, 0 to 1",
    "opens_document": "whether it is the first",
    "length": "log of the number of words",
    "starts_with_pronoun": "its subject stands in the sentence before",
}
TABLE = CategoryTable((Category("field", FIELDS, by_kind=True),), KINDS)

_UNKNOWN = 0.5  # where the question has nothing to be looked for
_ANSWER_KINDS = {
    "when": re.compile(rf"\b\d{{3,4}}s?\b|\bcentury\b|\b\d{{1,2}}[:.]\d\d\b|\b(?i:{'|'.join(sorted(MONTHS))})\b"),
    "how_many": re.compile(rf"\d|\b(?:{'|'.join(sorted(NUMBER_WORDS))})\b", re.IGNORECASE),
    "measure": re.compile(rf"\d|\b(?:{'|'.join(sorted(NUMBER_WORDS))})\b", re.IGNORECASE),
    "by_whom": re.compile(r"\bby\b"),
    "who": re.compile(r"(?<=[a-z,] )[A-Z]\w+|^[A-Z]\w+ [A-Z]"),
    "why": re.compile(
        r"\b(?:because|due to|as a result|so that|in order|since|caused?|therefore|reason)\b", re.IGNORECASE
    ),
    "where": re.compile(r"\b(?:in|at|from|near|to|on) (?:the )?[A-Z]"),
}


class _Rarity:
    """How much a word says: its inverse document frequency among the sentences of the prompt."""

    def __init__(self, sentences: Sequence[Sentence]) -> None:
        self._count = len(sentences)
        self._holding = Counter(term for sentence in sentences for term in sentence.term_set)

    def __call__(self, term: str) -> float:
        return math.log(1 + (self._count - self._holding[term] + 0.5) / (self._holding[term] + 0.5))


def describe(question: Question, documents: Sequence[Sequence[Sentence]]) -> Candidates:
    """Return the features of every sentence of the documents, in order."""
    sentences = [sentence for document in documents for sentence in document]
    columns = {name: np.zeros(len(sentences), np.float32) for name in MEASURED}
    columns |= _by_encoder(question, documents)
    columns |= _by_words(question, documents)
    columns |= _by_form(question, documents)
    columns["cosine_rank"] = _reciprocal_ranks(columns["cosine"])
    columns["recall_rank"] = _reciprocal_ranks(columns["recall"])
    return Candidates(
        np.stack([columns[name] for name in MEASURED], axis=1).astype(np.float32),
        np.array([[sentence.field] for sentence in sentences], np.int16),
        np.zeros((len(sentences), 0), np.float32),
        np.full(len(sentences), question.kind, np.int64),
    )


def _by_encoder(question: Question, documents: Sequence[Sequence[Sentence]]) -> dict[str, Floats]:
    asked = question.encoded.vector
    sentence_vectors = [np.stack([sentence.encoded.vector for sentence in document]) for document in documents]
    cosines = [vectors @ asked for vectors in sentence_vectors]
    windows = [v + 0.5 * np.concatenate([np.zeros_like(v[:1]), v[:-1]]) for v in sentence_vectors]
    sizes = [len(document) for document in documents]
    return {
        "cosine": np.concatenate(cosines),
        "window_cosine": np.concatenate([normalize_vectors(window) @ asked for window in windows]),
        "document_cosine": np.repeat(
            [normalize_vectors(vectors.mean(axis=0)) @ asked for vectors in sentence_vectors], sizes
        ),
        "best_cosine_in_document": np.repeat([cosine.max() for cosine in cosines], sizes),
    } | _by_meaning(question, [sentence for document in documents for sentence in document])


def _by_meaning(question: Question, sentences: Sequence[Sentence]) -> dict[str, Floats]:
    """Return how near each word of the question is to its nearest state in the sentence.

    As in ColBERT, arXiv 2004.12832.
    """
    matches = np.zeros((len(sentences), len(question.words)), np.float32)
    if len(question.words):
        for row, sentence in enumerate(sentences):
            if len(sentence.encoded.states):
                matches[row] = (question.states @ sentence.encoded.states.astype(np.float32).T).max(axis=1)
    rarity = _Rarity(sentences)
    weights = np.array([rarity(word) for word in question.words], np.float32)
    return {
        "meaning": matches.mean(axis=1) if len(weights) else np.zeros(len(sentences), np.float32),
        "meaning_by_rarity": matches @ weights / max(float(weights.sum()), 1e-6),
    }


def _by_words(question: Question, documents: Sequence[Sequence[Sentence]]) -> dict[str, Floats]:
    sentences = [sentence for document in documents for sentence in document]
    rarity = _Rarity(sentences)
    weight = {term: rarity(term) for term in question.term_set}
    total = sum(weight.values()) or 1.0
    mean_length = sum(len(sentence.terms) for sentence in sentences) / len(sentences) or 1.0
    pairs = set(zip(question.terms, question.terms[1:], strict=False))

    def recall(found: frozenset[str]) -> float:
        return sum(weight[term] for term in question.term_set & found) / total

    def bm25(sentence: Sentence) -> float:
        counts = Counter(sentence.terms)
        damping = 1.2 * (0.25 + 0.75 * len(sentence.terms) / mean_length)
        return sum(weight[term] * counts[term] * 2.2 / (counts[term] + damping) for term in question.term_set) / total

    rows: list[tuple[float, ...]] = []
    for document in documents:
        all_terms = frozenset().union(*(sentence.term_set for sentence in document))
        names_in_document = _share(question.names, all_terms)
        for number, sentence in enumerate(document):
            before = document[number - 1].term_set if number else frozenset()
            rows.append(
                (
                    recall(sentence.term_set),
                    recall(sentence.term_set | before),
                    recall(all_terms),
                    len(question.term_set & sentence.term_set) / max(1, len(sentence.term_set)),
                    bm25(sentence),
                    len(pairs & set(zip(sentence.terms, sentence.terms[1:], strict=False))) / max(1, len(pairs)),
                    0.7 * _share(question.names, sentence.term_set) + 0.3 * names_in_document,
                )
            )
    names = ("recall", "window_recall", "document_recall", "precision", "bm25", "pairs", "names")
    return dict(zip(names, np.array(rows, np.float32).T, strict=True))


def _by_form(question: Question, documents: Sequence[Sequence[Sentence]]) -> dict[str, Floats]:
    answer_kind = _ANSWER_KINDS.get(KINDS[question.kind])

    def numbers_covered(text: str) -> float:
        return (
            sum(number in text for number in question.numbers) / len(question.numbers) if question.numbers else _UNKNOWN
        )

    rows = [
        (
            numbers_covered(sentence.text),
            float(bool(answer_kind.search(sentence.text))) if answer_kind else _UNKNOWN,
            number / max(1, len(document) - 1),
            float(number == 0),
            math.log1p(len(sentence.text.split())) / 4,
            float(sentence.text.split(maxsplit=1)[0].lower() in PRONOUNS),
        )
        for document in documents
        for number, sentence in enumerate(document)
    ]
    names = ("numbers", "answer_kind", "position", "opens_document", "length", "starts_with_pronoun")
    return dict(zip(names, np.array(rows, np.float32).T, strict=True))


def _share(wanted: frozenset[str], found: frozenset[str]) -> float:
    return len(wanted & found) / len(wanted) if wanted else _UNKNOWN


def _reciprocal_ranks(values: Floats) -> Floats:
    ranks = np.argsort(np.argsort(-values, kind="stable"), kind="stable")
    return (1 / (1 + ranks)).astype(np.float32)
