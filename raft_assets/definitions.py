"""Assembles the code location; nothing else."""

import dagster as dg

from raft_assets.defs import automation
from raft_assets.defs.dagster_internals import register_version
from raft_assets.defs.dataset import assets as dataset
from raft_assets.defs.documents import assets as documents
from raft_assets.defs.evaluation import assets as evaluation
from raft_assets.defs.observation import external_assets
from raft_assets.defs.partitions import domains
from raft_assets.defs.pools import pool_assets
from raft_assets.defs.resources import LakeResource, ModelsResource, ProjectResource, ResultsResource
from raft_assets.defs.runs import LINEAGE_JOB
from raft_assets.defs.student import assets as student
from raft_assets.settings.hosted import PACKAGE
from raft_assets.settings.project import Project


@dg.definitions
def definitions() -> dg.Definitions:
    """Assets, jobs, sensors and resources of the project in which the process was started."""
    register_version(PACKAGE)
    loaded = Project.load()
    project = ProjectResource(folder=str(loaded.folder))
    assets = dg.load_assets_from_modules([documents, dataset, student, evaluation])
    pool_assets(assets, loaded)
    return dg.Definitions(
        assets=[*external_assets(domains), *assets],
        jobs=[
            dg.define_asset_job(
                LINEAGE_JOB,
                selection=dg.AssetSelection.all(),
                description="The whole lineage of a domain, from its documents to its eval report.",
            ),
            dg.define_asset_job(
                "dataset",
                selection=dg.AssetSelection.assets("data_card").upstream(),
                description="From documents to training files and data card; stops before training.",
            ),
            dg.define_asset_job(
                "evaluation",
                selection=dg.AssetSelection.groups("evaluation"),
                description="Answers, scores and report of the deployed student.",
            ),
        ],
        schedules=[automation.nightly],
        sensors=[
            automation.observe_domains,
            automation.request_stale,
            automation.tear_down_expired,
            automation.collect_batches,
            automation.collect_jobs,
            automation.resume_lost_runs,
        ],
        executor=dg.in_process_executor,  # a step process costs 2 to 3 s; domains run side by side as runs
        resources={
            "project": project,
            "lake": LakeResource(project=project),
            "models": ModelsResource(project=project),
            "results": ResultsResource(project=project),
        },
    )
