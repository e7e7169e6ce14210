"""Token prices: the project's own, then those of this product, then the offline list of genai-prices.

An unknown price is None, never zero. US dollars per million tokens throughout.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import genai_prices

from raft_assets.llm.keys import BATCH_SUFFIX, TRAINING_KIND
from raft_assets.llm.requests import Usage
from raft_assets.settings.endpoints import DEPLOYMENT_PREFIX, Endpoint, Role, is_on_this_machine
from raft_assets.settings.prices import PRICES_FILE, PriceEntry, base_of, has_price, own_prices, parse_prices

PER_MILLION = 1_000_000
HOURS_A_MONTH = 720  # of 30 days
BATCH_SHARE = 0.5  # of OpenAI's and Azure's Batch API


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens of each kind and per hour of hosting, with their source; None where unknown."""

    input: float | None
    cached: float | None
    output: float | None
    training: float | None
    source: str
    hosting: float | None = None  # dollars per hour that a deployment of the fine-tuned model exists
    batch: float | None = None  # share of the price that is paid if the call came in a batch

    def of(self, usage: Usage, *, batched: bool = False) -> float | None:
        """Return what the tokens cost; None if the price of a kind of tokens that was used isn't known."""
        share = 1.0 if not batched else BATCH_SHARE if self.batch is None else self.batch
        cached = self.input if self.cached is None else self.cached
        parts = (
            (usage.input_tokens - usage.cached_tokens, self.input),
            (usage.cached_tokens, cached),
            (usage.output_tokens, self.output),
        )
        if any(tokens and price is None for tokens, price in parts):
            return None
        return share * sum(tokens * (price or 0.0) for tokens, price in parts) / PER_MILLION

    def call_cost(self, kind: str, usage: Usage) -> float | None:
        """Return what was paid for an entry of the store.

        Its kind says whether it came in a batch, or is a training.
        """
        if kind == TRAINING_KIND:
            return self.training_cost(usage.input_tokens)
        return self.of(usage, batched=kind.endswith(BATCH_SUFFIX))

    def training_cost(self, tokens: int) -> float | None:
        """Return the cost of training on that many tokens, all epochs together."""
        return None if self.training is None else tokens * self.training / PER_MILLION


PARTS = ("input", "cached", "output", "training", "hosting", "batch")
FREE = Price(0.0, 0.0, 0.0, 0.0, "costs nothing", 0.0)


class PriceList:
    """The prices that apply in a project. `endpoints` give the models behind the names of deployments."""

    def __init__(self, project: Path, endpoints: Iterable[Endpoint] = ()) -> None:
        self._own = own_prices(project)
        self._endpoints = tuple(map(self._priced, endpoints))
        self._entries = [*self._own, *_shipped_entries()]
        self._known: dict[tuple[str, str], Price] = {}

    def of(self, endpoint: Endpoint, model: str | None = None) -> Price:
        """Return the price of the endpoint's model, or of another one there; every unknown part is None."""
        if self._priced(endpoint).is_free:
            return FREE
        return self.at(endpoint.service, model or endpoint.model)

    def at(self, service: str, model: str) -> Price:
        """Return the price of a model of a service, as stored calls name them."""
        if (service, model) not in self._known:
            endpoint = self._endpoint_of(service, model)
            name = endpoint.base_model if endpoint else model
            is_free = self._is_free(service, name) if endpoint is None else endpoint.is_free
            self._known[service, model] = FREE if is_free else self._look_up(service, name)
        return self._known[service, model]

    def _priced(self, endpoint: Endpoint) -> Endpoint:
        return replace(endpoint, is_priced=has_price(self._own, endpoint.service, endpoint.base_model))

    def _is_free(self, service: str, model: str) -> bool:
        """Return whether a model costs nothing that no role uses, such as a fine-tuned one."""
        if service == "embedded" or any(one.service == service and one.is_declared_free for one in self._endpoints):
            return True
        return is_on_this_machine(service) and not has_price(self._own, service, model)

    def _endpoint_of(self, service: str, model: str) -> Endpoint | None:
        """Return the endpoint that knows the model's own name.

        A deployment's name says nothing, and a fine-tuned student costs what its base model costs.
        """
        for endpoint in self._endpoints:
            hosted = endpoint.role is Role.STUDENT and model.startswith(DEPLOYMENT_PREFIX)
            # what Azure ML hosts answers at an address of its own
            if (endpoint.service == service and endpoint.model == model) or (
                hosted and (endpoint.service == service or endpoint.provider == "azureml")
            ):
                return endpoint
        return None

    def _look_up(self, service: str, model: str) -> Price:
        layers = [_as_layer(entry) for entry in self._entries if entry.matches(service, model)] + _genai_price(
            service, model
        )
        if (base := base_of(model)) != model:  # where no list has a price of its own for it
            layers += [_as_layer(entry) for entry in self._entries if entry.matches(service, base)]
        known: dict[str, float] = {}
        sources: list[str] = []
        for prices, source in layers:
            new = {name: value for name, value in prices.items() if name not in known}
            known |= new
            sources += [source] if new else []
        parts = {name: known.get(name) for name in PARTS}
        return Price(**parts, source="; ".join(sources) or "unknown")


def _as_layer(entry: PriceEntry) -> tuple[Mapping[str, float], str]:
    prices = entry.model_dump(include=set(PARTS), exclude_none=True)
    return prices, f"{entry.source}, {entry.date}"


def _genai_price(service: str, model: str) -> list[tuple[Mapping[str, float], str]]:
    """Return the prices of genai-prices, of a service that it knows by its address.

    A local service may serve a model of a well-known name for nothing. Fine-tuned models are listed by their base.
    """
    try:
        usage = genai_prices.Usage(input_tokens=1, output_tokens=0)
        price = genai_prices.calc_price(usage, model, provider_api_url=service).model_price
    except (LookupError, ValueError):
        return []
    names = {"input": "input_mtok", "cached": "cache_read_mtok", "output": "output_mtok"}
    values = {name: getattr(price, theirs, None) for name, theirs in names.items()}
    # tiered prices are objects of their own: the first tier is not the price
    plain = {name: float(value) for name, value in values.items() if value is not None and _is_number(value)}
    return [(plain, f"genai-prices {metadata.version('genai-prices')}")] if plain else []


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except TypeError:
        return False
    return True


@cache
def _shipped_entries() -> Sequence[PriceEntry]:
    file = resources.files("raft_assets.llm") / PRICES_FILE
    return parse_prices(file, file.read_text("utf-8"))
