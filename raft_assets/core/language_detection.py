"""Find the language of a text, offline and the same on every machine: by its script first, then by letters and words.

A script that belongs to one language decides by itself, however short the text. Languages that share a script are told
apart by py3langid, restricted to those languages; in Latin script the language's frequent words must occur as well, or
lists of names and programs would be of any language (ADR 0046).
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

import regex

from raft_assets.core.frequent_words import FREQUENT_WORDS, FUNCTION_WORDS
from raft_assets.core.languages import ENGLISH
from raft_assets.core.similarity import content_words, is_english, words

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

MIN_LETTERS = 20  # of a script that several languages share; fewer say too little
MIN_SCRIPT_LETTERS = 2  # of a script that belongs to one language
MIN_FREQUENT_SHARE = 0.08  # of all words; prose has 25 to 50 %, and under 6 % of another language's but its nearest
MIN_UNKNOWN_WORDS = 200  # of a language whose frequent words aren't known: then its letters alone must say it
MIN_PROBABILITY = 0.95  # that letters alone must say it with, where no words are looked for
MIN_KANA_SHARE = 0.05  # of Japanese letters; Chinese has none but in names
WINDOW_CHARACTERS = 600
MAX_WINDOWS = 24  # of a document that are read, evenly spread
MIN_USUAL_SHARE = 0.2  # of words, that say that a text is in a script's most usual language, where letters are in doubt
MIN_TELLING_WORDS = 4  # of a text that is said to be in another language of the same script
MIN_LANGUAGE_SHARE = 0.15  # of a document's letters: with less, a language is a quotation
DENSE_LETTERS = 3  # Latin letters that one of Chinese, Japanese or Korean stands for: words are so much shorter
MIN_OWN_SHARE = 0.08  # of the words of a text in a language's own script: what else it has are names and code
MIN_REST_SHARE = 0.2  # of the words, that are in another script than names and code, whose language is then the text's
MIN_FOREIGN_SHARE = 0.25  # of the other words, that are frequent ones of another language in its sentences

_LANGUAGE_OF_SCRIPT: Mapping[str, str] = MappingProxyType(
    {
        "han": "zh",
        "kana": "ja",
        "hangul": "ko",
        "thai": "th",
        "hebrew": "he",
        "greek": "el",
        "armenian": "hy",
        "georgian": "ka",
        "tamil": "ta",
        "telugu": "te",
        "kannada": "kn",
        "malayalam": "ml",
        "gujarati": "gu",
        "gurmukhi": "pa",
        "sinhala": "si",
        "khmer": "km",
        "lao": "lo",
        "myanmar": "my",
        "ethiopic": "am",
    }
)
# languages that py3langid tells apart within a script; the first is taken where a text is too short for that
_CANDIDATES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "latin": (
            *("en", "de", "fr", "es", "it", "pt", "nl", "pl", "tr", "vi", "id", "sv", "da", "no", "fi", "cs", "hu"),
            *("ro", "sk", "sl", "hr", "et", "lv", "lt", "ca", "gl", "eu", "sq", "is", "ga", "cy", "af", "sw", "tl"),
        ),
        "cyrillic": ("ru", "uk", "bg", "sr", "mk", "be", "kk", "ky", "mn"),
        "arabic": ("ar", "fa", "ur", "ps", "ug"),
        "devanagari": ("hi", "mr", "ne"),
        "bengali": ("bn", "as"),
    }
)
_ALSO_IN_LATIN = frozenset({"sr", "kk", "ky", "mn", "ug"})  # that people write in two scripts
_SCRIPTS = (*_CANDIDATES, *_LANGUAGE_OF_SCRIPT)  # in the order in which they are looked for
_LETTERS = {
    name: regex.compile(r"[\p{Hiragana}\p{Katakana}]" if name == "kana" else rf"\p{{{name.capitalize()}}}")
    for name in _SCRIPTS
}
_ANY_LETTER = regex.compile(r"\p{L}")
_DENSE_SCRIPTS = frozenset({"han", "kana", "hangul"})
_CODE = re.compile(r"^(`{3,}|~{3,}).*?^\1|`[^`\n]+`|https?://\S+", re.MULTILINE | re.DOTALL)


def detect_language(text: str, candidates: Collection[str] = ()) -> str:
    """Return the code of the language that most of the text is in; empty where it can't be said.

    `candidates`: the only languages that it may be in, if any are given.
    """
    script = main_script(text)
    language = _LANGUAGE_OF_SCRIPT.get(script, "")
    if script in _CANDIDATES:
        among = [code for code in _CANDIDATES[script] if not candidates or code in candidates]
        language = _tell_apart(text, script, among) or _tell_without_latin(text, script, candidates)
    return language if not candidates or language in candidates else ""


def _tell_without_latin(text: str, script: str, candidates: Collection[str]) -> str:
    """Return the language of the rest of a text whose words in Latin script are names and code; empty without one."""
    rest = _LETTERS["latin"].sub(" ", text) if script == "latin" else ""
    if len(words(rest)) < MIN_REST_SHARE * len(words(text)) or main_script(rest) == "":
        return ""
    return detect_language(rest, candidates)


def is_other_language(text: str, language: str) -> bool:
    """Return whether a text is certainly in another language: never where it says too little."""
    script = main_script(text)
    if not script:
        return False
    if script not in scripts_of(language):
        return len(_ANY_LETTER.findall(text)) >= MIN_LETTERS and (script != "latin" or _is_foreign(text, language))
    if script not in _CANDIDATES or len(words(text)) < MIN_TELLING_WORDS:
        return False
    found = detect_language(text)
    return found not in ("", language) and _frequent_share(text, found) > _frequent_share(text, language)


def _is_foreign(text: str, language: str) -> bool:
    """Return whether a text mostly in Latin script is no text of the language with many names and code."""
    own_scripts = [_LETTERS[name] for name in scripts_of(language)]
    all_words = words(text)
    others = [word for word in all_words if not any(letters.search(word) for letters in own_scripts)]
    if len(others) > (1 - MIN_OWN_SHARE) * len(all_words):
        return True
    rest = " ".join(others)
    return bool(others) and _frequent_share(rest, detect_language(rest) or ENGLISH) >= MIN_FOREIGN_SHARE


def scripts_of(language: str) -> set[str]:
    """Return the scripts that a language is written in; every script for one that isn't known here."""
    single = {script for script, code in _LANGUAGE_OF_SCRIPT.items() if code == language}
    if language == "ja":
        single.add("han")
    shared = {script for script, codes in _CANDIDATES.items() if language in codes}
    if language in _ALSO_IN_LATIN:
        shared.add("latin")
    return single | shared or set(_SCRIPTS)


def _frequent_share(text: str, language: str) -> float:
    all_words = words(text)
    if language == ENGLISH:
        return 1 - len(content_words(text)) / max(len(all_words), 1)
    frequent = FUNCTION_WORDS.get(language, frozenset())
    return sum(word in frequent for word in all_words) / max(len(all_words), 1)


def main_script(text: str) -> str:
    """Return the script of most letters, "kana" for Japanese; empty where no script has enough of them.

    A letter of Chinese, Japanese and Korean counts as several.
    """
    counts = Counter({name: len(_LETTERS[name].findall(text)) for name in _DENSE_SCRIPTS})
    half = (len(_ANY_LETTER.findall(text)) + (DENSE_LETTERS - 1) * counts.total()) / 2
    for name, letters in _LETTERS.items():
        if name in _DENSE_SCRIPTS:
            continue
        counts[name] = len(letters.findall(text))
        if counts[name] > half:
            break
    counts["han"] += counts["kana"]
    script = max(counts, key=lambda name: counts[name] * (DENSE_LETTERS if name in _DENSE_SCRIPTS else 1))
    count = counts[script]
    if script in ("han", "kana"):
        return "" if count < MIN_SCRIPT_LETTERS else "kana" if counts["kana"] >= MIN_KANA_SHARE * count else "han"
    return script if count >= (MIN_LETTERS if script in _CANDIDATES else MIN_SCRIPT_LETTERS) else ""


def document_languages(text: str) -> list[str]:
    """Return the languages of a document, the one of most letters first; none where it can't be said.

    Others are those of a good part of it, such as the second language of a bilingual manual. Code and addresses are in
    none.
    """
    prose = _CODE.sub(" ", text)
    text = prose if _ANY_LETTER.search(prose) else text
    letters: Counter[str] = Counter()
    for window in _windows(text):
        if language := detect_language(window):
            letters[language] += len(_ANY_LETTER.findall(window))
    if not letters and (language := detect_language(text[: WINDOW_CHARACTERS * MAX_WINDOWS])):
        return [language]
    least = MIN_LANGUAGE_SHARE * letters.total()
    return [language for language, count in letters.most_common() if count >= least]


def main_language(languages: Iterable[tuple[str, int]]) -> str:
    """Return the language of most words, of pairs of language and number of words; English where there is none."""
    words_of: Counter[str] = Counter()
    for language, count in languages:
        if language:
            words_of[language] += count
    return max(sorted(words_of), key=words_of.__getitem__) if words_of else ENGLISH


def _windows(text: str) -> Iterator[str]:
    """Yield parts of the text, evenly spread where there are too many."""
    starts = range(0, max(len(text), 1), WINDOW_CHARACTERS)
    step = max(1, -(-len(starts) // MAX_WINDOWS))
    for start in starts[::step]:
        yield text[start : start + WINDOW_CHARACTERS]


def _tell_apart(text: str, script: str, among: list[str]) -> str:
    """Return which of the languages of one script the text is in; empty where it can't be said."""
    if not among:
        return ""
    if script != "latin":
        found, probability = _rank(text, among)
        is_usual = _frequent_share(text, among[0]) >= MIN_USUAL_SHARE
        return among[0] if probability < MIN_PROBABILITY and is_usual else found
    if ENGLISH in among and is_english(text):
        return ENGLISH
    language, probability = _rank(text, among)
    all_words = words(text)
    telling = FREQUENT_WORDS.get(language)
    if language == ENGLISH:
        return ENGLISH if probability >= MIN_PROBABILITY else ""
    if telling is None:
        is_certain = len(all_words) >= MIN_UNKNOWN_WORDS and probability >= MIN_PROBABILITY
        return language if is_certain else ""
    return language if sum(word in telling for word in all_words) >= MIN_FREQUENT_SHARE * len(all_words) > 0 else ""


def _rank(text: str, among: Collection[str]) -> tuple[str, float]:
    """Return the likeliest of the languages and its probability among them."""
    scores = [(language, score) for language, score in _identifier().rank(text) if language in among]
    language, score = scores[0]
    return str(language), float(score) / sum(float(other) for _, other in scores)


@cache
def _identifier() -> "LanguageIdentifier":
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # loads its model

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
