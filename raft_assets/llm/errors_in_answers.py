"""Errors that services put into a response of status 200.

OpenRouter does, once the model has started; LM Studio for an address that it doesn't know; gateways for the service
behind them. Such an error is made the error that it says, so that it is dealt with like any other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from raft_assets.llm.service_messages import find_sentences

if TYPE_CHECKING:
    import httpx2
    import openai

# for errors without a number, by what they are called; an error that nothing is known of may pass, like a 500
_STATUS_BY_NAME: Mapping[int, re.Pattern[str]] = {
    429: re.compile(r"rate[ _-]?limit|too[ _]many[ _]requests|throttl|resource[ _]exhausted", re.IGNORECASE),
    401: re.compile(r"invalid_api_key|unauthori[sz]ed|unauthenticated|authentication_error", re.IGNORECASE),
    402: re.compile(r"insufficient_(?:quota|balance|credits)|payment_required", re.IGNORECASE),
    404: re.compile(r"model_not_found|not_found_error|DeploymentNotFound", re.IGNORECASE),
    400: re.compile(r"context_length_exceeded|content_filter|content_policy|string_above_max_length|invalid_request"),
}
_CONTENTS = ("choices", "data")  # of a response that answers


def find_error(payload: Mapping[str, Any], response: httpx2.Response) -> openai.APIStatusError | None:
    """Return the error that a response holds in place of an answer, or of the end of one; None if it holds none."""
    import httpx2
    import openai

    error = _error_of(payload)
    if not error:
        return None
    message = ": ".join(dict.fromkeys(find_sentences(error)))
    fields = dict(error) if isinstance(error, Mapping) else {}
    body = {**fields, "message": message}
    headers = {name: value for name, value in response.headers.items() if not name.startswith(("content-", "transfer"))}
    status = _status_of(fields, message)
    said = httpx2.Response(
        status, headers=headers, content=json.dumps({"error": body}).encode(), request=response.request
    )
    return openai.APIStatusError(message or HTTPStatus(status).phrase, response=said, body=body)


def _error_of(payload: Mapping[str, Any]) -> Any:
    if error := payload.get("error"):
        return error
    choices = payload.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if isinstance(first, Mapping) and first.get("error"):
        return first["error"]
    if any(payload.get(name) is not None for name in _CONTENTS):
        return None
    return payload if any(payload.get(name) for name in ("message", "msg", "detail", "errors")) else None


def _status_of(error: Mapping[str, Any], message: str) -> int:
    for name in ("code", "status", "status_code", "http_code"):
        number = str(error.get(name))
        if number.isdecimal() and 400 <= int(number) < 600:
            return int(number)
    names = " ".join(str(error.get(name) or "") for name in ("code", "type", "status"))
    found = next((status for status, called in _STATUS_BY_NAME.items() if called.search(names)), None)
    return found or (429 if _STATUS_BY_NAME[429].search(message) else 500)
