"""A double of vLLM's server: its documented endpoints, without a model. It writes down what it was asked.

https://docs.vllm.ai/en/stable/serving/openai_compatible_server.html, /features/lora.html, /features/sleep_mode.html
"""

import argparse
import hmac
import json
import os
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

JOURNAL = Path("asked.jsonl")  # in the folder where the engine is started


def parsed() -> argparse.Namespace:
    """The options that vLLM 0.1x documents, as far as they are used."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in ("model", "served-model-name", "uds", "generation-config"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("max-model-len", "max-lora-rank"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--gpu-memory-utilization", type=float, default=0.9)
    for name in ("chat-template", "chat-template-content-format"):
        parser.add_argument(f"--{name}")
    for name in ("enable-lora", "enable-sleep-mode"):
        parser.add_argument(f"--{name}", action="store_true")
    return parser.parse_args()


class Double:
    """State of the server: adapters, and whether it sleeps."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.models, self.asleep = {options.served_model_name}, False
        self.key = os.environ["VLLM_API_KEY"]
        assert options.enable_lora
        assert options.enable_sleep_mode
        assert os.environ["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"
        assert os.environ["VLLM_SERVER_DEV_MODE"] == "1"

        self.write("started", {}, vars(options))

    def note(self, request: Request, body: Any = None) -> None:
        self.write(request.url.path, dict(request.query_params), body)

    def write(self, path: str, query: dict[str, str], body: Any) -> None:
        with JOURNAL.open("ab", buffering=0) as journal:
            journal.write(json.dumps({"path": path, "query": query, "body": body}).encode() + b"\n")  # a line whole

    def refused(self, request: Request) -> Response | None:
        given = request.headers.get("authorization", "")
        wrong = request.url.path.startswith("/v1") and not hmac.compare_digest(given, f"Bearer {self.key}")
        return JSONResponse({"error": "Unauthorized"}, 401) if wrong else None

    async def health(self, _: Request) -> Response:
        return Response()

    async def chat(self, request: Request) -> Response:
        body = await request.json()
        self.note(request, body)
        if refused := self.refused(request):
            return refused
        if self.asleep or body["model"] not in self.models:
            return JSONResponse(
                {"error": {"message": f"The model `{body['model']}` does not exist.", "code": 404}}, 404
            )
        if body["messages"][-1]["content"] == "die":
            os._exit(1)
        head = {"id": "chatcmpl-1", "created": 1, "model": body["model"]}
        text = f"{body['model']} heard: {body['messages'][-1]['content']}"
        if body.get("stream"):
            return StreamingResponse(self.streamed(head, text), media_type="text/event-stream")
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
        return JSONResponse(head | {"object": "chat.completion", "choices": [choice], "usage": usage})

    async def streamed(self, head: dict[str, Any], text: str) -> Any:
        for word in [*text.split(" "), None]:
            delta = {} if word is None else {"content": f"{word} "}
            choice = {"index": 0, "delta": delta, "finish_reason": "stop" if word is None else None}
            yield f"data: {json.dumps(head | {'object': 'chat.completion.chunk', 'choices': [choice]})}\n\n"
        yield "data: [DONE]\n\n"

    async def load(self, request: Request) -> Response:
        body = await request.json()
        self.note(request, body)
        if not (Path(body["lora_path"]) / "adapter_config.json").is_file():
            return JSONResponse({"error": {"message": "No adapter found"}}, 404)
        if body["lora_name"] in self.models:
            return JSONResponse({"error": {"message": "has already been loaded"}}, 400)
        self.models.add(body["lora_name"])
        return Response("Success: LoRA adapter added successfully.")

    async def sleep(self, request: Request) -> Response:
        self.note(request)
        self.asleep = True
        return Response()

    async def wake_up(self, request: Request) -> Response:
        self.note(request)
        self.asleep = False
        return Response()


if __name__ == "__main__":
    options = parsed()
    double = Double(options)
    app = Starlette(
        routes=[
            Route("/health", double.health),
            Route("/v1/chat/completions", double.chat, methods=["POST"]),
            Route("/v1/load_lora_adapter", double.load, methods=["POST"]),
            Route("/sleep", double.sleep, methods=["POST"]),
            Route("/wake_up", double.wake_up, methods=["POST"]),
        ]
    )
    uvicorn.run(app, uds=options.uds, log_level="warning")
