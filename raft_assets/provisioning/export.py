"""From azd's outputs to `.env.state`: the names that the product reads, and no others. Nothing here is a key.

The user's `.env` comes first and is never written: a role that it configures is left out, since a role that is
configured twice is an error.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from raft_assets.core.atomic import write_text
from raft_assets.core.errors import SettingsError
from raft_assets.provisioning.azd import AzdEnvironment
from raft_assets.provisioning.catalogue import training_name
from raft_assets.provisioning.provisioned import (
    CLASSIC,
    ENDPOINT,
    GROUP,
    LAKE,
    STORAGE,
    SUBSCRIPTION,
    account_of,
    is_on,
    planned_deployments,
    planned_student,
)
from raft_assets.settings.endpoints import Role
from raft_assets.settings.environment import LOCAL_MODEL_VARIABLE, LOCAL_SERVED_VARIABLE

STATE_FILE, WORKSPACE_FILE = ".env.state", "config.json"
WORKSPACE = "AZUREML_WORKSPACE"
_ADDRESSES = (
    *("_OPENAI_API_KEY", "_OPENAI_BASE_URL", "_OPENAI_DEPLOYMENT", "_AZUREML_MODEL"),
    *("_AZURE_OPENAI_API_KEY", "_AZURE_OPENAI_ENDPOINT", "_AZURE_OPENAI_DEPLOYMENT"),
)


@dataclass(frozen=True)
class Export:
    """What is written. `own`: roles that `.env` configures; `overruled`: other names that it sets to something else.

    `workspace`: the content of `config.json`, for the classic path.
    """

    values: Mapping[str, str]
    own: Sequence[Role]
    overruled: Sequence[str]
    workspace: Mapping[str, str] | None


def plan_export(environment: AzdEnvironment, own: Mapping[str, str]) -> Export:
    """Return what an azd environment comes to; `own` is what the user's `.env` sets.

    Raises SettingsError where nothing was provisioned, or a value can't be read.
    """
    account, address = account_of(environment), environment.get(ENDPOINT)
    if account is None or address is None:
        raise SettingsError(
            f"Nothing is provisioned in the azd environment {environment.name} ({ENDPOINT} is not set): run "
            "`azd provision`."
        )
    roles = [role for role in Role if _is_configured(role, own)]
    values = {SUBSCRIPTION: account.subscription, GROUP: account.group}
    endpoint = _openai_address(address)
    for deployment in planned_deployments(environment):
        for role in deployment.roles:
            if role not in roles:
                values |= _endpoint_values(role, endpoint, deployment.name, deployment.model)
    if Role.STUDENT not in roles:
        values |= _student_values(environment, endpoint)
    if is_on(environment, LAKE):
        storage = environment.get(STORAGE)
        if storage is None:
            raise SettingsError(f"{LAKE} is true, and no storage account is provisioned: run `azd provision`.")
        values["RAFT_LAKE"] = f"abfs://lake@{storage}.dfs.core.windows.net/raft"
        values["RAFT_CALLS"] = f"abfs://calls@{storage}.dfs.core.windows.net/raft"
    overruled = [name for name, value in values.items() if own.get(name) not in (None, "", value)]
    return Export(values, roles, overruled, _workspace(environment))


def _is_configured(role: Role, own: Mapping[str, str]) -> bool:
    prefixes = (role.value, "COMPLETION") if role is Role.TEACHER else (role.value,)
    if role is Role.STUDENT and own.get(LOCAL_MODEL_VARIABLE):
        return True
    return any(own.get(prefix + name) for prefix in prefixes for name in _ADDRESSES)


def _endpoint_values(role: Role, endpoint: str, deployment: str, model: str) -> dict[str, str]:
    return {
        f"{role}_AZURE_OPENAI_ENDPOINT": endpoint,
        f"{role}_AZURE_OPENAI_DEPLOYMENT": deployment,
        f"{role}_MODEL": model,
    }


def _student_values(environment: AzdEnvironment, endpoint: str) -> dict[str, str]:
    student = planned_student(environment)
    if student is None:
        return {}
    name = training_name(student.model, student.version, student.format)
    hosting = {
        "STUDENT_TRAINING_TYPE": student.training_type,
        "STUDENT_DEPLOYMENT_SKU": student.deployment_sku,
        "STUDENT_DEPLOYMENT_CAPACITY": str(student.deployment_capacity),
        "STUDENT_DEPLOYMENT_FORMAT": student.format,
    }
    values = _endpoint_values(Role.STUDENT, endpoint, name, "") | hosting
    return {name: value for name, value in values.items() if value}  # the base model's name says which it is


def _openai_address(address: str) -> str:
    """Return the address under which an account speaks the OpenAI API: it depends on the subdomain alone."""
    host = urlsplit(address).hostname or ""
    subdomain, _, domain = host.partition(".")
    if not domain or domain.startswith("api."):
        raise SettingsError(
            f"The account answers at {address!r}, which is an address of its region: without a subdomain of its own "
            "it takes no sign-in. Set one in the portal (it can't be undone), and run `azd provision` again."
        )
    return f"https://{subdomain}.openai.azure.com"


def _workspace(environment: AzdEnvironment) -> dict[str, str] | None:
    """Return what the studio's own `config.json` holds, for the classic path."""
    name = environment.get(WORKSPACE)
    if name is None or not is_on(environment, CLASSIC):
        return None
    subscription, group = environment.get(SUBSCRIPTION), environment.get(GROUP)
    if subscription is None or group is None:
        raise SettingsError(f"{SUBSCRIPTION} and {GROUP} of the azd environment are not set: run `azd provision`.")
    return {"subscription_id": subscription, "resource_group": group, "workspace_name": name}


def write_export(folder: Path, export: Export, environment: str) -> Iterator[str]:
    """Write `.env.state`, and `config.json` for the classic path, where they change; yield a sentence for each.

    Raises SettingsError where a `config.json` names another workspace: it may be the user's.
    """
    if export.workspace is not None:
        yield _write_workspace(folder / WORKSPACE_FILE, export.workspace)
    lines = [f"# written by `raft azure export` from the azd environment {environment}; .env comes first"]
    lines += [f"{name}={value}" for name, value in sorted(export.values.items())]
    file = folder / STATE_FILE
    kept = file.read_text("utf-8").splitlines() if file.is_file() else []
    lines += [line for line in kept if line.startswith(f"{LOCAL_SERVED_VARIABLE}=")]  # of `raft run`, not of azd
    yield _write(file, "\n".join(lines) + "\n")


def _write_workspace(file: Path, workspace: Mapping[str, str]) -> str:
    if file.is_file():
        try:
            content: Any = json.loads(file.read_text("utf-8"))
        except ValueError:
            content = None
        if not isinstance(content, dict) or {name: content.get(name) for name in workspace} != dict(workspace):
            raise SettingsError(f"{file} names another workspace: move it away, and run `raft azure export` again.")
        return f"{file.name} is unchanged"
    return _write(file, json.dumps(workspace, indent=2) + "\n")


def _write(file: Path, text: str) -> str:
    if file.is_file() and file.read_text("utf-8") == text:
        return f"{file.name} is unchanged"
    write_text(file, text)
    return f"{file.name} is written"
