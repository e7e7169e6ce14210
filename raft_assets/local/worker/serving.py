"""The engine over HTTP, in the endpoints that vLLM documents, so that a server in front of it knows one protocol.

On loopback, with a key of its own: what is outside talks to the server, not to this. Everything that a
request may not ask for is refused, never ignored.
"""

import argparse
import hmac
import json
import logging
import os
import queue
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any
from urllib.parse import urlsplit

from .base_model import find_base
from .chat import ChatError
from .engine import Asked, Engine
from .generation import Answer, Sampling
from .job import RefusedError

log = logging.getLogger(__name__)

KEY = "RAFT_ENGINE_KEY"
MIN_KEY = 32  # characters
LOOPBACK = ("127.0.0.1", "localhost")
MAX_BODY = 64 << 20  # bytes
DEFAULT_COMPLETION_TOKENS = 16  # OpenAI's and vLLM's, of /v1/completions
MAX_TOP_LOGPROBS = 20  # OpenAI's
STATUS_OF = {"model_not_found": 404, "unknown_adapter": 404, "asleep": 503}  # of a RefusedError; 400 otherwise
# parameters that would change an answer and that this engine doesn't have; accepted where they ask for nothing
UNSUPPORTED = [
    "audio",
    "best_of",
    "echo",
    "functions",
    "function_call",
    "frequency_penalty",
    "guided_json",
    "logit_bias",
    "min_p",
    "presence_penalty",
    "repetition_penalty",
    "response_format",
    "structured_outputs",
    "suffix",
    "tools",
    "top_k",
]
NEUTRAL: dict[str, Any] = {"repetition_penalty": 1, "top_k": -1, "best_of": 1, "response_format": {"type": "text"}}


class Server(ThreadingHTTPServer):
    """Listens on loopback."""

    daemon_threads = True

    def __init__(self, engine: Engine, key: str, *, host: str, port: int) -> None:
        self.engine, self.key = engine, key
        self.is_ready = threading.Event()
        super().__init__((host, port), Handler)

    def server_bind(self) -> None:
        """Bind without looking the host's name up, as HTTPServer does."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", self.server_address[1]


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Log to the log; requests hold no secrets in their paths."""
        log.debug(format, *args)

    def do_GET(self) -> None:
        """Answer what only asks about the engine."""
        engine = self.server.engine
        answers: dict[str, Callable[[], Any]] = {
            "/v1/models": lambda: {"object": "list", "data": [_describe_model(engine, name) for name in engine.models]},
            "/is_sleeping": lambda: {"is_sleeping": engine.is_sleeping},
        }
        path = urlsplit(self.path).path
        if path == "/health":
            is_ready = self.server.is_ready.is_set()
            self._send(200 if is_ready else 503, {"status": "ok" if is_ready else "loading"})
        else:
            self._route(answers.get(path))

    def do_POST(self) -> None:
        """Answer a request, or change the engine."""
        engine = self.server.engine
        answers: dict[str, Callable[[], Any]] = {
            "/v1/chat/completions": lambda: self._generate(self._body(), is_chat=True),
            "/v1/completions": lambda: self._generate(self._body(), is_chat=False),
            "/v1/load_lora_adapter": lambda: self._load_adapter(self._body()),
            "/v1/unload_lora_adapter": lambda: self._unload_adapter(self._body()),
            "/tokenize": lambda: self._tokenize(self._body()),
            "/sleep": lambda: _change(engine.sleep),
            "/wake_up": lambda: _change(engine.wake),
        }
        self._route(answers.get(urlsplit(self.path).path))

    def _route(self, answer: Callable[[], Any] | None) -> None:
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        length = self.headers.get("Content-Length") or "0"
        if not hmac.compare_digest(given.encode(), self.server.key.encode()):
            self.close_connection = True  # a body that nobody reads would be taken for the next request
            self._fail(401, "invalid_api_key", "The engine wants its key.")
        elif not length.isdecimal() or int(length) > MAX_BODY or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            self._fail(413, "invalid_body", f"The body must say its length, and have at most {MAX_BODY:,} bytes.")
        else:
            self._content = self.rfile.read(int(length))
            if answer is None:
                self._fail(404, "not_found", f"There is no {self.command} {urlsplit(self.path).path}.")
            elif not self.server.is_ready.is_set():
                self._fail(503, "loading", "The model is being loaded.")
            else:
                self._answer(answer)

    def _answer(self, answer: Callable[[], Any]) -> None:
        try:
            result = answer()
        except RefusedError as refusal:
            self._fail(STATUS_OF.get(refusal.code, 400), refusal.code, refusal.message, param=refusal.param)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        except Exception as error:
            log.exception("%s %s failed", self.command, self.path)
            self._fail(500, "server_error", f"The engine failed: {type(error).__name__}.")
        else:
            if result is not None:
                self._send(200, result)

    def _body(self) -> dict[str, Any]:
        try:
            body = json.loads(self._content)
        except (ValueError, RecursionError) as error:
            raise RefusedError("invalid_body", f"The body is no JSON: {error}.") from error
        if not isinstance(body, dict):
            raise RefusedError("invalid_body", "The body is no JSON object.")
        return body

    def _load_adapter(self, body: Mapping[str, Any]) -> dict[str, str]:
        name, path = _text(body, "lora_name"), _text(body, "lora_path")
        self.server.engine.load_adapter(name, Path(path))
        return {"status": f"LoRA adapter '{name}' was added."}

    def _unload_adapter(self, body: Mapping[str, Any]) -> dict[str, str]:
        name = _text(body, "lora_name")
        self.server.engine.unload_adapter(name)
        return {"status": f"LoRA adapter '{name}' was removed."}

    def _tokenize(self, body: Mapping[str, Any]) -> dict[str, Any]:
        ids = _prompt_ids(self.server.engine, body, is_chat="messages" in body)
        return {"count": len(ids), "max_model_len": self.server.engine.context_length, "tokens": ids}

    def _generate(self, body: Mapping[str, Any], *, is_chat: bool) -> dict[str, Any] | None:
        engine = self.server.engine
        model = _text(body, "model")
        if model not in engine.models:
            raise RefusedError("model_not_found", f"The model `{model}` does not exist.", param="model")
        if engine.is_sleeping:
            raise RefusedError("asleep", "The engine is asleep; wake it up first.")
        ids = _prompt_ids(engine, body, is_chat=is_chat)
        answer = Answer(ids, _sampling(engine, body, len(ids), is_chat=is_chat))
        form = _Form(body, model, is_chat=is_chat)
        if body.get("stream"):
            self._stream(form, answer, model)
            return None
        asked = Asked(model, answer)
        engine.ask(asked)
        asked.done.result()
        return form.whole(answer, engine)

    def _stream(self, form: "_Form", answer: Answer, model: str) -> None:
        """Send the answer as it grows; who goes away ends it."""
        changes: queue.Queue[None] = queue.Queue()
        asked = Asked(model, answer, on_token=lambda: changes.put(None))
        asked.done.add_done_callback(lambda _: changes.put(None))
        self.server.engine.ask(asked)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            for event in form.events(answer, asked, changes):
                self.wfile.write(f"data: {event}\n\n".encode())
                self.wfile.flush()
        except OSError:
            answer.give_up = True

    def _send(self, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status == 503:
            self.send_header("Retry-After", "1")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _fail(self, status: int, code: str, message: str, *, param: str | None = None) -> None:
        kind = "invalid_request_error" if status < 500 else "server_error"
        self._send(status, {"error": {"message": message, "type": kind, "param": param, "code": code}})


class _Form:
    """What an answer looks like in the API: of chats or of completions, whole or in pieces."""

    def __init__(self, body: Mapping[str, Any], model: str, *, is_chat: bool) -> None:
        self._is_chat = is_chat
        self._tells_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        self._head = {
            "id": f"{'chatcmpl' if is_chat else 'cmpl'}-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": model,
        }

    def whole(self, answer: Answer, engine: Engine) -> dict[str, Any]:
        """Return the whole answer."""
        choice: dict[str, Any] = {"index": 0, "finish_reason": answer.finish, "logprobs": None}
        if self._is_chat:
            choice["message"] = {"role": "assistant", "content": answer.text}
            if answer.sampling.top_logprobs is not None:
                choice["logprobs"] = {"content": [_describe_logprobs(one, engine) for one in answer.logprobs]}
        else:
            choice["text"] = answer.text
        kind = "chat.completion" if self._is_chat else "text_completion"
        return self._head | {"object": kind, "choices": [choice], "usage": _usage(answer)}

    def events(self, answer: Answer, asked: Asked, changes: "queue.Queue[None]") -> Iterator[str]:
        """Yield the events of a stream until the answer has ended."""
        sent = 0
        if self._is_chat:
            yield self._event({"role": "assistant", "content": ""}, None)
        while not (answer.finish or asked.done.done()):
            changes.get()
            text = answer.settled
            if len(text) > sent:
                yield self._event(text[sent:], None)
                sent = len(text)
        if asked.done.done() and (error := asked.done.exception()):
            yield json.dumps(
                {"error": {"message": f"The engine failed: {error}", "type": "server_error", "code": "server_error"}}
            )
            return
        yield self._event(answer.text[sent:], answer.finish)
        if self._tells_usage:
            yield json.dumps(self._head | {"object": self._kind, "choices": [], "usage": _usage(answer)})
        yield "[DONE]"

    @property
    def _kind(self) -> str:
        return "chat.completion.chunk" if self._is_chat else "text_completion"

    def _event(self, piece: Any, finish: str | None) -> str:
        choice: dict[str, Any] = {"index": 0, "finish_reason": finish, "logprobs": None}
        if self._is_chat:
            choice["delta"] = piece if isinstance(piece, dict) else {"content": piece}
        else:
            choice["text"] = piece
        return json.dumps(self._head | {"object": self._kind, "choices": [choice]})


def _prompt_ids(engine: Engine, body: Mapping[str, Any], *, is_chat: bool) -> list[int]:
    """Return the tokens of a request's prompt. Raises RefusedError."""
    if not is_chat:
        prompt = body.get("prompt")
        if not isinstance(prompt, str) or not prompt:
            raise RefusedError("invalid_prompt", "'prompt' must be one text.", param="prompt")
        return list(engine.tokenizer(prompt)["input_ids"])
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RefusedError("invalid_messages", "'messages' must be a list of messages.", param="messages")
    try:
        return engine.form.tokens(engine.form.prompt([_message(one) for one in messages]))
    except ChatError as error:
        raise RefusedError("invalid_messages", f"{error}.", param="messages") from error


def _message(given: Any) -> dict[str, str]:
    content = given.get("content") if isinstance(given, dict) else None
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        content = "".join(str(part.get("text", "")) for part in content)
    if not isinstance(content, str) or not isinstance(given.get("role"), str):
        raise RefusedError("invalid_messages", "A message must have a role and a text.", param="messages")
    return {"role": given["role"], "content": content}


def _sampling(engine: Engine, body: Mapping[str, Any], prompt_tokens: int, *, is_chat: bool) -> Sampling:
    """Return how the answer is generated. Raises RefusedError for what the engine doesn't do."""
    for name in UNSUPPORTED:
        if body.get(name) not in (None, 0, False, [], {}, "", NEUTRAL.get(name)):
            raise RefusedError(
                "unsupported_parameter",
                f"Unsupported parameter: '{name}' is not supported with this engine.",
                param=name,
            )
    if body.get("n") not in (None, 1):
        raise RefusedError("unsupported_parameter", "Unsupported value: 'n' must be 1 with this engine.", param="n")
    room = engine.context_length - prompt_tokens
    default = room if is_chat else DEFAULT_COMPLETION_TOKENS
    wanted = body.get("max_completion_tokens") or body.get("max_tokens") or default
    if not isinstance(wanted, int) or wanted < 1:
        raise RefusedError(
            "invalid_max_tokens", "'max_tokens' must be a whole number of at least 1.", param="max_tokens"
        )
    if wanted > room or room < 1:
        raise RefusedError(
            "context_length_exceeded",
            f"This model's maximum context length is {engine.context_length} tokens. However, you requested "
            f"{prompt_tokens + wanted} tokens ({prompt_tokens} in the messages, {wanted} in the completion). "
            "Please reduce the length of the messages or completion.",
            param="messages",
        )
    stop = body.get("stop") or []
    top = body.get("top_logprobs") or 0
    wants_logprobs = bool(body.get("logprobs"))
    if wants_logprobs and not is_chat:
        raise RefusedError(
            "unsupported_parameter",
            "Unsupported parameter: 'logprobs' of completions is not supported with this engine.",
            param="logprobs",
        )
    temperature, top_p = body.get("temperature"), body.get("top_p")
    return Sampling(
        max_tokens=wanted,
        temperature=_number("temperature", temperature, 1.0, (0.0, 2.0)),
        top_p=_number("top_p", top_p, 1.0, (0.0, 1.0)),
        seed=body.get("seed") if isinstance(body.get("seed"), int) else None,
        stop=tuple([stop] if isinstance(stop, str) else map(str, stop)),
        top_logprobs=int(_number("top_logprobs", top, 0, (0, MAX_TOP_LOGPROBS))) if wants_logprobs else None,
    )


def _number(name: str, given: Any, default: float, bounds: tuple[float, float]) -> float:
    if given is None:
        return default
    if isinstance(given, bool) or not isinstance(given, int | float) or not bounds[0] <= given <= bounds[1]:
        raise RefusedError("invalid_value", f"'{name}' must be a number from {bounds[0]} to {bounds[1]}.", param=name)
    return float(given)


def _change(change: Callable[[], None]) -> dict[str, str]:
    change()
    return {"status": "ok"}


def _text(body: Mapping[str, Any], name: str) -> str:
    if not isinstance(body.get(name), str) or not body[name]:
        raise RefusedError("invalid_body", f"'{name}' must be a text.", param=name)
    return str(body[name])


def _usage(answer: Answer) -> dict[str, int]:
    prompt, completion = len(answer.prompt_ids), len(answer.ids)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _describe_model(engine: Engine, name: str) -> dict[str, Any]:
    is_base = name == engine.name
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "raft",
        "root": str(engine.base.folder if is_base else engine.adapters[name]),
        "parent": None if is_base else engine.name,
        "max_model_len": engine.context_length,
    }


def _describe_logprobs(one: Sequence[tuple[int, float]], engine: Engine) -> dict[str, Any]:
    def describe(token: int, logprob: float) -> dict[str, Any]:
        text = engine.tokenizer.decode([token])
        return {"token": text, "logprob": logprob, "bytes": list(text.encode())}

    chosen, *others = one
    return describe(*chosen) | {"top_logprobs": [describe(*other) for other in others]}


def _exit_with_parent() -> None:
    """End this process when its standard input ends: whoever started it holds the other end."""
    sys.stdin.buffer.read()
    os._exit(0)


def main(arguments: Sequence[str]) -> int:
    """Serve until the process ends."""
    parser = argparse.ArgumentParser(
        prog="serve.py", description="Serves a base model and adapters in vLLM's endpoints."
    )
    parser.add_argument("--base", type=Path, required=True, help="folder of safetensors, or a GGUF file")
    parser.add_argument("--name", help="what the base model is called; its folder's name")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--context", type=int, help="tokens of a prompt and its answer; what the model was made for")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument(
        "--adapters", type=Path, nargs="*", default=[], help="folders from which adapters may be loaded"
    )
    parser.add_argument("--max-batch", type=int, default=8, help="answers that are generated together")
    parser.add_argument("--exit-with-parent", action="store_true", help="end when standard input ends")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    key = os.environ.pop(KEY, "")
    if len(key) < MIN_KEY:
        parser.error(f"{KEY} must hold a key of at least {MIN_KEY} characters")
    if options.host not in LOOPBACK:
        parser.error(
            f"--host must be one of {', '.join(LOOPBACK)}: what is outside talks to the server before the engine"
        )
    if options.exit_with_parent:
        threading.Thread(target=_exit_with_parent, daemon=True).start()
    try:
        base = find_base(options.base)
        engine = Engine(
            base,
            name=options.name or base.name,
            device=options.device,
            dtype=options.dtype,
            threads=options.threads,
            context=options.context,
            at_once=options.max_batch,
            adapter_folders=options.adapters,
        )
    except RefusedError as refusal:
        parser.error(refusal.message)
    server = Server(engine, key, host=options.host, port=options.port)
    sys.stdout.write(json.dumps({"url": "http://{}:{}".format(*server.server_address[:2])}) + "\n")
    sys.stdout.flush()
    threading.Thread(target=_load, args=(engine, server), daemon=True).start()
    server.serve_forever()
    return 0


def _load(engine: Engine, server: Server) -> None:
    try:
        engine.start()
    except Exception as error:
        log.exception("the model can't be loaded: %s", error)  # noqa: TRY401 - the sentence of a RefusedError
        os._exit(1)  # nobody waits for this thread, and an engine without a model answers 503 for ever
    server.is_ready.set()
