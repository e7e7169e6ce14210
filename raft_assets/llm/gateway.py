"""A caller as a service: for libraries that insist on calling a model themselves.

Their requests go through our store, limits, ledger and budget, so that they are paid once, counted and bounded like all
others.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import Request as Received
from starlette.responses import JSONResponse
from starlette.routing import Route

from raft_assets.core.errors import RaftError
from raft_assets.llm.caller import Caller
from raft_assets.llm.requests import Answer, Request
from raft_assets.llm.serve_app import serve_in_background

# status to `finish_reason`
FINISH_REASON_BY_STATUS = {"truncated": "length", "looping": "length", "filtered": "content_filter"}


@contextmanager
def gateway(caller: Caller, *, documents: Iterable[str] = ()) -> Iterator[str]:
    """Serve an OpenAI chat API that the caller answers, and yield its base URL, on 127.0.0.1; any key will do.

    `documents`: the paths of those that the requests may be about.

    Raises at the end what stopped the caller (a budget, an endpoint that rejects calls): a library may have hidden it.
    """
    stopped: list[RaftError] = []

    async def chat(received: Received) -> JSONResponse:
        if stopped:
            return _error_response(str(stopped[0]))
        body = await received.json()
        model = body.pop("model", "")
        try:
            [answer] = await to_thread.run_sync(lambda: list(caller.ask([Request("chat", body).about(documents)])))
        except RaftError as error:
            stopped.append(error)
            return _error_response(str(error))
        return _error_response(answer.detail) if answer.status == "failed" else JSONResponse(_completion(answer, model))

    app = Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])
    with serve_in_background(app) as address:
        yield f"{address}/v1"
    if stopped:
        raise stopped[0]


def _completion(answer: Answer, model: str) -> dict[str, Any]:
    usage = answer.usage
    return {
        "id": f"chatcmpl-{answer.key[:24]}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": answer.text, "refusal": None},
                "finish_reason": FINISH_REASON_BY_STATUS.get(answer.status, "stop"),
                "logprobs": None,
            }
        ],
        "usage": {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.input_tokens + usage.output_tokens,
        },
    }


def _error_response(message: str) -> JSONResponse:
    """Return a 400: sending the request again would only fail again."""
    return JSONResponse({"error": {"message": message, "type": "refused", "param": None, "code": None}}, 400)
