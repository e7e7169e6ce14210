"""Scores of one answer. What belongs here: functions of texts, without models and without randomness.

An answer whose status is not ok scores 0 on every metric of quality: it is neither dropped nor NaN, so a model can't
win by failing.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

import regex

from raft_assets.core.languages import ENGLISH, UNTOLD, Language, language_of_code, script_words, spaced_words
from raft_assets.core.prompt_contract import is_verbatim_quote
from raft_assets.core.tables import ModelAnswer, Score
from raft_assets.evaluation.judged import JUDGED_METRICS

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

METRICS_VERSION = "2"

# name and meaning, in the order in which people read them; all from 0 to 1 but those that are judged and the last
METRICS = {
    "token_f1": "overlap of the final answer's words with the golden answer (SQuAD; MLQA in other languages)",
    "exact_match": "the final answer is a golden answer (normalized as SQuAD does, in other languages as MLQA does)",
    "rouge_1": "words in common of final and golden answer (ROUGE-1 F)",
    "rouge_2": "pairs of words in common (ROUGE-2 F)",
    "rouge_l": "longest common word sequence of final and golden answer (ROUGE-L F)",
    "bleu": "runs of up to four words in common, smoothed, of one answer (sacreBLEU)",
    "chrf": "runs of up to six characters in common (chrF2, sacreBLEU)",
    "abstained_right": "abstained exactly where no document shown holds the answer",
    "abstention_precision": "share of a model's abstentions where no document shown holds the answer",
    "abstention_recall": "share of the questions that no document shown answers where it abstained",
    "well_formed": "the answer keeps RAFT's form: one final answer, every quote closed",
    "quote_verbatim": "every quote stands word for word in a document shown (answers with quotes)",
    "quote_from_oracle": "every quote stands in a document that holds the answer (answers with quotes)",
    **JUDGED_METRICS,
    "answer_words": "length of the final answer, words; in scripts without spaces letters",
}
OVERALL_METRICS = ("abstention_precision", "abstention_recall")  # of all questions together, not of one
QUOTE_METRICS = ("quote_verbatim", "quote_from_oracle")  # of answers with quotes only
NON_SHARE_METRICS = ("answer_words", *JUDGED_METRICS)  # neither shares nor per cent
PARTIAL_METRICS = (*QUOTE_METRICS, *JUDGED_METRICS)  # that an answer may lack

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_WORD = re.compile(r"\w+")
_ROUGE_WORD = re.compile(r"[a-z0-9]+")
_INVISIBLE = regex.compile(r"\p{Cf}")  # marks of direction, soft hyphens, joiners
_DIGIT = regex.compile(r"\p{Nd}")
# sacreBLEU's tokenizers; letters in Japanese as well, because MeCab is a dictionary of its own
_BLEU_TOKENIZERS = {ENGLISH: "13a", "zh": "zh"}


def score_answer(answer: ModelAnswer) -> list[Score]:
    """Score the answer by every metric that applies to it.

    Where abstaining is right, metrics that compare with a golden answer are 1 for abstaining, else 0.
    """
    values = {
        **{name: comparison_score(answer, name) for name in COMPARISONS},
        "abstained_right": float(answer.status == "ok" and answer.abstained != answer.answerable),
        "well_formed": float(answer.status == "ok" and answer.well_formed),
        **_quote_metrics(answer),
        "answer_words": float(_count_words(answer.final_answer, answer.language)),
    }
    return [
        Score(
            question_id=answer.question_id,
            source=answer.source,
            arm=answer.arm,
            evaluated=answer.evaluated,
            cluster=answer.cluster,
            metric=metric,
            value=value,
        )
        for metric, value in values.items()
    ]


def comparison_score(answer: ModelAnswer, metric: str) -> float:
    """Score the answer by one of `COMPARISONS` alone."""
    if answer.status != "ok" or answer.abstained == answer.answerable:
        return 0.0
    if answer.abstained:
        return 1.0
    compare = COMPARISONS[metric]
    return max((compare(answer.final_answer, golden, answer.language) for golden in answer.golden_answers), default=0.0)


def normalize_answer(text: str, language: str = UNTOLD) -> str:
    """Return the text as comparisons see it, its words with one space between them.

    English is normalized as in SQuAD's official script, other languages as in MLQA's (arXiv 1910.07475,
    mlqa_evaluation_v1.py): lower case, no punctuation of any script, no articles of the language, words between spaces,
    and every letter of scripts without spaces. Beyond it, digits and letters of other forms are equal (NFKC),
    apostrophes part articles from words ("l'eau"), and what isn't seen doesn't count.
    """
    if _is_english(language):
        return normalize_squad(text)
    known = language_of_code(language)
    folded = _fold(text, known)
    if known and known.articles:
        folded = _elided_articles(known).sub(" ", folded)
    bare = "".join(letter for letter in folded if not _is_punctuation(letter))
    if known and known.articles:
        bare = _article_pattern(known).sub(" ", bare)
    return " ".join(spaced_words(bare))


def normalize_squad(text: str) -> str:
    """Return the text in lower case without punctuation and articles, as in the official SQuAD evaluation script.

    White space is collapsed.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, golden: str, language: str = UNTOLD) -> float:
    """Return 1 if both are the same after normalization, else 0."""
    return float(normalize_answer(answer, language) == normalize_answer(golden, language))


def token_f1(answer: str, golden: str, language: str = UNTOLD) -> float:
    """Return the harmonic mean of precision and recall of words after normalization."""
    given, expected = normalize_answer(answer, language).split(), normalize_answer(golden, language).split()
    if not given or not expected:
        return float(given == expected)
    return _f_measure((Counter(given) & Counter(expected)).total(), given, expected)


def rouge_1(answer: str, golden: str, language: str = UNTOLD) -> float:
    """Return the F-measure of the words in common, as ROUGE counts them (without stemming)."""
    return _rouge_n(answer, golden, language, 1)


def rouge_2(answer: str, golden: str, language: str = UNTOLD) -> float:
    """Return the F-measure of the pairs of neighbouring words in common; 0 if one of the texts has a single word."""
    return _rouge_n(answer, golden, language, 2)


def rouge_l(answer: str, golden: str, language: str = UNTOLD) -> float:
    """Return the F-measure of the longest common subsequence of lower-case words (ROUGE-L without stemming)."""
    given, expected = _rouge_words(answer, language), _rouge_words(golden, language)
    if not given or not expected:
        return float(given == expected)
    return _f_measure(_common_subsequence(given, expected), given, expected)


def bleu(answer: str, golden: str, language: str = UNTOLD) -> float:
    """Return sentence BLEU with exponential smoothing and effective order (sacreBLEU), tokenized by language.

    Short answers have no four words.
    """
    given, expected = _written_alike(answer, language), _written_alike(golden, language)
    return float(_bleu(_bleu_tokenizer(language)).sentence_score(given, [expected]).score) / 100


def chrf(answer: str, golden: str, language: str = UNTOLD) -> float:
    """Return chrF2 of one sentence (sacreBLEU)."""
    given, expected = _written_alike(answer, language), _written_alike(golden, language)
    return float(_chrf().sentence_score(given, [expected]).score) / 100


@cache
def _bleu(tokenizer: str) -> "BLEU":
    from sacrebleu.metrics.bleu import BLEU  # 0.2 s, which a command that scores nothing need not wait for

    return BLEU(effective_order=True, tokenize=tokenizer)


@cache
def _chrf() -> "CHRF":
    from sacrebleu.metrics.chrf import CHRF  # as above

    return CHRF()


# those that compare the final answer with a golden one
COMPARISONS: Mapping[str, Callable[[str, str, str], float]] = {
    "token_f1": token_f1,
    "exact_match": exact_match,
    "rouge_1": rouge_1,
    "rouge_2": rouge_2,
    "rouge_l": rouge_l,
    "bleu": bleu,
    "chrf": chrf,
}


def _rouge_n(answer: str, golden: str, language: str, n: int) -> float:
    given, expected = (_ngrams(_rouge_words(text, language), n) for text in (answer, golden))
    if not given or not expected:
        return 0.0
    return _f_measure((Counter(given) & Counter(expected)).total(), given, expected)


def _rouge_words(text: str, language: str) -> list[str]:
    """Split English into words as rouge_score does: lower-case runs of ASCII letters and digits.

    Another language is split into the words of its script.
    """
    if _is_english(language):
        return _ROUGE_WORD.findall(text.lower()) or _WORD.findall(text.lower())
    return script_words(_fold(text, language_of_code(language)))


def _is_english(language: str) -> bool:
    return (language or ENGLISH) == ENGLISH


def _bleu_tokenizer(language: str) -> str:
    """Return the name of sacreBLEU's tokenizer for a language."""
    known = language_of_code(language)
    if known and known.code in _BLEU_TOKENIZERS:
        return _BLEU_TOKENIZERS[known.code]
    return "intl" if known is None or known.has_spaces else "char"


def _written_alike(text: str, language: str) -> str:
    """Return a text of another language than English with its digits and letters in one form; case stays."""
    return text if _is_english(language) else _one_form(text)


def _one_form(text: str) -> str:
    visible = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
    return _DIGIT.sub(lambda digit: str(unicodedata.decimal(digit[0])), visible)


def _fold(text: str, language: Language | None) -> str:
    """Return the text in one form and one case; Turkish has two letters i."""
    one_form = _one_form(text)
    if language and language.code == "tr":
        one_form = one_form.replace("İ", "i").replace("I", "ı")
    return one_form.casefold()


def _is_punctuation(letter: str) -> bool:
    return letter in string.punctuation or unicodedata.category(letter).startswith("P")


@cache
def _article_pattern(language: Language) -> re.Pattern[str]:
    articles = "|".join(map(re.escape, language.articles))
    return re.compile(articles if language.joins_articles else rf"\b(?:{articles})\b")


@cache
def _elided_articles(language: Language) -> re.Pattern[str]:
    """Return a pattern of articles that an apostrophe joins to the next word, which loses it with the punctuation."""
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, language.articles))})['’](?=\w)")


def _count_words(text: str, language: str) -> int:
    return len(text.split() if _is_english(language) else spaced_words(text))


def _ngrams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]


def _quote_metrics(answer: ModelAnswer) -> dict[str, float]:
    oracles = [text for text, chunk in _shown_documents(answer) if chunk in answer.oracle_chunk_ids]
    values = {}
    if answer.quotes and answer.documents:
        values["quote_verbatim"] = _all_quoted_in(answer.quotes, answer.documents)
    if answer.quotes and oracles:
        values["quote_from_oracle"] = _all_quoted_in(answer.quotes, oracles)
    return values


def _shown_documents(answer: ModelAnswer) -> Iterable[tuple[str, str]]:
    return zip(answer.documents, answer.document_chunk_ids, strict=True)


def _all_quoted_in(quotes: Sequence[str], documents: Sequence[str]) -> float:
    return float(all(any(is_verbatim_quote(quote, document) for document in documents) for quote in quotes))


def _f_measure(common: int, given: Sequence[object], expected: Sequence[object]) -> float:
    return 2 * common / (len(given) + len(expected))


def _common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Return the length of the longest common subsequence."""
    best = [0] * (len(second) + 1)
    for word in first:
        diagonal = 0
        for column, other in enumerate(second, 1):
            diagonal, best[column] = (
                best[column],
                diagonal + 1 if word == other else max(best[column], best[column - 1]),
            )
    return best[-1]
