"""What was paid, derived from the store: a row per call, and totals. Nothing is stored twice."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pydantic import Field

from raft_assets.core.stored_fields import added
from raft_assets.core.tables import Row
from raft_assets.llm.answers import read_answer
from raft_assets.llm.keys import BATCH_SUFFIX
from raft_assets.llm.prices import PriceList
from raft_assets.llm.requests import Usage
from raft_assets.llm.store import CallStore, StoredCall

ANSWER_KINDS = frozenset(kind + batch for kind in ("chat", "completion") for batch in ("", BATCH_SUFFIX))
Grouping = Literal["asset", "domain", "model", "role", "day", "run"]


class LedgerRow(Row):
    """A call that was answered, or a fine-tuning job, with its cost.

    An embedded text is a row, with its share of its call.
    """

    call: str = Field(description="key in the call store")
    created: datetime = Field(description="when the answer came, UTC")
    role: str = Field(description="role that asked first")
    service: str = Field(description="address of the service, or embedded")
    model: str = Field(description="model")
    kind: str = Field(description="chat, completion or embedding, with ', batch' where it came in one; or training")
    status: str = Field(description="ok, truncated, looping, filtered or empty; failed: what came could not be used")
    asset: str = Field(description="asset that asked first, empty outside of runs")
    domain: str = Field(description="domain of that asset")
    run: str = Field(description="Dagster run of that")
    input_tokens: int = Field(description="tokens of the prompt; of training, all that were trained on")
    cached_tokens: int = Field(description="of these, read from the service's prompt cache")
    output_tokens: int = Field(description="tokens of the answer")
    reasoning_tokens: int = Field(description="of these, of reasoning that isn't shown")
    latency_s: float = Field(description="seconds of the try that was answered")
    tries: int = Field(description="how often it was tried")
    dollars: float | None = Field(description="what the tokens cost; null where the price is unknown")
    estimated: bool = added(
        default=False, since="0.3.0", description="whether tokens were counted by us, because the service told none"
    )


@dataclass(frozen=True)
class LedgerTotal:
    """Calls of one group; `dollars` are those of calls whose price is known, `unpriced` counts the others."""

    name: str
    calls: int
    usage: Usage
    dollars: float
    unpriced: int

    def __add__(self, other: "LedgerTotal") -> "LedgerTotal":
        """Return both together, under the name of the first."""
        return LedgerTotal(
            self.name,
            self.calls + other.calls,
            self.usage + other.usage,
            self.dollars + other.dollars,
            self.unpriced + other.unpriced,
        )


def ledger(store: CallStore, prices: PriceList) -> Iterator[LedgerRow]:
    """Yield the rows, oldest first."""
    for call in store.calls():
        yield LedgerRow(
            call=call.key,
            created=datetime.fromtimestamp(call.created, UTC),
            **{name: getattr(call, name) for name in ("role", "service", "model", "kind", "status")},
            **{name: getattr(call.origin, name) for name in ("asset", "domain", "run")},
            **{name: count for name, count in vars(call.usage).items() if name != "estimated"},
            estimated=bool(call.usage.estimated),
            latency_s=call.latency_s,
            tries=call.tries,
            dollars=prices.at(call.service, call.model).call_cost(call.kind, call.usage),
        )


def total_by(rows: Iterable[LedgerRow], by: Grouping) -> list[LedgerTotal]:
    """Return totals per group, the most expensive first."""
    groups: dict[str, list[LedgerRow]] = defaultdict(list)
    for row in rows:
        groups[_group_name(row, by)].append(row)
    sums = [_total(name, members) for name, members in groups.items()]
    return sorted(sums, key=lambda group: (-group.dollars, -group.usage.input_tokens, group.name))


def spending_by_domain(store: CallStore, prices: PriceList, *, month: str | None = None) -> dict[str, LedgerTotal]:
    """Return what the calls of every domain cost, by its name; `month` is one such as 2026-11, None is all of them.

    Calls of no domain are under the empty name.
    """
    totals: dict[str, LedgerTotal] = {}
    for used in store.usage(month):
        dollars = prices.at(used.service, used.model).call_cost(used.kind, used.usage)
        unpriced = used.calls if dollars is None else 0
        total = LedgerTotal(used.domain, used.calls, used.usage, dollars or 0.0, unpriced)
        totals[used.domain] = totals[used.domain] + total if used.domain in totals else total
    return totals


def is_unusable(call: StoredCall) -> bool:
    """Return whether the answer is one that the user may want to request again.

    A call that failed has no answer; it is stored for what it cost. Versions before this one stored some halves of
    answers as whole ones.
    """
    if call.status == "failed":
        return False
    return call.status != "ok" or (call.kind in ANSWER_KINDS and read_answer(json.loads(call.payload)).status != "ok")


def _total(name: str, rows: Iterable[LedgerRow]) -> LedgerTotal:
    members = list(rows)
    usage = Usage()
    for row in members:
        tokens = (row.input_tokens, row.cached_tokens, row.output_tokens, row.reasoning_tokens)
        usage += Usage(*tokens, estimated=row.estimated)
    priced = [row.dollars for row in members if row.dollars is not None]
    return LedgerTotal(name, len(members), usage, sum(priced), len(members) - len(priced))


def _group_name(row: LedgerRow, by: Grouping) -> str:
    if by == "day":
        return row.created.date().isoformat()
    return str(getattr(row, by)) or "elsewhere"
