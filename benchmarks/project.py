"""Temporary projects of the benchmarks."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from raft_assets.settings.project import Project

REPOSITORY = Path(__file__).parents[1]


def copied(project: Path, folder: Path | None = None) -> None:
    """Makes a project with the shipped domains, or with the folder as its only one."""
    shutil.copytree(folder or REPOSITORY / "data", project / "data" / (folder.name if folder else ""))
    shutil.copytree(REPOSITORY / "presets", project / "presets")
    shutil.copy(REPOSITORY / "workspace.yaml", project)


def materialized(project: Path, folder: Path | None, asset: str) -> Project:
    """A project as `copied` makes it, after `raft run --select` of the asset, offline."""
    copied(project, folder)
    variables = {"RAFT_PROJECT": str(project), "RAFT_PROVIDER": "embedded"}
    command = [sys.executable, "-m", "raft_assets.cli.main", "run", "--all", "--select", asset]
    subprocess.run(command, env=os.environ | variables, check=True, stdout=subprocess.DEVNULL)
    return Project.load(project, variables)
