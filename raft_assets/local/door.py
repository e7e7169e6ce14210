"""Who may come in: names by which a server is addressed, pages of other origins, and the key.

On the loopback interface a server needs no key, because the check of `Host` and `Origin` keeps web pages out (a page
that resolves its own name to this machine, or posts to it from elsewhere). Reachable by others, it needs one.
"""

import hmac
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from raft_assets.provider.errors import error_body

OPEN_PATHS = ("/health",)  # tells nothing, and is asked by what supervises the process


class Door:
    """The application behind its door."""

    def __init__(self, app: ASGIApp, *, names: Sequence[str], key: str) -> None:
        """Put the door before `app`; `names` are those of the server, an empty `key` lets everybody in."""
        self._app, self._names, self._key = app, {name.lower() for name in names}, key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request pass, or answer it."""
        if scope["type"] == "http" and (refused := self._refuse(scope["path"], Headers(scope=scope))):
            await refused(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refuse(self, path: str, headers: Headers) -> JSONResponse | None:
        host = headers.get("host", "")
        if _name(host) not in self._names:
            return _refusal(
                403,
                f"This server is not addressed as {host[:80]!r}. Use one of its names, or start it with `--name` and "
                "that one.",
                "invalid_host",
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return _refusal(403, "Pages of other origins may not ask this server.", "invalid_origin")
        given = headers.get("authorization", "").encode("latin-1")
        if self._key and path not in OPEN_PATHS and not hmac.compare_digest(given, b"Bearer " + self._key):
            return _refusal(401, "Incorrect API key provided.", "invalid_api_key")
        return None


def _name(host: str) -> str:
    """Return the host of a `Host` header without its port."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") and ":" in host else host
    return name.lower()


def _refusal(status: int, message: str, code: str) -> JSONResponse:
    return JSONResponse(error_body(message, code=code), status)
