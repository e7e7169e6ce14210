"""E-books of parts that tests write."""

from collections.abc import Mapping

import pytest

from raft_assets_tests.documents.conftest import Read, Refuse
from raft_assets_tests.documents.readers.archive_files import archive

CONTAINER = """<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>
<rootfile full-path="OEBPS/package.opf" media-type="application/oebps-package+xml"/></rootfiles></container>"""
PACKAGE = """<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/">
<metadata><dc:title>Bats &amp; caves</dc:title></metadata>
<manifest>
<item id="two" href="text/two.xhtml" media-type="application/xhtml+xml"/>
<item id="one" href="text/one%20first.xhtml" media-type="application/xhtml+xml"/>
<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>
<item id="contents" href="contents.xhtml" media-type="application/xhtml+xml"/>
<item id="cover" href="cover.jpg" media-type="image/jpeg"/>
</manifest>
<spine><itemref idref="nav"/><itemref idref="contents"/><itemref idref="one"/><itemref idref="two"/></spine>
<guide><reference type="toc" href="contents.xhtml#top"/></guide></package>"""
XHTML = """<?xml version="1.0" encoding="utf-8"?><!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.1//EN"
"http://www.w3.org/TR/xhtml11/DTD/xhtml11.dtd"><html xmlns="http://www.w3.org/1999/xhtml"><head><title>x</title></head>
<body>{}</body></html>"""
BOOK = {
    "mimetype": "application/epub+zip",
    "META-INF/container.xml": CONTAINER,
    "OEBPS/package.opf": PACKAGE,
    "OEBPS/text/one first.xhtml": XHTML.format(
        "<h1>Bats</h1><p>Bats fly.&nbsp;They sleep.</p><h2>Food</h2><p>Moths.</p>"
    ),
    "OEBPS/text/two.xhtml": XHTML.format("<h1>Caves</h1><p>Caves are cool.</p>"),
    "OEBPS/nav.xhtml": XHTML.format("<nav><ol><li>Bats</li><li>Caves</li></ol></nav>"),
    "OEBPS/contents.xhtml": XHTML.format("<p>Contents</p><p>Bats ... 1</p>"),
    "OEBPS/cover.jpg": b"\xff\xd8\xff",
}


def test_chapters_come_in_reading_order_without_lists_of_places(read_file: Read) -> None:
    document = read_file("a.epub", archive(BOOK))
    assert (document.kind, document.title) == ("epub", "Bats & caves")
    assert [(page.page, page.heading) for page in document.pages] == [(1, "Bats"), (2, "Food"), (3, "Caves")]
    assert document.document_text == (
        "# Bats\n\nBats fly. They sleep.\n\n## Food\n\nMoths.\n\n# Caves\n\nCaves are cool."
    )
    assert document.left_out == {"navigation": 5}


def test_a_book_is_known_by_its_content(read_file: Read) -> None:
    assert read_file("a.zip", archive(BOOK)).kind == "epub"


ENCRYPTION = """<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><e:EncryptedData
xmlns:e="http://www.w3.org/2001/04/xmlenc#"><e:EncryptionMethod Algorithm="{}"/></e:EncryptedData></encryption>"""


def test_a_book_with_protected_fonts_is_read_and_a_protected_book_is_quarantined(
    read_file: Read, refuse_file: Refuse
) -> None:
    fonts = {"META-INF/encryption.xml": ENCRYPTION.format("http://www.idpf.org/2008/embedding")}
    text = {"META-INF/encryption.xml": ENCRYPTION.format("http://www.w3.org/2001/04/xmlenc#aes128-cbc")}
    assert read_file("a.epub", archive(BOOK | fonts)).kind == "epub"
    assert refuse_file("b.epub", archive(BOOK | text)).reason == "encrypted"


BROKEN: dict[str, tuple[Mapping[str, str], str]] = {
    "no package": ({"META-INF/container.xml": "<container/>"}, "corrupt"),
    "a package that is no XML": ({"OEBPS/package.opf": "<package>"}, "corrupt"),
    "a chapter that is not there": ({"OEBPS/package.opf": PACKAGE.replace("two.xhtml", "three.xhtml")}, "corrupt"),
    "entities": ({"OEBPS/package.opf": f'<!DOCTYPE p [<!ENTITY a "x">]>{PACKAGE}'}, "corrupt"),
    "no chapter": ({"OEBPS/package.opf": PACKAGE.replace("itemref", "other")}, "no_text"),
}


@pytest.mark.parametrize(("changes", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_book_is_quarantined(refuse_file: Refuse, changes: Mapping[str, str], reason: str) -> None:
    assert refuse_file("a.epub", archive(BOOK | dict(changes))).reason == reason


def test_nothing_that_a_book_names_is_read(refuse_file: Refuse) -> None:
    package = PACKAGE.replace("text/two.xhtml", "../../../../../../etc/passwd")
    assert refuse_file("a.epub", archive(BOOK | {"OEBPS/package.opf": package})).reason == "corrupt"
