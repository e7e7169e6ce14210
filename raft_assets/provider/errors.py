"""Errors in the OpenAI API's form: status, and `{"error": {"message", "type", "param", "code"}}`.

What belongs here: the exception that endpoints raise and the handlers that render every exception. The messages are
where the errors are raised.
"""

import logging
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ExceptionHandler

from raft_assets.core.errors import RaftError

log = logging.getLogger(__name__)

INVALID_REQUEST, SERVER_ERROR = "invalid_request_error", "server_error"
DONT_RETRY = {"x-should-retry": "false"}  # the official client obeys it: asking again does not install what is missing


class ApiError(Exception):
    """A request that is rejected; `param` names the part of it that is wrong, `code` is for programs."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        kind: str = INVALID_REQUEST,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.kind, self.headers = kind, headers


def bad_request(message: str, *, param: str | None = None, code: str | None = None) -> ApiError:
    """Return the error 400."""
    return ApiError(400, message, param=param, code=code)


def not_found(kind: str, name: str, *, param: str = "id") -> ApiError:
    """Return the error 404 of a file or job."""
    return ApiError(404, f"No such {kind}: {name}", param=param)


def model_not_found(model: str) -> ApiError:
    """Return the error 404 of a model, in the words that clients know."""
    return ApiError(
        404,
        f"The model `{model}` does not exist or you do not have access to it.",
        param="model",
        code="model_not_found",
    )


def error_body(
    message: str, *, kind: str = INVALID_REQUEST, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """Return the body of an error."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _handle_api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    content = error_body(error.message, kind=error.kind, param=error.param, code=error.code)
    return JSONResponse(content, error.status, headers=error.headers)


def _handle_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    place = f"{request.method} {request.url.path}"
    message, code = {
        404: (f"Invalid URL ({place})", "unknown_url"),
        405: (f"Not allowed to {request.method} on {request.url.path}.", "method_not_allowed"),
    }.get(error.status_code, (error.detail, None))
    return JSONResponse(error_body(message, code=code), error.status_code, headers=dict(error.headers or {}))


def _handle_raft_error(_: Request, error: Exception) -> Response:
    return JSONResponse(error_body(str(error), kind=SERVER_ERROR), 500, headers=DONT_RETRY)


def _handle_exception(request: Request, error: Exception) -> Response:
    log.error("%s %s failed: %s", request.method, request.url.path, type(error).__name__)
    return JSONResponse(
        error_body("The provider failed on this request; its log contains the reason.", kind=SERVER_ERROR),
        500,
        headers=DONT_RETRY,
    )


HANDLERS: Mapping[Any, ExceptionHandler] = {
    ApiError: _handle_api_error,
    HTTPException: _handle_http_exception,
    RaftError: _handle_raft_error,
    Exception: _handle_exception,
}
