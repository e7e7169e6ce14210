"""The endpoints that ask a model: what a client may say, and the way to the engine and back.

Only OpenAI's parameters pass. An engine has more of them, which load files, replace the template or look into its
state.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import httpx2
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from raft_assets.local.engine import EngineError
from raft_assets.local.machine import Machine
from raft_assets.local.models import LocalModels
from raft_assets.provider.bodies import read_object
from raft_assets.provider.errors import bad_request

_SHARED = {
    *("model", "stream", "stream_options", "stop", "max_tokens", "temperature", "top_p", "seed", "n", "user"),
    *("presence_penalty", "frequency_penalty", "logit_bias", "logprobs"),
}
CHAT_PARAMETERS = _SHARED | {"messages", "max_completion_tokens", "response_format", "top_logprobs"}
COMPLETION_PARAMETERS = _SHARED | {"prompt", "echo", "suffix", "best_of"}
# they change nothing that is answered here, and clients send them
IGNORED = {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"}


class Answers:
    """The endpoints of a machine's engine."""

    def __init__(self, machine: Machine, models: LocalModels) -> None:
        self._machine, self._models = machine, models

    async def chat(self, request: Request) -> Response:
        """`POST /v1/chat/completions`."""
        return await self._pass_on("/v1/chat/completions", await read_object(request), CHAT_PARAMETERS)

    async def complete(self, request: Request) -> Response:
        """`POST /v1/completions`."""
        return await self._pass_on("/v1/completions", await read_object(request), COMPLETION_PARAMETERS)

    async def _pass_on(self, path: str, content: Mapping[str, Any], known: set[str]) -> Response:
        """Ask the engine, and return its answer as it comes; raises ApiError."""
        model = content.get("model")
        if not isinstance(model, str) or not model:
            raise bad_request("Missing required parameter: 'model'.", param="model", code="missing_required_parameter")
        for name in content.keys() - known - IGNORED:
            raise bad_request(
                f"Unsupported parameter: '{name[:80]}' is not supported with this model.",
                param=name[:80],
                code="unsupported_parameter",
            )
        adapter = None if model == self._models.base else self._models.find_adapter(model)[1]
        body = {name: value for name, value in content.items() if name not in IGNORED}
        async with AsyncExitStack() as stack:
            engine = await stack.enter_async_context(self._machine.answering())
            if adapter is not None:
                await engine.load(model, adapter)
            response = await stack.enter_async_context(engine.ask(path, body))
            kind = response.headers.get("content-type", "application/json")
            if not kind.startswith("text/event-stream"):
                return Response(await _read(response), response.status_code, media_type=kind)
            streamed = stack.pop_all()  # the turn ends with the stream
        return StreamingResponse(_stream(response, streamed), response.status_code, media_type=kind)


async def _read(response: httpx2.Response) -> bytes:
    try:
        return await response.aread()
    except httpx2.TransportError as error:
        raise EngineError(f"The engine's answer broke off ({type(error).__name__}).") from error


async def _stream(response: httpx2.Response, stack: AsyncExitStack) -> AsyncIterator[bytes]:
    async with stack:
        async for block in response.aiter_raw():
            yield block
