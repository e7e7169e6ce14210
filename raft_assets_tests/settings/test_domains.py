"""Which folders are domains and which of their files are documents."""

import os
import re
import sqlite3
import unicodedata
from pathlib import Path

import pytest

from raft_assets.core.errors import DataError
from raft_assets.settings.domains import (
    DocumentFile,
    FileHashCache,
    check_domain_name,
    domain_folder,
    domain_names,
    gone_domains,
    invalid_domain_folders,
    is_reserved,
    list_documents,
)

LONG_AGO_NS = 1_600_000_000_000_000_000

REFUSED_NAMES = {
    "empty": "",
    "blank": "   ",
    "over 200 bytes, though of 101 characters": "é" * 101,
    "control character": "bats\nand birds",
    "tabulator": "bats\tbirds",
    "bytes that are no UTF-8": os.fsdecode(b"bats\xff"),
    "Dagster's range": "a...b",
    "Dagster's list": "bats,birds",
    "hidden": ".bats",
    "a path": "bats/fruit",
    "a path of Windows": "bats\\fruit",
    "the parent": "..",
}
ACCEPTED_NAMES = [
    "bats",
    "harbor handbook",
    "Fledermäuse",
    "蝙蝠",
    "v1.2",
    "a..b",
    "100% 'quoted' \"x\" (new)",
    "é" * 100,
]


@pytest.mark.parametrize("name", REFUSED_NAMES.values(), ids=REFUSED_NAMES.keys())
def test_a_folder_that_cannot_be_a_partition_is_refused_with_a_reason(name: str) -> None:
    with pytest.raises(DataError, match=r"can't be a domain: .*Rename"):
        check_domain_name(name)


@pytest.mark.parametrize("name", ACCEPTED_NAMES)
def test_spaces_and_unicode_make_good_domain_names(name: str) -> None:
    check_domain_name(name)


def test_domains_are_the_visible_folders_under_their_nfc_names(tmp_path: Path) -> None:
    for name in ("bats", unicodedata.normalize("NFD", "vögel"), ".sources"):
        (tmp_path / name).mkdir()
    (tmp_path / "notes.txt").write_text("no domain")
    assert domain_names(tmp_path) == ["bats", unicodedata.normalize("NFC", "vögel")]
    assert domain_folder(tmp_path, unicodedata.normalize("NFC", "vögel")).is_dir()


def test_the_second_of_two_spellings_of_one_domain_is_refused_naming_both(tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        (tmp_path / unicodedata.normalize(form, "vögel")).mkdir()
    assert domain_names(tmp_path) == [unicodedata.normalize("NFC", "vögel")]
    (problem,) = invalid_domain_folders(tmp_path).values()
    assert re.search(r"vo\\u0308gel.*v\\xf6gel", str(problem))


def test_a_folder_that_can_be_no_domain_is_left_out_and_told(tmp_path: Path) -> None:
    for name in ("bats", "a,b"):
        (tmp_path / name).mkdir()
    assert domain_names(tmp_path) == ["bats"]
    assert list(invalid_domain_folders(tmp_path)) == ["a,b"]


def test_a_missing_root_or_domain_says_what_to_create(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="create it"):
        domain_names(tmp_path / "data")
    with pytest.raises(DataError, match="create the folder"):
        domain_folder(tmp_path, "bats")


def test_a_domain_is_gone_when_its_folder_is_and_another_is_there(tmp_path: Path) -> None:
    name = unicodedata.normalize("NFC", "vögel")
    (tmp_path / unicodedata.normalize("NFD", name)).mkdir()
    assert gone_domains(tmp_path, [name, "bats"]) == ["bats"]
    (tmp_path / unicodedata.normalize("NFD", name)).rmdir()
    assert gone_domains(tmp_path, [name, "bats"]) == []


def test_the_documents_of_a_folder_that_cannot_be_read_are_not_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="can't be read"):
        list_documents(tmp_path / "gone")


def test_documents_are_found_in_subfolders_and_sorted_by_their_nfc_path(tmp_path: Path) -> None:
    write(tmp_path, "b.txt", "sub folder/a.md", "Z.txt", unicodedata.normalize("NFD", "ä.txt"))
    paths = [document.path for document in list_documents(tmp_path)]
    assert paths == ["Z.txt", "b.txt", "sub folder/a.md", unicodedata.normalize("NFC", "ä.txt")]


def test_reserved_hidden_and_left_behind_files_are_no_documents(tmp_path: Path) -> None:
    write(
        tmp_path,
        "questions.jsonl",
        "domain.yaml",
        ".hidden",
        ".git/config",
        "~$report.docx",
        "Thumbs.db",
        "a.md~",
        "x.swp",
    )
    write(tmp_path, "__MACOSX/a.txt", "kept.txt", "sub/questions.jsonl")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling.txt").symlink_to(tmp_path / "nowhere")
    assert [document.path for document in list_documents(tmp_path)] == ["kept.txt", "sub/questions.jsonl"]
    assert is_reserved("domain.yaml")
    assert not is_reserved("sub/domain.yaml")


def test_a_name_that_is_no_utf8_still_gives_a_path_that_a_table_can_hold(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("text")
    (document,) = list_documents(tmp_path)
    assert document.path == "caf\ufffd.txt"


def test_the_hash_is_of_the_content_and_no_time_changes_it(tmp_path: Path) -> None:
    write(tmp_path, "a.txt")
    before = list_documents(tmp_path)
    os.utime(tmp_path / "a.txt", (1, 1))
    assert list_documents(tmp_path) == before
    (tmp_path / "a.txt").write_text("changed")
    assert list_documents(tmp_path)[0].content_hash != before[0].content_hash


def test_a_remembered_file_is_not_read_again_until_it_changes(tmp_path: Path) -> None:
    folder = tmp_path / "bats"
    write(folder, "a.txt", "b.txt")
    for file in folder.iterdir():
        os.utime(file, ns=(LONG_AGO_NS, LONG_AGO_NS))
    assert listed(folder, tmp_path) == list_documents(folder)
    with sqlite3.connect(tmp_path / "hashes.sqlite") as memo:  # what comes back from now on was not computed
        memo.execute("UPDATE hashes SET content_hash = 'remembered'")
    before = (tmp_path / "hashes.sqlite").read_bytes()  # SQLite counts its transactions in there
    assert [document.content_hash for document in listed(folder, tmp_path)] == ["remembered", "remembered"]
    assert (tmp_path / "hashes.sqlite").read_bytes() == before
    (folder / "b.txt").write_text("changed")
    first, second = listed(folder, tmp_path)
    assert (first.content_hash, second) == ("remembered", list_documents(folder)[1])


def test_a_file_that_changed_a_moment_ago_is_not_remembered_as_it_may_change_within_the_same_tick(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "bats"
    write(folder, "a.txt")
    listed(folder, tmp_path)
    with sqlite3.connect(tmp_path / "hashes.sqlite") as memo:
        memo.execute("UPDATE hashes SET content_hash = 'remembered'")
    assert listed(folder, tmp_path) == list_documents(folder)


def test_a_broken_memo_costs_time_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "bats"
    write(folder, "a.txt")
    (tmp_path / "hashes.sqlite").write_bytes(b"this is no database, " * 100)
    assert listed(folder, tmp_path) == list_documents(folder)


def write(folder: Path, *names: str) -> None:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"text of {name}")


def listed(folder: Path, home: Path) -> list[DocumentFile]:
    with FileHashCache(home / "hashes.sqlite") as memo:
        return list_documents(folder, memo)
