"""RTF as Word, LibreOffice and older programs write it."""

import pytest

from raft_assets_tests.documents.conftest import Read, Refuse


def rtf(body: str, *, head: str = r"\ansi\ansicpg1252\deff0{\fonttbl{\f0\fswiss\fcharset0 Arial;}}") -> bytes:
    return ("{\\rtf1" + head + body + "}").encode("latin-1")


STYLES = r"{\stylesheet{\s0 Normal;}{\s1\sb240\outlinelevel0 heading 1;}{\s2\outlinelevel1 heading 2;}}"
TEXTS = {
    "paragraphs": (r"\pard One\b  bold\b0  word.\par Two.\par", "One bold word.\n\nTwo."),
    "headings by outline level": (
        r"\pard\plain\outlinelevel0 Bats\par\pard\plain They fly.\par\pard\outlinelevel1 Food\par\pard Moths.\par",
        "# Bats\n\nThey fly.\n\n## Food\n\nMoths.",
    ),
    "headings by style": (
        STYLES + r"\pard\s1 Bats\par\pard\s0 They fly.\par\pard\s2 Food\par\pard\s0 Moths.",
        "# Bats\n\nThey fly.\n\n## Food\n\nMoths.",
    ),
    "characters by their bytes": (
        r"\pard Gr\'f6\'dfe \endash  caf\'e9\~\ldblquote bat\rdblquote\par",
        "Größe – café “bat”",
    ),
    "characters by their code": (
        r"\pard \u1051?\u1077?{\uc0\u1090  }\uc2\u233\'c3\'a9 \uc1\u55357\u-8704?.",
        "Лет é 😀.",
    ),
    "a font of another code page": (
        r"{\fonttbl{\f1\fnil\fcharset204 Arial;}}\pard\f1 \'c6\'f3\'ea\f0  a\par",
        "Жук a",
    ),
    "two bytes a character": (r"{\fonttbl{\f2\fcharset128 MS Mincho;}}\pard\f2 \'93\'fa\'96\'7b\par", "日本"),
    "list items": (
        r"\pard{\listtext\f1\'b7\tab}\ls1 Moths\par{\pntext\'b7\tab}Flies\par\pard They fly.",
        "- Moths\n- Flies\n\nThey fly.",
    ),
    "a table": (
        r"\trowd\cellx100\cellx200\pard\intbl month\cell height\cell\row"
        r"\trowd\cellx100\cellx200\pard\intbl May\par June\cell 4 m\cell\row\pard After.",
        "month | height\nMay June | 4 m\n\nAfter.",
    ),
    "a link": (
        r'\pard See {\field{\*\fldinst{HYPERLINK "http://127.0.0.1:9/x"}}{\fldrslt{the rules}}} now.',
        "See the rules now.",
    ),
    "a footnote": (
        r"\pard Bats fly{\super\chftn{\footnote\pard\plain{\super\chftn} Not all of them.}} at night.\par Two.",
        "Bats fly at night.\n\nNot all of them.\n\nTwo.",
    ),
    "what is no text": (
        r"{\info{\title T}{\author A}}{\*\generator Word;}{\pict\wmetafile8 0102030405}{\*\unknown hidden}\pard Text.",
        "Text.",
    ),
    "a text box, once": (
        r"\pard Text.\par"
        r"{\shp{\*\shpinst{\sp{\sn a}{\sv 1}}{\shptxt\pard In a box.\par}}{\shprslt\pard In a box.\par}}",
        "Text.\n\nIn a box.",
    ),
    "bytes of a picture": ("\\pard Before.\\par{\\pict\\bin6 {}\\par}after.", "Before.\n\nafter."),
    "characters that RTF escapes": (r"\pard a \{b\} \\c\_d", r"a {b} \c-d"),
}


@pytest.mark.parametrize(("body", "text"), TEXTS.values(), ids=TEXTS.keys())
def test_the_text_of_a_file_is_read(read_file: Read, body: str, text: str) -> None:
    document = read_file("a.rtf", rtf(body))
    assert document.document_text == text
    assert document.kind == "rtf"


def test_headers_footers_comments_and_hidden_text_are_left_out_and_counted(read_file: Read) -> None:
    body = (
        r"{\header\pard Harbour authority\par}{\footerf\pard page {\field{\*\fldinst PAGE}{\fldrslt 1}}\par}"
        r"\pard Bats{\v  that nobody sees} fly.{\*\annotation\pard Is this so?\par}\par"
    )
    document = read_file("a.rtf", rtf(body))
    assert document.document_text == "Bats fly."
    assert document.left_out == {"header": 2, "hidden": 3, "footer": 2, "comment": 3}


def test_the_title_is_that_of_the_file(read_file: Read) -> None:
    assert read_file("a.rtf", rtf(r"{\info{\title Gr\'f6\'dfen}}\pard Text.")).title == "Größen"


@pytest.mark.parametrize("name", ["a.rtf", "a.doc", "a.txt"])
def test_a_file_is_known_by_its_content(read_file: Read, name: str) -> None:
    assert read_file(name, rtf(r"\pard Bats fly.")).kind == "rtf"


def test_groups_nest_deeper_than_any_stack_and_not_without_end(read_file: Read, refuse_file: Refuse) -> None:
    assert read_file("a.rtf", rtf("{" * 50_000 + "deep" + "}" * 50_000)).document_text == "deep"
    assert refuse_file("b.rtf", rtf("{" * 2_000_000)).reason == "corrupt"


@pytest.mark.parametrize("data", [b"{\\rtf1", rtf(r"\pard\par"), rtf("\\"), b"{\\rtf1}}}}}\\u\\'"])
def test_a_file_without_text_is_quarantined(refuse_file: Refuse, data: bytes) -> None:
    assert refuse_file("a.rtf", data).reason == "no_text"
