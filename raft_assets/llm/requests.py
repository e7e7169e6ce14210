"""Requests, answers and usage: the types that the rest of the product sees of paid calls.

What belongs here: values. How a call is named belongs in `keys`, how it is made in `caller`, how an answer is read in
`answers`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

CallKind = Literal["chat", "completion"]
Status = Literal["ok", "truncated", "looping", "filtered", "empty", "failed"]

JSON_OBJECT = {"type": "json_object"}  # as a `response_format`: the answer is one JSON object and nothing else


@dataclass(frozen=True)
class Request:
    """One question to a model.

    `body` is the JSON that is sent, without `model`: `messages` and `max_completion_tokens` (chat), or `prompt` and
    `max_tokens` (completion), others only where they are set. `sample` distinguishes several answers to one body.
    `examples` are tasks with their replies, for a model that has to be shown what a reply is; like other wordings for
    one model they are no part of the call's key. Neither are `documents`: the paths of those that it is about.
    """

    kind: CallKind
    body: Mapping[str, Any]
    sample: int = 0
    examples: tuple[tuple[str, str], ...] = ()
    documents: tuple[str, ...] = ()

    def about(self, documents: Iterable[str]) -> "Request":
        """Return the same request about these documents."""
        return replace(self, documents=tuple(sorted(set(filter(None, documents)))))

    def with_parameters(self, **parameters: Any) -> "Request":
        """Return the same request with further parameters, of which None is left out.

        A model that doesn't accept one is called without it.
        """
        given = {name: value for name, value in parameters.items() if value is not None}
        return replace(self, body={**self.body, **given})


@dataclass(frozen=True)
class Usage:
    """Tokens as the service counts them: cached ones are part of the input, those of reasoning part of the output.

    `estimated`: how many of the calls are counted by us, because the service doesn't tell their tokens.
    """

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.cached_tokens + other.cached_tokens,
            self.output_tokens + other.output_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.estimated + other.estimated,
        )


NO_USAGE = Usage()


@dataclass(frozen=True)
class Origin:
    """The asset, domain and run for which a call was first made, and so paid; empty where unknown."""

    asset: str = ""
    domain: str = ""
    run: str = ""


NO_REQUESTER = Origin()


@dataclass(frozen=True)
class Answer:
    """The outcome of a request.

    `detail` is one sentence wherever `status` is not ok; `from_store`: no call was made for it this time.
    """

    key: str
    text: str
    status: Status
    detail: str
    usage: Usage
    latency_s: float
    from_store: bool


@dataclass(frozen=True)
class UsageStats:
    """What a Caller did so far.

    `calls` were answered by the service and may have been paid, `from_store` answers cost nothing, `retries` are
    further tries of calls, `failures` are calls that were given up. `usage` is of the calls, and of responses that were
    paid but could not be used; `dollars` is what the priced ones cost; `unpriced` counts those whose price is unknown.
    """

    calls: int = 0
    from_store: int = 0
    retries: int = 0
    failures: int = 0
    usage: Usage = NO_USAGE
    dollars: float = 0.0
    unpriced: int = 0

    def __add__(self, other: "UsageStats") -> "UsageStats":
        return UsageStats(
            self.calls + other.calls,
            self.from_store + other.from_store,
            self.retries + other.retries,
            self.failures + other.failures,
            self.usage + other.usage,
            self.dollars + other.dollars,
            self.unpriced + other.unpriced,
        )


@dataclass(frozen=True)
class Progress:
    """How far a stream is: answers returned, and requests that are taken but not answered yet."""

    answered: int
    waiting: int
    usage_stats: UsageStats
