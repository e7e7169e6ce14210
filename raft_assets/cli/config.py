"""What `raft config` and `raft domains` do: they print settings with their sources, and list or forget domains."""

import json
import shlex
from collections.abc import Sequence
from typing import Any

import click

from raft_assets.cli.output import print_json
from raft_assets.cli.project import open_instance, select_domains, spell_domains
from raft_assets.settings.domain import flatten_settings
from raft_assets.settings.domains import domain_folder, list_documents
from raft_assets.settings.project import Project
from raft_assets.storage.mirror import refresh


def print_config(domains: Sequence[str], *, as_json: bool) -> None:
    """Print the resolved settings of the domains (all without one), the models of the roles and the folders."""
    project = Project.load()
    if as_json:
        for name in select_domains(project, domains, everything=not domains):
            print_json(_to_record(project, name))
        return
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
    for label, where in _folders(project).items():
        click.echo(f"{label} = {where}")


def _folders(project: Project) -> dict[str, str]:
    where = {
        "project": project.folder,
        "data": project.documents,
        "lake": project.lake,
        "DAGSTER_HOME": project.dagster_home,
        "coordination": project.coordination.address if project.coordination else "files of this machine",
    }
    return {name: str(place) for name, place in where.items()}


def _to_record(project: Project, name: str) -> dict[str, Any]:
    """Return a domain's settings for scripts; of a key it says whether there is one."""
    resolved = project.settings(name)
    return {
        "domain": name,
        "preset": resolved.preset,
        "settings": {
            dotted_name: {"value": value, "source": resolved.sources[dotted_name]}
            for dotted_name, value in flatten_settings(resolved.values)
        },
        "roles": {
            role.value: {
                "model": endpoint.model,
                "service": endpoint.service,
                "provider": endpoint.provider,
                "has_key": endpoint.api_key is not None,
            }
            for role, endpoint in project.endpoints.items()
        },
        "folders": _folders(project),
    }


def print_domains(*, as_json: bool) -> None:
    """Print each domain with the number and size of its documents and its preset."""
    project = Project.load()
    names, problems = select_domains(project, (), everything=True), refresh(project, documents=True)
    for name in names:
        if name in problems:
            raise problems[name]
        files, preset = list_documents(domain_folder(project.data, name)), project.settings(name).preset
        size = sum(file.size for file in files)
        if as_json:
            print_json({"domain": name, "documents": len(files), "bytes": size, "preset": preset})
        else:
            click.echo(f"{name}: {len(files)} documents, {size:,} bytes, preset {preset}")


def forget_domains(domains: Sequence[str]) -> None:
    """Unregister domains whose folders are gone."""
    from raft_assets.defs.run_history import DagsterHistory
    from raft_assets.operations.purge import forget_domain

    project = Project.load()
    with open_instance(project) as instance:
        for name in spell_domains(domains):
            forget_domain(DagsterHistory(instance), project, name)
            click.echo(f"{name}: no longer registered. To delete what was made from it: raft purge {shlex.quote(name)}")
