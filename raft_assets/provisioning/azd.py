"""azd's environments, through the `azd` binary: which one is meant, what it holds, and setting it.

The files below `.azure/` are azd's own and are never read or written here. Commands and their output:
https://learn.microsoft.com/azure/developer/azure-developer-cli/reference#azd-env
"""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raft_assets.core.errors import RaftError

NAME_VARIABLE = "AZURE_ENV_NAME"  # azd sets it for its hooks, and reads it itself
TIMEOUT_S = 120.0  # a command about environments may ask remote state
_INSTALL_HINT = "install the Azure Developer CLI (https://aka.ms/azd-install), version 1.25.5 or later"


class AzdError(RaftError):
    """`azd` is missing or refuses, or no environment is chosen; the message says what to do."""


@dataclass(frozen=True)
class AzdEnvironment:
    """An environment of azd. `others` are the names of the project's other ones; `chosen_by` says why it is this one.

    `values` may hold what a template put out, and are never shown as a whole.
    """

    name: str
    values: Mapping[str, str] = field(repr=False)
    others: Sequence[str] = ()
    chosen_by: str = "the only one"

    @property
    def told(self) -> str:
        """The line that a command begins with, so that nobody works on another environment than they think."""
        others = f"; others: {', '.join(self.others)}" if self.others else ""
        return f"azd environment {self.name} ({self.chosen_by}{others})"

    def get(self, name: str) -> str | None:
        """Return a value; an empty one counts as absent."""
        return self.values.get(name) or None


def read_environment(project: Path, name: str | None = None) -> AzdEnvironment:
    """Return the environment of that name, else azd's default one, of the project in that folder.

    Raises AzdError where azd is missing, where there is no such environment, or where several are there and none is the
    default.
    """
    listed = _run(project, "env", "list", "--output", "json")
    known = {str(one["Name"]): bool(one.get("IsDefault")) for one in _parse_json(listed, "azd env list")}
    chosen, chosen_by = _choose(known, name)
    values = _parse_json(
        _run(project, "env", "get-values", "--output", "json", "--environment", chosen), "azd env get-values"
    )
    others = sorted(known.keys() - {chosen})
    return AzdEnvironment(chosen, {key: str(value) for key, value in values.items()}, others, chosen_by)


def set_values(project: Path, environment: str, values: Mapping[str, str]) -> None:
    """Set values of an environment, all at once. Raises AzdError where azd refuses."""
    _run(project, "env", "set", *(f"{name}={value}" for name, value in values.items()), "--environment", environment)


def _choose(known: Mapping[str, bool], name: str | None) -> tuple[str, str]:
    if not known:
        raise AzdError("This project has no azd environment: run `azd env new NAME`, then this command again.")
    if name is not None:
        if name not in known:
            raise AzdError(
                f"There is no azd environment {name!r}; there is {', '.join(known)}. Run `azd env new {name}`."
            )
        return name, "named"
    if len(known) == 1:
        return next(iter(known)), "the only one"
    default = [one for one, is_default in known.items() if is_default]
    if not default:
        raise AzdError(
            f"There are several azd environments ({', '.join(known)}) and none is the default: name one with "
            "--environment, or run `azd env select NAME`."
        )
    return default[0], "azd's default"


def _run(project: Path, *arguments: str) -> str:
    """Run azd in the project's folder and return what it printed. Raises AzdError with what azd said.

    What azd says is untrusted and may be long; the values that were passed are not in the message.
    """
    command = " ".join(("azd", *arguments[:2]))
    binary = shutil.which("azd")
    if binary is None:
        raise AzdError(f"`{command}` can't be run, because azd is not installed: {_INSTALL_HINT}.")
    try:
        done = subprocess.run(
            [binary, *arguments, "--no-prompt"],
            cwd=project,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise AzdError(f"`{command}` gave no answer in {TIMEOUT_S:.0f} s: run it yourself to see why.") from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[:300].rstrip(".")
        raise AzdError(
            f"`{command}` failed ({said or f'exit code {done.returncode}'}): run it yourself, and fix the cause."
        )
    return done.stdout


def _parse_json(text: str, command: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise AzdError(f"`{command} --output json` printed no JSON: {_INSTALL_HINT}.") from None
