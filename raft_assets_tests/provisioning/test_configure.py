"""`raft azure configure` without Azure: narrowing by options, reasons, what is written, asking on a terminal."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from raft_assets_tests.harness import ProjectHarness
from raft_assets_tests.provisioning.azd import install_azd, new_environment, values_of

Configure = Callable[..., CompletedProcess[str]]
OPENAI_FORBIDS = "output must not be used to develop models that compete with OpenAI"


@pytest.fixture
def project(tmp_path: Path) -> ProjectHarness:
    """A project with `azd` on PATH, and no environment yet."""
    found = ProjectHarness(tmp_path / "project")
    found.own_variables = {"PATH": f"{install_azd(tmp_path / 'bin')}{os.pathsep}{os.environ['PATH']}"}
    return found


@pytest.fixture
def configure(project: ProjectHarness) -> Configure:
    """Runs the command offline, without asking."""
    return lambda *options: project.raft_here("azure", "configure", "--offline", "--yes", *options)


def test_one_model_for_three_roles_is_one_deployment_of_the_largest_capacity(
    project: ProjectHarness, configure: Configure
) -> None:
    new_environment(project.folder, "mine", AZURE_LOCATION="westeurope", OTHER="kept")
    options = ["--teacher", "gpt-oss-120b", "--judge", "gpt-oss-120b", "--baseline", "gpt-oss-120b"]
    capacities = ["--capacity", "teacher=200", "--capacity", "judge=300", "--capacity", "50"]
    done = configure(*options, *capacities, "--capacity", "student=150", "--lake", "azure")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "azd environment mine (the only one)"
    written = values_of(project.folder, "mine")
    assert (written["AZURE_LOCATION"], written["RAFT_LAKE_ON_AZURE"], written["OTHER"]) == (
        "westeurope",
        "true",
        "kept",
    )
    deployments = {one["name"]: one for one in json.loads(written["RAFT_DEPLOYMENTS"])}
    assert deployments.keys() == {"gpt-oss-120b", "text-embedding-3-small"}
    assert deployments["gpt-oss-120b"] == {
        "name": "gpt-oss-120b",
        "format": "OpenAI-OSS",
        "model": "gpt-oss-120b",
        "version": "1",
        "sku": "GlobalStandard",
        "capacity": 300,
        "roles": ["TEACHER", "BASELINE", "JUDGE"],
    }
    assert json.loads(written["RAFT_STUDENT"]) == {
        "model": "gpt-oss-20b",
        "version": "11",
        "format": "Microsoft",
        "training_type": "globalStandard",
        "deployment_sku": "GlobalStandard",
        "deployment_capacity": 150,
    }
    assert "whether every model below is offered in westeurope is unknown offline" in done.stderr.lower()
    assert "days old" in done.stderr or "1 day old" in done.stderr
    assert configure(*options, *capacities, "--capacity", "student=150").returncode == 0
    assert values_of(project.folder, "mine") == written  # the lake stays where it was, and nothing else changes


@pytest.mark.parametrize(
    ("options", "said"),
    [
        # the licence of teacher and student, whichever is chosen last
        (
            ["--teacher", "gpt-5.1", "--student", "gpt-oss-20b"],
            "gpt-5.1 can't be TEACHER: it must not teach gpt-oss-20b",
        ),
        (
            ["--teacher", "gpt-5.1"],
            "gpt-oss-20b, Qwen3-32B, Ministral-3B, Llama-3.3-70B-Instruct: it must not be taught",
        ),
        # life cycle, with date and successor
        (["--teacher", "gpt-4o"], "it was retired on 2026-10-01; instead gpt-5.1"),
        (["--student", "gpt-4.1-mini"], "it was retired on 2026-10-14"),
        (["--judge", "Meta-Llama-3.1-405B-Instruct"], "it was retired on 2026-06-13; instead Llama-3.3-70B-Instruct"),
        # how it is fine-tuned
        (["--student", "gpt-oss-120b"], "deployed on provisioned throughput or managed compute only"),
        (["--student", "gpt-5.4-mini"], "not among the models that Foundry fine-tunes"),
        # region
        (["--region", "swedencentrall"], "Did you mean 'swedencentral'"),
        (["--region", "uaenorth"], "No student is trained in 'uaenorth'"),
        # kind, name, capacity
        (["--embedding", "gpt-oss-120b"], "it is no model that embeds"),
        (["--teacher", "gpt-os-120b"], "Did you mean 'gpt-oss-120b'"),
        (["--capacity", "student=50"], "needs a capacity of 100 or more"),
        (["--capacity", "tutor=50"], "with a role of teacher, embedding"),
    ],
)
def test_an_impossible_set_ends_with_2_and_the_reason_and_writes_nothing(
    project: ProjectHarness, configure: Configure, options: list[str], said: str
) -> None:
    new_environment(project.folder, "mine")
    before = values_of(project.folder, "mine")
    done = configure(*options)
    assert done.returncode == 2, done.stdout
    assert said in done.stderr
    assert values_of(project.folder, "mine") == before
    assert (OPENAI_FORBIDS in done.stderr) == ("gpt-5.1" in options)


def test_a_choice_narrows_the_rest(configure: Configure, project: ProjectHarness) -> None:
    new_environment(project.folder, "mine")
    assert configure("--student", "Qwen3-32B").returncode == 0
    written = values_of(project.folder, "mine")
    roles = {role: one["model"] for one in json.loads(written["RAFT_DEPLOYMENTS"]) for role in one["roles"]}
    assert roles == {"TEACHER": "gpt-oss-120b", "BASELINE": "Qwen3-32B", "EMBEDDING": "text-embedding-3-small"}


def test_prices_are_told_where_known_and_never_zero_where_not(project: ProjectHarness, configure: Configure) -> None:
    new_environment(project.folder, "mine")
    project.write("prices.yaml", "- {model: Qwen3-32B, training: 4.5, source: my contract, date: 2026-11-01}\n")
    shown = configure("--student", "Qwen3-32B").stdout
    (line,) = (line for line in shown.splitlines() if "my contract" in line)
    assert "price unknown" in line
    assert "4.5" in line
    assert "US$ 1.7, 1,224 a month (GlobalStandard)" in shown


@pytest.mark.parametrize(
    ("environments", "options", "said"),
    [
        ([("a", True), ("b", False)], [], "azd environment a (azd's default; others: b)"),
        ([("a", True), ("b", False)], ["-e", "b"], "azd environment b (named; others: a)"),
        ([("a", False), ("b", False)], [], "There are several azd environments (a, b) and none is the default"),
        ([("a", True)], ["-e", "c"], "There is no azd environment 'c'; there is a. Run `azd env new c`"),
        ([], [], "This project has no azd environment: run `azd env new NAME`"),
    ],
)
def test_the_environment_that_is_meant_is_named_first(
    project: ProjectHarness, configure: Configure, environments: list[tuple[str, bool]], options: list[str], said: str
) -> None:
    for name, is_default in environments:
        new_environment(project.folder, name, is_default=is_default)
    done = configure(*options)
    assert said in (done.stdout.splitlines() or [done.stderr])[0]
    assert done.returncode == (0 if said.startswith("azd") else 2)


def test_without_a_terminal_nothing_is_chosen_unasked(project: ProjectHarness) -> None:
    new_environment(project.folder, "mine")
    done = project.raft_here("azure", "configure", "--offline", "--teacher", "gpt-oss-120b")
    assert done.returncode == 2
    assert "There is no terminal to ask on: add --yes" in done.stderr
    assert values_of(project.folder, "mine") == {"AZURE_ENV_NAME": "mine"}


def test_a_dry_run_needs_no_azd_and_loads_nothing_heavy(project: ProjectHarness) -> None:
    code = """
import sys
from raft_assets.cli.main import raft
raft.main(["azure", "configure", "--offline", "--dry-run"], standalone_mode=False)
print(*sys.modules, file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project.folder,
        env=project.variables | {"PATH": "/nowhere"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "RAFT_DEPLOYMENTS=[" in done.stdout
    assert "azd is not installed" in done.stderr
    loaded = {module.split(".")[0] for module in done.stderr.splitlines()[-1].split()}
    assert loaded.isdisjoint(("azure", "dagster", "duckdb", "numpy", "openai", "pandas", "pyarrow", "starlette"))


def test_on_a_terminal_it_asks_and_says_why_a_model_is_not_offered(project: ProjectHarness) -> None:
    new_environment(project.folder, "mine")
    terminal, inside = pty.openpty()
    os.write(terminal, b"eastus2\n2\ngpt-5.1\nDeepSeek-V3.2\n\n\nnone\ny\n")  # the teacher is refused first
    done = subprocess.run(
        project.command("azure", "configure", "--offline"),
        cwd=project.folder,
        env=project.variables | dict(project.own_variables),
        stdin=inside,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    os.close(inside)
    os.close(terminal)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not offered: gpt-4o: it was retired on 2026-10-01; instead gpt-5.1" in done.stdout
    assert f"it must not teach Qwen3-32B (OpenAI's terms: {OPENAI_FORBIDS})" in done.stdout + done.stderr
    written = values_of(project.folder, "mine")
    assert written["AZURE_LOCATION"] == "eastus2"
    models = [one["model"] for one in json.loads(written["RAFT_DEPLOYMENTS"])]
    assert models == ["DeepSeek-V3.2", "Qwen3-32B", "text-embedding-3-small"]
