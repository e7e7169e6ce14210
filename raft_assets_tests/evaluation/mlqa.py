"""MLQA's rules for comparing answers, written down a second time for tests to compare with.

Lewis et al., "MLQA: Evaluating Cross-lingual Extractive Question Answering" (arXiv 1910.07475), and its evaluation
script `mlqa_evaluation_v1.py`: lower case, punctuation removed, then articles, then split at white space; in Chinese
each ideograph is a token. Japanese isn't in MLQA; its letters are split in the same way here.
"""

import string
import unicodedata
from itertools import groupby

ARTICLES = {
    "es": ["un", "una", "unos", "unas", "el", "la", "los", "las"],
    "vi": ["của", "là", "cái", "chiếc", "những"],
    "de": ["ein", "eine", "einen", "einem", "eines", "einer", "der", "die", "das", "den", "dem", "des"],
}


def tokens(text: str, language: str) -> list[str]:
    """The tokens of an answer in one of MLQA's languages but English, or in Japanese."""
    letters = [
        letter for letter in text.lower() if letter not in string.punctuation and unicodedata.category(letter)[0] != "P"
    ]
    bare = "".join(letters)
    if language == "ar":
        bare = bare.replace("ال", " ")
    found = bare.split()
    if language in ("zh", "ja"):
        runs = (groupby(word, key=_is_ideograph) for word in found)
        return [one for run in runs for single, part in run for one in (list(part) if single else ["".join(part)])]
    return [word for word in found if word not in ARTICLES.get(language, ())]


def f1(answer: str, golden: str, language: str) -> float:
    """Twice the shared tokens, each counted as often as both have it, over all tokens."""
    given, expected = tokens(answer, language), tokens(golden, language)
    left = list(expected)
    shared = 0
    for token in given:
        if token in left:
            left.remove(token)
            shared += 1
    return 2 * shared / (len(given) + len(expected)) if given or expected else 1.0


def _is_ideograph(letter: str) -> bool:
    name = unicodedata.name(letter, "")
    return name.startswith(("CJK UNIFIED", "HIRAGANA", "KATAKANA"))
