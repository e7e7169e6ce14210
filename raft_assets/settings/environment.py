"""The environment, `.env` and `.env.state`: addresses, keys and limits. Only a role's *model* determines data.

Precedence, highest first: environment, `.env`, `.env.state`. No other module reads the environment.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pydantic import SecretStr

from raft_assets.core.errors import NotServedYetError, SettingsError
from raft_assets.settings.endpoints import (
    DEFAULT_HOSTING,
    EMBEDDED_MAX_CONCURRENCY,
    EMBEDDED_MODELS,
    OPENAI_BASE_URL,
    AzureMLWorkspace,
    Endpoint,
    HostingSettings,
    Limits,
    Role,
    is_openai,
)
from raft_assets.settings.env_file import check_names, read_env_file

T = TypeVar("T")
Choice = TypeVar("Choice", bound=str)

LOCAL_MODEL_VARIABLE = "STUDENT_LOCAL_MODEL"  # an open model that `raft run` serves for itself
LOCAL_SERVED_VARIABLE = "STUDENT_LOCAL_SERVED"  # of .env.state: where it was served last, as which id, and its name
SERVE_KEY_VARIABLE = "RAFT_SERVE_KEY"


@dataclass(frozen=True)
class Environment:
    """Variables of the process, then of `.env`, then of `.env.state`.

    Credentials without a role's prefix count from the files only.
    """

    process: Mapping[str, str] = field(repr=False)  # both hold keys, and a notebook shows what a line evaluates to
    files: Mapping[str, str] = field(repr=False)

    @classmethod
    def load(cls, project: Path, process: Mapping[str, str] | None = None) -> "Environment":
        """Read the two files of the project folder; `process` defaults to the process's own variables.

        Raises SettingsError for a file that can't be read, and for a name that is nearly one of this product's.
        """
        files: dict[str, str] = {}
        for name in (".env.state", ".env"):
            files |= read_env_file(project / name)
        workspace = project / "config.json"  # as downloaded from Azure ML studio
        if workspace.is_file():
            files |= {f"config.json {key}": str(value) for key, value in _read_json(workspace).items()}
        variables = dict(os.environ if process is None else process)
        check_names({**variables, **files})
        return cls(process=variables, files=files)

    def get(self, name: str) -> str | None:
        """Return a variable that names its role or this product; an empty one counts as absent."""
        return self.process.get(name) or self.files.get(name) or None

    def endpoints(self) -> dict[Role, Endpoint]:
        """Return the endpoint of every role; the judge's only if one is configured.

        Raises SettingsError for a half-configured role: falling back would spend, or not spend, where the user didn't
        mean to.
        """
        pinned = self.get("RAFT_PROVIDER")
        if pinned not in (None, "embedded"):
            raise SettingsError(
                f"RAFT_PROVIDER is {pinned!r}; allowed is embedded (which ignores every configured endpoint), or "
                "nothing."
            )
        endpoints = {role: endpoint for role in Role if not pinned and (endpoint := self._endpoint(role))}
        for role, model in EMBEDDED_MODELS.items():
            if role != Role.BASELINE:
                limits = Limits(max_concurrency=EMBEDDED_MAX_CONCURRENCY)
                endpoints.setdefault(Role(role), Endpoint(Role(role), "embedded", model, limits=limits))
        endpoints.setdefault(
            Role.BASELINE,
            replace(endpoints[Role.STUDENT], role=Role.BASELINE, is_declared_free=self._is_declared_free(Role.STUDENT)),
        )
        return {
            role: replace(
                endpoint,
                limits=self._limits(endpoint),
                batch=self._uses_batches(role),
                is_declared_free=endpoint.is_declared_free or self._is_declared_free(role),
            )
            for role, endpoint in endpoints.items()
        }

    def _uses_batches(self, role: Role) -> bool:
        """Return whether `<ROLE>_BATCH` is set.

        Raises SettingsError for the embeddings, which are requested as they are needed.
        """
        is_set = bool(read_int(self, f"{role}_BATCH", default=0, low=0, high=1))
        if is_set and role is Role.EMBEDDING:
            raise SettingsError("EMBEDDING_BATCH is set, but embeddings can't be requested in batches: remove it.")
        return is_set

    def _is_declared_free(self, role: Role) -> bool:
        """Return whether `<ROLE>_PRICE` is 0. Raises SettingsError for another value: prices have a file."""
        name = f"{role}_PRICE"
        dollars = read_dollars(self, name)
        if dollars:
            raise SettingsError(
                f"{name} is {self.get(name)!r}; it can only be 0, for a service that costs nothing. Put a price into "
                "prices.yaml, where it has its source and date."
            )
        return dollars == 0

    def hosting(self, default: HostingSettings = DEFAULT_HOSTING) -> HostingSettings:
        """Return what `AZURE_SUBSCRIPTION_ID`, `AZURE_RESOURCE_GROUP` and the `STUDENT_DEPLOYMENT_*` variables set.

        `default` is what the student's base model takes. Raises SettingsError for a value that is not allowed.
        """
        return HostingSettings(
            subscription=self.get("AZURE_SUBSCRIPTION_ID"),
            resource_group=self.get("AZURE_RESOURCE_GROUP"),
            sku=self.get("STUDENT_DEPLOYMENT_SKU") or default.sku,
            capacity=read_int(self, "STUDENT_DEPLOYMENT_CAPACITY", default=default.capacity, low=1, high=100_000),
            hours=read_int(self, "STUDENT_DEPLOYMENT_HOURS", default=None, low=1, high=24 * 365),
            model_format=self.get("STUDENT_DEPLOYMENT_FORMAT") or default.model_format,
            training_type=self.get("STUDENT_TRAINING_TYPE") or default.training_type,
            redeploy=bool(read_int(self, "RAFT_REDEPLOY", default=0, low=0, high=1)),
        )

    def _limits(self, endpoint: Endpoint) -> Limits:
        """Return what `<ROLE>_MAX_CONCURRENT_CALLS`, `_REQUESTS_PER_MINUTE` and so on, and `<ROLE>_TIMEOUT_S`, set."""

        def number(name: str, default: int | None) -> int | None:
            return read_int(self, f"{endpoint.role}_{name}", default=default, low=1, high=10**9)

        known = endpoint.limits
        return Limits(
            max_concurrency=number("MAX_CONCURRENT_CALLS", known.max_concurrency) or known.max_concurrency,
            requests_per_minute=number("REQUESTS_PER_MINUTE", None),
            tokens_per_minute=number("TOKENS_PER_MINUTE", None),
            timeout_s=number("TIMEOUT_S", None),
        )

    def _endpoint(self, role: Role) -> Endpoint | None:
        prefixes = (role.value, "COMPLETION") if role is Role.TEACHER else (role.value,)
        endpoints = [
            endpoint
            for prefix in prefixes
            for read in (self._azure, self._openai, self._azureml)
            if (endpoint := read(role, prefix))
        ]
        if len(endpoints) > 1:
            raise SettingsError(
                f"{role} is configured twice, as {endpoints[0].service} and as {endpoints[1].service}: "
                "remove one of them."
            )
        return endpoints[0] if endpoints else None

    def ml_workspace(self) -> AzureMLWorkspace:
        """Return the Azure ML workspace of the student.

        It is read from `AZUREML_WORKSPACE`, `AZURE_RESOURCE_GROUP` and `AZURE_SUBSCRIPTION_ID`, and what they leave
        open from `config.json`. Without the first, `config.json` decides: the other two may name the group of an
        account that lies elsewhere. Raises SettingsError if a part is missing.
        """
        named = {
            "AZURE_SUBSCRIPTION_ID": "subscription_id",
            "AZURE_RESOURCE_GROUP": "resource_group",
            "AZUREML_WORKSPACE": "workspace_name",
        }
        set_here = {name: self.get(name) for name in named}
        in_file = {name: self.files.get(f"config.json {field}") for name, field in named.items()}
        first, then = (set_here, in_file) if set_here["AZUREML_WORKSPACE"] else (in_file, set_here)
        parts = [first[name] or then[name] for name in named]
        if missing := [name for name, part in zip(named, parts, strict=True) if not part]:
            raise SettingsError(
                f"STUDENT is in an Azure ML workspace that is not configured: set {', '.join(missing)}, or put the "
                "workspace's config.json next to workspace.yaml."
            )
        return AzureMLWorkspace(*map(str, parts))

    def _azureml(self, role: Role, prefix: str) -> Endpoint | None:
        model = self.get(f"{prefix}_AZUREML_MODEL")
        if not model:
            return None
        if role is not Role.STUDENT:
            raise SettingsError(f"{prefix}_AZUREML_MODEL is set; only STUDENT is fine-tuned in an Azure ML workspace.")
        if not self._endpoint(Role.BASELINE):
            raise SettingsError(
                "STUDENT_AZUREML_MODEL is set, and a base model in a registry can't be called: set BASELINE_OPENAI_* "
                "to an endpoint of it."
            )
        workspace = self.ml_workspace()
        base_model = self.get(f"{prefix}_MODEL") or re.sub(r"/versions/[^/]+$", "", model).rpartition("/")[2]
        return Endpoint(role, "azureml", model, f"azureml://{workspace.name}", underlying_model=base_model)

    def _openai(self, role: Role, prefix: str) -> Endpoint | None:
        names = [f"{prefix}_OPENAI_{part}" for part in ("API_KEY", "BASE_URL", "DEPLOYMENT")]
        key, base_url, model = (self.get(name) for name in names)
        if role is Role.STUDENT and (own := self._served_here()):
            if key or base_url or model:
                raise SettingsError(f"STUDENT is configured twice, as {LOCAL_MODEL_VARIABLE} and as {names[2]}.")
            key, base_url, model = self.get(SERVE_KEY_VARIABLE), *own
        if not (key or base_url or model):
            return None
        key, base_url = key or self.files.get("OPENAI_API_KEY"), base_url or self.files.get("OPENAI_BASE_URL")
        if not model:
            raise SettingsError(
                f"{role} is half configured: {names[2]} (the model) is not set. "
                f"Set it, or remove the other {prefix}_OPENAI_* variables."
            )
        if not (key or base_url):
            raise SettingsError(
                f"{role} is half configured: set {names[0]}, or {names[1]} for a service that needs no key."
            )
        address = _check_no_credentials(names[1], base_url or OPENAI_BASE_URL)
        if not key and is_openai(address):
            raise SettingsError(f"{role} is half configured: set {names[0]}, OpenAI answers nobody without a key.")
        return Endpoint(
            role,
            "openai",
            model,
            address,
            SecretStr(key) if key else None,
            underlying_model=self.get(f"{prefix}_MODEL") or "",
        )

    def _served_here(self) -> tuple[str, str] | None:
        """Return address and id of the model that `STUDENT_LOCAL_MODEL` names; None where it names none.

        Raises NotServedYetError for one that was not served yet: its id is not known before.
        """
        wanted = self.get(LOCAL_MODEL_VARIABLE)
        if not wanted:
            return None
        address, _, served = (self.files.get(LOCAL_SERVED_VARIABLE) or "").partition(" ")
        model, _, name = served.partition(" ")
        if name != wanted:
            raise NotServedYetError(
                f"{LOCAL_MODEL_VARIABLE} is {wanted}, which was not served yet. `raft run` serves it; `raft serve "
                "--model` does it by hand."
            )
        return address, model

    def _azure(self, role: Role, prefix: str) -> Endpoint | None:
        names = [f"{prefix}_AZURE_OPENAI_{part}" for part in ("API_KEY", "ENDPOINT", "DEPLOYMENT")]
        key, address, model = (self.get(name) for name in names)
        if not (key or address or model):
            return None
        key, address = key or self.files.get("AZURE_OPENAI_API_KEY"), address or self.files.get("AZURE_OPENAI_ENDPOINT")
        for name, value in zip(names[1:], (address, model), strict=True):
            if not value:
                raise SettingsError(
                    f"{role} is half configured: {name} is not set. "
                    f"Set it, or remove the other {prefix}_AZURE_OPENAI_* variables."
                )
        return Endpoint(
            role,
            "azure",
            str(model),
            _check_no_credentials(names[1], str(address)),
            SecretStr(key) if key else None,
            self.get(f"{prefix}_OPENAI_API_VERSION"),
            self.get(f"{prefix}_MODEL") or "",
        )


def read_int(environment: Environment, name: str, *, default: T, low: int, high: int) -> int | T:
    """Return a variable as a whole number within bounds, or the default if it is absent; raises SettingsError."""
    value = environment.get(name)
    if value is None:
        return default
    if not value.isdigit() or not low <= int(value) <= high:
        raise SettingsError(f"{name} is {value!r}; it must be a whole number from {low} to {high}.")
    return int(value)


def read_choice(environment: Environment, name: str, choices: Sequence[Choice], *, default: Choice) -> Choice:
    """Return a variable that is one of several words, or the default if it is absent; raises SettingsError."""
    value = environment.get(name)
    if value is None:
        return default
    for choice in choices:
        if value == choice:
            return choice
    raise SettingsError(f"{name} is {value!r}; it must be one of: {', '.join(choices)}.")


def read_dollars(environment: Environment, name: str) -> float | None:
    """Return a variable as an amount of US dollars, None if it is absent; raises SettingsError."""
    value = environment.get(name)
    return None if value is None else parse_dollars(name, value)


def parse_dollars(name: str, value: str) -> float:
    """Return an amount of US dollars. Raises SettingsError, which says what `name` is, for anything else."""
    try:
        dollars = float(value)
    except ValueError:
        dollars = -1.0
    if not 0 <= dollars < float("inf"):
        raise SettingsError(f"{name} is {value!r}; it must be an amount in US dollars, such as 12.50.")
    return dollars


def _check_no_credentials(name: str, address: str) -> str:
    """Return the address, which appears in tables, reports and errors.

    Raises SettingsError if it contains a password, which would appear there, too, or what no request would send.
    """
    if "@" in urlsplit(address).netloc or "?" in address or "#" in address:
        raise SettingsError(
            f"{name} contains a user, a password, a query or a fragment (#...): "
            f"put the key into {name.rpartition('_OPENAI_')[0]}_OPENAI_API_KEY instead."
        )
    return address


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise SettingsError(f"{file} is not readable as JSON: {error}.") from error
    return content if isinstance(content, dict) else {}
