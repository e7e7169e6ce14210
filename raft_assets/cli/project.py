"""What every command starts from: the project, its Dagster instance, the domains that were named."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import TYPE_CHECKING

import click
import yaml
from rich.console import Console

from raft_assets.core.atomic import write_text
from raft_assets.core.errors import RaftError
from raft_assets.core.identity import normalize
from raft_assets.settings.blob import CONNECTION_STRING_VARIABLE, KEY_VARIABLE, SAS_VARIABLE, parse_blob_address
from raft_assets.settings.domains import domain_names, invalid_domain_folders
from raft_assets.settings.endpoints import EMBEDDED_LABEL
from raft_assets.settings.project import Project

if TYPE_CHECKING:
    import dagster as dg

GENERATED_BELOW = "# raft writes anew what stands below this line: compute logs lie where RAFT_LAKE says\n"
REPAIR_HINT = "fix it, or delete it and it is created again."


def activate_project(project: Project) -> None:
    """Make the project the one that Dagster and every child process use.

    Installs `dagster.yaml` if missing, and keeps its part on compute logs in step with the setting of the lake.
    """
    home = project.dagster_home
    for folder in (project.home, home):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RaftError(
                f"{folder} can't be created ({error.strerror}). Set RAFT_HOME to a folder of yours."
            ) from error
        if not os.access(folder, os.W_OK):
            raise RaftError(f"{folder} can't be written. Set RAFT_HOME to a folder of yours.")
    _write_instance_settings(project)
    if key := project.environment.get(KEY_VARIABLE):
        os.environ[KEY_VARIABLE] = key  # dagster.yaml names it, and Dagster doesn't read `.env`
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ["RAFT_PROJECT"] = str(project.folder)


def _write_instance_settings(project: Project) -> None:
    """Write the part of `dagster.yaml` below GENERATED_BELOW.

    What is above that line is the user's; in a file without that line, so is everything.
    """
    file = project.dagster_home / "dagster.yaml"
    try:
        before = file.read_text("utf-8") if file.exists() else None
    except (OSError, UnicodeDecodeError) as error:
        raise RaftError(f"{file} can't be used ({error}): {REPAIR_HINT}") from error
    template = (files("raft_assets.cli") / "dagster.yaml").read_text("utf-8")
    theirs, ours, _ = (template if before is None else before).partition(GENERATED_BELOW)
    if ours and before != (wanted := theirs + ours + _compute_logs(project)):
        write_text(file, wanted)


def _compute_logs(project: Project) -> str:
    """Return the YAML for where runs write what they print: next to a lake on Azure, else empty for Dagster's default.

    A key is read from the environment when it is needed; the file doesn't contain it.
    """
    place = parse_blob_address("RAFT_LAKE", project.lake, project.environment)
    if place is None or any(map(project.environment.get, (CONNECTION_STRING_VARIABLE, SAS_VARIABLE))):
        return ""
    keyed = project.environment.get(KEY_VARIABLE)
    sign_in = {"access_key_or_sas_token": {"env": KEY_VARIABLE}}
    config = {
        "storage_account": place.account,
        "container": place.container,
        "prefix": "/".join(filter(None, (place.folder, "compute_logs"))),
        "local_dir": str(project.home / "compute_logs"),
        **(sign_in if keyed else {"default_azure_credential": {}}),
    }
    manager = {"module": "dagster_azure.blob", "class": "AzureBlobComputeLogManager", "config": config}
    return yaml.safe_dump({"compute_logs": manager}, sort_keys=False)


@contextmanager
def open_instance(project: Project) -> Iterator["dg.DagsterInstance"]:
    """Open the project's Dagster instance; raises RaftError where dagster.yaml can't be used."""
    import dagster as dg  # takes a second, and most commands need no instance

    activate_project(project)
    logging.getLogger("dagster").setLevel(logging.ERROR)
    try:
        instance = dg.DagsterInstance.get()
    except (dg.DagsterInvalidConfigError, yaml.YAMLError) as error:
        file = project.dagster_home / "dagster.yaml"
        reason = " ".join(str(error).split())
        raise RaftError(f"{file} can't be used ({reason}): {REPAIR_HINT}") from error
    with instance:
        yield instance


def select_domains(project: Project, named: Sequence[str], *, everything: bool) -> list[str]:
    """Return the domains that a command means. Raises UsageError if none or an unknown one is named."""
    known, refused = domain_names(project.data), invalid_domain_folders(project.data)
    for folder in refused if everything else ():
        click.echo(f"left out: {refused[folder]}", err=True)
    for name in named:
        if name in refused:
            raise refused[name]
    if everything or not named:
        if not everything:
            raise click.UsageError(
                f"Name a domain or pass --all. Domains in {project.data}: {', '.join(known) or 'none'}."
            )
        if not known:
            raise click.UsageError(
                f"There is no domain in {project.data}. A domain is a folder of documents: mkdir "
                f"{project.data}/mine, and put pdf, docx, md, txt or html files there."
            )
        return known
    wanted = list(dict.fromkeys(normalize(name.rstrip("/")) for name in named))
    if unknown := [name for name in wanted if name not in known]:
        raise click.UsageError(
            f"There is no domain {unknown[0]!r} in {project.data}. Domains there: {', '.join(known) or 'none'}."
        )
    return wanted


def print_models(console: Console, project: Project) -> None:
    """Print provider and model of every role, before a command that may cost money begins."""
    endpoints = project.environment.endpoints()
    for role, endpoint in endpoints.items():
        console.print(f"{role.value:<10}{endpoint.model} ({endpoint.service})")
    if any(endpoint.provider == "embedded" for endpoint in endpoints.values()):
        console.print(EMBEDDED_LABEL)
