"""What a model accepts: a table of families, and what its service has rejected, remembered among the records.

Nothing here is part of a call's key: how a request is worded for a model doesn't change what is asked.
"""

import json
from collections.abc import Mapping
from datetime import date
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict

from raft_assets.core.ports import Records, VersionedRecord
from raft_assets.settings.endpoints import Endpoint

CAPABILITIES_FILE = "capabilities.yaml"
LEARNED_FILE = "calls/capabilities"  # record: what was rejected, by service and model
Parameter = Literal["max_tokens", "max_completion_tokens", "temperature", "seed", "response_format", "reasoning_effort"]
Substitutes = dict[str, str | None]  # parameter to what is sent instead; None: nothing


class Capability(BaseModel):
    """An entry of the table; `model` is a pattern in which * matches anything."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    instead: Mapping[Parameter, Parameter | None] = {}
    context_tokens: int | None = None  # prompt and answer together
    source: str
    date: date


class Capabilities:
    """What one model of one service doesn't accept: by the table, and as any process of the project learned it.

    `family` is looked up in the table: the name of the base model, which a deployment's name may not reveal.
    """

    def __init__(self, records: Records, service: str, model: str, *, family: str) -> None:
        self._learned = VersionedRecord(records, LEARNED_FILE)
        self._name = f"{service} {model}"
        entry = next((entry for entry in load_capabilities() if fnmatchcase(family, entry.model)), None)
        learned: Substitutes = _refused(self._learned.read()).get(self._name, {})
        # what the service said of a parameter takes precedence over the table, for either of two names
        known: Substitutes = {n: other for n, other in (entry.instead.items() if entry else ()) if other not in learned}
        self.substitutes: Substitutes = {**known, **learned}
        self.context_tokens = entry.context_tokens if entry else None

    @classmethod
    def of(cls, records: Records, endpoint: Endpoint, model: str) -> Self:
        """Return those of a model of an endpoint, as the project knows them."""
        return cls(records, endpoint.service, model, family=endpoint.normalized_model)

    def apply(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return a body as the model accepts it."""
        names = {name: self.substitutes.get(name, name) for name in body}
        return {sent: body[name] for name, sent in names.items() if sent is not None}

    def learn(self, parameter: str, instead: str | None) -> None:
        """Remember a rejected parameter for this process and later ones."""
        self.substitutes[parameter] = instead

        def added(record: bytes | None) -> bytes:
            learned = _refused(record)
            learned.setdefault(self._name, {})[parameter] = instead
            return json.dumps(learned, indent=1, sort_keys=True).encode()

        self._learned.change(added)


@cache
def load_capabilities() -> tuple[Capability, ...]:
    """Return the families in the order of the table."""
    text = (resources.files("raft_assets.llm") / CAPABILITIES_FILE).read_text("utf-8")
    return tuple(Capability.model_validate(entry) for entry in yaml.safe_load(text))


def _refused(learned: bytes | None) -> dict[str, Substitutes]:
    """Return what was learned; a record that is gone or broken is learned again, call by call."""
    try:
        substitutes = json.loads(learned or b"{}")
    except ValueError:
        return {}
    return substitutes if isinstance(substitutes, dict) else {}
