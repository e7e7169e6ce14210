"""What a service's error means: retry, fail the call, change the body, or stop.

One table of rules for every service that speaks the OpenAI protocol. Nothing here makes calls, waits or stores
anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import aiohttp

from raft_assets.llm.answers import CONTENT_FILTER, abbreviate
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
}

_UNSUPPORTED = {"unsupported_parameter", "unsupported_value", "unknown_parameter"}
# how Azure's older API versions say it, without a code
_UNRECOGNIZED = re.compile(r"[Uu]nrecognized request arguments? supplied: (\w+)")
_FILTERED = {CONTENT_FILTER, "content_policy_violation"}
_TOO_LONG = {"context_length_exceeded", "string_above_max_length"}
_TOO_LONG_MESSAGE = re.compile(r"maximum context length", re.IGNORECASE)  # how vLLM says it, without a code
_NO_CREDIT = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
# where `settings` looks for what the role itself doesn't set
_FALLBACK_PREFIX = {Role.TEACHER: "COMPLETION", Role.BASELINE: "STUDENT"}


@dataclass(frozen=True)
class Retry:
    """The call may succeed later.

    `after_s` is the wait that the service asks for, if it says so; `is_rate_limit`: the service is at its limit.
    """

    reason: str
    after_s: float | None = None
    is_rate_limit: bool = False


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
class StopEndpoint:
    """No request to this endpoint will pass until the user changes something; a sentence for people."""

    sentence: str
    not_deployed: bool = False


ServiceError = Retry | FailCall | ContentFiltered | UnsupportedParameter | StopEndpoint


def classify_error(error: openai.APIError, endpoint: Endpoint, model: str) -> ServiceError:
    """Return what to do about an error of the client."""
    import openai

    if is_timeout(error):
        return Retry("it did not answer in time")
    if not isinstance(error, openai.APIStatusError):
        return Retry("the connection failed")
    message = redact_message(error, endpoint)
    if error.code in _NO_CREDIT:
        remedy = f"raise the limit of the account, or set another key in {_variable_name(endpoint, 'API_KEY')}"
        return StopEndpoint(f"{_describe_endpoint(endpoint, model)} has no credit left ({error.code}): {remedy}.")
    if error.status_code in (408, 409, 429) or error.status_code >= 500:
        return Retry(
            f"it answered {error.status_code} ({message})",
            _parse_retry_after(error.response.headers),
            is_rate_limit=error.status_code == 429,
        )
    if error.status_code in (401, 403, 404):
        return StopEndpoint(
            _rejection_message(error.status_code, endpoint, model), not_deployed=error.status_code == 404
        )
    return _classify_bad_request(error, message, endpoint, model)


def is_timeout(error: openai.APIError) -> bool:
    """Return whether the service took the call and didn't answer it in time.

    The client's aiohttp transport reports every lost connection as a timeout, too; the cause of the error distinguishes
    them. A connection that can't be made in time is a lost one.
    """
    import openai

    if not isinstance(error, openai.APITimeoutError):
        return False
    cause = error.__cause__ and error.__cause__.__cause__
    is_lost = isinstance(cause, aiohttp.ClientConnectionError) and not isinstance(cause, TimeoutError)
    return not is_lost and not isinstance(cause, aiohttp.ConnectionTimeoutError)


def redact_message(error: openai.APIError, endpoint: Endpoint) -> str:
    """Return the service's message as a short line.

    Services repeat keys in it, so the endpoint's is removed.
    """
    body = error.body if isinstance(error.body, Mapping) else {}
    message = str(body.get("message") or error.message)
    secret = endpoint.api_key.get_secret_value() if endpoint.api_key else ""
    return abbreviate(message.replace(secret, "***") if secret else message)


def unavailable_message(endpoint: Endpoint, model: str, reason: str) -> str:
    """Return a sentence about an endpoint that does not answer."""
    remedy = "Check that the service is up and run again; received answers are kept."
    return f"{_describe_endpoint(endpoint, model)} does not respond: {reason}. {remedy}"


def _classify_bad_request(error: openai.APIStatusError, message: str, endpoint: Endpoint, model: str) -> ServiceError:
    if error.code in _FILTERED:
        return ContentFiltered(message)
    if error.code in _TOO_LONG or error.status_code == 413 or _TOO_LONG_MESSAGE.search(message):
        return FailCall(f"the request is too long for the model ({message})")
    remedy = f"set a model that takes it in {_variable_name(endpoint, 'DEPLOYMENT')}"
    refused = f"{_describe_endpoint(endpoint, model)} refuses the request ({error.status_code}: {message}): {remedy}."
    unrecognized = _UNRECOGNIZED.search(message)
    parameter = unrecognized[1] if unrecognized else error.param if error.code in _UNSUPPORTED else None
    return UnsupportedParameter(parameter, refused) if parameter and parameter in SUBSTITUTES else StopEndpoint(refused)


def _rejection_message(status: int, endpoint: Endpoint, model: str) -> str:
    """Return a sentence for a status of a rejection.

    The service's own message is left out: after a wrong key it often contains the key.
    """
    asking = _describe_endpoint(endpoint, model)
    if endpoint.provider == "embedded":
        return f"{asking} refuses ({status}): this installation has no such model."
    if status == 401:
        return f"{asking} does not accept the sign-in (401): set {_variable_name(endpoint, 'API_KEY')}."
    if status == 403:
        remedy = f"give it access, or set another key in {_variable_name(endpoint, 'API_KEY')}"
        return f"{asking} is forbidden for this key or from this network (403): {remedy}."
    address = _variable_name(endpoint, "ENDPOINT" if endpoint.provider == "azure" else "BASE_URL")
    remedy = f"set the model in {_variable_name(endpoint, 'DEPLOYMENT')}, or the address in {address}"
    return f"{asking} does not exist there (404): {remedy}."


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
