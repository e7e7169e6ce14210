"""What every command starts from: the project, its Dagster instance, the domains that were named."""

import logging
import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from shutil import disk_usage
from typing import TYPE_CHECKING

import click
import yaml
from rich.console import Console

from raft_assets.core.atomic import write_text
from raft_assets.core.errors import DISK_FULL, RaftError, is_disk_full
from raft_assets.core.identity import normalize
from raft_assets.core.locks import exclusive_lock
from raft_assets.core.near_misses import did_you_mean
from raft_assets.settings.blob import CONNECTION_STRING_VARIABLE, KEY_VARIABLE, SAS_VARIABLE, parse_blob_address
from raft_assets.settings.domains import domain_names, invalid_domain_folders
from raft_assets.settings.endpoints import EMBEDDED_LABEL
from raft_assets.settings.project import Project
from raft_assets.storage.mirror import refresh

if TYPE_CHECKING:
    import dagster as dg
    from sqlalchemy.exc import OperationalError

GENERATED_BELOW = "# raft writes anew what stands below this line: compute logs lie where RAFT_LAKE says\n"
_MAKE = "mkdir {0}/mine, and put documents there"
TOLD = "raft_assets.left_out"  # in what a command's context keeps: the folders of which it was told
FULL_MB = 1  # on a disk with less free the databases can't write
REPAIR_HINT = "fix it, or delete it and it is created again."
# what `dagster.yaml` held of its own until 0.2.0: removed where it is as it was installed, since the limit is generated
FORMER_LIMIT = """concurrency:
  runs:
    max_concurrent_runs: 4 # domains that the UI and its sensors materialize side by side
"""
# a queued run whose code server can't be reached, such as while it restarts, stays queued for a quarter of an hour
LAUNCH_RETRIES, LAUNCH_RETRY_DELAY_S = 90, 10


def load_existing_project() -> Project:
    """Load the project for a command that asks: where there is none it creates none. Raises UsageError."""
    project = Project.load()
    is_there = any(path.exists() for path in (project.home, project.data, project.folder / ".env"))
    if not is_there and "://" not in f"{project.lake} {project.data_address}":
        raise click.UsageError(f"There is no project in {project.folder}: go to its folder, or begin with raft init.")
    return project


def activate_project(project: Project) -> None:
    """Make the project the one that Dagster and every child process use.

    Installs `dagster.yaml` if missing, and keeps its generated part in step with the settings.
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
    theirs = theirs.replace(FORMER_LIMIT, "")
    if ours and before != (wanted := theirs + ours + _run_queue(project, theirs) + _compute_logs(project)):
        write_text(file, wanted)


def _run_queue(project: Project, theirs: str) -> str:
    """Return the YAML for the queue of the UI's runs, in step with RAFT_MAX_CONCURRENT_RUNS.

    A limit or a coordinator that the user's part sets stays the user's.
    """
    try:
        own = yaml.safe_load(theirs) or {}
    except yaml.YAMLError:
        return ""  # Dagster says what is wrong with it
    if not isinstance(own, dict) or own.keys() & {"run_queue", "run_coordinator"}:
        return ""
    limit = {} if "concurrency" in own else {"max_concurrent_runs": project.max_ui_runs}
    retries = {
        "max_user_code_failure_retries": LAUNCH_RETRIES,
        "user_code_failure_retry_delay": LAUNCH_RETRY_DELAY_S,
    }
    return yaml.safe_dump({"run_queue": limit | retries}, sort_keys=False)


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
    """Open the project's Dagster instance; raises RaftError where dagster.yaml or the run history can't be used.

    That is so also where the disk gets full within the `with` statement.
    """
    import dagster as dg  # takes a second, and most commands need no instance
    from sqlalchemy.exc import OperationalError

    from raft_assets.defs.dagster_internals import unusable_databases

    activate_project(project)
    logging.getLogger("dagster").setLevel(logging.ERROR)
    home = project.dagster_home
    try:
        # the first to open it creates its databases, and two that do so at once spoil them
        with exclusive_lock(home / "opening.lock"):
            if unusable := unusable_databases(home):
                raise RaftError(_describe_repair(home, unusable))
            instance = dg.DagsterInstance.get()
    except (dg.DagsterInvalidConfigError, yaml.YAMLError) as error:
        file = project.dagster_home / "dagster.yaml"
        reason = " ".join(str(error).split())
        raise RaftError(f"{file} can't be used ({reason}): {REPAIR_HINT}") from error
    except OperationalError as error:
        raise RaftError(_describe_disk(project, error)) from error
    with instance:
        try:
            yield instance
        except OperationalError as error:
            raise RaftError(_describe_disk(project, error)) from error


def _describe_disk(project: Project, error: "OperationalError") -> str:
    """Return what a database's error means: on a full disk SQLite can't even be read."""
    home = project.dagster_home
    if is_disk_full(error) or disk_usage(home).free < FULL_MB * 1e6:
        return f"The run history in {home} can't be used ({error.orig}). {DISK_FULL}"
    return f"The run history in {home} can't be used ({error.orig}): check its disk and that you may write there."


def _describe_repair(home: Path, unusable: Sequence[Path]) -> str:
    folders = sorted({home / file.relative_to(home).parts[0] for file in unusable})
    return (
        f"The run history of this project can't be opened: two commands created {unusable[0]} at the same moment, "
        "before any run was recorded. End every `raft` command of the project, delete the run history "
        f"(rm -r {' '.join(shlex.quote(str(folder)) for folder in folders)}) and start again: the next command creates "
        "it. Tables, reports and paid answers are elsewhere and stay."
    )


def select_domains(project: Project, named: Sequence[str], *, everything: bool) -> list[str]:
    """Return the domains that a command means, and tell once which ones are left out of all.

    Raises UsageError if none or an unknown one is named.
    """
    problems = refresh(project)
    known = [name for name in domain_names(project.data) if name not in problems]
    refused = problems | invalid_domain_folders(project.data)
    told = click.get_current_context().meta.setdefault(TOLD, set())
    for folder in refused if everything else ():
        if folder not in told:
            click.echo(f"left out: {refused[folder]}", err=True)
        told.add(folder)
    for name in named:
        if name in refused:
            raise refused[name]
    if everything or not named:
        if not everything:
            raise click.UsageError(
                f"Name a domain or pass --all. Domains in {project.documents}: {', '.join(known) or 'none'}."
            )
        if not known:
            make = f"upload some to {project.data_address}/mine" if project.data_address else _MAKE.format(project.data)
            raise click.UsageError(
                f"There is no domain in {project.documents}. A domain is a folder of documents: {make}."
            )
        return known
    wanted = spell_domains(named)
    if unknown := [name for name in wanted if name not in known]:
        raise click.UsageError(
            f"There is no domain {unknown[0]!r} in {project.documents}.{did_you_mean(unknown[0], known)} Domains "
            f"there: {', '.join(known) or 'none'}."
        )
    return wanted


def spell_domains(named: Iterable[str]) -> list[str]:
    """Return names as domains are spelled, each once: shells complete a folder with a slash, and Unicode has forms."""
    return list(dict.fromkeys(normalize(name.rstrip("/")) for name in named))


def print_models(console: Console, project: Project) -> None:
    """Print provider and model of every role, before a command that may cost money begins."""
    endpoints = project.environment.endpoints()
    for role, endpoint in endpoints.items():
        console.print(f"{role.value:<10}{endpoint.model} ({endpoint.service})")
    if any(endpoint.provider == "embedded" for endpoint in endpoints.values()):
        console.print(EMBEDDED_LABEL)
