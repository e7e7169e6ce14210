"""The image, and how its containers begin."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml
from dagster._cli.api import grpc_command, grpc_health_check_command
from dagster._core.instance.config import dagster_instance_config
from dagster._daemon.cli import liveness_check_command, run_command
from dagster._serdes.config_class import ConfigurableClassData
from dagster_webserver.cli import dagster_webserver

from raft_assets_tests.harness import REPOSITORY
from raft_assets_tests.hosted.platform import HOSTED, entered, image_variables
from raft_assets_tests.infra.evaluate import deploy
from raft_assets_tests.infra.test_infra import INFRA, PLAIN, PLATFORM
from raft_assets_tests.infra.types import official
from raft_assets_tests.postgresql import PostgresServer

DOCKERFILE = HOSTED / "Dockerfile"


def instructions() -> Iterator[tuple[str, str]]:
    """The instructions of the Dockerfile in order, each on one line."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text("utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, rest = line.partition(" ")
        yield name, re.sub(r"\s+", " ", rest)


def test_the_linter_finds_nothing() -> None:
    local = REPOSITORY / "node_modules" / ".bin" / "dockerfile-utils"
    linter = shutil.which("dockerfile-utils") or (str(local) if local.is_file() else None)
    if linter is None:
        if os.environ.get("RAFT_REQUIRE_DOCKERFILE_LINTER"):
            pytest.fail("no dockerfile-utils on this machine, and RAFT_REQUIRE_DOCKERFILE_LINTER is set")
        pytest.skip("no dockerfile-utils on this machine: npm install dockerfile-utils")
    done = subprocess.run([linter, "lint", str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_image_is_pinned_runs_as_nobody_special_and_says_whether_it_is_well() -> None:
    found = list(instructions())
    assert {rest.split()[0] for name, rest in found if name == "FROM"} == {"python:3.12.12-slim-bookworm"}
    last = max(index for index, (name, _) in enumerate(found) if name == "FROM")
    assert [rest for name, rest in found[last:] if name == "USER"] == ["10001:10001"]
    assert [rest for name, rest in found[last:] if name == "HEALTHCHECK"]
    installs = [rest for name, rest in found if name == "RUN" and "pip install" in rest]
    assert ["--require-hashes" in one for one in installs] == [True, False]
    assert installs[1].endswith("--no-deps --no-build-isolation .")  # the package itself
    secret = re.compile(r"(PASSWORD|SECRET|_KEY|TOKEN)\w*=", re.IGNORECASE)
    assert not any(secret.search(rest) for name, rest in found if name in ("ENV", "ARG"))


def test_everything_that_is_copied_is_there_and_gets_past_the_ignore_file() -> None:
    let_in = [line[1:] for line in (HOSTED / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"]
    for name, rest in instructions():
        if name != "COPY" or rest.startswith("--from"):
            continue
        for source in rest.split()[:-1]:
            assert (REPOSITORY / source).exists(), source
            assert any(source.rstrip("/") == one or source.startswith(f"{one}/") for one in let_in), source
    made = (REPOSITORY / "Makefile").read_text()
    (lists,) = (re.search(r"for list in ([a-z ]+);", rest) for name, rest in instructions() if "for list" in rest)
    assert lists
    for one in lists[1].split():
        assert f"--output-file infra/constraints/{one}.txt" in made


def test_the_commands_are_words_that_shell_and_dagster_understand() -> None:
    for name, rest in instructions():
        if name == "RUN":
            subprocess.run(["sh", "-n", "-c", rest], check=True)
    for script in HOSTED.glob("*.sh"):
        subprocess.run(["sh", "-n", str(script)], check=True)
        assert os.access(script, os.X_OK)
    (command,) = (json.loads(rest) for name, rest in instructions() if name == "CMD")
    assert command[:3] == ["dagster", "api", "grpc"]
    parsed = grpc_command.make_context("grpc", command[3:])
    assert (parsed.params["host"], parsed.params["port"]) == ("0.0.0.0", 4000)


def test_compose_helm_and_bicep_call_programs_by_options_that_they_have() -> None:
    services = yaml.safe_load((HOSTED / "compose.yaml").read_text("utf-8"))["services"]
    ours = [one for one in services.values() if str(one.get("image", "")).startswith("${RAFT_IMAGE")]
    commands = [one["command"] for one in ours if "command" in one]
    commands += [one["healthcheck"]["test"][1:] for one in ours]
    chart = yaml.safe_load((HOSTED / "helm" / "values.yaml").read_text("utf-8"))["dagster"]
    (deployment,) = chart["dagster-user-deployments"]["deployments"]
    commands.append(["dagster", "api", "grpc", *deployment["dagsterApiGrpcArgs"]])
    commands.append(
        ["dagster", "api", "grpc-health-check", "--host", "code-server", "--port", "4000"]
    )  # of entrypoint.sh
    for app in deploy(INFRA, PLAIN | PLATFORM, official()).of("containerApps"):
        commands += [one["args"] for one in app.body["properties"]["template"]["containers"] if "args" in one]
    programs = {
        ("dagster", "api", "grpc"): grpc_command,
        ("dagster", "api", "grpc-health-check"): grpc_health_check_command,
        ("dagster-webserver",): dagster_webserver,
        ("dagster-daemon", "run"): run_command,
        ("dagster-daemon", "liveness-check"): liveness_check_command,
    }
    called = set()
    for command in commands:
        if command[0] == "python":
            continue
        name = next(name for name in programs if tuple(command[: len(name)]) == name)
        program = programs[name]
        program.make_parser(click.Context(program)).parse_args(command[len(name) :])  # exits over an unknown option
        called.add(name)
    assert called == set(programs)


@pytest.mark.parametrize(
    ("variables", "parts"),
    [
        ({"DAGSTER_POSTGRES_PASSWORD": "x"}, ("password", "LocalComputeLogManager", "CodeServerRunLauncher")),
        ({}, ("azure_wif", "LocalComputeLogManager", "CodeServerRunLauncher")),
        (
            {"RAFT_COMPUTE_LOGS": "blob", "RAFT_RUN_LAUNCHER": "container-apps"},
            ("azure_wif", "AzureBlobComputeLogManager", "PatientAcaRunLauncher"),
        ),
    ],
)
def test_the_environment_alone_decides_what_dagster_yaml_says(
    variables: dict[str, str], parts: tuple[str, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = entered(tmp_path, "sh", "-c", "echo started", **variables)
    assert (done.returncode, done.stdout) == (0, "started\n"), done.stderr
    text = (tmp_path / "home" / "dagster.yaml").read_text()
    described = yaml.safe_load(text)
    assert all(part in text for part in parts)
    assert set(described) == set(re.findall(r"^(\w+):", text, re.MULTILINE))  # no part overwrites another
    assert described["storage"]["postgres"]["postgres_db"]["scheme"] == "postgresql+psycopg2"
    for name in set(re.findall(r"env: (\w+)", text)) - image_variables().keys():
        monkeypatch.setenv(name, "x")
    for name, value in image_variables().items():
        monkeypatch.setenv(name, value)
    settings, _ = dagster_instance_config(str(tmp_path / "home"))
    assert settings["run_retries"]["retry_on_asset_or_op_failure"] is False
    assert settings["run_monitoring"]["start_timeout_seconds"] > 600  # what the launcher waits for a job
    if "PatientAcaRunLauncher" in parts:
        pytest.importorskip("azure.mgmt.appcontainers", reason="the extra raft-assets[azure]")
    for part in ("run_coordinator", "run_launcher", "compute_logs"):
        one = described[part]
        ConfigurableClassData(one["module"], one["class"], yaml.safe_dump(one["config"])).rehydrate()


def test_what_is_set_wrongly_ends_a_container_with_a_sentence(tmp_path: Path) -> None:
    done = entered(tmp_path, "true", RAFT_RUN_LAUNCHER="docker")
    assert done.returncode == 64
    assert "There is no launcher-docker: RAFT_COMPUTE_LOGS is disk or blob" in done.stderr
    done = entered(tmp_path, "true", DAGSTER_POSTGRES_PASSWORD_FILE=str(tmp_path / "nowhere"))
    assert done.returncode == 64
    assert "which can't be read: mount the file there" in done.stderr


def test_the_two_databases_have_roles_that_cannot_enter_the_other(
    postgresql: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg2

    for name in ("dagster", "coordination"):
        (tmp_path / f"{name}_password").write_text(f"it's {name}")
    programs = str(postgresql.programs)
    monkeypatch.setenv("PATH", os.pathsep.join([programs, os.environ["PATH"]]))
    for name, value in {
        "PGHOST": postgresql.socket,
        "PGPORT": postgresql.port,
        "PGUSER": "postgres",
        "PGDATABASE": "postgres",
        "RAFT_SECRETS_FOLDER": tmp_path,
    }.items():
        monkeypatch.setenv(name, str(value))
    subprocess.run([str(HOSTED / "databases.sh")], check=True)
    monkeypatch.delenv("PGHOST")

    def enter(role: str, database: str) -> None:
        where = {"host": "127.0.0.1", "port": postgresql.port, "dbname": database}
        psycopg2.connect(user=role, password=f"it's {role}", **where).close()

    try:
        enter("dagster", "dagster")
        enter("coordination", "coordination")
        for role, database in (("dagster", "coordination"), ("coordination", "dagster")):
            with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
                enter(role, database)
    finally:
        for statement in ("DROP DATABASE dagster", "DROP DATABASE coordination", "DROP ROLE dagster, coordination"):
            postgresql.sql(statement)
