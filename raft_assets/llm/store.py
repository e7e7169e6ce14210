"""What is stored of a paid call, and the interface of the call store; the implementations are in `storage`."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from raft_assets.llm.requests import NO_REQUESTER, Origin, Usage


@dataclass(frozen=True)
class StoredCall:
    """A call that was answered.

    One with status `failed` brought nothing that could be used; it is stored for what it cost, and is found by no key.
    `payload`: the service's JSON, or the bytes of a float32 vector for kind `embedding`; `created`: Unix time. Nothing
    depends on `role` and `origin`: they record the first requester, for the ledger.
    """

    key: str
    service: str
    model: str
    kind: str
    status: str
    usage: Usage
    latency_s: float
    created: float
    payload: bytes
    tries: int = 1
    role: str = ""
    origin: Origin = NO_REQUESTER


@dataclass(frozen=True)
class StoreStats:
    """What the store holds: answered calls (an embedded text is one), their tokens, and its local size in bytes."""

    calls: int
    usage: Usage
    size: int


@dataclass(frozen=True)
class ModelUsage:
    """Calls that a domain made to a model, and their tokens."""

    domain: str
    service: str
    model: str
    kind: str
    calls: int
    usage: Usage


class CallStore(Protocol):
    """Paid calls by their key, shared by every process and thread; failing to read or write raises RaftError."""

    def get(self, keys: Iterable[str]) -> dict[str, StoredCall]:
        """Return the entries that exist and are complete."""

    def put(self, calls: Sequence[StoredCall]) -> dict[str, StoredCall]:
        """Store the calls durably and return what the store now holds for their keys.

        If another process was faster, its entry stays and is returned, so that every table refers to the answer that is
        stored.
        """

    def stats(self) -> StoreStats:
        """Return totals over everything that is stored."""

    def calls(self) -> Iterator[StoredCall]:
        """Yield every complete entry, oldest first; what is stored meanwhile may be missing."""

    def usage(self, month: str | None = None) -> list[ModelUsage]:
        """Return what each domain used of each model, ever or in a month such as 2026-11 (UTC); reads no calls."""

    def last_asked(self, service: str, model: str) -> float | None:
        """Return when the model was last called, Unix time; None if it never was."""

    def forget(self, chosen: Callable[[StoredCall], bool]) -> int:
        """Delete the chosen entries, so that nothing of them remains; return their number."""
