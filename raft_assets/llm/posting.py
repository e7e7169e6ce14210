"""Posts bodies to a model through the `openai` client of its endpoint, with little CPU a call.

Address and headers are the client library's business: they differ between services. It makes them anew for each
request, though, which takes more CPU than all the rest of a call. They are the same for all requests to one path, so
that the first one, which the library posts, is the pattern of the others. These go to its HTTP client as they are.

Not here: what is posted, and what errors mean.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2

from raft_assets.settings.endpoints import Endpoint

if TYPE_CHECKING:
    import openai

OF_ONE_BODY = {b"content-length", b"transfer-encoding"}
TELEMETRY = b"x-stainless-"  # of the client library: two thirds of its headers


@dataclass(frozen=True)
class _Pattern:
    """What all requests to a path have in common."""

    url: httpx2.URL
    headers: list[tuple[bytes, bytes]]
    extensions: Mapping[str, Any]

    @classmethod
    def of(cls, request: httpx2.Request) -> _Pattern:
        headers = [
            (name, value)
            for name, value in request.headers.raw
            if name.lower() not in OF_ONE_BODY and not name.lower().startswith(TELEMETRY)
        ]
        return cls(request.url, headers, request.extensions)

    def request(self, body: Mapping[str, Any], timeout: httpx2.Timeout) -> httpx2.Request:
        """Return a request with this body. Raises UnicodeEncodeError for half a character."""
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        extensions = {**self.extensions, "timeout": timeout.as_dict()}
        return httpx2.Request("POST", self.url, headers=self.headers, content=content, extensions=extensions)


class Poster:
    """Posts to one model at one endpoint. Raises what the client raises: `openai.APIError`."""

    def __init__(self, client: openai.AsyncOpenAI, endpoint: Endpoint) -> None:
        self._client = client
        self._has_pattern = not endpoint.is_azure_openai or endpoint.api_key is not None  # else tokens that expire
        self._patterns: dict[str, _Pattern] = {}

    async def post(self, path: str, body: Mapping[str, Any], patience: httpx2.Timeout) -> httpx2.Response:
        """Post the body and return the response, read to its end."""
        if pattern := self._patterns.get(path):
            return await self._send(pattern.request(body, patience))
        response = await self._client.post(path, cast_to=httpx2.Response, body=body, options={"timeout": patience})
        if self._has_pattern and not response.history:  # of redirects, which may be for this time only
            self._patterns[path] = _Pattern.of(response.request)
        return response

    async def _send(self, request: httpx2.Request) -> httpx2.Response:
        import openai

        try:
            response = await self._client._client.send(request)  # noqa: SLF001 - the library gives no other access
        except httpx2.TimeoutException as error:
            raise openai.APITimeoutError(request=request) from error
        except (httpx2.RequestError, ssl.SSLError) as error:
            raise openai.APIConnectionError(request=request) from error
        if response.is_success:
            return response
        raise self._client._make_status_error_from_response(response)  # noqa: SLF001 - as the library itself does
