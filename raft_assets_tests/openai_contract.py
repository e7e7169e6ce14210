"""OpenAI's contract: the library's own typed parameters always, the official schema where it is at hand."""

import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import jsonschema
from openai.types import BatchCreateParams, EmbeddingCreateParams, UploadCreateParams
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming as ChatParams
from openai.types.completion_create_params import CompletionCreateParamsNonStreaming as CompletionParams
from openai.types.fine_tuning import JobCreateParams
from pydantic import TypeAdapter, ValidationError

FOLDER = Path(os.environ.get("AZURE_CONTRACTS_DIR") or Path(__file__).parents[1].parent / "shared" / "contracts")
SCHEMA = FOLDER / "openai_openapi.json"
REQUESTS: Mapping[str, tuple[str, Any]] = {
    "/v1/chat/completions": ("CreateChatCompletionRequest", ChatParams),
    "/v1/completions": ("CreateCompletionRequest", CompletionParams),
    "/v1/embeddings": ("CreateEmbeddingRequest", EmbeddingCreateParams),
    "/v1/fine_tuning/jobs": ("CreateFineTuningJobRequest", JobCreateParams),
    "/v1/batches": ("CreateBatchRequest", BatchCreateParams),
    "/v1/uploads": ("CreateUploadRequest", UploadCreateParams),
}


def request_breaches(path: str, body: Mapping[str, Any]) -> list[str]:
    """What library and schema say against the body of a POST; nothing for other paths."""
    if path not in REQUESTS:
        return []
    schema, parameters = REQUESTS[path]
    found = [f"{name}: no parameter of the library" for name in body.keys() - get_type_hints(parameters).keys()]
    try:
        _typed(parameters).validate_python(body)
    except ValidationError as error:
        found += [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False)]
    return found + schema_breaches(schema, body)


def schema_breaches(name: str, content: Any) -> list[str]:
    """What the official schema of a name says against a content; nothing where the schema isn't at hand."""
    if not SCHEMA.is_file():
        return []
    return [f"{error.json_path}: {error.message[:300]}" for error in _validator(name).iter_errors(content)]


@cache
def _typed(parameters: Any) -> TypeAdapter[Any]:
    return TypeAdapter(parameters)


@cache
def _validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": _components()})


@cache
def _components() -> Any:
    return _as_json_schema(json.loads(SCHEMA.read_text("utf-8"))["components"])


def _as_json_schema(node: Any) -> Any:
    """OpenAPI 3.0 says `nullable` where JSON Schema has a type, and `exclusiveMinimum: true` beside a `minimum`."""
    if isinstance(node, list):
        return [_as_json_schema(part) for part in node]
    if not isinstance(node, dict):
        return node
    plain = {name: _as_json_schema(part) for name, part in node.items() if name != "nullable"}
    if plain.get("exclusiveMinimum") is True:
        plain["exclusiveMinimum"] = plain.pop("minimum")
    return {"anyOf": [plain, {"type": "null"}]} if node.get("nullable") is True else plain
