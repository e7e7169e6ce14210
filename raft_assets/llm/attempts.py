"""One call, however many tries it takes.

Sends a body, changes what the model doesn't accept, waits and tries again, or gives up. What an error means is defined
in `service_errors`, what a response says in `answers`. Nothing here knows of streams or of the store.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import httpx2

from raft_assets.core.errors import EndpointError, NotDeployedError
from raft_assets.llm import service_errors
from raft_assets.llm.answers import CONTENT_FILTER, MalformedResponseError, read_usage
from raft_assets.llm.capabilities import Capabilities
from raft_assets.llm.clients import CONNECT_S
from raft_assets.llm.keys import EMBEDDING
from raft_assets.llm.limits import Admission, Limiter
from raft_assets.llm.requests import Usage
from raft_assets.settings.endpoints import Endpoint

if TYPE_CHECKING:
    import openai

log = logging.getLogger(__name__)
T = TypeVar("T")

CHARACTERS_PER_TOKEN = 4  # of English; only the pacing of tokens per minute rests on it
PATH_BY_KIND = {"chat": "/chat/completions", "completion": "/completions", EMBEDDING: "/embeddings"}


@dataclass(frozen=True)
class RetryPolicy:
    """How long a call is retried: exponential backoff with full jitter, or the pause that the service asks for.

    No try starts later than `max_elapsed_s` after the first one failed. A service that is merely at its rate limit
    (429) isn't failing: such tries aren't counted, and are bounded by time alone. A service that doesn't answer in time
    may still work on what was given up: it is left alone for `timeout_pause_s`, doubled each time, and the next try
    waits twice as long. Clock, sleep and random numbers are fields so that tests need not wait.
    """

    tries: int = 6
    timeouts: int = 3
    timeout_pause_s: float = 10.0
    max_elapsed_s: float = 120.0
    max_rate_limited_s: float = 1800.0
    initial_pause_s: float = 0.5
    max_pause_s: float = 30.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic
    random: Callable[[], float] = random.random

    def pause_after_timeout(self, timeouts: int) -> float:
        """Return the seconds to wait after that many tries that weren't answered in time: at least half of the full."""
        return (1 + self.random()) / 2 * self.timeout_pause_s * 2.0 ** (timeouts - 1)

    def pause(self, tries: int) -> float:
        """Return the seconds to wait after that many tries."""
        return self.random() * min(self.max_pause_s, self.initial_pause_s * 2.0 ** (tries - 1))


DEFAULT_RETRY_POLICY = RetryPolicy()


class CallFailedError(Exception):
    """A call was given up after so many tries; the message says why."""

    def __init__(self, reason: str, *, tries: int) -> None:
        super().__init__(f"{reason}, after {tries} tries" if tries > 1 else reason)
        self.tries = tries


@dataclass(frozen=True)
class Response(Generic[T]):
    """What came back: the service's JSON, its parsed content, and how long the last try took (in seconds)."""

    payload: Mapping[str, Any]
    content: T
    usage: Usage
    latency_s: float
    tries: int


@dataclass(frozen=True)
class _TimedOut(service_errors.Retry):
    """The service didn't answer in time."""


class RetryingClient:
    """Makes calls to one model; a parameter that it doesn't accept is learned once and for all."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        model: str,
        client: openai.AsyncOpenAI,
        limiter: Limiter,
        capabilities: Capabilities,
        patience: RetryPolicy,
    ) -> None:
        self._endpoint = endpoint
        self._model = model
        self._client = client
        self._limiter = limiter
        self._patience = patience
        self._capabilities = capabilities
        self._timeouts = 0  # since the last response, of all calls

    async def call(self, kind: str, body: Mapping[str, Any], read: Callable[[Mapping[str, Any]], T]) -> Response[T]:
        """Send `body` until `read` can read the response.

        Raises CallFailedError, and EndpointError where no other call would pass either.
        """
        tries, failures, timeouts = 1, 0, 0
        first_failed: float | None = None
        while True:
            sent, outcome = await self._try(kind, body, read, tries, timeouts)
            match outcome:
                case Response():
                    return outcome
                case _TimedOut():
                    timeouts, failures, first_failed = timeouts + 1, failures + 1, None
                    await self._wait_after_timeout(outcome, tries, failures, timeouts)
                    tries += 1
                case service_errors.Retry():
                    first_failed = self._patience.clock() if first_failed is None else first_failed
                    failures += not outcome.is_rate_limit
                    await self._wait(outcome, tries, failures, first_failed)
                    tries += 1
                case service_errors.UnsupportedParameter():
                    self._learn(outcome, sent)
                case service_errors.FailCall(reason):
                    raise CallFailedError(reason, tries=tries)
                case service_errors.StopEndpoint(sentence, not_deployed):
                    raise NotDeployedError(sentence) if not_deployed else EndpointError(sentence)

    async def _try(
        self, kind: str, body: Mapping[str, Any], read: Callable[[Mapping[str, Any]], T], tries: int, timeouts: int
    ) -> tuple[
        Mapping[str, Any],
        Response[T]
        | service_errors.Retry
        | service_errors.FailCall
        | service_errors.UnsupportedParameter
        | service_errors.StopEndpoint,
    ]:
        """Return the body as it was sent, and the outcome."""
        import openai

        async with self._limiter.admit(*_estimate_tokens(body), again=tries > 1) as turn:
            started, sent = self._patience.clock(), self._capabilities.apply(body)
            try:
                outcome: Mapping[str, Any] | service_errors.ServiceError = await self._post(kind, sent, turn, timeouts)
            except openai.APIError as error:
                outcome = service_errors.classify_error(error, self._endpoint, self._model)
                if service_errors.is_timeout(error):
                    turn.record_timeout()
                    self._timeouts, outcome = self._timeouts + 1, _TimedOut("it did not answer in time")
                _report_to_limiter(turn, error, outcome)
            except UnicodeEncodeError:
                outcome = service_errors.FailCall("the request holds half a character (a lone surrogate)")
            latency_s = self._patience.clock() - started
        if isinstance(outcome, service_errors.ContentFiltered):
            outcome = {"error": {"code": CONTENT_FILTER, "message": outcome.message}}
        if not isinstance(outcome, Mapping):
            return sent, outcome
        try:
            return sent, Response(outcome, read(outcome), read_usage(outcome), latency_s, tries)
        except MalformedResponseError as malformed:
            return sent, service_errors.Retry(f"it sent {malformed}")

    async def _post(self, kind: str, body: Mapping[str, Any], turn: Admission, timeouts: int) -> Mapping[str, Any]:
        """Post the body; plain JSON instead of the client's types, because it is stored as it came.

        After `timeouts` of the call it waits longer for the answer, unless the user set for how long.
        """
        is_set = self._endpoint.limits.timeout_s is not None
        timeout = httpx2.Timeout(turn.timeout_s * (1 if is_set else 2**timeouts), connect=CONNECT_S)
        response = await self._client.post(
            PATH_BY_KIND[kind],
            cast_to=httpx2.Response,
            body={"model": self._model, **body},
            options={"timeout": timeout},
        )
        turn.record_answer(response.headers)
        self._timeouts = 0
        try:
            payload = response.json()
        except ValueError:  # not JSON, or not even text
            payload = None
        if not isinstance(payload, Mapping):
            return {}
        usage = read_usage(payload)
        if usage.input_tokens:
            turn.record_usage(usage.input_tokens, usage.output_tokens)
        return payload

    async def _wait_after_timeout(self, error: service_errors.Retry, tries: int, failures: int, timeouts: int) -> None:
        """Leave the service alone for a while, or give the call up.

        Raises EndpointError where several calls were tried and none was answered.
        """
        patience = self._patience
        if timeouts >= patience.timeouts or failures >= patience.tries:
            raise CallFailedError(error.reason, tries=tries)
        if timeouts > 1 and self._timeouts >= patience.timeouts:
            reason = f"{self._timeouts} calls in a row were not answered in time"
            raise EndpointError(service_errors.unavailable_message(self._endpoint, self._model, reason))
        await patience.sleep(patience.pause_after_timeout(timeouts))

    async def _wait(self, error: service_errors.Retry, tries: int, failures: int, first_failed: float) -> None:
        patience = self._patience
        pause = patience.pause(tries) if error.after_s is None else error.after_s
        at_most_s = patience.max_rate_limited_s if error.is_rate_limit else patience.max_elapsed_s
        if failures >= patience.tries or patience.clock() + pause - first_failed > at_most_s:
            raise CallFailedError(error.reason, tries=tries)
        await patience.sleep(pause)

    def _learn(self, error: service_errors.UnsupportedParameter, sent: Mapping[str, Any]) -> None:
        """Remember that the model doesn't accept a parameter.

        Another call may have learned it while this one was under way; nothing is substituted back and forth.
        """
        parameter, known = error.parameter, self._capabilities.substitutes
        if parameter not in sent or parameter in known.values():
            raise EndpointError(error.message)
        if parameter not in known:
            instead = service_errors.SUBSTITUTES[parameter]
            self._capabilities.learn(parameter, instead)
            log.warning("%s refuses %s; sending %s instead", self._model, parameter, instead or "nothing")


def _report_to_limiter(turn: Admission, error: openai.APIError, outcome: service_errors.ServiceError) -> None:
    """Report the outcome of a call to the limiter.

    An error with a status is an answer, too; a broken connection says nothing about the service's capacity.
    """
    import openai

    if not isinstance(error, openai.APIStatusError):
        return
    if isinstance(outcome, service_errors.Retry):
        if outcome.is_rate_limit:
            turn.record_rate_limit(outcome.after_s, error.response.headers)
        return
    turn.record_refusal(error.response.headers)


def _estimate_tokens(body: Mapping[str, Any]) -> tuple[int, int]:
    """Estimate the tokens of the prompt, and return the maximum answer tokens as well."""
    prompt = body.get("messages") or body.get("prompt") or body.get("input") or ""
    max_tokens = body.get("max_completion_tokens") or body.get("max_tokens") or 0
    return _count_characters(prompt) // CHARACTERS_PER_TOKEN, max_tokens


def _count_characters(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return _count_characters(value.get("content"))
    return sum(map(_count_characters, value)) if isinstance(value, (list, tuple)) else 0
