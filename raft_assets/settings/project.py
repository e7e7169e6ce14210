"""Where and how the work is executed on this machine; nothing here changes a result.

A domain's preset is `preset:` in its `domain.yaml`, else that of the last `raft run --preset` for the domain, else
`RAFT_PRESET`, else `default`.
"""

import json
import os
import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from os.path import lexists
from pathlib import Path
from typing import Any

import yaml

from raft_assets.core.atomic import write_text
from raft_assets.core.errors import SettingsError
from raft_assets.core.identity import short_digest
from raft_assets.core.near_misses import did_you_mean
from raft_assets.settings.blob import validate_address
from raft_assets.settings.coordination import CoordinationDatabase
from raft_assets.settings.domain import (
    ResolvedSettings,
    check_layer,
    flatten_names,
    flatten_settings,
    merge_layer,
    validate_settings,
)
from raft_assets.settings.domains import SETTINGS_FILE, domain_folder
from raft_assets.settings.endpoints import Endpoint, Role
from raft_assets.settings.environment import Environment, read_dollars, read_int
from raft_assets.settings.prices import has_price, own_prices
from raft_assets.settings.shipped import shipped_presets

DEFAULT_PRESET = "default"
WORKSPACE_FILE = "workspace.yaml"  # names the code location to Dagster, and marks the folder of a project
DOCUMENTS_PROJECT = "raft"  # the project that `raft init` makes in a folder of documents
_SIGNATURE = re.compile(r"[?&]sig=", re.IGNORECASE)  # of a shared access signature


@dataclass(frozen=True)
class Budgets:
    """What may be spent on model calls, US dollars, per run and per calendar month; None: no budget."""

    run: float | None = None
    month: float | None = None

    @property
    def is_set(self) -> bool:
        """Whether there is a budget to keep."""
        return self.run is not None or self.month is not None


@dataclass(frozen=True)
class Project:
    """Folders and limits of this machine; none of them changes a result."""

    folder: Path
    data: Path  # a folder per domain; where the documents lie in a container, what was fetched of it
    data_address: str | None
    home: Path
    lake: str
    calls_address: str | None
    coordination: CoordinationDatabase | None
    presets: Path
    default_preset: str
    max_concurrent_runs: int  # domains that a command works on at a time
    max_ui_runs: int  # and runs that the UI's queue starts, next to its own programs
    budget: Budgets
    encoder_folder: Path | None
    huggingface_home: Path
    environment: Environment

    @classmethod
    def load(cls, folder: Path | None = None, process: Mapping[str, str] | None = None) -> "Project":
        """Load the project in a folder.

        The folder is the given one, `RAFT_PROJECT`, the nearest one upwards that holds `workspace.yaml`, or the
        project that `raft init` made in this folder of documents.
        """
        variables = dict(os.environ if process is None else process)
        root = (
            folder or (Path(variables["RAFT_PROJECT"]) if variables.get("RAFT_PROJECT") else _find_project(Path.cwd()))
        ).resolve()
        environment = Environment.load(root, variables)

        def path(name: str, default: Path) -> Path:
            return (root / (_folder(environment, name) or default)).resolve()

        home = path("RAFT_HOME", root / ".raft")
        data_address = _data_address(environment)
        encoder = _folder(environment, "RAFT_ENCODER_DIR")
        return cls(
            folder=root,
            data=home / "cache" / "data" / short_digest(data_address)
            if data_address
            else path("RAFT_DATA", root / "data"),
            data_address=data_address,
            home=home,
            lake=_address(root, environment, "RAFT_LAKE") or str(home / "lake"),
            calls_address=_address(root, environment, "RAFT_CALLS"),
            coordination=CoordinationDatabase.of(environment),
            presets=path("RAFT_PRESETS", root / "presets"),
            default_preset=environment.get("RAFT_PRESET") or DEFAULT_PRESET,
            max_concurrent_runs=_max_runs(environment, 1 + (os.cpu_count() or 1)),
            max_ui_runs=_max_runs(environment, os.cpu_count() or 1),
            budget=Budgets(
                read_dollars(environment, "RAFT_BUDGET_RUN"), read_dollars(environment, "RAFT_BUDGET_MONTH")
            ),
            encoder_folder=(root / encoder).resolve() if encoder else None,
            huggingface_home=Path(environment.get("HF_HOME") or Path.home() / ".cache" / "huggingface"),
            environment=environment,
        )

    @cached_property
    def endpoints(self) -> dict[Role, Endpoint]:
        """Endpoint of every configured role.

        Raises SettingsError for a role that is half configured, and for a `prices.yaml` that can't be read.
        """
        prices = own_prices(self.folder)
        return {
            role: replace(endpoint, is_priced=has_price(prices, endpoint.service, endpoint.base_model))
            for role, endpoint in self.environment.endpoints().items()
        }

    @property
    def job_wait_s(self) -> float:
        """How long a run of the UI or of the daemon waits for a fine-tuning job before it ends; a sensor goes on.

        Raises SettingsError for a value that is not allowed.
        """
        wait_minutes = read_int(self.environment, "RAFT_JOB_WAIT_MINUTES", default=10, low=0, high=72 * 60)
        return wait_minutes * 60.0

    @property
    def documents(self) -> str:
        """Where the documents lie, for people: a folder or an address."""
        return self.data_address or str(self.data)

    def name_address(self, text: str) -> str:
        """Return a text with the address of documents in a container for the folder that they were fetched into."""
        return text.replace(str(self.data), self.data_address) if self.data_address else text

    @property
    def dagster_home(self) -> Path:
        """`DAGSTER_HOME` if it is set, else a folder of the project."""
        return (self.folder / (self.environment.get("DAGSTER_HOME") or self.home / "dagster_home")).resolve()

    @property
    def workspace_file(self) -> Path:
        """The file that names the code location to Dagster."""
        return self.folder / WORKSPACE_FILE

    @property
    def progress(self) -> Path:
        """The progress of runs that are under way, a file each."""
        return self.home / "progress"

    @property
    def embedded_folder(self) -> Path:
        """State of the embedded provider: uploaded files, jobs, trained models."""
        return self.home / "embedded"

    @property
    def local_folder(self) -> Path:
        """State of the local provider: a folder for each base model, with uploaded files, jobs and adapters."""
        return self.home / "local"

    @property
    def results(self) -> Path:
        """DuckDB file of the evaluations."""
        return self.home / "results.duckdb"

    @property
    def calls(self) -> Path:
        """The call store."""
        return self.home / "calls" / "calls.sqlite"

    def settings(self, domain: str) -> ResolvedSettings:
        """Return the domain's settings with the source of each.

        Raises SettingsError naming file, field, value and what is allowed.
        """
        file = self._settings_file(domain)
        own = _read_yaml(file) if lexists(file) else {}  # a link that leads nowhere would mean other settings
        preset = own.pop("preset", None) or self.selected_presets().get(domain) or self.default_preset
        layers = [(f"presets/{preset}.yaml", self._preset(str(preset))), (f"{domain}/{SETTINGS_FILE}", own)]
        merged: dict[str, Any] = {}
        sources: dict[str, str] = {}
        for name, layer in layers:
            check_layer(name, layer)
            merge_layer(merged, layer)
            sources |= dict.fromkeys(flatten_names(layer), name)
        values = validate_settings(
            f"{domain} ({' + '.join(name for name, layer in layers if layer) or 'defaults'})", merged
        )
        return ResolvedSettings(
            str(preset), values, {name: sources.get(name, "default") for name, _ in flatten_settings(values)}
        )

    def _settings_file(self, domain: str) -> Path:
        return domain_folder(self.data, domain) / SETTINGS_FILE

    def selected_presets(self) -> dict[str, str]:
        """Return the preset that `raft run --preset` chose last, by domain. Raises SettingsError for a broken file."""
        file = self._chosen_presets
        try:
            chosen = json.loads(file.read_text("utf-8")) if file.is_file() else {}
            return {str(domain): str(preset) for domain, preset in chosen.items()}
        except (ValueError, AttributeError) as error:
            raise SettingsError(f"{file} holds no presets by domain ({error}): fix it, or delete it.") from error

    def select_preset(self, domain: str, preset: str) -> None:
        """Save the choice, so that the UI, the sensor and `raft status` see the same settings as the run.

        Raises SettingsError for an unknown preset, and if the domain names its own.
        """
        self._preset(preset)
        file = self._settings_file(domain)
        if lexists(file) and _read_yaml(file).get("preset", preset) != preset:
            raise SettingsError(f"{file} names a preset of its own: change it there, or remove the line.")
        self.replace_presets(self.selected_presets() | {domain: preset})

    def clear_preset(self, domain: str) -> None:
        """Delete the choice that was made for a domain."""
        if domain in self.selected_presets():
            self.replace_presets({name: preset for name, preset in self.selected_presets().items() if name != domain})

    def replace_presets(self, presets: Mapping[str, str]) -> None:
        """Save the choices of all domains in place of those that were made."""
        write_text(self._chosen_presets, json.dumps(presets, ensure_ascii=False, indent=1))

    @property
    def _chosen_presets(self) -> Path:
        return self.home / "presets.json"

    def preset_names(self) -> list[str]:
        """Return every preset that can be chosen: the project's own, and those that come with the package."""
        folders = (self.presets, shipped_presets())
        return sorted({DEFAULT_PRESET} | {file.stem for folder in folders for file in folder.glob("*.yaml")})

    def _preset(self, name: str) -> dict[str, Any]:
        """Return a preset's settings; the project's own file wins over one of the same name in the package."""
        if name not in self.preset_names():
            raise SettingsError(
                f"There is no preset {name!r} in {self.presets}.{did_you_mean(name, self.preset_names())} Allowed: "
                f"{', '.join(self.preset_names())}."
            )
        files = (folder / f"{name}.yaml" for folder in (self.presets, shipped_presets()))
        found = next((file for file in files if file.is_file()), None)
        return _read_yaml(found) if found else {}


def _find_project(start: Path) -> Path:
    """Return the project that a folder is in, or that `raft init` made for the documents in it; else the folder."""
    for folder in (start, *start.parents, start / DOCUMENTS_PROJECT):
        if (folder / WORKSPACE_FILE).is_file():
            return folder
    return start


def _max_runs(environment: Environment, default: int) -> int:
    return read_int(environment, "RAFT_MAX_CONCURRENT_RUNS", default=default, low=1, high=256)


def _folder(environment: Environment, name: str) -> str | None:
    """Return the folder of a variable.

    Raises SettingsError, which doesn't repeat the value, for an address: it may hold a signature, and folders appear in
    messages and reports.
    """
    folder = environment.get(name)
    if folder and ("://" in folder or _SIGNATURE.search(folder)):
        raise SettingsError(
            f"{name} is an address, with a signature perhaps, and not a folder of this machine: mount the container "
            f"(such as with blobfuse2), name the folder in {name}, and keep the signature out of it."
        )
    return folder


def _data_address(environment: Environment) -> str | None:
    """Return the address in RAFT_DATA, without a slash at its end; None for a folder."""
    address = environment.get("RAFT_DATA")
    if not address or "://" not in address:
        return None
    return validate_address("RAFT_DATA", address, environment).rstrip("/")


def _address(root: Path, environment: Environment, name: str) -> str | None:
    """Return the address of a variable; a folder is relative to the project.

    Raises SettingsError for an address that can't be used.
    """
    address = environment.get(name)
    if not address or "://" not in address:
        return address and str(root / address)
    return validate_address(name, address, environment)


@lru_cache(maxsize=64)
def _parse_yaml(text: str) -> Any:
    """Parse a text once: a preset is read for every domain."""
    return yaml.safe_load(text)


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        content = deepcopy(_parse_yaml(file.read_text("utf-8")))
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # such as an impossible date
        raise SettingsError(f"{file} is not readable as YAML: {' '.join(str(error).split())}") from error
    except OSError as error:
        raise SettingsError(f"{file} can't be read ({error.strerror}).") from error
    if not isinstance(content or {}, dict):
        raise SettingsError(
            f"{file} must hold names and values (such as `chunks: {{chunk_size: 200}}`), not a "
            f"{type(content).__name__}."
        )
    return content or {}
