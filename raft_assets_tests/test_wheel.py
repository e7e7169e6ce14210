"""What `pip install` gives: the wheel by itself, in an environment and a folder outside of the repository.

The packages that it needs are those of this environment, since no network is used; the product is the wheel's alone.
"""

import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from raft_assets.embedded.weights import PROJECT, VERSION
from raft_assets_tests.harness import REPOSITORY

SMALL_DOCUMENTS = ("vampire-bats.md", "history-of-bat-research.pdf", "questions.jsonl")


class Installed:
    """An environment that holds the wheel, and a folder to work in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist"), cwd=REPOSITORY)
        (self.wheel,) = (folder / "dist").iterdir()
        self.environment = folder / "environment"
        run(sys.executable, "-m", "venv", "--without-pip", str(self.environment))
        self.python = str(self.environment / "bin" / "python")
        place = run(self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
        # a path in such a file is searched, and what is installed there in editable mode isn't
        (Path(place) / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
        run(self.python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", str(self.wheel))

    def raft(self, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        return run(str(self.environment / "bin" / "raft"), *arguments, cwd=cwd)


def run(
    *command: str, cwd: Path | None = None, variables: Mapping[str, str] | None = None, code: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run a command that knows nothing of the repository and of the tester's own settings."""
    named = ("PYTHON", "RAFT_", "DAGSTER_", "PIP_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(named) and "OPENAI" not in name}
    ended = subprocess.run(
        command,
        cwd=cwd,
        env=kept | {"OMP_NUM_THREADS": "1"} | dict(variables or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_every_file_of_the_package_and_names_no_torch(installed: Installed) -> None:
    package = REPOSITORY / "raft_assets"
    written = {f"raft_assets/{file.relative_to(package).as_posix()}" for file in package.rglob("*") if file.is_file()}
    with zipfile.ZipFile(installed.wheel) as wheel:
        held = set(wheel.namelist())
        (about,) = (name for name in held if name.endswith(".dist-info/METADATA"))
        metadata = wheel.read(about).decode("utf-8")
    assert {name for name in written if "__pycache__" not in name} <= held
    assert {f"raft_assets/shipped/presets/{file.name}" for file in (REPOSITORY / "presets").iterdir()} <= held
    assert "Classifier: Programming Language :: Python :: 3.13" in metadata
    assert "torch" not in metadata.split("\n\n")[0]
    assert PROJECT not in metadata.split("\n\n")[0]


def test_a_project_of_the_installed_wheel_goes_from_documents_to_a_dataset(
    installed: Installed, tmp_path: Path
) -> None:
    told = installed.raft("init", "my-project", "--example", cwd=tmp_path).stdout
    assert "created  data/bats" in told
    project = tmp_path / "my-project"
    where = run(installed.python, "-c", "import raft_assets; print(raft_assets.__file__)", cwd=project).stdout
    assert Path(where.strip()).is_relative_to(installed.environment)
    for file in (project / "data" / "bats").iterdir():
        if file.name not in SMALL_DOCUMENTS:
            file.unlink()
    ran = installed.raft("run", "bats", "--preset", "paper", "--select", "qa_dataset", cwd=project).stdout
    assert "bats: qa_dataset" in ran
    settings = installed.raft("config", "bats", cwd=project / "data").stdout
    assert "dataset.distractors = 4  # presets/paper.yaml" in settings
    (project / "presets" / "paper.yaml").write_text("dataset: {distractors: 2}\n")
    assert "dataset.distractors = 2  # presets/paper.yaml" in installed.raft("config", "bats", cwd=project).stdout


def test_another_wheel_than_the_pinned_one_is_not_installed(installed: Installed, tmp_path: Path) -> None:
    tag = PROJECT.replace("-", "_")
    with zipfile.ZipFile(tmp_path / f"{tag}-{VERSION}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(
            f"{tag}-{VERSION}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {PROJECT}\nVersion: {VERSION}"
        )
        wheel.writestr(f"{tag}-{VERSION}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any")
        wheel.writestr(f"{tag}-{VERSION}.dist-info/RECORD", "")
    install = "from raft_assets.embedded.installation import install_weights as install; install()"
    variables = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_CONFIG_FILE": os.devnull}
    ended = run(installed.python, "-c", install, cwd=tmp_path, variables=variables, code=1)
    assert "HASH" in ended.stderr.upper()
    assert "could not be installed" in ended.stderr
    assert not list(installed.environment.rglob(f"{tag}*"))
