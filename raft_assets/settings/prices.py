"""Price files: the project's own `prices.yaml`, and what this product ships in the same form.

What belongs here: reading entries, and which models they are for. What a call costs belongs in `llm/prices`.
"""

from collections.abc import Iterable
from datetime import date
from fnmatch import fnmatchcase
from os.path import lexists
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from raft_assets.core.errors import SettingsError

PRICES_FILE = "prices.yaml"  # of a project, next to its workspace.yaml
FINE_TUNED = "ft:"  # before the base model, in the id that OpenAI gives a fine-tuned one

Dollars = Annotated[float, Field(ge=0)]


class PriceEntry(BaseModel):
    """An entry of a price file; `model` and `service` are patterns in which * matches anything."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    service: str = "*"
    input: Dollars | None = None
    cached: Dollars | None = None
    output: Dollars | None = None
    training: Dollars | None = None
    hosting: Dollars | None = None
    batch: Annotated[float, Field(ge=0, le=1)] | None = None
    source: str
    date: date

    def matches(self, service: str, model: str) -> bool:
        """Return whether the entry is for a model of a service."""
        return fnmatchcase(service, self.service) and fnmatchcase(model, self.model)

    @property
    def is_free(self) -> bool:
        """Whether every price in it is 0."""
        return not any((self.input, self.cached, self.output, self.training, self.hosting))


def own_prices(project: Path) -> list[PriceEntry]:
    """Return the entries of a project's `prices.yaml`, if it has one. Raises SettingsError naming entry and field."""
    own = project / PRICES_FILE
    if not lexists(own):
        return []
    try:
        return parse_prices(own, own.read_text("utf-8"))
    except UnicodeDecodeError as error:
        raise SettingsError(f"{own} is not UTF-8 at byte {error.start}: save it as UTF-8.") from error
    except OSError as error:
        raise SettingsError(f"{own} can't be read ({error.strerror}).") from error


def has_price(entries: Iterable[PriceEntry], service: str, model: str) -> bool:
    """Return whether an entry says that a model of a service, or the model that it was fine-tuned from, costs money."""
    names = {model, base_of(model)}
    return any(not entry.is_free and entry.matches(service, name) for entry in entries for name in names)


def base_of(model: str) -> str:
    """Return the model that a fine-tuned one comes from, if its id says so, else the model itself."""
    return model.split(":")[1] if model.startswith(FINE_TUNED) else model


def parse_prices(file: object, text: str) -> list[PriceEntry]:
    """Return the entries of a price file; `file` is its name in errors. Raises SettingsError."""
    try:
        content = yaml.safe_load(text) or []
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SettingsError(f"{file} is not readable as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, list):
        raise SettingsError(f"{file} must hold a list of prices, each with model, source and date.")
    entries: list[PriceEntry] = []
    for number, entry in enumerate(content, start=1):
        try:
            entries.append(PriceEntry.model_validate(entry))
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, problem["loc"])) or "the entry"
            raise SettingsError(f"{file}, entry {number}: {where}: {problem['msg']}. Fix it there.") from error
    return entries
