"""What is stored of a paid call, and the interface of the call store; the implementations are in `storage`."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from raft_assets.llm.requests import NO_REQUESTER, Origin, Usage


@dataclass(frozen=True)
class StoredCall:
    """A call that was answered.

    One with status `failed` brought nothing that could be used; it is stored for what it cost, and is found by no key.
    `payload`: the service's JSON, or the bytes of a float32 vector for kind `embedding`; `created`: Unix time. Nothing
    depends on `role` and `origin`: they record the first requester, for the ledger. `documents` are the paths of those
    that it is about; they are kept as the call's sources (`CallSource`), and a call that is read has none.
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
    documents: tuple[str, ...] = ()

    @property
    def sources(self) -> "list[CallSource]":
        """For what it is made: the domain with each of its documents; nothing where no domain is known."""
        return call_sources(self.key, self.origin.domain, self.documents)


@dataclass(frozen=True)
class CallSource:
    """That a call was asked for a domain and a document of it, whether it was then made or taken from the store.

    `document` is its path; empty where it isn't known, or where the call is about none.
    """

    key: str
    domain: str
    document: str


def call_sources(key: str, domain: str, documents: Collection[str]) -> list[CallSource]:
    """Return the sources of a call that is asked for the documents of a domain."""
    return [CallSource(key, domain, document) for document in documents or ("",)] if domain else []


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


@dataclass(frozen=True)
class ClaimedCalls:
    """What became of keys that a process wants to pay for.

    It pays for `mine`; `stored` was paid by others meanwhile; of the rest other processes are making the calls.
    """

    mine: frozenset[str]
    stored: dict[str, StoredCall]


class CallStore(Protocol):
    """Paid calls by their key, shared by every process and thread; failing to read or write raises RaftError."""

    def get(self, keys: Iterable[str]) -> dict[str, StoredCall]:
        """Return the entries that exist and are complete, as far as this machine knows."""

    def fetch(self, keys: Iterable[str]) -> dict[str, StoredCall]:
        """Return the same, and ask what other machines share for what this one doesn't know."""

    def claim(self, keys: Collection[str]) -> ClaimedCalls:
        """Claim the calls that nobody has made or is making; to be asked before anything is sent.

        A claim ends with `put` of its key, with `release`, and with the process.
        """

    def release(self, keys: Collection[str]) -> None:
        """Give up claims of calls that brought nothing to store; raises nothing."""

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

    def add_sources(self, sources: Iterable[CallSource]) -> None:
        """Remember durably for what calls are asked; what is known already is not written again."""

    def sources(self) -> Iterator[CallSource]:
        """Yield for what every call was asked, in no order."""

    def forget(self, chosen: Callable[[StoredCall], bool]) -> int:
        """Delete the chosen entries, so that nothing of them remains; return their number."""
