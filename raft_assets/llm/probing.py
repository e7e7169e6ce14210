"""Verify an endpoint with test calls: that its model answers, and whether it reads a whole prompt.

A test call goes the way of a run's call: it is worded for the model, and what the model refuses is learned. Its answer
is short whatever the model is, it is not stored, and none is taken from the store: that would verify nothing. Which
roles share a test call is decided in `operations/probing.py`.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import httpx2

from raft_assets.core.errors import EndpointError
from raft_assets.llm.answers import read_answer, read_usage, read_vectors
from raft_assets.llm.attempts import (
    BusyError,
    CallFailedError,
    InputsRefusedError,
    RefusedError,
    Response,
    RetryingClient,
    RetryPolicy,
)
from raft_assets.llm.budget import without_budget
from raft_assets.llm.capabilities import Capabilities
from raft_assets.llm.completion_form import NoChatError
from raft_assets.llm.context_size import reported_context
from raft_assets.llm.keys import EMBEDDING
from raft_assets.llm.limits import Limiter
from raft_assets.llm.service_errors import (
    FailCall,
    Retry,
    ServiceError,
    StopEndpoint,
    Unexplained,
    UnsupportedParameter,
    classify_error,
    redact_message,
)
from raft_assets.llm.usage import estimate_tokens
from raft_assets.settings.endpoints import OPENAI_BASE_URL, Endpoint

if TYPE_CHECKING:
    import openai

T = TypeVar("T")
Task = Literal["chat", "completion", "embedding", "fine-tuning"]

PROBE_TIMEOUT_S = 30.0  # of a test call: some servers load the model first; a run waits longer
CONFIRMATION_TIMEOUT_S = 10.0  # of a long prompt that should fit by what the service reports
QUESTION = "Say yes."
MAX_ANSWER_TOKENS = 16  # a model that thinks first would otherwise think for minutes
MAX_PROMPT_WORDS = 10_000  # of the prompt that is counted; servers cut at 2,048 or 4,096 tokens unless told otherwise
MIN_READ_SHARE = 0.9  # of the words that were sent; every word is a token at least, so this is far below all of it
CONTEXT_SHARE = 0.75  # of a reported context that the counted prompt may fill, in words
IMPATIENT = RetryPolicy(tries=1, max_rate_limited_s=0.0, waits_for_jobs=False)
FINE_TUNE_REMEDY = (
    "ask for a role that may fine-tune (on Azure: Cognitive Services OpenAI Contributor; on OpenAI: a key with write "
    "permission for fine-tuning)"
)

# common words, each of them one token or more in every vocabulary
_WORDS = ("the", "small", "brown", "dog", "runs", "over", "the", "green", "hill", "and", "looks", "at", "the", "river")
_NO_SUCH_API = (404, 405, 501)
# how OpenAI's reasoning models say that their thoughts took all tokens
_UNFINISHED = re.compile(r"could not finish the message", re.IGNORECASE)


@dataclass(frozen=True)
class PromptTest:
    """What became of a prompt of `words` words; `tokens_read` are those that the service counted, None if it didn't.

    `failure`: why no answer came, empty if one did.
    """

    words: int
    tokens_read: int | None = None
    failure: str = ""

    @property
    def is_cut(self) -> bool:
        """Whether the service read less than was sent, and said nothing."""
        return self.tokens_read is not None and self.tokens_read < MIN_READ_SHARE * self.words


@dataclass(frozen=True)
class ProbeResult:
    """What the endpoint does, in half a sentence; `is_warning`: it may work, and a run may fail.

    `context_tokens`: what the service reports for prompt and answer together. `prompt`: None if none was sent.
    """

    message: str
    is_warning: bool = False
    context_tokens: int | None = None
    prompt: PromptTest | None = None


class Probe:
    """Test calls to one model of an endpoint, over an open client."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        model: str,
        client: openai.AsyncOpenAI,
        limiter: Limiter,
        capabilities: Capabilities,
    ) -> None:
        self._endpoint = endpoint
        self._model = model
        self._client = client
        self._attempts = RetryingClient(
            endpoint,
            model=model,
            client=client,
            limiter=limiter,
            capabilities=capabilities,
            patience=IMPATIENT,
            hold=without_budget,
            count_tokens=estimate_tokens,
        )

    async def run(self, task: Task, *, prompt_words: int = 0, timeout_s: float = PROBE_TIMEOUT_S) -> ProbeResult:
        """Return what the endpoint does; raises EndpointError with what to set, or whom to ask.

        `prompt_words`: the tokens of a run's longest prompt with its answer; where the service may cut a prompt without
        an error, one of that length is sent as well. No call lasts longer than `timeout_s`.
        """
        if task == "fine-tuning":
            return await self._fine_tuning(timeout_s)
        try:
            result = await self._answers(task, timeout_s)
        except BusyError as busy:
            return _busy(str(busy), is_loading=busy.is_loading)
        except TimeoutError:
            return ProbeResult(
                f"took the question and did not answer it within {timeout_s:g} s: it is slow, busy or still loading "
                "the model. Run `raft doctor` again when it answers; a run waits longer",
                is_warning=True,
            )
        if result.is_warning or _has_fine_tuning_api(self._endpoint):
            return result  # busy; or these refuse what is too long, and report no context
        context = await reported_context(self._client, self._endpoint, self._model)
        fitting = int(context * CONTEXT_SHARE) if context else MAX_PROMPT_WORDS
        words = min(prompt_words, fitting, MAX_PROMPT_WORDS)
        prompt = await self._read_whole(task, words, timeout_s, has_context=context is not None) if words else None
        return replace(result, context_tokens=context, prompt=prompt)

    async def _answers(self, task: Task, timeout_s: float) -> ProbeResult:
        try:
            if task == "embedding":
                (vector,) = (await self._call(task, QUESTION, _read_vectors, timeout_s)).content
                return ProbeResult(f"embeds with {vector.size} dimensions")
            answer = (await self._call(task, QUESTION, read_answer, timeout_s)).content
        except NoChatError:
            return ProbeResult("completes; it takes no chat requests, and is sent worked examples instead")
        except BusyError:
            raise
        except CallFailedError as lost:
            if _UNFINISHED.search(str(lost)):
                return ProbeResult(_thinks(task))
            sentence = lost.sentence if isinstance(lost, RefusedError) else ""
            raise EndpointError(sentence or _unavailable(self._endpoint, self._model, str(lost))) from None
        except EndpointError as error:
            if _UNFINISHED.search(str(error)):
                return ProbeResult(_thinks(task))
            raise
        if answer.status == "truncated" and not answer.text.strip():
            return ProbeResult(_thinks(task))
        return ProbeResult("completes" if task == "completion" else "answers")

    async def _read_whole(self, task: Task, words: int, timeout_s: float, *, has_context: bool) -> PromptTest | None:
        """Send a prompt of so many words, and return how many tokens of it the service counted.

        Where it reports a context that holds the prompt, a slow answer isn't worth the wait: return None.
        """
        # a beginning of its own, because a service may leave out what it has in its cache
        prompt = " ".join([f"{secrets.token_hex(4)}.", *islice(cycle(_WORDS), words)])
        timeout_s = min(timeout_s, CONFIRMATION_TIMEOUT_S) if has_context else timeout_s
        try:
            response = await self._call(task, prompt, read_usage, timeout_s)
        except NoChatError:
            return None
        except TimeoutError:
            return None if has_context else PromptTest(words, failure=f"no answer came within {timeout_s:g} s")
        except (CallFailedError, EndpointError) as error:
            return PromptTest(words, failure=str(error).rstrip("."))
        return PromptTest(words, tokens_read=response.content.input_tokens or None)

    async def _call(
        self, task: Task, text: str, read: Callable[[Mapping[str, Any]], T], timeout_s: float
    ) -> Response[T]:
        """Make one test call; raises TimeoutError, CallFailedError or EndpointError."""
        async with asyncio.timeout(timeout_s):
            try:
                return await self._attempts.call(_KINDS[task], _body(task, text), read, on_lost=lambda _: None)
            except InputsRefusedError as refused:
                raise CallFailedError(str(refused).rstrip("."), tries=1) from None

    async def _fine_tuning(self, timeout_s: float) -> ProbeResult:
        """Ask for the list of jobs; a student's base need not be deployed."""
        import openai

        endpoint = self._endpoint
        try:
            async with asyncio.timeout(timeout_s):
                response = await self._client.get(
                    "/fine_tuning/jobs", cast_to=httpx2.Response, options={"params": {"limit": 1}}
                )
        except TimeoutError:
            return ProbeResult(
                f"did not list its fine-tuning jobs within {timeout_s:g} s: it is slow or busy", is_warning=True
            )
        except openai.APIError as error:
            meaning = classify_error(error, endpoint, endpoint.model)
            if isinstance(meaning, Retry) and meaning.is_temporary:
                return _busy(meaning.reason, is_loading=meaning.is_loading)
            status = getattr(error, "status_code", 0)
            if status in _NO_SUCH_API and not _has_fine_tuning_api(endpoint):
                return _no_fine_tuning(str(status))
            raise EndpointError(_refusal(error, meaning, endpoint)) from None
        if _is_job_list(response):
            return ProbeResult("fine-tuning is permitted")
        return _no_fine_tuning("what it answers is no list of jobs")


_KINDS: Mapping[str, str] = {"chat": "chat", "completion": "completion", "embedding": EMBEDDING}


def _body(task: Task, text: str) -> Mapping[str, Any]:
    if task == "embedding":
        return {"input": [text], "encoding_format": "base64"}
    if task == "completion":
        return {"prompt": text, "max_tokens": MAX_ANSWER_TOKENS}
    return {"messages": [{"role": "user", "content": text}], "max_completion_tokens": MAX_ANSWER_TOKENS}


def _read_vectors(payload: Mapping[str, Any]) -> Sequence[Any]:
    return read_vectors(payload, count=1)


def _thinks(task: Task) -> str:
    does = "completes" if task == "completion" else "answers"
    return f"{does}; it thinks first, longer than the {MAX_ANSWER_TOKENS} tokens of the test call"


def _has_fine_tuning_api(endpoint: Endpoint) -> bool:
    return endpoint.provider != "openai" or endpoint.service == OPENAI_BASE_URL or endpoint.is_azure_openai


def _is_job_list(response: httpx2.Response) -> bool:
    """Return whether jobs came; some servers answer 200 at addresses that they don't know."""
    try:
        payload = response.json()
    except ValueError:
        return False
    return isinstance(payload, Mapping) and isinstance(payload.get("data"), list)


def _no_fine_tuning(reason: str) -> ProbeResult:
    return ProbeResult(
        f"has no fine-tuning API ({reason}), so a run stops at finetuned_model: evaluate a student of your own "
        "(student.finetuned_model in domain.yaml), or set STUDENT to a service that fine-tunes",
        is_warning=True,
    )


def _busy(reason: str, *, is_loading: bool) -> ProbeResult:
    """Return the finding about a service that is there and asks to come back."""
    does = "is there and still loading the model" if is_loading else "is there and busy"
    return ProbeResult(f"{does}: {reason}. Run `raft doctor` again when it answers; a run waits", is_warning=True)


def _refusal(error: openai.APIError, meaning: ServiceError, endpoint: Endpoint) -> str:
    """Return a sentence about a list of jobs that the service refuses."""
    if getattr(error, "status_code", 0) == 403:
        return f"{endpoint.role} ({endpoint.service}) refuses (403): {FINE_TUNE_REMEDY}."
    match meaning:
        case StopEndpoint(sentence) | UnsupportedParameter(_, sentence) | Unexplained(_, sentence):
            return sentence
        case Retry(reason) | FailCall(reason):
            return _unavailable(endpoint, endpoint.model, reason)
    return _unavailable(endpoint, endpoint.model, redact_message(error, endpoint).rstrip("."))


def _unavailable(endpoint: Endpoint, model: str, reason: str) -> str:
    asking = f"{endpoint.role} ({model} at {endpoint.service})"
    return f"{asking} does not respond: {reason}. Check address and network, or wait."
