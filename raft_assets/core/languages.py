"""What the product knows of languages: their names and articles, and the sentence that says "no answer".

A language is named by its ISO 639-1 code. Text of a language that isn't in the table is read, cut and asked about like
any other; what needs to know the language is off there and says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import regex

ENGLISH = "en"
# of tables that were made before languages were told apart: they are read as English, as they were made
UNTOLD = ""

# scripts that put no spaces between words: each of their letters counts as a word
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}ー々"
_WORD = regex.compile(rf"[{_UNSPACED}]\p{{M}}*|(?:(?![{_UNSPACED}])[\p{{L}}\p{{N}}]\p{{M}}*)+")
_UNSPACED_LETTER = regex.compile(rf"[{_UNSPACED}]\p{{M}}*")
SPACED_LETTER = rf"[^\W{_UNSPACED}]"  # for `regex`: a letter or digit that words of a script with spaces are made of


@dataclass(frozen=True)
class Language:
    """A language as teacher, parser and metrics need it.

    `abstention`: what a model is asked to write where the documents don't hold the answer. `articles`: words that a
    comparison of answers leaves out, as MLQA does (arXiv 1910.07475, its evaluation script); `joins_articles`: they are
    written together with the next word. `has_spaces`: whether words stand between spaces; otherwise letters are
    compared.
    """

    code: str
    name: str
    abstention: str
    articles: tuple[str, ...] = ()
    joins_articles: bool = False
    has_spaces: bool = True


_TABLE = (
    Language("en", "English", "The documents do not contain the answer.", ("a", "an", "the")),
    Language(
        "de",
        "German",
        "Die Dokumente enthalten die Antwort nicht.",
        ("ein", "eine", "einen", "einem", "eines", "einer", "der", "die", "das", "den", "dem", "des"),
    ),
    Language(
        "fr",
        "French",
        "Les documents ne contiennent pas la réponse.",
        ("le", "la", "les", "l", "un", "une", "des", "du", "au", "aux"),
    ),
    Language(
        "es",
        "Spanish",
        "Los documentos no contienen la respuesta.",
        ("un", "una", "unos", "unas", "el", "la", "los", "las"),
    ),
    Language(
        "it",
        "Italian",
        "I documenti non contengono la risposta.",
        ("il", "lo", "la", "i", "gli", "le", "l", "un", "uno", "una"),
    ),
    Language(
        "pt",
        "Portuguese",
        "Os documentos não contêm a resposta.",
        ("o", "a", "os", "as", "um", "uma", "uns", "umas"),
    ),
    Language("nl", "Dutch", "De documenten bevatten het antwoord niet.", ("de", "het", "een", "t", "n")),
    Language("pl", "Polish", "Dokumenty nie zawierają odpowiedzi."),
    Language("ru", "Russian", "Документы не содержат ответа."),
    Language("uk", "Ukrainian", "Документи не містять відповіді."),
    Language("tr", "Turkish", "Belgeler yanıtı içermiyor."),
    Language("ar", "Arabic", "لا تحتوي المستندات على الإجابة.", ("ال",), joins_articles=True),
    Language("he", "Hebrew", "המסמכים אינם מכילים את התשובה."),
    Language("fa", "Persian", "اسناد پاسخ را در بر ندارند."),
    Language("hi", "Hindi", "दस्तावेज़ों में उत्तर नहीं है।"),
    Language("zh", "Chinese", "文档中没有答案。", has_spaces=False),
    Language("ja", "Japanese", "文書には答えが含まれていません。", has_spaces=False),
    Language("ko", "Korean", "문서에 답이 포함되어 있지 않습니다."),
    Language("vi", "Vietnamese", "Các tài liệu không chứa câu trả lời.", ("của", "là", "cái", "chiếc", "những")),
    Language("th", "Thai", "เอกสารไม่มีคำตอบ", has_spaces=False),
    Language("id", "Indonesian", "Dokumen tidak memuat jawabannya."),
)
LANGUAGES: Mapping[str, Language] = MappingProxyType({language.code: language for language in _TABLE})


def language_of_code(code: str) -> Language | None:
    """Return the language of a code, of `UNTOLD` English; None for one that isn't in the table."""
    return LANGUAGES.get(code or ENGLISH)


def name_of_code(code: str) -> str:
    """Return the English name of a language, or its code where the table doesn't have it."""
    language = language_of_code(code)
    return language.name if language else code


def script_words(text: str) -> list[str]:
    """Return the words of text in any script, as they stand: runs of letters and digits with their marks.

    In scripts that put no spaces between words every letter is one. Vowel signs and points (of Hindi, Arabic, Hebrew)
    belong to their word.
    """
    return _WORD.findall(text)


def is_unspaced(letter: str) -> bool:
    """Return whether a letter is of a script that puts no spaces between words."""
    return bool(_UNSPACED_LETTER.match(letter))


def spaced_words(text: str) -> list[str]:
    """Return what stands between spaces, and every letter of a script without spaces by itself.

    Unlike `script_words` it keeps signs, and what they join: `5%` and `e-mail` are one word each.
    """
    return _UNSPACED_LETTER.sub(r" \g<0> ", text).split()
