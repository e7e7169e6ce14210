"""Decode bytes to text: as the file declares, else as UTF-8, else as detected with some certainty, else not at all."""

import codecs
import re

from charset_normalizer import from_bytes

from raft_assets.documents.readers.content import UnreadableError

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, with whose mark it begins
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# the characters of Western European text in Windows-1252 beyond ASCII; other code pages decode to others, too
_WESTERN = frozenset(
    "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜßàáâãäåæçèéêëìíîïñòóôõöøùúûüŒœÿ‘’“”„‚–—…•€£¢¥§µ×÷°©®™·«»´\u00a0¿¡ºª½¼²±"
)
# of the letters at most: short French may have a quarter, Cyrillic read as Windows-1252 has nearly all
_WESTERN_SHARE = 0.4
_MISREAD = re.compile(r"[^\W\d_][¿¡]")  # no Western word has these inside; Polish read as Windows-1252 has
# beyond ASCII; fewer don't distinguish one code page from another, and a wrong guess would go unnoticed
_MIN_DISTINCTIVE_BYTES = 30
_MULTIBYTE_UTF8 = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_DETECTION_BYTES = 200_000  # enough to determine the code page of a text
_CODE_PAGES = [
    "cp1250",
    "cp1251",
    "cp1253",
    "cp1254",
    "koi8_r",
    "shift_jis",
    "euc_jp",
    "gb18030",
    "big5",
    "euc_kr",
]
_REMEDY = "save the file as UTF-8"


def decode(data: bytes, declared: str = "") -> str:
    """Return the text of `data`. `declared` is an encoding that the content names (HTML).

    Raises UnreadableError (encoding).
    """
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return _decode_strictly(data, encoding)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if len(_MULTIBYTE_UTF8.findall(data)) > 2 * data.decode("utf-8", "replace").count("\ufffd"):
            raise UnreadableError(
                "encoding",
                f"The file is UTF-8 that is damaged at byte {error.start}; mend it there, or {_REMEDY}.",
            ) from error
    if declared and _is_known(declared):
        return _decode_strictly(data, declared)
    return _decode_western(data) or _decode_other_code_page(data)


def _decode_strictly(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except (UnicodeDecodeError, LookupError) as error:
        raise UnreadableError("encoding", f"The file says that it is {encoding} and is not; {_REMEDY}.") from error


def _is_known(encoding: str) -> bool:
    try:
        return bool(codecs.lookup(encoding)._is_text_encoding)  # noqa: SLF001 - nothing public excludes base64, zlib, ...
    except (LookupError, ValueError):
        return False


def _decode_western(data: bytes) -> str:
    """Return the text if it is plausibly Windows-1252, else an empty string."""
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        return ""
    beyond = [character for character in text if character > "\x7f"]
    letters = sum(character.isalpha() for character in text)
    plausible = _WESTERN.issuperset(beyond) and len(beyond) <= _WESTERN_SHARE * letters and not _MISREAD.search(text)
    return text if plausible else ""


def _decode_other_code_page(data: bytes) -> str:
    distinctive = len(data) - len(data.translate(None, bytes(range(0x80, 0x100))))
    best = (
        None
        if distinctive < _MIN_DISTINCTIVE_BYTES
        else from_bytes(data[:_DETECTION_BYTES], cp_isolation=_CODE_PAGES, enable_fallback=False).best()
    )
    if best is None:
        raise UnreadableError("encoding", f"The encoding of the file can't be told; {_REMEDY}.")
    return _decode_strictly(data, best.encoding)
