"""A reader sees the old file or the new one, never half of one."""

from pathlib import Path
from uuid import uuid4

import pytest
from upath import UPath

from raft_assets.core.atomic import is_local, publish, write_text


def test_a_text_replaces_what_was_there_and_makes_the_folder(tmp_path: Path) -> None:
    file = tmp_path / "some" / "folder" / "file.txt"
    for text in ("old and long", "new ä\n"):
        write_text(file, text)
        assert file.read_bytes() == text.encode()
    assert [found.name for found in file.parent.iterdir()] == ["file.txt"]


def test_a_text_that_cannot_be_written_leaves_the_old_one_and_no_draft(tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    write_text(file, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(file, "half a \ud83d character")
    assert file.read_text("utf-8") == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["file.txt"]


@pytest.fixture(params=["a disk", "object storage"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> UPath:
    return UPath(tmp_path) / "lake" if request.param == "a disk" else UPath(f"memory://{uuid4().hex}/lake")


def names(folder: UPath) -> list[str]:
    return sorted(found.name for found in folder.iterdir())


def test_what_was_filled_in_is_published(folder: UPath) -> None:
    target = folder / "table.parquet"
    for content in (b"old and long", b"new"):
        publish(target, lambda draft, content=content: draft.write_bytes(content))
        assert target.read_bytes() == content
    assert names(folder) == ["table.parquet"]


def test_a_draft_that_fails_publishes_nothing_and_is_gone(folder: UPath) -> None:
    target = folder / "table.parquet"
    publish(target, lambda draft: draft.write_bytes(b"old"))

    def fail(draft: Path) -> None:
        draft.write_bytes(b"half of")
        raise ValueError("a row is wrong")

    with pytest.raises(ValueError, match="a row is wrong"):
        publish(target, fail)
    assert target.read_bytes() == b"old"
    assert names(folder) == ["table.parquet"]


def test_the_old_content_stands_until_the_draft_is_full(folder: UPath) -> None:
    target = folder / "table.parquet"
    publish(target, lambda draft: draft.write_bytes(b"old"))
    seen: list[bytes] = []

    def fill(draft: Path) -> None:
        draft.write_bytes(b"new")
        seen.append(target.read_bytes())

    publish(target, fill)
    assert (seen, target.read_bytes()) == ([b"old"], b"new")


def test_a_name_as_long_as_a_disk_takes_can_be_published(tmp_path: Path) -> None:
    target = UPath(tmp_path) / ("n" * 255)
    publish(target, lambda draft: draft.write_bytes(b"content"))
    assert target.read_bytes() == b"content"


@pytest.mark.parametrize(
    ("address", "local"),
    [("/lake", True), ("lake", True), ("file:///lake", True), ("memory://lake", False)],
)
def test_only_a_path_of_this_machine_is_local(address: str, local: bool) -> None:
    assert is_local(UPath(address)) is local
