"""Which document a path names: other spellings of it are recognised, anything else is refused."""

import os
import unicodedata
from pathlib import Path

import pytest

from raft_assets.core.errors import DataError
from raft_assets.operations.document_names import recognise_document

KNOWN = {"secret.md", "notes/Übersicht.md", "a b.txt", "deep/er/plan.pdf", "odd\\name.txt"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "bats").mkdir(parents=True)
    return tmp_path / "data" / "bats"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("secret.md", "secret.md"),
        ("./secret.md", "secret.md"),
        ("notes/../secret.md", "secret.md"),
        ("deep//er/./plan.pdf", "deep/er/plan.pdf"),
        ("deep\\er\\plan.pdf", "deep/er/plan.pdf"),
        (".\\secret.md", "secret.md"),
        ("odd\\name.txt", "odd\\name.txt"),
        (unicodedata.normalize("NFD", "notes/Übersicht.md"), "notes/Übersicht.md"),
        ("data/bats/secret.md", "secret.md"),
        ("a b.txt", "a b.txt"),
    ],
)
def test_another_spelling_of_a_document_is_that_document(folder: Path, given: str, meant: str) -> None:
    assert recognise_document(given, folder, KNOWN) == meant


def test_an_absolute_path_is_recognised_through_links_as_well(folder: Path) -> None:
    assert recognise_document(str(folder / "secret.md"), folder, KNOWN) == "secret.md"
    (folder.parent.parent / "linked").symlink_to(folder.parent)
    linked = folder.parent.parent / "linked" / "bats"
    assert recognise_document(str(folder / "secret.md"), linked, KNOWN) == "secret.md"


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ("Secret.md", "secret.md"),
        ("secrte.md", "secret.md"),
        ("plan.pdf", "deep/er/plan.pdf"),
        ("deep/plan.pdf", "deep/er/plan.pdf"),
        ("UBERSICHT.md", "notes/Übersicht.md"),
        ("a  b.txt", "a b.txt"),
    ],
)
def test_a_wrong_name_is_refused_with_the_nearest(folder: Path, given: str, nearest: str) -> None:
    with pytest.raises(DataError, match="nothing was deleted") as refused:
        recognise_document(given, folder, KNOWN)
    assert f"Did you mean {nearest!r}" in str(refused.value)


@pytest.mark.parametrize("given", ["", " ", ".", "..", "/", os.sep * 3, "../inn/secret.md", "zzzzzzzz", "*"])
def test_what_names_no_document_is_refused(folder: Path, given: str) -> None:
    with pytest.raises(DataError, match="nothing was deleted"):
        recognise_document(given, folder, KNOWN)
