"""Whatever a file, a model or a setting is called, in the data card it is text."""

import pytest
import yaml

from raft_assets.core.front_matter import without_front_matter
from raft_assets.core.markdown import code_span, table_lines
from raft_assets.core.tables import QuarantinedFile, SourceDocument
from raft_assets.dataset.data_card import build_card, render_card
from raft_assets.dataset.manifest import Manifest
from raft_assets_tests.builders import a_chunk, a_pair

HOSTILE = "<script>alert(1)</script> ![x](https://evil.example/x) | `a` ``b`` **bold** [l](u)\n# Heading\n- item"


def a_card(name: str, *, left_out: dict[str, int] | None = None, scanned: dict[str, int] | None = None) -> str:
    manifest = Manifest(
        files={name: "0" * 64},
        settings={"prompt": {"instructions": name}},
        versions={},
        models={"TEACHER": name},
        packages={},
        domain=name,
        splits={"unit": "document", "dropped": {}},
        digests={"qa_dataset": "1" * 64},
    )
    page = SourceDocument(
        doc_id="d",
        path=name,
        content_hash="0" * 64,
        kind="txt",
        page=1,
        title=name,
        heading=name,
        start=0,
        end=1,
        text="word " * 40,
        left_out=left_out or {},
        scanned=scanned or {},
    )
    card = build_card(
        manifest,
        documents=[page],
        quarantine=[QuarantinedFile(path=name, content_hash="", reason="corrupt", detail=name)],
        chunks=[a_chunk("c")],
        golden=[],
        pairs=[a_pair(a_chunk("c"))],
        rows=[],
        training={
            "tokenizer": "o200k_base",
            "train": {"tokens": 0, "too_long": []},
            "valid": {"tokens": 0, "too_long": []},
        },
        student=name,
    )
    return "\n".join(render_card(card))


def test_hostile_names_stay_text_in_their_cells_and_in_the_head() -> None:
    head = a_card(HOSTILE).partition("\n# Data card")[0]
    assert not set("<>![]`*#|\n") & set(yaml.safe_load(head.strip().strip("-"))["pretty_name"])
    hostile, plain = (without_front_matter(a_card(name)).split("\n") for name in (HOSTILE, "plain"))
    assert len(hostile) == len(plain)
    for line, ordinary in zip(hostile, plain, strict=True):
        assert line.count("|") == ordinary.count("|")
        assert line.count("`") == ordinary.count("`")
        outside = "".join(line.split("`")[::2])
        assert "script" not in outside
        assert "evil" not in outside
        assert "bold" not in outside


@pytest.mark.parametrize(("text", "shown"), [("a`b|c", "`a´b¦c`"), ("a\n  b", "`a b`"), ("", "–"), (None, "`None`")])
def test_a_code_span_holds_its_text(text: object, shown: str) -> None:
    assert code_span(text) == shown


def test_the_card_says_which_pages_were_read_by_ocr_and_which_were_not_read() -> None:
    lines = a_card("plain", scanned={"ocr": 3, "unread": 2}).split("\n")
    assert any(line.startswith("- 3 scanned pages of 1 documents were read by OCR") for line in lines)
    assert any("Of `plain` 2 pages are pictures that were not read" in line for line in lines)
    assert not any("scanned" in line for line in a_card("plain").split("\n"))


def test_the_card_says_what_was_left_out_of_each_document() -> None:
    lines = a_card("plain", left_out={"references": 60, "page_number": 1}).split("\n")
    row = next(line for line in lines if "references" in line and line.startswith("| `plain`"))
    assert [cell.strip() for cell in row.split("|")[1:-1]] == ["`plain`", "`references`", "60", "`59.4%`", "`yes`"]
    assert any(line.startswith("- Of `plain` an unusual share of the words is left out (59%") for line in lines)
    assert not any(line.startswith("- Of") for line in a_card("plain", left_out={"references": 20}).split("\n"))


def test_a_table_without_rows_says_so() -> None:
    assert table_lines([]) == ["None."]
