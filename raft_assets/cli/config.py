"""What `raft config` and `raft domains` do: they print settings with their sources, and list or forget domains."""

import json
import shlex
from collections.abc import Sequence

import click

from raft_assets.cli.project import open_instance, select_domains
from raft_assets.core.identity import normalize
from raft_assets.settings.domain import flatten_settings
from raft_assets.settings.domains import domain_folder, list_documents
from raft_assets.settings.project import Project


def print_config(domains: Sequence[str]) -> None:
    """Print the resolved settings of the domains (all without one), the models of the roles and the folders."""
    project = Project.load()
    for name in select_domains(project, domains, everything=not domains):
        resolved = project.settings(name)
        click.echo(f"# {name} (preset {resolved.preset})")
        for dotted_name, value in flatten_settings(resolved.values):
            source = resolved.sources[dotted_name]
            click.echo(f"{dotted_name} = {json.dumps(value, ensure_ascii=False)}  # {source}")
        click.echo()
    click.echo("# roles")
    for role, endpoint in project.endpoints.items():
        key = (
            "nothing configured"
            if endpoint.provider == "embedded"
            else f"key {'set' if endpoint.api_key else 'absent'}"
        )
        click.echo(f"{role.value} = {endpoint.model}  # {endpoint.service}, {key}")
    click.echo("\n# project")
    for label, where in (
        ("project", project.folder),
        ("data", project.data),
        ("lake", project.lake),
        ("DAGSTER_HOME", project.dagster_home),
        ("coordination", project.coordination.address if project.coordination else "files of this machine"),
    ):
        click.echo(f"{label} = {where}")


def print_domains() -> None:
    """Print each domain with the number and size of its documents and its preset."""
    project = Project.load()
    for name in select_domains(project, (), everything=True):
        files = list_documents(domain_folder(project.data, name))
        click.echo(
            f"{name}: {len(files)} documents, {sum(file.size for file in files):,} bytes, "
            f"preset {project.settings(name).preset}"
        )


def forget_domains(domains: Sequence[str]) -> None:
    """Unregister domains whose folders are gone."""
    from raft_assets.defs.run_history import DagsterHistory
    from raft_assets.operations.purge import forget_domain

    project = Project.load()
    with open_instance(project) as instance:
        for name in dict.fromkeys(normalize(domain.rstrip("/")) for domain in domains):
            forget_domain(DagsterHistory(instance), project, name)
            click.echo(f"{name}: no longer registered. To delete what was made from it: raft purge {shlex.quote(name)}")
