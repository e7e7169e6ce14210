"""`.env`: a line that can't be read, or a name with a slip in it, is told and sets nothing silently."""

import re
import subprocess
from pathlib import Path

import pytest

from raft_assets.core.errors import SettingsError
from raft_assets.settings.env_file import VARIABLES, check_names
from raft_assets.settings.environment import Environment
from raft_assets_tests.harness import REPOSITORY


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"A=1\nRAFT_BUDGET_RUN: 5\n", r"\.env, line 2 can't be read: .* NAME=value"),
        (b"# a comment\n\nRAFT_BUDGET_RUN 5\n", r"\.env, line 3 can't be read"),
        (b"caf\xe9=1\n", r"\.env is not UTF-8 at byte 3: save it as UTF-8"),
        ("A=1\n".encode("utf-16"), r"\.env is not UTF-8 at byte 0"),
        (b"RAFT_BUGDET_RUN=5\n", r"RAFT_BUGDET_RUN is set, and nothing reads it\. Did you mean RAFT_BUDGET_RUN\?"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(SettingsError, match=said):
        Environment.load(tmp_path, {})


def test_a_folder_in_place_of_the_file_is_told(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    with pytest.raises(SettingsError, match=r"\.env can't be read \(Is a directory\)"):
        Environment.load(tmp_path, {})


def test_what_a_file_may_hold_is_read(tmp_path: Path) -> None:
    lines = [
        "\ufeff# mine",
        "export A='one two'",
        "B=${A}!  # comment",
        "C=",
        "ALONE",
        "RAFT_BUDGET_RUN=5",
        "RAFT_MY_OWN=1",
    ]
    (tmp_path / ".env").write_text("\n".join(lines), "utf-8")
    assert Environment.load(tmp_path, {}).files == {
        "A": "one two",
        "B": "one two!",
        "RAFT_BUDGET_RUN": "5",
        "RAFT_MY_OWN": "1",
    }


def test_every_name_that_this_product_reads_or_documents_is_known() -> None:
    package = [file.read_text("utf-8") for file in (REPOSITORY / "raft_assets").rglob("*.py")]
    read = {name for text in package for name in re.findall(r"[\"'](RAFT_[A-Z][A-Z_]*[A-Z])[\"']", text)}
    assert read - VARIABLES == set()
    tracked = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=False).stdout
    files = [REPOSITORY / name for name in tracked.splitlines() if not name.startswith("raft_assets_tests/settings")]
    texts = (file.read_text("utf-8", errors="ignore") for file in files if file.suffix != ".pdf")
    check_names({name for text in texts for name in re.findall(r"\bRAFT_[A-Z][A-Z_]*[A-Z]\b", text)})
