"""What `azd down` would delete: deployments and students for good, data where it lies on Azure, and whose group it is.

azd deletes whole resource groups. One that it didn't make, or in which an account of others lies, is not handed to it
(https://github.com/Azure/azure-dev/issues/2916).
"""

from collections.abc import Iterator
from typing import Any

from raft_assets.core.errors import RaftError, SettingsError, describe_error
from raft_assets.provisioning.arm import Arm, ArmError
from raft_assets.provisioning.azd import AzdEnvironment
from raft_assets.provisioning.inventory import list_resources
from raft_assets.provisioning.preflight import GROUP_VERSION
from raft_assets.provisioning.provisioned import (
    DEPLOYMENTS,
    EXISTING_GROUP,
    STORAGE,
    account_of,
    group_of,
    is_on,
    planned_deployments,
)
from raft_assets.settings.blob import parse_blob_address
from raft_assets.settings.endpoints import Role
from raft_assets.settings.project import Project
from raft_assets.storage.lake import Lake

ENVIRONMENT_TAG = "azd-env-name"


def check_groups(environment: AzdEnvironment, arm: Arm | None) -> None:
    """Raise SettingsError where `azd down` would delete a resource group that isn't the environment's own.

    Without `arm`, the switches of the environment tell.
    """
    group, account = group_of(environment), account_of(environment)
    if account is not None and account.group.lower() != group.lower():
        _refuse(environment, account.group, "your account lies in it")
    if is_on(environment, EXISTING_GROUP):
        _refuse(environment, group, f"{EXISTING_GROUP} is true")
    if arm is None:
        return
    try:
        response = arm.read(f"/subscriptions/{arm.subscription}/resourceGroups/{group}", GROUP_VERSION)
    except ArmError as error:
        if error.status == 404:
            return
        raise
    if (response.get("tags") or {}).get(ENVIRONMENT_TAG) != environment.name:
        _refuse(environment, group, f"its tag {ENVIRONMENT_TAG} is not {environment.name}")


def _refuse(environment: AzdEnvironment, group: str, reason: str) -> None:
    account = account_of(environment)
    deployments = ""
    if account is not None and environment.get(DEPLOYMENTS):
        names = ", ".join(planned.name for planned in planned_deployments(environment))
        deployments = (
            f" Then the deployments {names}: `az cognitiveservices account deployment delete --resource-group "
            f"{account.group} --name {account.name} --deployment-name NAME`, and students: `raft teardown --all`."
        )
    raise SettingsError(
        f"`azd down` would delete the whole resource group {group} with everything in it, and it isn't of this azd "
        f"environment ({reason}). Delete what is yours instead: `az resource delete --ids $(az resource list --tag "
        f"{ENVIRONMENT_TAG}={environment.name} --query [].id --output tsv)`.{deployments}"
    )


def describe_losses(environment: AzdEnvironment, project: Project, arm: Arm | None) -> Iterator[str]:
    """Yield a sentence for each thing that can't be had back once the groups are deleted."""
    if arm is not None:
        try:
            for resource in list_resources(environment, arm):
                if resource.kind == "deployment":
                    yield f"deployment {resource.name} ({resource.purpose})"
        except ArmError as error:
            if error.status != 404:
                yield f"deployments: {error}"
    yield from _students(environment, project)
    yield from _data(environment, project)


def _students(environment: AzdEnvironment, project: Project) -> Iterator[str]:
    """Yield the students that the account holds: a fine-tuned model is deleted with its account."""
    account = account_of(environment)
    try:
        if account is None or not project.endpoints[Role.STUDENT].is_azure_openai:
            return
        for domain, record in _records(Lake.of(project)):
            yield f"student of {domain}: {record.get('model', 'unknown')}, which would be trained and paid again"
    except (RaftError, OSError) as error:
        yield f"students: they can't be looked up ({describe_error(error)})"


def _records(lake: Lake) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in sorted(lake.files()):
        table, _, file = name.partition("/")
        if table == "finetuned_model" and file.endswith(".json"):
            domain = file.removesuffix(".json")
            yield domain, lake.read_record(table, domain)


def _data(environment: AzdEnvironment, project: Project) -> Iterator[str]:
    """Yield what lies in the environment's storage account."""
    storage = environment.get(STORAGE)
    lake = parse_blob_address("RAFT_LAKE", project.lake, project.environment)
    if storage and lake is not None and lake.account == storage:
        try:
            names = Lake.of(project).files()
            domains = sorted({name.split("/")[1].removesuffix(".parquet") for name in names if _is_dataset(name)})
            datasets = f"datasets of {', '.join(domains)}" if domains else "no dataset"
            yield f"lake {project.lake}: {len(names):,} files, {datasets}"
        except (RaftError, OSError) as error:
            yield f"lake {project.lake}: it can't be read ({describe_error(error)})"
    address = project.calls_address or ""
    calls = parse_blob_address("RAFT_CALLS", address, project.environment)
    if storage and calls is not None and calls.account == storage:
        yield f"paid calls {address}: all answers would have to be paid again, except what this machine keeps"


def _is_dataset(name: str) -> bool:
    return name.startswith("qa_dataset/") and name.endswith(".parquet")
