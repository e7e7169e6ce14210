"""Files become documents or quarantined rows, whatever they hold."""

import json
import os
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import docx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen.canvas import Canvas

from raft_assets.core.identity import doc_id
from raft_assets.core.tables import QuarantinedFile
from raft_assets.documents.reading import ReadDocument, group_into_documents, read_document, read_documents
from raft_assets.documents.reading_process import ReadingProcess
from raft_assets.settings.domains import DocumentFile, list_documents

MEGABYTE = 1_000_000
PROCESS = ReadingProcess()  # of all tests here; it starts when it is needed


@pytest.fixture(scope="module", autouse=True)
def _ends() -> Iterator[None]:
    with PROCESS:
        yield


def pdf(*texts: str, password: str = "") -> bytes:
    stream = BytesIO()
    canvas = Canvas(stream, encrypt=StandardEncryption(password) if password else None)
    for text in texts:
        canvas.drawString(72, 500, text)
        canvas.showPage()
    canvas.save()
    return stream.getvalue()


def zipped(name: str, content: str = "x") -> bytes:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, content)
    return stream.getvalue()


def word(*paragraphs: str) -> bytes:
    stream = BytesIO()
    document = docx.Document()
    for text in paragraphs:
        document.add_paragraph(text)
    document.save(stream)
    return stream.getvalue()


def damaged(data: bytes) -> bytes:
    """Zeros in its middle; the directory of an archive stands at its end."""
    return data[: len(data) // 3] + bytes(len(data) // 3) + data[2 * len(data) // 3 :]


def zip_bomb() -> bytes:
    """120 MB of spaces in half a megabyte."""
    stream = BytesIO()
    with (
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("word/document.xml", "w", force_zip64=True) as part,
    ):
        for _ in range(120):
            part.write(b" " * MEGABYTE)
    return stream.getvalue()


ENTITIES = '<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a "bats"><!ENTITY b "&a;&a;&a;&a;">]><d>&b;</d>'


BAD_FILES: dict[str, tuple[str, bytes, str]] = {
    "no bytes": ("a.txt", b"", "empty"),
    "white space": ("a.md", b" \n\t\n ", "empty"),
    "only a byte order mark": ("a.txt", b"\xef\xbb\xbf", "no_text"),
    "HTML without text": ("a.html", b"<html><body><nav>Home</nav><script>1</script></body></html>", "no_text"),
    "a PDF of pictures": ("a.pdf", pdf("", ""), "no_text"),
    "a PDF with a password": ("a.pdf", pdf("secret", password="bats"), "encrypted"),
    "half a PDF": ("a.pdf", pdf("text")[:200], "corrupt"),
    "a PDF of zeros": ("a.pdf", b"%PDF-1.7\n" + bytes(5000), "corrupt"),
    "text named PDF": ("a.pdf", b"just text", "corrupt"),
    "a picture of no kind that is read": ("a.gif", b"GIF89a" + bytes(100), "binary"),
    "text named picture": ("a.png", b"just text", "corrupt"),
    "a zip file": ("a.zip", zipped("a.txt"), "binary"),
    "random control bytes": ("a.md", bytes(range(1, 30)) * 40, "binary"),
    "a Word document of other XML": ("a.docx", zipped("word/document.xml"), "corrupt"),
    "another archive named docx": ("a.docx", zipped("a.txt"), "corrupt"),
    "half a Word document": ("a.docx", word("Bats fly.")[:2000], "corrupt"),
    "a Word document that is damaged inside": ("a.docx", damaged(word("Bats fly.")), "corrupt"),
    "a Word document without text": ("a.docx", word(), "no_text"),
    "text named docx": ("a.docx", b"just text", "corrupt"),
    "a Word document with a password": (
        "a.docx",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600) + "EncryptedPackage".encode("utf-16-le"),
        "encrypted",
    ),
    "an archive that unpacks to more than any text": ("a.docx", zip_bomb(), "too_large"),
    "XML that expands without end": ("a.docx", zipped("word/document.xml", ENTITIES), "corrupt"),
    "a workbook that is none": ("a.xlsx", zipped("xl/workbook.xml"), "corrupt"),
    "a presentation that is none": ("a.pptx", zipped("ppt/presentation.xml"), "corrupt"),
    "a book that is none": ("a.epub", zipped("META-INF/container.xml"), "corrupt"),
    "another archive named xlsx": ("a.xlsx", zipped("a.txt"), "corrupt"),
    "a workbook of LibreOffice": ("a.ods", zipped("content.xml"), "unsupported"),
    "a database named text": ("a.txt", b"SQLite format 3\0" + bytes(100), "binary"),
    "a program named Markdown": ("a.md", b"\x7fELF\x02\x01\x01" + bytes(100), "binary"),
    "a compressed file": ("a.gz", b"\x1f\x8b\x08\0" + bytes(100), "binary"),
    "text with a zero byte": ("a.txt", b"Bats fly.\0 And eat.", "binary"),
    "a PDF cut off behind its first page": ("a.pdf", pdf("one", "two")[:-700], "corrupt"),
    "HTML in a code page that nobody knows": (
        "a.html",
        b'<meta charset="x-none"><p>' + bytes(range(0x80, 0xA0)) * 9,
        "encoding",
    ),
    "a JSON text that is null": ("a.json", b'[{"text": null}]', "unsupported"),
    "JSON Lines of lists": ("a.jsonl", b"[1]\n[2]\n", "unsupported"),
    "an API list of nothing": ("a.json", b'[{"api_call": ""}]', "no_text"),
    "only rules and marks": ("a.md", b"---\n\n***\n\n", "no_text"),
    "an old Word file": ("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "unsupported"),
    "rich text without text": ("a.rtf", b"{\\rtf1 }", "no_text"),
    "an unknown extension": ("a.xyz", b"a,b\n1,2\n", "unsupported"),
    "JSON of another shape": ("a.json", b'[{"text": "a"}, {"name": "b"}]', "unsupported"),
    "JSON that is a number": ("a.json", b"42", "unsupported"),
    "an empty JSON list": ("a.json", b"[]", "no_text"),
    "JSON that breaks off": ("a.json", b'[{"text": "a"', "broken_json"),
    "JSON nested without end": ("a.json", b"[" * 200_000, "broken_json"),
    "a broken line": ("a.jsonl", b'{"text": "a"}\n{"text": \n', "broken_json"),
    "damaged UTF-8": ("a.txt", "äöüäöüäöü and more".encode() + b"\xff text", "encoding"),
    "UTF-16 that breaks off": ("a.txt", "text".encode("utf-16") + b"\x00", "encoding"),
    "too few bytes to tell their code page": ("a.txt", "Жук.".encode("cp1251"), "encoding"),
    "bytes of no encoding": ("a.txt", bytes(range(0x80, 0x100)) * 20, "encoding"),
    "a large file": ("a.txt", b"bats " * (MEGABYTE // 4), "too_large"),
}


ODD_NAMES = ("ü ß.txt", "a'b\"c;d.txt", "-rf.txt", "a blank .txt", "new\nline.txt", "…" * 60 + ".txt", "$(x).txt")


@pytest.mark.parametrize(("name", "data", "reason"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_file_is_quarantined_with_its_reason_and_a_way_out(
    tmp_path: Path, name: str, data: bytes, reason: str
) -> None:
    result = read(tmp_path, name, data)
    assert isinstance(result, QuarantinedFile)
    assert (result.path, result.reason) == (name, reason)
    assert result.detail.endswith(".")
    assert "\n" not in result.detail


def test_bad_files_of_every_kind_stop_no_other(tmp_path: Path) -> None:
    assert len(BAD_FILES) >= 40
    for number, (name, data, _) in enumerate(BAD_FILES.values()):
        (tmp_path / f"{number}-{name}").write_bytes(data)
    for name in ODD_NAMES:
        (tmp_path / name).write_text("Bats fly by night.", "utf-8")
    results = list(read_documents(list_documents(tmp_path), max_file_mb=1))
    good = [found for found in results if isinstance(found, ReadDocument)]
    assert {found.document_text for found in good} == {"Bats fly by night."}
    assert len(good) == len(ODD_NAMES)
    assert len(results) - len(good) == len(BAD_FILES)


def test_a_line_of_ten_megabytes_is_a_document_and_one_above_the_limit_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"bats fly by night " * (10 * MEGABYTE // 18))
    (found,) = read_documents(list_documents(tmp_path))
    assert isinstance(found, ReadDocument)
    assert len(found.document_text) > 9 * MEGABYTE
    (refused,) = read_documents(list_documents(tmp_path), max_file_mb=9)
    assert isinstance(refused, QuarantinedFile)
    assert "raise documents.max_file_mb" in refused.detail


def test_a_line_of_a_hundred_megabytes_is_quarantined_and_the_rest_go_on(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"bats fly by night " * (100 * MEGABYTE // 18))
    (tmp_path / "b.txt").write_text("Bats fly.")
    refused, read = read_documents(list_documents(tmp_path))
    assert isinstance(refused, QuarantinedFile)
    assert (refused.path, refused.reason) == ("a.txt", "too_large")
    assert isinstance(read, ReadDocument)


def test_a_file_that_may_not_be_opened_is_quarantined_and_the_rest_go_on(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("Bats fly.")
    gone = DocumentFile(
        "a.txt", tmp_path / "a.txt", 3, ""
    )  # root may open everything, so the tests can't take permissions away
    refused, read_one = read_documents([gone, *list_documents(tmp_path)])
    assert isinstance(refused, QuarantinedFile)
    assert (refused.reason, refused.content_hash) == ("unreadable", "")
    assert isinstance(read_one, ReadDocument)


def test_a_file_that_changes_while_it_is_read_is_not_stored_under_the_old_hash(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Bats fly.")
    files = list_documents(tmp_path)
    (tmp_path / "a.txt").write_text("Bats sleep.")
    (result,) = read_documents(files, memo=tmp_path / "memo")
    assert isinstance(result, QuarantinedFile)
    assert result.reason == "unreadable"
    assert not (tmp_path / "memo").exists()


def test_a_second_spelling_of_one_path_is_quarantined(tmp_path: Path) -> None:
    for name in ("ä.txt", "a\u0308.txt"):
        (tmp_path / name).write_text(name)
    first, second = read_documents(list_documents(tmp_path))
    assert isinstance(first, ReadDocument)
    assert isinstance(second, QuarantinedFile)
    assert second.reason == "same_name"


GOOD_FILES: dict[str, tuple[str, bytes, str, str]] = {
    "UTF-8": ("a.txt", "Fledermäuse fliegen.".encode(), "txt", "Fledermäuse fliegen."),
    "UTF-8 with a mark": ("a.txt", "Fledermäuse".encode("utf-8-sig"), "txt", "Fledermäuse"),
    "UTF-16": ("a.txt", "Fledermäuse".encode("utf-16"), "txt", "Fledermäuse"),
    "Windows-1252": (
        "a.txt",
        "Åse found “la Señora” in the book of bats – and a long list of insects.".encode("cp1252"),
        "txt",
        "Åse found “la Señora” in the book of bats – and a long list of insects.",
    ),
    "a little Windows-1252": ("a.txt", "naïve café, Señor Núñez".encode("cp1252"), "txt", "naïve café, Señor Núñez"),
    "Windows-1251": (
        "a.txt",
        ("Летучие мыши летают ночью и спят днём. " * 5).strip().encode("cp1251"),
        "txt",
        ("Летучие мыши летают ночью и спят днём. " * 5).strip(),
    ),
    "HTML that names its encoding": (
        "a.html",
        "<html><head><meta charset=iso-8859-2></head><body><p>żółw śpi".encode("iso-8859-2"),
        "html",
        "żółw śpi",
    ),
    "a PDF named text": ("a.txt", pdf("Bats fly."), "pdf", "Bats fly."),
    "a text about PDFs": ("a.md", b"PDFs begin with %PDF-1.7.", "md", "PDFs begin with %PDF-1.7."),
    "HTML named text": ("a.txt", b"<!DOCTYPE html><title>T</title><p>Bats fly.</p>", "html", "Bats fly."),
    "a file without extension": ("README", b"Bats fly.", "txt", "Bats fly."),
    "decomposed letters": ("a.txt", "Flederma\u0308use".encode(), "txt", "Fledermäuse"),
    "ligatures and odd spaces": ("a.txt", "e\ufb03cient\u00a0\ufb02ight\u200b".encode(), "txt", "efficient flight"),
    "line ends of Windows and blank lines": ("a.txt", b"one  \r\n\r\n\r\n\r\ntwo\r\n", "txt", "one\n\ntwo"),
    "one text in JSON": ("a.json", b'{"text": "Bats fly."}', "json", "Bats fly."),
    "texts in JSON": ("a.json", b'[{"text": "Bats fly."}, {"text": "Birds too."}]', "json", "Bats fly.\n\nBirds too."),
    "texts in lines": (
        "a.jsonl",
        b'{"text": "Bats fly."}\n\n{"text": "Birds too."}\n',
        "jsonl",
        "Bats fly.\n\nBirds too.",
    ),
    "half a surrogate pair": ("a.json", b'{"text": "bats \\ud83d fly"}', "json", "bats ? fly"),
}


@pytest.mark.parametrize(("name", "data", "kind", "text"), GOOD_FILES.values(), ids=GOOD_FILES.keys())
def test_a_file_is_read_by_its_content(tmp_path: Path, name: str, data: bytes, kind: str, text: str) -> None:
    document = read_well(tmp_path, name, data)
    assert (document.kind, document.document_text) == (kind, text)
    assert document.doc_id == doc_id(name)


def test_what_stands_beside_the_text_of_an_entry_is_counted(tmp_path: Path) -> None:
    entry = {"title": "Bats", "text": "Bats fly at night.", "note": {"by": "Marit Lund"}, "seen": ["May", "June"]}
    assert read_well(tmp_path, "a.json", json.dumps(entry).encode()).left_out == {"field": 4}


def test_sections_of_markdown_begin_at_headings_outside_code(tmp_path: Path) -> None:
    text = "---\ntitle: Night\n---\nBefore.\n\n# Bats\n\n## Wings\n\nSkin.\n\n```\n# no heading\n```\n\n## Ears\nLarge."
    document = read_well(tmp_path, "a.md", text.encode())
    assert document.title == "Night"
    assert [(page.page, page.heading) for page in document.pages] == [(1, ""), (2, "Wings"), (3, "Ears")]
    assert document.pages[1].text == "# Bats\n\n## Wings\n\nSkin.\n\n```\n# no heading\n```"


def test_underlined_words_are_headings(tmp_path: Path) -> None:
    document = read_well(tmp_path, "a.txt", b"Bats\n====\n\nThey fly.\n\nFood\n----\n\nMoths.\n")
    assert document.title == "Bats"
    assert document.document_text == "# Bats\n\nThey fly.\n\n## Food\n\nMoths."


PAGE = """<html><head><title>Bats - Site</title></head><body><header>Logo</header><nav>Home</nav><main><article>
<header><h1>About <em>bats</em></h1></header><p>They fly
at night &amp; sleep.<br>By day.</p><ul><li>moths</li><li><p>mosquitoes</p><ul><li>eggs</li></ul></li></ul>
<table><tr><th>Name<th>Weight</tr><tr><td>Noctule<td><p>30</p><p>g</p></table><h2>Care</h2>Do not touch.<pre>a
  # b</pre><script>x</script><aside>Ad</aside></article></main><footer>Imprint</footer></body></html>"""


def test_html_keeps_the_content_and_its_structure_and_drops_the_furniture(tmp_path: Path) -> None:
    document = read_well(tmp_path, "a.html", PAGE.encode())
    assert document.title == "About bats"
    assert document.document_text == (
        "# About bats\n\nThey fly at night & sleep.\nBy day.\n\n- moths\n- mosquitoes\n- eggs\n\n"
        "Name | Weight\nNoctule | 30 g\n\n"
        "## Care\n\nDo not touch.\n\n```\na\n  # b\n```"
    )


def test_html_may_nest_deeper_than_any_stack(tmp_path: Path) -> None:
    document = read_well(tmp_path, "a.html", b"<html><body>" + b"<div>" * 5_000 + b"deep")
    assert document.document_text == "deep"


def test_an_entry_of_an_api_list_is_a_page_with_a_line_per_field(tmp_path: Path) -> None:
    entry = {
        "api_name": "Hash",
        "api_call": "sha256(data)",
        "api_arguments": {"data": "bytes", "options": {"security": True}},
        "env_requirements": ["hashlib", "io"],
        "example_code": "import hashlib\n\n\nprint(1)",
        "meta_data": {"description": "", "link": None},
    }
    document = read_well(tmp_path, "a.json", json.dumps([entry, entry]).encode())
    assert document.kind == "api"
    assert [(page.page, page.heading) for page in document.pages] == [(1, "Hash"), (2, "Hash")]
    assert document.pages[0].text == (
        "api_name: Hash\napi_call: sha256(data)\napi_arguments.data: bytes\napi_arguments.options.security: true\n"
        "env_requirements: hashlib, io\nexample_code: import hashlib\nprint(1)"
    )


# ---- memo ----


def test_editing_one_of_many_documents_parses_one(tmp_path: Path) -> None:
    folder, memo = tmp_path / "bats", tmp_path / "memo"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.txt").write_text(f"Bat {number} flies.")
    first = list(read_documents(list_documents(folder), memo=memo))
    entries = written(memo)
    (folder / "3.txt").write_text("Bat 3 sleeps.")
    second = list(read_documents(list_documents(folder), memo=memo))
    assert len(written(memo) - entries) == 1
    assert [a == b for a, b in zip(first, second, strict=True)] == [True, True, True, False, True, True]


def test_what_is_remembered_is_what_was_read(tmp_path: Path) -> None:
    folder, memo = tmp_path / "bats", tmp_path / "memo"
    folder.mkdir()
    contents = [(name, data) for name, data, *_ in BAD_FILES.values()]
    contents += [(name, data) for name, data, *_ in GOOD_FILES.values()]
    for number, (name, data) in enumerate(contents):
        (folder / f"{number:02} {name}").write_bytes(data)
    files = list_documents(folder)
    fresh = list(read_documents(files, max_file_mb=1))
    assert list(read_documents(files, memo=memo, max_file_mb=1)) == fresh
    entries = written(memo)
    assert list(read_documents(files, memo=memo, max_file_mb=1)) == fresh
    assert written(memo) == entries


def test_a_broken_entry_is_ignored_and_written_again(tmp_path: Path) -> None:
    folder, memo = tmp_path / "bats", tmp_path / "memo"
    folder.mkdir()
    (folder / "a.txt").write_text("Bats fly.")
    first = list(read_documents(list_documents(folder), memo=memo))
    (entry,) = memo.iterdir()
    whole = entry.read_bytes()
    for broken in (b"", whole[: len(whole) // 2], b"[]", b"{}", b"\xff"):
        entry.write_bytes(broken)
        assert list(read_documents(list_documents(folder), memo=memo)) == first
        assert entry.read_bytes() == whole


def test_the_same_bytes_under_another_name_are_another_document(tmp_path: Path) -> None:
    folder, memo = tmp_path / "bats", tmp_path / "memo"
    folder.mkdir()
    for name in ("a.txt", "b.txt", "c.md"):
        (folder / name).write_text("Bats fly.")
    found = [
        document for document in read_documents(list_documents(folder), memo=memo) if isinstance(document, ReadDocument)
    ]
    assert [(document.path, document.title, document.kind) for document in found] == [
        ("a.txt", "a", "txt"),
        ("b.txt", "b", "txt"),
        ("c.md", "c", "md"),
    ]


# ---- properties ----


@settings(max_examples=60, deadline=None)
@given(
    data=st.binary(max_size=300), name=st.sampled_from(["a.txt", "a.md", "a.html", "a.json", "a.jsonl", "a.pdf", "a"])
)
def test_no_bytes_make_reading_raise(tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str) -> None:
    result = read(tmp_path_factory.mktemp("bytes"), name, data)
    assert isinstance(result, QuarantinedFile) or spans_hold(result)


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(st.sampled_from("ab #\n-=`|<>&é\t\u00a0"), min_size=1, max_size=200),
    suffix=st.sampled_from([".txt", ".md", ".html"]),
)
def test_pages_are_spans_of_the_document_and_rows_give_the_document_back(
    tmp_path_factory: pytest.TempPathFactory, text: str, suffix: str
) -> None:
    result = read(tmp_path_factory.mktemp("text"), f"a{suffix}", text.encode())
    if isinstance(result, ReadDocument):
        assert spans_hold(result)
        assert list(group_into_documents(result.pages)) == [result]


# ---- the shipped domains ----


def test_every_shipped_document_is_read(shipped: dict[str, list[ReadDocument | QuarantinedFile]]) -> None:
    assert shipped
    for results in shipped.values():
        assert results
        assert [result for result in results if isinstance(result, QuarantinedFile)] == []


def spans_hold(document: ReadDocument) -> bool:
    text = document.document_text
    return text == "\n\n".join(page.text for page in document.pages) and all(
        text[page.start : page.end] == page.text and page.text.strip() for page in document.pages
    )


def read(folder: Path, name: str, data: bytes) -> ReadDocument | QuarantinedFile:
    (folder / name).write_bytes(data)
    (file,) = list_documents(folder)
    return read_document(file, PROCESS, max_file_mb=1)


def read_well(folder: Path, name: str, data: bytes) -> ReadDocument:
    result = read(folder, name, data)
    assert isinstance(result, ReadDocument), result
    return result


def written(memo: Path) -> set[tuple[str, int]]:
    """Entries and when each was last replaced."""
    with os.scandir(memo) as entries:
        return {(entry.name, entry.inode()) for entry in entries}
