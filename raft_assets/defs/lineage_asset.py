"""What every asset of the lineage shares, said once: partitions, owners, group, the settings that it reads, checks."""

import inspect
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from typing import Any
from urllib.parse import quote

import dagster as dg

from raft_assets.core.errors import RaftError, WaitingError
from raft_assets.core.progress import shown_by
from raft_assets.defs.dagster_internals import point_at_inputs
from raft_assets.defs.max_runtime import limit_runtime
from raft_assets.defs.partitions import domains
from raft_assets.defs.progress import log_steps
from raft_assets.llm.requests import Origin
from raft_assets.operations.process import WAITING_TAG, waiting_assets
from raft_assets.settings.endpoints import Role
from raft_assets.settings.groups import groups_read_by
from raft_assets.storage.mirror import refresh_domain

OWNERS = ["team:raft"]
ROLES_METADATA = "roles"  # metadata of an asset: the roles that it calls, separated by spaces
SETTINGS_PREFIX = "domain_settings"
# from a document to the report, without what only joins in: few enough to be read with all groups open
MAIN_PATH = frozenset(
    (
        *("source_documents", "chunks", "qa_pairs", "qa_dataset", "training_files"),
        *("finetuned_model", "deployment", "student_answers", "eval_report"),
    )
)
STAGES = ("documents", "dataset", "student", "evaluation")
NOT_EVALUATED = "Not evaluated: waiting."  # begins the description of a check whose asset waits
# metadata of an observation: what an asset waits for, in a sentence, and the id of the fine-tuning job if it is one
WAITING, WAITING_JOB = "waiting", "waiting_job"


def main_path_address(ui: str) -> str:
    """Return the address of the lineage page of a UI that shows the main path, with its groups open."""
    selection, opened = 'tag:"path"="main"', ",".join(f"global@global:{stage}" for stage in STAGES)
    return f"{ui}/asset-groups~{quote(selection)}?expanded={quote(opened)}"


def settings_key(group: str) -> dg.AssetKey:
    """Return the key of the external asset that holds a group of settings."""
    return dg.AssetKey([SETTINGS_PREFIX, group])


def lineage_asset(
    *,
    stage: str,
    kinds: set[str],
    code_version: str,
    deps: Sequence[dg.AssetsDefinition | dg.AssetKey],
    roles: Sequence[Role] = (),
    checks: Sequence[dg.AssetCheckSpec] = (),
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Make an asset of the function: one partition per domain, named as the function is.

    `deps` are the assets and files that it reads; the groups of settings that it reads come from their table. `roles`
    are those whose models it calls: what is free, and what waits for a person, is decided by them. The function returns
    or yields its results. A result that is still to come (`WaitingError`) is no failure: the step ends without a
    materialization, its checks say that they were not evaluated, and its run is tagged.
    """

    def decorate(function: Callable[..., Any]) -> dg.AssetsDefinition:
        settings = [settings_key(group) for group in groups_read_by(function.__name__)]
        return dg.asset(
            partitions_def=domains,
            group_name=stage,
            kinds=kinds,
            owners=OWNERS,
            tags={"stage": stage} | ({"path": "main"} if function.__name__ in MAIN_PATH else {}),
            metadata={ROLES_METADATA: " ".join(roles)} if roles else None,
            code_version=code_version,
            deps=[*deps, *settings],
            check_specs=list(checks),
            output_required=False,
        )(_step(function, roles, checks))

    return decorate


def _step(
    function: Callable[..., Any], roles: Sequence[Role], checks: Sequence[dg.AssetCheckSpec]
) -> Callable[..., Iterator[Any]]:
    """Wrap the function as Dagster runs it: a generator of its results, each with the seconds that it took."""

    @wraps(function)
    def step(context: dg.AssetExecutionContext, **resources: Any) -> Iterator[Any]:
        started, evaluated = time.monotonic(), set[str | None]()
        project = resources["project"] if "project" in resources else resources["models"].project
        limit_runtime(context, project, roles)
        point_at_inputs(context)
        try:
            with shown_by(log_steps(context, project)):
                refresh_domain(project, context.partition_key)
                results = function(context, **resources)
                for result in results if isinstance(results, Iterator) else [results]:
                    if isinstance(result, dg.MaterializeResult):
                        seconds = round(time.monotonic() - started, 3)
                        yield result._replace(metadata={**(result.metadata or {}), "seconds": seconds})
                    else:
                        evaluated.add(result.check_name)
                        yield result
        except WaitingError as pending:
            yield from _waiting(context, pending, [spec for spec in checks if spec.name not in evaluated])
        except RaftError as error:
            if project.data_address:
                error.args = (project.name_address(str(error)),)
            raise

    # Dagster reads one annotation for the result and all checks together, which no return type of a function fits
    step.__signature__ = inspect.signature(function).replace(return_annotation=inspect.Signature.empty)  # type: ignore[attr-defined]
    return step


def _waiting(
    context: dg.AssetExecutionContext, pending: WaitingError, checks: Sequence[dg.AssetCheckSpec]
) -> Iterator[dg.AssetCheckResult]:
    name = context.asset_key.to_user_string()
    context.log.info("%s waits: %s", name, pending)
    run = context.instance.get_run_by_id(context.run.run_id)
    waiting = waiting_assets(run.tags if run else {}) | {name}
    context.instance.add_run_tags(context.run.run_id, {WAITING_TAG: ",".join(sorted(waiting))})
    metadata = {WAITING: str(pending), **({WAITING_JOB: pending.job} if pending.job else {})}
    context.log_event(dg.AssetObservation(context.asset_key, partition=context.partition_key, metadata=metadata))
    for spec in checks:
        yield dg.AssetCheckResult(
            check_name=spec.name,
            passed=False,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"{NOT_EVALUATED} {pending}",
        )


def check_spec(name: str, asset: str, description: str, *, blocking: bool = False) -> dg.AssetCheckSpec:
    """Return the spec of a check, of which each domain has its own result."""
    with warnings.catch_warnings():
        # `partitions_def` of a check is in preview; without it one domain's pass hides another's failure in the UI
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.AssetCheckSpec(name, asset=asset, description=description, blocking=blocking, partitions_def=domains)


def check_result(
    spec: dg.AssetCheckSpec,
    *,
    passed: bool,
    metadata: Mapping[str, Any] | None = None,
    description: str | None = None,
) -> dg.AssetCheckResult:
    """Return the result of a check that only warns."""
    return dg.AssetCheckResult(
        check_name=spec.name,
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=metadata,
        description=description,
    )


def origin_of(context: dg.AssetExecutionContext) -> Origin:
    """Return who asks, for the ledger of paid calls: asset, domain and run."""
    return Origin(context.asset_key.to_user_string(), context.partition_key, context.run.run_id)
