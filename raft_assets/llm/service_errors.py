"""What a service's error means: retry, fail the call, change the body, or stop.

One table of rules for every service that speaks the OpenAI protocol. Nothing here makes calls, waits or stores
anything.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from raft_assets.core.error_codes import PAUSED_FOR_JOB
from raft_assets.llm.answers import abbreviate
from raft_assets.llm.service_messages import (
    ServiceMessage,
    Subject,
    error_body,
    is_busy,
    is_loading,
    names_quota,
    read_message,
)
from raft_assets.settings.endpoints import Endpoint, Role

if TYPE_CHECKING:
    import openai

# what is sent instead of a parameter that a model doesn't accept; None: nothing
SUBSTITUTES: Mapping[str, str | None] = {
    "max_completion_tokens": "max_tokens",  # older local services know only the old name
    "max_tokens": "max_completion_tokens",  # reasoning models know only the new one
    "temperature": None,  # reasoning models have one temperature
    "seed": None,
    "response_format": None,  # the prompt asks for the format as well
    "reasoning_effort": None,  # of models that reason
    "encoding_format": None,  # vectors then come as numbers
}

_UNSUPPORTED = {"unsupported_parameter", "unsupported_value", "unknown_parameter"}
# how Azure's older API versions say it, without a code
_UNRECOGNIZED = re.compile(r"[Uu]nrecognized request arguments? supplied: (\w+)")
_NO_CREDIT = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
# parameters that hold the prompt: where one of them is refused, another prompt may pass
_PROMPT_PARAMETERS = {"messages", "message", "prompt", "input", "inputs", "content", "contents", "text"}
_PARAMETER_NAME = re.compile(r"[\w.\[\]]+")
# shorter keys and these are no secrets but the words that a local service is given where it wants none
MIN_SECRET_CHARACTERS = 8
_PLACEHOLDERS = {
    *("lm-studio", "lmstudio", "llama-cpp", "llama.cpp", "llamacpp", "not-needed", "notneeded", "not_needed"),
    *("no-key-required", "sk-no-key-required", "no-api-key", "anything", "whatever", "placeholder", "password"),
    *("changeme", "localhost", "api_key", "api-key", "your-api-key", "your_api_key", "undefined", "optional"),
}
_MASKED = re.compile(r"[\w\-]*\*{4,}[\w\-]*")  # how a service shows the ends of a key
# of certificates; what else is wrong with one is mended by trusting its issuer
_EXPIRED, _OF_ANOTHER_NAME = {9, 10}, {62, 64}
# Azure calls a deployment Succeeded before, and sometimes without ever, its own front knowing it
_NOT_READY = re.compile(r"deployment\s*(is\s+)?not\s*(yet\s+)?ready", re.IGNORECASE)
_LOADING = re.compile(r"failed to load (the )?lora", re.IGNORECASE)  # an open model's adapter, for some minutes
# where `settings` looks for what the role itself doesn't set
_FALLBACK_PREFIX = {Role.TEACHER: "COMPLETION", Role.BASELINE: "STUDENT"}


@dataclass(frozen=True)
class Retry:
    """The call may succeed later.

    `after_s` is the wait that the service asks for, if it says so; `is_rate_limit`: the service is at its limit;
    `is_loading`: the service is still loading the model, which takes minutes and isn't a failure; `is_busy`: it says
    that it has too much to do; `is_paused`: a job has its machine, and it answers again when that has ended, however
    long it takes; `is_unreachable`: nothing of an answer came.
    """

    reason: str
    after_s: float | None = None
    is_rate_limit: bool = False
    is_loading: bool = False
    is_busy: bool = False
    is_paused: bool = False
    is_unreachable: bool = False

    @property
    def is_temporary(self) -> bool:
        """Whether the service is there, and will answer later by its own words."""
        return self.is_awaited or self.is_busy

    @property
    def is_awaited(self) -> bool:
        """Whether the service is well, and its answer is a matter of waiting: no failure of the call."""
        return self.is_rate_limit or self.is_loading or self.is_paused


@dataclass(frozen=True)
class FailCall:
    """The same request would fail again; other requests may pass."""

    reason: str


@dataclass(frozen=True)
class ContentFiltered:
    """The service's content filter; an answer like any other, with the message that came."""

    message: str


@dataclass(frozen=True)
class UnsupportedParameter:
    """The model rejects a parameter of `SUBSTITUTES`; `message` is for when changing it doesn't help."""

    parameter: str
    message: str


@dataclass(frozen=True)
class Unexplained:
    """The service doesn't take the request, and its words don't say whether it would take others.

    `reason` is about the request; `sentence` is for people, in case it takes no other either.
    """

    reason: str
    sentence: str


@dataclass(frozen=True)
class StopEndpoint:
    """No request to this endpoint will pass until the user changes something; a sentence for people."""

    sentence: str
    not_deployed: bool = False


ServiceError = Retry | FailCall | ContentFiltered | UnsupportedParameter | Unexplained | StopEndpoint


def classify_error(error: openai.APIError, endpoint: Endpoint, model: str) -> ServiceError:
    """Return what to do about an error of the client."""
    import openai

    if not isinstance(error, openai.APIStatusError):
        return _find_connection_stop(error, endpoint, model) or _classify_connection_error(error)
    # what it means is decided on the words as they came; what is shown has no secrets in it
    said, message = read_message(error_body(error)), redact_message(error, endpoint)
    return (
        _classify_deploying(error, message, endpoint, model)
        or _find_account_stop(said, error, message, endpoint, model)
        or _find_prompt_fault(said, error, message)
        or _find_refused_retry(error, message, endpoint, model)
        or _find_retry(said, error, message)
        or _classify_bad_request(error, said, message, endpoint, model)
    )


def _classify_connection_error(error: openai.APIError) -> Retry:
    if is_timeout(error):
        return Retry("it did not answer in time")
    return Retry("the connection failed", is_unreachable=not is_cut_off(error))


def _find_refused_retry(
    error: openai.APIStatusError, message: str, endpoint: Endpoint, model: str
) -> Unexplained | None:
    """Return what a service says that failed and that answers the same however often it is asked.

    Source: the header `x-should-retry`, which OpenAI's client libraries obey.
    """
    if error.status_code < 500 or error.response.headers.get("x-should-retry") != "false":
        return None
    failed = f"it answered {error.status_code} ({message})"
    return Unexplained(failed, f"{_describe_endpoint(endpoint, model)} fails, and asking again doesn't help: {failed}.")


def _find_retry(said: ServiceMessage, error: openai.APIStatusError, message: str) -> Retry | None:
    status = error.status_code
    if status < 500 and status not in (408, 409, 425, 429):
        return None
    after_s = _parse_retry_after(error.response.headers)
    if status == 503 and error.code == PAUSED_FOR_JOB:
        return Retry(f"a job has its machine ({message})", after_s, is_paused=True)
    return Retry(
        f"it answered {status} ({message})",
        after_s,
        is_rate_limit=status == 429,
        is_loading=status != 429 and is_loading(said),
        is_busy=is_busy(said) or (status == 503 and after_s is not None),
    )


def _find_prompt_fault(
    said: ServiceMessage, error: openai.APIStatusError, message: str
) -> ContentFiltered | FailCall | None:
    """Return what the service says about this prompt and no other, with any status."""
    status = error.status_code
    if said.subject is Subject.CONTENT and not (said.is_temporary and (status == 429 or status >= 500)):
        return ContentFiltered(message)
    if said.subject is Subject.LENGTH or status == 413:
        return FailCall(f"the request is too long for the model ({message})")
    if said.subject is Subject.PROMPT:
        return FailCall(f"it does not take this prompt ({message})")
    return None


def _find_account_stop(
    said: ServiceMessage, error: openai.APIStatusError, message: str, endpoint: Endpoint, model: str
) -> StopEndpoint | None:
    """Return the sentence for an account without credit or access, whatever the request."""
    status = error.status_code
    # Gemini says of a rate what others say of an account: that its quota is exceeded
    if status == 402 or said.subject is Subject.CREDIT or (status != 429 and names_quota(said)):
        remedy = f"raise the limit of the account, or set another key in {_variable_name(endpoint, 'API_KEY')}"
        what = error.code if error.code in _NO_CREDIT else f"{status}: {message}"
        return StopEndpoint(f"{_describe_endpoint(endpoint, model)} has no credit left ({what}): {remedy}.")
    if status == 401 or said.subject is Subject.ACCOUNT:
        said_so = (
            _sign_in_message(endpoint, model) if status == 401 else _forbidden_message(status, message, endpoint, model)
        )
        return StopEndpoint(said_so)
    return None


def _find_connection_stop(error: openai.APIError, endpoint: Endpoint, model: str) -> StopEndpoint | None:
    """Return the sentence for a connection that will fail again: a certificate, or a proxy that refuses."""
    import aiohttp

    for cause in _causes(error):
        if isinstance(cause, aiohttp.ClientConnectorError):
            continue  # is one of ssl's errors as well, without what they say
        if isinstance(cause, ssl.SSLCertVerificationError):
            return StopEndpoint(_certificate_message(cause, endpoint, model))
        if isinstance(cause, ssl.SSLError) and cause.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
            address = _address_variable(endpoint)
            remedy = f"set an address that begins with http:// in {address}, or another port"
            return StopEndpoint(f"{_describe_endpoint(endpoint, model)} does not speak TLS: {remedy}.")
        if isinstance(cause, aiohttp.ClientHttpProxyError) and cause.status < 500 and cause.status not in (408, 429):
            host = cause.request_info.url.host
            what = f"the proxy refuses to connect to {host} ({abbreviate(f'{cause.status} {cause.message}')})"
            remedy = "set its user and password in HTTPS_PROXY" if cause.status == 407 else "set HTTPS_PROXY"
            return StopEndpoint(
                f"{_describe_endpoint(endpoint, model)} is not reached: {what}: {remedy}, or name {host} in NO_PROXY."
            )
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _certificate_message(error: ssl.SSLCertVerificationError, endpoint: Endpoint, model: str) -> str:
    """Return a sentence about a certificate and what mends it."""
    what = f"its certificate is not trusted ({abbreviate(error.verify_message)})"
    if error.verify_code in _EXPIRED:
        remedy = "have it renewed, or set this machine's clock"
    elif error.verify_code in _OF_ANOTHER_NAME:
        remedy = f"set the name that the certificate is for in {_address_variable(endpoint)}"
    else:
        remedy = (
            "set SSL_CERT_FILE to a PEM file that holds the certificate of its issuer, or its own if it is self-signed"
        )
    return f"{_describe_endpoint(endpoint, model)} is not reached: {what}: {remedy}."


def _classify_deploying(
    error: openai.APIStatusError, message: str, endpoint: Endpoint, model: str
) -> StopEndpoint | Retry | None:
    """Return what to do about a model that is deployed and can't answer yet, whatever the status; None if it can."""
    if _NOT_READY.search(f"{error.code} {message}"):
        told = f"{_describe_endpoint(endpoint, model)} is deployed and not ready ({error.status_code}: {message})"
        return StopEndpoint(f"{told}: run again in some minutes, or deploy it again.", not_deployed=True)
    if _LOADING.search(message):
        after_s = _parse_retry_after(error.response.headers)
        return Retry(f"it is still loading the model ({message})", after_s, is_loading=True)
    return None


def is_timeout(error: openai.APIError) -> bool:
    """Return whether the service took the call and didn't answer it in time.

    The client's aiohttp transport reports every lost connection as a timeout, too; the cause of the error distinguishes
    them. A connection that can't be made in time is a lost one.
    """
    import aiohttp
    import openai

    if not isinstance(error, openai.APITimeoutError):
        return False
    cause = error.__cause__ and error.__cause__.__cause__
    is_lost = isinstance(cause, aiohttp.ClientConnectionError) and not isinstance(cause, TimeoutError)
    return not is_lost and not isinstance(cause, aiohttp.ConnectionTimeoutError)


def is_cut_off(error: openai.APIError) -> bool:
    """Return whether the service has taken the call and its answer didn't come whole: it broke off, or came too late.

    Its work is billed all the same. A call that didn't reach the service costs nothing.
    """
    import aiohttp

    cause = error.__cause__ and error.__cause__.__cause__
    return isinstance(cause, (aiohttp.ClientPayloadError, aiohttp.SocketTimeoutError))


def redact_message(error: openai.APIError, endpoint: Endpoint) -> str:
    """Return the service's own sentence as a short line, from a body of any shape.

    Services repeat keys in it, so the endpoint's is removed, unless it is a word that nobody keeps secret.
    """
    return _show(read_message(error_body(error)).sentence or error.message, endpoint)


def find_filtered(body: object, endpoint: Endpoint) -> ContentFiltered | None:
    """Return the content filter's message where an error's body is about it, such as that of a line of a batch."""
    said = read_message(body)
    return ContentFiltered(_show(said.sentence, endpoint)) if said.subject is Subject.CONTENT else None


def _show(text: str, endpoint: Endpoint) -> str:
    """Return a service's words as a line without secrets."""
    secret = endpoint.api_key.get_secret_value().strip() if endpoint.api_key else ""
    if len(secret) >= MIN_SECRET_CHARACTERS and secret.lower() not in {*_PLACEHOLDERS, endpoint.model.lower()}:
        text = text.replace(secret, "***")
    return abbreviate(_MASKED.sub("***", text))


def unavailable_message(endpoint: Endpoint, model: str, reason: str) -> str:
    """Return a sentence about an endpoint that does not answer."""
    remedy = "Check that the service is up and run again; received answers are kept."
    return f"{_describe_endpoint(endpoint, model)} does not respond: {reason}. {remedy}"


def nothing_taken_message(endpoint: Endpoint, model: str, reason: str) -> str:
    """Return a sentence about an endpoint that takes none of many requests, each for a reason of its own."""
    remedy = f"lower chunks.chunk_size, or set another model in {_variable_name(endpoint, 'DEPLOYMENT')}"
    return f"{_describe_endpoint(endpoint, model)} takes none of the requests: {reason}. Look at the reason: {remedy}."


def _classify_bad_request(
    error: openai.APIStatusError, said: ServiceMessage, message: str, endpoint: Endpoint, model: str
) -> ServiceError:
    status = error.status_code
    remedy = f"set a model that takes it in {_variable_name(endpoint, 'DEPLOYMENT')}"
    refused = f"{_describe_endpoint(endpoint, model)} refuses the request ({status}: {message}): {remedy}."
    unrecognized = _UNRECOGNIZED.search(message)
    parameter = unrecognized[1] if unrecognized else error.param if error.code in _UNSUPPORTED else None
    if parameter and parameter in SUBSTITUTES:
        return UnsupportedParameter(parameter, refused)
    if status == 404 or said.subject is Subject.MODEL:
        return StopEndpoint(_unknown_message(status, message, endpoint, model), not_deployed=True)
    forbidden = _forbidden_message(status, message, endpoint, model)
    if said.subject is Subject.SIGN_IN:
        return StopEndpoint(forbidden)
    if said.subject is Subject.PARAMETER or error.code in _UNSUPPORTED or _names_other_parameter(error.param):
        return StopEndpoint(refused)
    return Unexplained(f"it refuses this request ({status}: {message})", forbidden if status == 403 else refused)


def _names_other_parameter(param: object) -> bool:
    """Return whether a parameter is named that doesn't hold the prompt."""
    name = param if isinstance(param, str) and _PARAMETER_NAME.fullmatch(param) else ""
    return bool(name) and re.split(r"[.\[]", name)[0] not in _PROMPT_PARAMETERS


def _sign_in_message(endpoint: Endpoint, model: str) -> str:
    """Return a sentence about a wrong key, without the service's message, which often contains it."""
    sign_in = f"does not accept the sign-in (401): set {_variable_name(endpoint, 'API_KEY')}"
    return f"{_describe_endpoint(endpoint, model)} {sign_in}."


def _forbidden_message(status: int, message: str, endpoint: Endpoint, model: str) -> str:
    remedy = f"give it access, or set another key in {_variable_name(endpoint, 'API_KEY')}"
    what = f"is forbidden for this key or from this network ({status}: {message})"
    return f"{_describe_endpoint(endpoint, model)} {what}: {remedy}."


def _unknown_message(status: int, message: str, endpoint: Endpoint, model: str) -> str:
    asking = _describe_endpoint(endpoint, model)
    if endpoint.provider == "embedded":
        return f"{asking} refuses ({status}): this installation has no such model."
    address = _address_variable(endpoint)
    remedy = f"set the model in {_variable_name(endpoint, 'DEPLOYMENT')}, or the address in {address}"
    return f"{asking} does not exist there ({status}: {message}): {remedy}."


def _address_variable(endpoint: Endpoint) -> str:
    return _variable_name(endpoint, "ENDPOINT" if endpoint.provider == "azure" else "BASE_URL")


def _describe_endpoint(endpoint: Endpoint, model: str) -> str:
    return f"{endpoint.role} (model {model} at {endpoint.service})"


def _variable_name(endpoint: Endpoint, part: str) -> str:
    family = "AZURE_OPENAI" if endpoint.provider == "azure" else "OPENAI"
    fallback = _FALLBACK_PREFIX.get(endpoint.role)
    return f"{endpoint.role}_{family}_{part}" + (f" (or {fallback}_{family}_{part})" if fallback else "")


def _parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """Return seconds from `retry-after-ms`, else from `Retry-After` (seconds or a date).

    None if neither can be parsed.
    """
    for name, per_second in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            return max(0.0, float(headers[name])) / per_second  # in this order NaN counts as 0
        except (KeyError, ValueError):
            continue
    try:
        return max((parsedate_to_datetime(headers["retry-after"]) - datetime.now(UTC)).total_seconds(), 0.0)
    except (KeyError, TypeError, ValueError):
        return None
