"""What a model takes: a table of families, and what its service has refused, remembered beside the call store.

Nothing here is part of a call's key: how a request is worded for a model doesn't change what is asked.
"""

import json
from collections.abc import Mapping
from datetime import date
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict

from raft_assets.core.atomic import write_text
from raft_assets.core.locks import exclusive
from raft_assets.settings.endpoints import Endpoint

TABLE = "capabilities.yaml"
LEARNED = "capabilities.json"  # beside the call store
Parameter = Literal["max_tokens", "max_completion_tokens", "temperature", "seed", "response_format", "reasoning_effort"]
Substitutes = dict[str, str | None]  # parameter to what is sent in its place; None: nothing


class Capability(BaseModel):
    """An entry of the table; `model` is a pattern in which * stands for anything."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    instead: Mapping[Parameter, Parameter | None] = {}
    context_tokens: int | None = None  # prompt and answer together
    source: str
    date: date


class Capabilities:
    """What one model of one service refuses: by the table, and as it was learned by any process of the project.

    `family` is looked up in the table: the name of the base model, which that of a deployment may not tell.
    """

    def __init__(self, folder: Path, service: str, model: str, *, family: str) -> None:
        self._file = folder / LEARNED
        self._name = f"{service} {model}"
        entry = next((entry for entry in table() if fnmatchcase(family, entry.model)), None)
        learned: Substitutes = _read(self._file).get(self._name, {})
        # what the service said of a parameter counts more than the table, in either direction: one name, or the other
        known: Substitutes = {n: other for n, other in (entry.instead.items() if entry else ()) if other not in learned}
        self.substitutes: Substitutes = {**known, **learned}
        self.context_tokens = entry.context_tokens if entry else None

    @classmethod
    def of(cls, folder: Path, endpoint: Endpoint, model: str) -> Self:
        """Those of a model of an endpoint, as the project knows them; `folder` is that of its call store."""
        return cls(folder, endpoint.service, model, family=endpoint.plain_model)

    def applied(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A body as the model takes it."""
        names = {name: self.substitutes.get(name, name) for name in body}
        return {sent: body[name] for name, sent in names.items() if sent is not None}

    def learn(self, parameter: str, instead: str | None) -> None:
        """Remembers a refusal for this process and those to come."""
        self.substitutes[parameter] = instead
        with exclusive(self._file.with_suffix(".lock")):
            learned = _read(self._file)
            learned.setdefault(self._name, {})[parameter] = instead
            write_text(self._file, json.dumps(learned, indent=1, sort_keys=True))


@cache
def table() -> tuple[Capability, ...]:
    """The families in the order of the table."""
    text = (resources.files("raft_assets.llm") / TABLE).read_text("utf-8")
    return tuple(Capability.model_validate(entry) for entry in yaml.safe_load(text))


def _read(file: Path) -> dict[str, Substitutes]:
    """What was learned; a file that is gone or broken is learned again, call by call."""
    try:
        learned = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return learned if isinstance(learned, dict) else {}
