"""What `--help` loads: nothing that takes seconds, because commands import what they need when they run."""

import subprocess
import sys

import click
import pytest

from raft_assets.cli.commands.servers import FAULTS, serve
from raft_assets.cli.main import raft
from raft_assets.embedded.provider import FAULTS as KNOWN_FAULTS

HEAVY = ("dagster", "duckdb", "numpy", "openai", "pandas", "pyarrow", "pydantic", "rich", "starlette", "upath", "yaml")
MAX_MODULES = 200  # about 130 with CPython 3.11 and click 8; it was 2,813 when `raft --help` imported every command
PRINT_MODULES = """
import sys
from raft_assets.cli.main import raft
raft.main(sys.argv[1:], standalone_mode=False)
print(*sys.modules, file=sys.stderr)
"""


def command_lines(command: click.Command, *names: str) -> list[tuple[str, ...]]:
    """The words of a command and of the commands in it."""
    parts = command.commands.items() if isinstance(command, click.Group) else ()
    return [names, *(line for name, part in parts for line in command_lines(part, *names, name))]


@pytest.mark.parametrize("arguments", command_lines(raft), ids=" ".join)
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    shown = subprocess.run(
        [sys.executable, "-c", PRINT_MODULES, *arguments, "--help"], capture_output=True, text=True, check=True
    )
    assert shown.stdout.startswith("Usage:")
    modules = shown.stderr.split()
    assert "raft_assets.cli.main" in modules
    assert {module.split(".")[0] for module in modules}.isdisjoint(HEAVY)
    assert len(modules) < MAX_MODULES


def test_every_command_has_a_short_help(capsys: pytest.CaptureFixture[str]) -> None:
    raft.main(["--help"], standalone_mode=False)
    listed = capsys.readouterr().out.split("Commands:\n")[1].splitlines()
    assert [line.split()[0] for line in listed] == sorted(raft.commands)
    assert all(len(line.split()) > 1 for line in listed)


def test_help_of_serve_names_every_fault() -> None:
    assert ", ".join(KNOWN_FAULTS) == FAULTS
    (option,) = (parameter for parameter in serve.params if parameter.name == "faults")
    assert isinstance(option, click.Option)
    assert FAULTS in str(option.help)
