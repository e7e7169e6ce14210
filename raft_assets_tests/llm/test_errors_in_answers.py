"""Errors that came in a response of status 200."""

from typing import Any

import httpx2
import openai
import pytest

from raft_assets.llm.errors_in_answers import find_error

REQUEST = httpx2.Request("POST", "http://127.0.0.1:1/v1/chat/completions")


def found(payload: dict[str, Any], **headers: str) -> openai.APIStatusError | None:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return find_error(payload, httpx2.Response(200, request=REQUEST, headers=sent))


ERRORS: dict[str, tuple[dict[str, Any], int, str]] = {
    "a text": ({"error": "Unexpected endpoint. (POST /v1/x)"}, 500, "Unexpected endpoint. (POST /v1/x)"),
    "a number": (
        {"choices": None, "error": {"code": 429, "message": "Provider error", "metadata": {"raw": "try later"}}},
        429,
        "Provider error: try later",
    ),
    "a number as text": ({"error": {"code": "503", "message": "no provider"}}, 503, "no provider"),
    "a name": ({"error": {"code": "rate_limit_exceeded", "message": "slow down"}}, 429, "slow down"),
    "a type": ({"error": {"type": "authentication_error", "message": "bad key"}}, 401, "bad key"),
    "a message": ({"error": {"message": "Rate limit reached for requests"}}, 429, "Rate limit reached for requests"),
    "no credit": ({"error": {"code": 402, "message": "Insufficient credits"}}, 402, "Insufficient credits"),
    "a list": ({"error": [{"message": "one"}, {"message": "two"}]}, 500, "one: two"),
    "in the choice": (
        {
            "choices": [
                {"finish_reason": "error", "message": {"content": "The"}, "error": {"code": 502, "message": "gone"}}
            ]
        },
        502,
        "gone",
    ),
    "vLLM's own form": ({"object": "error", "message": "no model", "code": 404}, 404, "no model"),
    "FastAPI's": ({"detail": "overloaded"}, 500, "overloaded"),
    "a gateway's": ({"code": 1302, "msg": "too many requests"}, 429, "too many requests"),
    "nothing said": ({"error": {"code": 500}}, 500, "Internal Server Error"),
}


@pytest.mark.parametrize(("payload", "status", "says"), ERRORS.values(), ids=ERRORS)
def test_an_error_is_the_one_that_it_says(payload: dict[str, Any], status: int, says: str) -> None:
    error = found(payload)
    assert error is not None
    assert (error.status_code, error.message) == (status, says)


@pytest.mark.parametrize(
    "payload",
    [
        {"choices": [{"message": {"content": "yes"}}], "error": None},
        {"choices": [], "message": "fine"},
        {"data": [{"embedding": [1.0]}]},
        {},
    ],
)
def test_an_answer_holds_no_error(payload: dict[str, Any]) -> None:
    assert found(payload) is None


def test_the_pause_that_the_service_asks_for_is_kept() -> None:
    error = found({"error": {"code": 429, "message": "later"}}, retry_after="7")
    assert error is not None
    assert error.response.headers["retry-after"] == "7"
