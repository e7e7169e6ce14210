"""One call, however many tries it takes.

Sends a body, changes what the model doesn't accept, waits and tries again, or gives up. What an error means is defined
in `service_errors`, what a response says in `answers`. Nothing here knows of streams or of the store.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import httpx2

from raft_assets.core.errors import EndpointError, NotDeployedError
from raft_assets.llm import service_errors
from raft_assets.llm.answers import CONTENT_FILTER, MalformedResponseError
from raft_assets.llm.budget import Reservation
from raft_assets.llm.capabilities import Capabilities
from raft_assets.llm.clients import CONNECT_S
from raft_assets.llm.completion_form import CHAT, NoChatError, refuses_chat
from raft_assets.llm.errors_in_answers import find_error
from raft_assets.llm.input_limits import is_about_inputs, is_too_long
from raft_assets.llm.keys import EMBEDDING
from raft_assets.llm.limits import Admission, Limiter
from raft_assets.llm.posting import Poster
from raft_assets.llm.requests import NO_USAGE, Usage
from raft_assets.llm.service_messages import error_body
from raft_assets.llm.unsupported_parameters import error_text, unsupported_parameter
from raft_assets.llm.usage import UNREADABLE, TokenCount, count_usage, error_usage, max_usage, told_usage
from raft_assets.settings.endpoints import Endpoint

if TYPE_CHECKING:
    import openai

T = TypeVar("T")
Hold = Callable[[Mapping[str, Any]], AbstractAsyncContextManager[Reservation]]

CHARACTERS_PER_TOKEN = 4  # of English; only the pacing of tokens per minute rests on it
PATH_BY_KIND = {"chat": "/chat/completions", "completion": "/completions", EMBEDDING: "/embeddings"}


@dataclass(frozen=True)
class RetryPolicy:
    """How long a call is retried: exponential backoff with full jitter, or the pause that the service asks for.

    No try starts later than `max_elapsed_s` after the first one failed. A service that is merely at its rate limit
    (429), or is still loading the model, isn't failing: such tries aren't counted, and are bounded by time alone. One
    whose machine has a job to do says so each time, and is waited for as long as it does (`waits_for_jobs`). A service
    that doesn't answer in time may still work on what was given up: it is left alone for `timeout_pause_s`, doubled
    each time, and the next try waits twice as long. Clock, sleep and random numbers are fields so that tests need not
    wait.
    """

    tries: int = 6
    timeouts: int = 3
    timeout_pause_s: float = 10.0
    max_elapsed_s: float = 120.0
    max_rate_limited_s: float = 1800.0
    waits_for_jobs: bool = True
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
        return self.random() * min(self.max_pause_s, self.initial_pause_s * 2.0 ** min(tries - 1, 32))


DEFAULT_RETRY_POLICY = RetryPolicy()


class CallFailedError(Exception):
    """A call was given up after so many tries; the message says why."""

    def __init__(self, reason: str, *, tries: int) -> None:
        super().__init__(f"{reason}, after {tries} tries" if tries > 1 else reason)
        self.tries = tries


class BusyError(CallFailedError):
    """A call was given up because the service, which is there, asks to come back: it is at a limit, busy or loading.

    `is_loading`: it is still loading the model.
    """

    def __init__(self, reason: str, *, tries: int, is_loading: bool) -> None:
        super().__init__(reason, tries=tries)
        self.is_loading = is_loading


class UnreachableError(CallFailedError):
    """A call was given up because there was no connection to the service, or it was lost before an answer began."""


class RefusedError(CallFailedError):
    """The service answered, and doesn't take the request.

    `sentence` is about the endpoint, for the case that it takes no other request either; empty where the service's
    words are about this request alone.
    """

    def __init__(self, reason: str, *, tries: int, sentence: str = "") -> None:
        super().__init__(reason, tries=tries)
        self.sentence = sentence


class InputsRefusedError(EndpointError):
    """The service doesn't embed these texts together: they are too many, or too long, or it refuses one of them.

    `said`: in its own words, as they came, `shown`: without secrets; `meaning`: what that means where it is one text.
    """

    def __init__(self, said: str, shown: str, *, is_too_long: bool, meaning: service_errors.ServiceError) -> None:
        refused = f"The service refuses these texts: {shown}."
        super().__init__(meaning.sentence if isinstance(meaning, service_errors.StopEndpoint) else refused)
        self.said = said
        self.shown = shown
        self.is_too_long = is_too_long
        self.meaning = meaning


@dataclass(frozen=True)
class _Reworded:
    """The service refused the call as it was worded; the capabilities have learned another wording."""


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
    """Makes calls to one model; a parameter that it doesn't accept is learned once and for all.

    `hold` reserves money for a try that the limiter has admitted; `count_tokens` is for what the service doesn't tell.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        model: str,
        client: openai.AsyncOpenAI,
        limiter: Limiter,
        capabilities: Capabilities,
        patience: RetryPolicy,
        hold: Hold,
        count_tokens: TokenCount,
    ) -> None:
        self._endpoint = endpoint
        self._model = model
        self._poster = Poster(client, endpoint)
        self._limiter = limiter
        self._patience = patience
        self._capabilities = capabilities
        self._hold, self._count_tokens = hold, count_tokens
        self._timeouts = 0  # since the last response, of all calls

    async def call(
        self,
        kind: str,
        body: Mapping[str, Any],
        read: Callable[[Mapping[str, Any]], T],
        on_lost: Callable[[Usage], None],
    ) -> Response[T]:
        """Send `body` until `read` can read the response.

        `on_lost` is told the tokens of what came and can't be used, and of a call that is cancelled on its way: they
        are paid as well. Raises CallFailedError, of which RefusedError is one, EndpointError where no other call would
        pass either, InputsRefusedError where fewer or other texts might be embedded, and NoChatError where the model
        takes no chat requests.
        """
        tries, failures, timeouts = 1, 0, 0
        first_failed: float | None = None
        while True:
            outcome, usage = await self._try(kind, body, read, on_lost, tries, timeouts)
            if not isinstance(outcome, Response) and usage != NO_USAGE:
                on_lost(usage)
            match outcome:
                case Response():
                    return outcome
                case _TimedOut():
                    timeouts, failures, first_failed = timeouts + 1, failures + 1, None
                    await self._wait_after_timeout(outcome, tries, failures, timeouts)
                    tries += 1
                case service_errors.Retry():
                    first_failed = self._patience.clock() if first_failed is None else first_failed
                    failures += not outcome.is_awaited
                    await self._wait(outcome, tries, failures, first_failed)
                    tries += not outcome.is_paused
                    first_failed = None if outcome.is_paused else first_failed
                case _Reworded():
                    continue
                case service_errors.UnsupportedParameter(_, sentence):
                    raise EndpointError(sentence)
                case service_errors.FailCall(reason):
                    raise RefusedError(reason, tries=tries)
                case service_errors.Unexplained(reason, sentence):
                    raise RefusedError(reason, tries=tries, sentence=sentence)
                case service_errors.StopEndpoint(sentence, not_deployed):
                    raise NotDeployedError(sentence) if not_deployed else EndpointError(sentence)

    async def _try(  # noqa: PLR0917 - what `call` got, and how often it was tried
        self,
        kind: str,
        body: Mapping[str, Any],
        read: Callable[[Mapping[str, Any]], T],
        on_lost: Callable[[Usage], None],
        tries: int,
        timeouts: int,
    ) -> tuple[
        Response[T]
        | _Reworded
        | service_errors.Retry
        | service_errors.FailCall
        | service_errors.UnsupportedParameter
        | service_errors.Unexplained
        | service_errors.StopEndpoint,
        Usage,
    ]:
        """Return the outcome of one try, and the tokens that are paid for it. Raises InputsRefusedError."""
        import openai

        usage = NO_USAGE
        async with self._limiter.admit(*_estimate_tokens(body), again=tries > 1) as turn, self._hold(body) as held:
            started, sent = self._patience.clock(), self._capabilities.apply(body)
            self._check_texts(kind, sent)
            try:
                response, payload = await self._post(kind, sent, self._timeout(turn, timeouts))
                self._timeouts = 0
                if error_in_answer := find_error(payload, response):
                    usage = error_usage(sent, payload)
                    raise error_in_answer
                turn.record_answer(response.headers)
                outcome: Mapping[str, Any] | _Reworded | service_errors.ServiceError = payload
            except openai.APIError as error:
                usage = _cost_of_error(error, sent, usage)
                try:
                    outcome = self._read_error(kind, error, sent, turn)
                except (NoChatError, InputsRefusedError):
                    held.record(usage)
                    if usage != NO_USAGE:
                        on_lost(usage)
                    raise
            except asyncio.CancelledError:  # the service may answer it all the same, and bills it
                usage = max_usage(sent)
                held.record(usage)
                on_lost(usage)
                raise
            except UnicodeEncodeError:
                outcome = service_errors.FailCall("the request holds half a character (a lone surrogate)")
                if kind == EMBEDDING:  # one of the texts does
                    raise InputsRefusedError("", outcome.reason, is_too_long=False, meaning=outcome) from None
            latency_s = self._patience.clock() - started
            if isinstance(outcome, Mapping):
                usage = await self._usage_of(sent, outcome)
                if usage.input_tokens and not usage.estimated:
                    turn.record_usage(usage.input_tokens, usage.output_tokens)
            held.record(usage)
        if isinstance(outcome, service_errors.ContentFiltered):
            outcome = {"error": {"code": CONTENT_FILTER, "message": outcome.message}}
        if not isinstance(outcome, Mapping):
            return outcome, usage
        try:
            answered = Response(outcome, read(outcome), usage, latency_s, tries)
        except MalformedResponseError as malformed:
            return service_errors.Retry(f"it sent {malformed}"), usage
        self._capabilities.check_limit(sent, usage)
        return answered, usage

    async def _usage_of(self, sent: Mapping[str, Any], payload: Mapping[str, Any]) -> Usage:
        """Return the tokens of a response, counted in a thread if not told: a vocabulary takes a second to load."""
        usage = count_usage(sent, payload)
        return await asyncio.to_thread(count_usage, sent, payload, self._count_tokens) if usage.estimated else usage

    def _timeout(self, turn: Admission, timeouts: int) -> httpx2.Timeout:
        """Return how long to wait for the answer: longer after `timeouts` of the call, unless the user set it."""
        is_set = self._endpoint.limits.timeout_s is not None
        return httpx2.Timeout(turn.timeout_s * (1 if is_set else 2**timeouts), connect=CONNECT_S)

    async def _post(
        self, kind: str, body: Mapping[str, Any], patience: httpx2.Timeout
    ) -> tuple[httpx2.Response, Mapping[str, Any]]:
        """Post the body; its answer is JSON as it came, which is stored."""
        response = await self._poster.post(PATH_BY_KIND[kind], {"model": self._model, **body}, patience)
        try:
            payload = response.json()
        except ValueError:  # not JSON, or not even text
            payload = {UNREADABLE: response.text}
        return response, payload if isinstance(payload, Mapping) else {}

    def _read_error(
        self, kind: str, error: openai.APIError, sent: Mapping[str, Any], turn: Admission
    ) -> _Reworded | service_errors.ServiceError:
        """Return what to do about an error, and report it to the limiter.

        Raises NoChatError, and InputsRefusedError as `_reword` does.
        """
        import openai

        outcome = service_errors.classify_error(error, self._endpoint, self._model)
        if service_errors.is_timeout(error):
            turn.record_timeout()
            self._timeouts, outcome = self._timeouts + 1, _TimedOut("it did not answer in time")
        _report_to_limiter(turn, error, outcome)
        if kind == CHAT and isinstance(error, openai.APIStatusError) and refuses_chat(error):
            raise NoChatError(service_errors.redact_message(error, self._endpoint)) from None
        return self._reword(kind, error, sent, outcome)

    def _reword(
        self, kind: str, error: openai.APIError, sent: Mapping[str, Any], meaning: service_errors.ServiceError
    ) -> _Reworded | service_errors.ServiceError:
        """Return `_Reworded` where the service refused a parameter that can be changed, else what the error means.

        Raises InputsRefusedError where it is the texts to embed that were refused.
        """
        import openai

        if not isinstance(error, openai.APIStatusError):
            return meaning
        if not isinstance(meaning, service_errors.FailCall | service_errors.ContentFiltered):
            parameter = unsupported_parameter(error, sent)
            if parameter and self._capabilities.learn_unsupported(parameter, sent):
                return _Reworded()
        said = error_text(error)
        if kind == EMBEDDING and is_about_inputs(error.status_code, said, meaning):
            shown = service_errors.redact_message(error, self._endpoint)
            raise InputsRefusedError(said, shown, is_too_long=is_too_long(error.status_code, said), meaning=meaning)
        return meaning

    def _check_texts(self, kind: str, sent: Mapping[str, Any]) -> None:
        """Raise InputsRefusedError for more texts than the service takes, as it told while this call waited."""
        most = self._capabilities.texts_a_call
        if kind == EMBEDDING and most and len(sent["input"]) > most:
            said = f"at most {most} texts a call"
            raise InputsRefusedError(said, said, is_too_long=False, meaning=service_errors.FailCall(said))

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
        at_most_s = patience.max_rate_limited_s if error.is_awaited else patience.max_elapsed_s
        if error.is_paused:
            at_most_s = math.inf if patience.waits_for_jobs else 0.0
        if failures >= patience.tries or patience.clock() + pause - first_failed > at_most_s:
            if error.is_temporary:
                raise BusyError(error.reason, tries=tries, is_loading=error.is_loading)
            raise (UnreachableError if error.is_unreachable else CallFailedError)(error.reason, tries=tries)
        await patience.sleep(pause)


def _cost_of_error(error: openai.APIError, sent: Mapping[str, Any], known: Usage) -> Usage:
    """Return the tokens that are paid for a try that ended in an error; `known`: those of an error inside an answer."""
    import openai

    if service_errors.is_cut_off(error):
        return max_usage(sent)
    is_told = known == NO_USAGE and isinstance(error, openai.APIStatusError)
    return told_usage(sent, error_body(error)) if is_told else known


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
