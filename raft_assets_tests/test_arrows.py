"""Arrows between the rooms point one way: the contracts of pyproject.toml hold, and break where an arrow is planted."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from raft_assets_tests.harness import REPOSITORY

PLANTED = [
    ("core/identity.py", "from raft_assets.settings.endpoints import Role", "A room imports"),
    ("dataset/rows.py", "import dagster", "Dagster is imported in defs"),
    ("embedded/app.py", "from raft_assets.settings.endpoints import Role", "The providers import core alone"),
    ("cli/main.py", "from raft_assets.embedded.app import create_app", "reached through embedded.provider alone"),
    ("cli/main.py", "from raft_assets.local.app import create_app", "reached through local.provider alone"),
    ("llm/caller.py", "from raft_assets.pairs.gates import PASS", "llm knows nothing"),
    ("student/finetuning.py", "import sqlite3", "llm and student open no lake"),
    ("evaluation/wording.py", "from raft_assets.evaluation.report import render_report", "No two modules"),
]


def checked(folder: Path) -> subprocess.CompletedProcess[str]:
    """What the linter of imports says of a copy of the package."""
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def package(tmp_path: Path) -> Path:
    shutil.copytree(REPOSITORY / "raft_assets", tmp_path / "raft_assets")
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_contracts_hold(package: Path) -> None:
    done = checked(package)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("module", "arrow", "contract"), PLANTED)
def test_a_planted_arrow_breaks_its_contract(module: str, arrow: str, contract: str, package: Path) -> None:
    file = package / "raft_assets" / module
    file.write_text(f"{file.read_text('utf-8')}\n{arrow}\n", "utf-8")
    done = checked(package)
    assert done.returncode == 1
    (broken,) = (line for line in done.stdout.splitlines() if " BROKEN" in line and contract in line)
    assert broken


def test_the_code_location_imports_no_heavy_package() -> None:
    code = """
import sys, raft_assets.definitions
print([name for name in ("azure", "torch", "nltk", "transformers", "matplotlib", "playwright") if name in sys.modules])
"""
    assert (
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )
