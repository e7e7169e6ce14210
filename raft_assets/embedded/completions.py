"""Chat completions, completions and embeddings: requests in, OpenAI's objects out, whole or as server-sent events."""

import base64
import json
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from raft_assets.embedded.bodies import ChatRequest, CompletionRequest, EmbeddingRequest, Generation
from raft_assets.embedded.encoder import DIMENSIONS, Floats
from raft_assets.embedded.models import EmbeddedModels, model_version
from raft_assets.embedded.tokens import count_chat_tokens, count_tokens, truncate, usage_object
from raft_assets.provider.bodies import read_body
from raft_assets.provider.errors import bad_request

FINGERPRINT_LENGTH = 12
_PIECE = re.compile(r"\s*\S+|\s+")  # what a stream sends at a time: a word with the white space before it


@dataclass(frozen=True)
class Choice:
    """An answer as it is sent: truncated, with the reason why it ends."""

    text: str
    finish_reason: str


class Completions:
    """The endpoints that ask a model."""

    def __init__(self, models: EmbeddedModels) -> None:
        self._models = models

    async def chat(self, request: Request) -> Response:
        """`POST /v1/chat/completions`."""
        body = await read_body(request, ChatRequest)
        [choice] = await self._choices(body, [body.prompt], body.limit)
        counted = usage_object(
            count_chat_tokens([message.content for message in body.messages]), count_tokens(choice.text)
        )
        head = self._head(body.model, "chatcmpl")
        if body.stream:
            return _stream(_chat_chunks(head | {"object": "chat.completion.chunk"}, choice), body, counted)
        message: dict[str, Any] = {"role": "assistant", "content": choice.text, "refusal": None, "annotations": []}
        shown = {"index": 0, "message": message, "logprobs": None, "finish_reason": choice.finish_reason}
        return JSONResponse(head | {"object": "chat.completion", "choices": [shown], "usage": counted})

    async def complete(self, request: Request) -> Response:
        """`POST /v1/completions`."""
        body = await read_body(request, CompletionRequest)
        choices = await self._choices(body, body.prompt, body.max_tokens)
        counted = usage_object(
            sum(map(count_tokens, body.prompt)), sum(count_tokens(choice.text) for choice in choices)
        )
        head = self._head(body.model, "cmpl") | {"object": "text_completion"}
        if body.stream:
            return _stream(_text_chunks(head, choices), body, counted)
        shown = [_text_choice(index, choice.text, choice.finish_reason) for index, choice in enumerate(choices)]
        return JSONResponse(head | {"choices": shown, "usage": counted})

    async def embed(self, request: Request) -> Response:
        """`POST /v1/embeddings`."""
        body = await read_body(request, EmbeddingRequest)
        if body.dimensions not in (None, DIMENSIONS):
            raise bad_request(
                f"Invalid value for 'dimensions': this model's vectors have {DIMENSIONS}.",
                param="dimensions",
                code="invalid_value",
            )
        vectors = await self._models.embed(body.model, body.input)
        return await run_sync(_embedding_response, body, vectors)  # 2048 long texts take a second to count and to write

    async def _choices(self, body: Generation, prompts: Sequence[str], limit: int | None) -> list[Choice]:
        return [
            Choice(*truncate(await self._models.answer(body.model, prompt), stop=body.stop, max_tokens=limit))
            for prompt in prompts
        ]

    def _head(self, model: str, kind: str) -> dict[str, Any]:
        fingerprint = f"fp_{model_version(model, self._models.folder)[:FINGERPRINT_LENGTH]}"
        return {
            "id": f"{kind}-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": fingerprint,
        }


def _chat_chunks(head: dict[str, Any], choice: Choice) -> Iterator[dict[str, Any]]:
    deltas: list[dict[str, str]] = [
        {"role": "assistant", "content": ""},
        *({"content": piece} for piece in _PIECE.findall(choice.text)),
        {},
    ]
    for number, delta in enumerate(deltas, start=1):
        finish_reason = choice.finish_reason if number == len(deltas) else None
        yield head | {"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]}


def _text_chunks(head: dict[str, Any], choices: Sequence[Choice]) -> Iterator[dict[str, Any]]:
    for index, choice in enumerate(choices):
        pieces = [*_PIECE.findall(choice.text), ""]
        for number, piece in enumerate(pieces, start=1):
            yield head | {
                "choices": [_text_choice(index, piece, choice.finish_reason if number == len(pieces) else None)]
            }


def _text_choice(index: int, text: str, finish_reason: str | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish_reason}


def _stream(chunks: Iterator[dict[str, Any]], body: Generation, counted: dict[str, Any]) -> Response:
    """Stream server-sent events, with the usage in a chunk of its own if it is asked for."""
    wants_usage = body.stream_options is not None and body.stream_options.include_usage

    def events() -> Iterator[str]:
        last: dict[str, Any] = {}
        for last in chunks:
            yield _event(last | ({"usage": None} if wants_usage else {}))
        if wants_usage:
            yield _event(last | {"choices": [], "usage": counted})
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream", headers={"cache-control": "no-cache"})


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


def _embedding_response(body: EmbeddingRequest, vectors: Floats) -> Response:
    tokens = sum(map(count_tokens, body.input))
    data = [
        {"object": "embedding", "index": index, "embedding": shown}
        for index, shown in enumerate(_encode_vectors(vectors, body.encoding_format))
    ]
    return JSONResponse(
        {
            "object": "list",
            "data": data,
            "model": body.model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )


def _encode_vectors(vectors: Floats, encoding_format: str) -> list[Any]:
    """Encode vectors as lists of numbers, or as little-endian 32-bit floats in base64."""
    if encoding_format == "float":
        return list(vectors.tolist())
    return [base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii") for vector in vectors]
