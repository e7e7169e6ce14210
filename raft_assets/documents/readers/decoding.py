"""Decode bytes to text: as the file declares, else as UTF-8, else as detected with some certainty, else not at all."""

import codecs
import re
import unicodedata
from collections.abc import Iterable

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
# a script that only one language writes decides before any statistics, which fail on short and repetitive text: by
# its share of the letters beyond ASCII. In other code pages Japanese is Chinese, with the same kana or none
_KANA, _HANGUL = re.compile("[\u3041-\u30ff]"), re.compile("[\uac00-\ud7a3]")
_HEBREW, _THAI = re.compile("[\u05d0-\u05ea]"), re.compile("[\u0e01-\u0e5b]")
_SCRIPTS = (
    ("euc_jp", _KANA, 0.15),
    ("cp932", _KANA, 0.15),
    ("cp949", _HANGUL, 0.95),
    ("cp1255", _HEBREW, 0.95),
    ("cp874", _THAI, 0.95),
)
# code pages of one script differ in few letters, by which their languages are known: Hungarian read as Windows-1252 has
# õ and û where it has ő and ű, ISO-8859-2 read as Windows-1250 signs within words or Slovak ľ beside Polish ą, Turkish
# letters of three languages
_HUNGARIAN_MISREAD, _HUNGARIAN = re.compile("[õûÕÛ]"), frozenset("áéíóöõúüûäÁÉÍÓÖÕÚÜÛÄ")
_MIXED_WORD = re.compile("[A-Za-z][\u05d0-\u0e5b]|[\u05d0-\u0e5b][A-Za-z]")  # what Czech read as Hebrew is made of
MAX_MIXED_SHARE = 0.02  # of the letters
_SIGN_IN_WORD = re.compile(r"[^\W\d_][¦©«¬®±¶»][^\W\d_]")
_TURKISH_MISREAD = frozenset("đýţ")
_REMEDY = "save the file as UTF-8"

# what a label means on the web, where writers name an encoding and use its superset (WHATWG, Encoding Standard, 4.2)
_WESTERN_CODEC, _ASCII_CODEC = "cp1252", "ascii"
_SUPERSETS = {
    # browsers take it for Windows-1252; here only where the words are Western, since such a label tells nothing
    _ASCII_CODEC: "ascii us-ascii ansi_x3.4-1968",
    _WESTERN_CODEC: "iso-ir-100 iso-8859-1 iso8859-1 iso88591 iso_8859-1 iso_8859-1:1987"
    " latin1 latin-1 l1 cp819 ibm819 csisolatin1 windows-1252 x-cp1252",
    "gb18030": "gb2312 gb_2312 gb_2312-80 csgb2312 csiso58gb231280 chinese iso-ir-58 gbk x-gbk cp936 ms936 euc-cn"
    " gb18030",
    "big5hkscs": "big5 big5-hkscs cn-big5 csbig5 x-x-big5",
    "cp932": "shift_jis shift-jis sjis x-sjis csshiftjis ms_kanji ms932 windows-31j",
    "cp949": "euc-kr euckr cseuckr korean ks_c_5601-1987 ks_c_5601-1989 ksc5601 ksc_5601 csksc56011987 iso-ir-149"
    " windows-949",
    "cp1254": "iso-8859-9 iso8859-9 iso88599 iso_8859-9 latin5 latin-5 l5 iso-ir-148 csisolatin5 windows-1254 x-cp1254",
    "cp874": "tis-620 iso-8859-11 iso8859-11 iso885911 dos-874 windows-874",
    "iso8859_8": "iso-8859-8 iso-8859-8-i iso-8859-8-e logical visual hebrew csiso88598i",
    "mac_roman": "macintosh mac x-mac-roman csmacintosh",
    "mac_cyrillic": "x-mac-cyrillic x-mac-ukrainian",
    "koi8_u": "koi8-u koi8-ru",
    "koi8_r": "koi8-r koi8 koi cskoi8r",
    "euc_jp": "euc-jp x-euc-jp cseucpkdfmtjapanese",
    "iso2022_jp_ext": "iso-2022-jp csiso2022jp",
    # a file in UTF-16 could not be read up to the place where it says so
    "utf-8": "utf-16 utf-16le utf-16be ucs-2 iso-10646-ucs-2 csunicode unicode unicode-1-1-utf-8 utf8 x-unicode20utf8",
}
_CODEC_BY_LABEL = {label: codec for codec, labels in _SUPERSETS.items() for label in labels.split()}
# the bytes that code pages of Windows leave undefined mean control characters on the web, which no text keeps
_UNDEFINED_BYTES = {_WESTERN_CODEC: b"\x81\x8d\x8f\x90\x9d"}
_HEAD = 16_384  # bytes in which a declaration is looked for; old pages have long scripts before it
_HTML_COMMENT = re.compile(rb"<!--.*?-->", re.DOTALL)
_META = re.compile(rb"""<meta[^>]+charset\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE)
_XML_DECLARATION = re.compile(rb"""\A\s*<\?xml[^>]*?\sencoding\s*=\s*["']\s*([\w.:-]+)""", re.IGNORECASE)
_UTF16_WITHOUT_MARK = ((b"<\0?\0x\0", "utf-16-le"), (b"\0<\0?\0x", "utf-16-be"))
_ISO_2022_KR = b"\x1b$)C"
_ISO_2022_JP = re.compile(rb"\x1b\$[@B].+?\x1b\([BJ]", re.DOTALL)  # seven bits only, so it passes for UTF-8


def find_declared_encoding(data: bytes) -> str:
    """Return the encoding that a page names in a `<meta>`, else in its XML declaration; empty where it names none."""
    head = _HTML_COMMENT.sub(b"", data[:_HEAD])
    declaration = _META.search(head) or _XML_DECLARATION.match(data[:_HEAD])
    return declaration[1].decode("ascii", "replace") if declaration else ""


def decode(data: bytes, declared: str = "") -> str:
    """Return the text of `data`. `declared` is an encoding that the content names (HTML).

    Raises UnreadableError (encoding).
    """
    for mark, encoding in (*_BOMS, *_UTF16_WITHOUT_MARK):
        if data.startswith(mark):
            return _decode_strictly(data, encoding)
    if data.isascii() and (switching := _find_switching_codec(data)):
        return _decode_strictly(data, switching)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if len(_MULTIBYTE_UTF8.findall(data)) > 2 * data.decode("utf-8", "replace").count("\ufffd"):
            raise UnreadableError(
                "encoding",
                f"The file is UTF-8 that is damaged at byte {error.start}; mend it there, or {_REMEDY}.",
            ) from error
    codec = _find_codec(declared)
    if codec and codec not in ("utf-8", _ASCII_CODEC):
        return _decode_strictly(data, codec, declared)
    western = _decode_western(data)
    if not western and codec == _ASCII_CODEC:
        return _decode_strictly(data, codec, declared)
    return western or _decode_other_code_page(data)


def _find_switching_codec(data: bytes) -> str:
    """Return the codec that switches between alphabets by escape sequences; empty where there are none."""
    if _ISO_2022_JP.search(data):
        return "iso2022_jp_ext"
    return "iso2022_kr" if _ISO_2022_KR in data else ""


def _decode_strictly(data: bytes, codec: str, label: str = "") -> str:
    try:
        return data.translate(None, _UNDEFINED_BYTES.get(codec, b"")).decode(codec)
    except (UnicodeDecodeError, LookupError) as error:
        raise UnreadableError(
            "encoding", f"The file says that it is {label or codec} and is not; {_REMEDY}."
        ) from error


def _find_codec(label: str) -> str:
    """Return the codec that a declared label means, empty where it names none."""
    name = label.strip().casefold()
    codec = _CODEC_BY_LABEL.get(name) or _CODEC_BY_LABEL.get(name.removeprefix("x-"), name.removeprefix("x-"))
    try:
        is_text = codecs.lookup(codec)._is_text_encoding  # noqa: SLF001 - nothing public excludes base64, zlib, ...
    except (LookupError, ValueError):
        return ""
    return codec if is_text else ""


def _decode_western(data: bytes) -> str:
    """Return the text if it is plausibly Windows-1252, else an empty string."""
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        return ""
    beyond = [character for character in text if character > "\x7f"]
    letters = sum(character.isalpha() for character in text)
    plausible = _WESTERN.issuperset(beyond) and len(beyond) <= _WESTERN_SHARE * letters and not _MISREAD.search(text)
    return text if plausible and not _is_hungarian(text, beyond) else ""


def _is_hungarian(western: str, beyond: Iterable[str]) -> bool:
    """Return whether a text that is read as Windows-1252 has the letters of Hungarian and no others."""
    found = {letter for letter in beyond if letter.isalpha()}
    return (
        bool(_HUNGARIAN_MISREAD.search(western))
        and found <= _HUNGARIAN
        and {"á", "é"} < found
        and bool(found & {"ö", "ü"})
    )


def _decode_other_code_page(data: bytes) -> str:
    distinctive = len(data) - len(data.translate(None, bytes(range(0x80, 0x100))))
    if distinctive >= _MIN_DISTINCTIVE_BYTES:
        if text := _decode_by_script(data):
            return text
        best = from_bytes(data[:_DETECTION_BYTES], cp_isolation=_CODE_PAGES, enable_fallback=False).best()
        if best is not None:
            return _decode_strictly(data, _correct_code_page(data, best.encoding))
    raise UnreadableError("encoding", f"The encoding of the file can't be told; {_REMEDY}.")


def _correct_code_page(data: bytes, codec: str) -> str:
    """Return the code page of a text of Central Europe or Turkey, which statistics confuse."""
    if codec != "cp1250":
        return codec
    text = data.decode(codec, "replace")
    if len(_TURKISH_MISREAD & set(text)) > 1:
        return "cp1254"
    return "iso8859_2" if _SIGN_IN_WORD.search(text) or {"ľ", "ą"} <= set(text) else codec


def _decode_by_script(data: bytes) -> str:
    """Return the text if it is Japanese, Korean, Hebrew or Thai by its script, else an empty string."""
    for codec, script, share in _SCRIPTS:
        try:
            text = data.decode(codec)
        except UnicodeDecodeError:
            continue
        letters = sum(character > "\x7f" and unicodedata.category(character)[0] in "LM" for character in text)
        if (
            letters
            and len(script.findall(text)) >= share * letters
            and len(_MIXED_WORD.findall(text)) <= MAX_MIXED_SHARE * letters
        ):
            return text
    return ""
