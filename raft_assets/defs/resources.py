"""Dagster's shells around the plain classes of the lineage: how they are made for a run, and nothing else."""

from dataclasses import replace
from pathlib import Path

import dagster as dg

from raft_assets.defs.progress import progress_file
from raft_assets.operations.chosen_presets import take_presets
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.process import BUDGET_TAG, PROCESS_TAG, command_of, current_process
from raft_assets.settings.environment import parse_dollars
from raft_assets.settings.project import Budgets, Project
from raft_assets.storage.lake import Lake
from raft_assets.storage.results import ResultsStore


class ProjectResource(dg.ConfigurableResource[Project]):
    """The project in a folder. Names this process in its run, so that one that is killed can be closed."""

    folder: str

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Name this process in the run."""
        if context.instance and context.run:
            context.instance.add_run_tags(context.run.run_id, {PROCESS_TAG: current_process()})

    def create_resource(self, context: dg.InitResourceContext) -> Project:
        """Read folders, settings and variables anew for each run, and the presets that another machine chose."""
        project = Project.load(Path(self.folder))
        take_presets(project)
        return project

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Remove what the run said of its progress."""
        if context.run:
            progress_file(Project.load(Path(self.folder)), context.run.run_id).unlink(missing_ok=True)


class ModelsResource(dg.ConfigurableResource[ModelClients]):
    """Clients of the five roles. A budget per run is kept for the command or the backfill that it belongs to."""

    project: dg.ResourceDependency[Project]

    def create_resource(self, context: dg.InitResourceContext) -> ModelClients:
        """Open nothing: a client is made when an asset asks for one."""
        run = context.run
        if run is None:
            return ModelClients(self.project)
        project = self.project
        if (asked := run.tags.get(BUDGET_TAG)) is not None:
            project = replace(project, budget=_lowered(project.budget, asked))
        return ModelClients(project, command=command_of(run.run_id, run.tags))


def _lowered(budget: Budgets, asked: str) -> Budgets:
    """Return the budget with what a run's tag asks for, which can only lower it. Raises SettingsError."""
    dollars = parse_dollars(f"The tag {BUDGET_TAG} of the run", asked)
    return replace(budget, run=dollars if budget.run is None else min(dollars, budget.run))


class LakeResource(dg.ConfigurableResource[Lake]):
    """The tables of the project."""

    project: dg.ResourceDependency[Project]

    def create_resource(self, context: dg.InitResourceContext) -> Lake:
        """Open nothing: credentials are looked up when a table is."""
        return Lake.of(self.project)


class ResultsResource(dg.ConfigurableResource[ResultsStore]):
    """The evaluations of the project."""

    project: dg.ResourceDependency[Project]

    def create_resource(self, context: dg.InitResourceContext) -> ResultsStore:
        """Open nothing: the file is held for the moment of a query."""
        return ResultsStore.of(self.project)
