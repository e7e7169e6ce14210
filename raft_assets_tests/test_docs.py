"""What newcomers read first: it is short, complete, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

from raft_assets.cli.main import raft
from raft_assets_tests.harness import REPOSITORY

PAGES = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
MAX_README_WORDS = 900


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings get where it is shown."""
    headings = re.findall(r"(?m)^#+ (.*)$", page.read_text("utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_readme_is_for_newcomers() -> None:
    text = (REPOSITORY / "README.md").read_text("utf-8")
    assert len(text.split()) <= MAX_README_WORDS
    assert text.index("## Words") < text.index("## Two commands")
    assert {"docs/images/lineage.png", "docs/images/report.png"} <= set(re.findall(r"\]\(([^)]+)\)", text))


def test_every_command_is_in_the_list_of_commands() -> None:
    text = (REPOSITORY / "docs" / "commands.md").read_text("utf-8")
    assert [name for name in raft.commands if f"`raft {name}" not in text] == []
