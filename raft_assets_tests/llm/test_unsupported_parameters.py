"""Which parameter a service refuses: the wordings of servers, as public reports quote them."""

import json
from typing import Any

import httpx2
import openai
import pytest

from raft_assets.llm.unsupported_parameters import error_text, unsupported_parameter

REQUEST = httpx2.Request("POST", "http://127.0.0.1:1/v1/chat/completions")
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is the temperature?"}]
BOTH: dict[str, Any] = {
    "messages": MESSAGES,
    "max_completion_tokens": 700,
    "max_tokens": 700,
    "temperature": 0.0,
    "seed": 3,
    "reasoning_effort": "low",
    "response_format": {"type": "json_object"},
}
NEW = {name: value for name, value in BOTH.items() if name != "max_tokens"}
OLD = {name: value for name, value in BOTH.items() if name != "max_completion_tokens"}
SCHEMA = {**BOTH, "response_format": {"type": "json_schema"}}
TEXTS = {"input": ["one", "two"], "encoding_format": "base64"}


def refusal(status: int, body: Any) -> openai.APIStatusError:
    """An error as the client makes it of a body: of an object, it keeps what is under `error`."""
    content = body if isinstance(body, str) else json.dumps(body)
    response = httpx2.Response(status, request=REQUEST, content=content.encode())
    kept = body.get("error", body) if isinstance(body, dict) else body
    return openai.APIStatusError(f"Error code: {status}", response=response, body=kept)


def told(message: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


def extra(*location: str | int, kind: str = "extra_forbidden") -> dict[str, Any]:
    return {"type": kind, "loc": list(location), "msg": "Extra inputs are not permitted", "input": 700}


REFUSED: dict[str, tuple[int, Any, dict[str, Any], str]] = {
    "OpenAI, the old name": (
        400,
        told(
            "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead.",
            "max_tokens",
            "unsupported_parameter",
        ),
        OLD,
        "max_tokens",
    ),
    "OpenAI, both names": (
        400,
        told(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            "max_tokens",
            "invalid_parameter_combination",
        ),
        BOTH,
        "max_tokens",
    ),
    "OpenAI, temperature": (
        400,
        told(
            "Unsupported value: 'temperature' does not support 0.0 with this model. Only 1 is supported.",
            "temperature",
            "unsupported_value",
        ),
        BOTH,
        "temperature",
    ),
    "OpenAI, the system role": (
        400,
        told(
            "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
            "messages[0].role",
            "unsupported_value",
        ),
        BOTH,
        "system",
    ),
    "OpenAI, an effort": (
        400,
        told("Unsupported value: 'low'. Supported values are: 'medium'.", "reasoning_effort", "unsupported_value"),
        BOTH,
        "reasoning_effort",
    ),
    "Azure, dated": (400, told("Unrecognized request argument supplied: reasoning_effort"), BOTH, "reasoning_effort"),
    "Azure, a schema": (
        400,
        told("response_format value as json_schema is enabled only for api versions 2024-08-01-preview and later"),
        SCHEMA,
        "response_format",
    ),
    "Azure serverless": (
        422,
        {"error": "Unprocessable", "status": 422, "message": "invalid input error", "detail": [extra("body", "seed")]},
        BOTH,
        "seed",
    ),
    "Azure serverless, one detail": (
        422,
        {"detail": extra("body", "max_completion_tokens"), "message": "Extra inputs are not permitted"},
        BOTH,
        "max_completion_tokens",
    ),
    "Mistral": (
        422,
        {"object": "error", "message": {"detail": [extra("body", "seed")]}, "type": "invalid_request_error"},
        BOTH,
        "seed",
    ),
    "vLLM": (
        400,
        {
            "object": "error",
            "message": "[{'type': 'extra_forbidden', 'loc': ('body', 'max_completion_tokens'), 'msg': 'Extra inputs "
            "are not permitted', 'input': {'temperature': 0, 'seed': 3}}]",
            "type": "BadRequestError",
            "code": 400,
        },
        BOTH,
        "max_completion_tokens",
    ),
    "vLLM, Gemma's template": (
        400,
        {"object": "error", "message": "System role not supported", "type": "BadRequestError", "code": 400},
        BOTH,
        "system",
    ),
    "SGLang, a role": (
        400,
        {
            "detail": [
                {"type": "literal_error", "loc": ["body", "messages", 0, "role"], "msg": "Input should be 'user'"}
            ]
        },
        BOTH,
        "system",
    ),
    "TGI": (
        422,
        {
            "error": "Failed to deserialize the JSON body into the target type: unknown field `max_completion_tokens`, "
            "expected one of `messages`, `max_tokens`, `seed`, `temperature`",
            "error_type": "validation",
        },
        BOTH,
        "max_completion_tokens",
    ),
    "TGI, temperature": (
        422,
        {"error": "Input validation error: `temperature` must be strictly positive", "error_type": "validation"},
        BOTH,
        "temperature",
    ),
    "TGI, a template": (
        422,
        {"error": "Template error: invalid operation: System role not supported (in <string>:1)"},
        BOTH,
        "system",
    ),
    "llama.cpp": (
        500,
        {"error": {"code": 500, "message": "System role not supported at row 1", "type": "server_error"}},
        BOTH,
        "system",
    ),
    "llama.cpp, a schema": (
        400,
        told('response_format type must be one of "text" or "json_object", but got: json_schema'),
        SCHEMA,
        "response_format",
    ),
    "Ollama": (400, told('"tinyllama" does not support thinking'), BOTH, "reasoning_effort"),
    "Ollama, a type": (
        400,
        told("json: cannot unmarshal string into Go struct field ChatCompletionRequest.seed of type int"),
        BOTH,
        "seed",
    ),
    "LM Studio": (
        400,
        {"error": "'response_format.type' must be 'json_schema' or 'text'"},
        BOTH,
        "response_format",
    ),
    "LM Studio, a template": (
        400,
        {"error": 'Error rendering prompt with jinja template: "Conversation roles must alternate user/assistant".'},
        BOTH,
        "system",
    ),
    "Gemini": (
        400,
        [{"error": {"code": 400, "message": 'Invalid JSON payload received. Unknown name "seed": Cannot find field.'}}],
        BOTH,
        "seed",
    ),
    "Gemini, JSON": (400, told("JSON mode is not enabled for models/gemma-3-4b-it"), BOTH, "response_format"),
    "Gemini, instructions": (400, told("Developer instruction is not enabled for models/gemma"), BOTH, "system"),
    "DeepSeek": (400, told("This response_format type is unavailable now"), SCHEMA, "response_format"),
    "DashScope": (
        400,
        told("Json mode response is not supported when enable_thinking is true"),
        BOTH,
        "response_format",
    ),
    "DashScope, a word": (
        400,
        told("'messages' must contain the word 'json' to use 'response_format' of type 'json_object'.", "messages"),
        BOTH,
        "response_format",
    ),
    "Doubao": (
        400,
        told("max_tokens and max_completion_tokens cannot be set at the same time.", "max_tokens", "InvalidParameter"),
        BOTH,
        "max_tokens",
    ),
    "xAI": (400, {"error": "Model grok does not support parameter reasoningEffort."}, BOTH, "reasoning_effort"),
    "Kimi": (400, told("invalid temperature: only 1 is allowed for this model"), BOTH, "temperature"),
    "OpenRouter": (
        404,
        told("No endpoints found that support the requested parameters: response_format"),
        BOTH,
        "response_format",
    ),
    "a gateway": (400, told("max_tokens is an invalid parameter. Must use max_completion_tokens."), OLD, "max_tokens"),
    "the new name": (
        400,
        told("'max_completion_tokens' is not supported, please use 'max_tokens'"),
        NEW,
        "max_completion_tokens",
    ),
    "base64": (400, told("encoding_format 'base64' is not supported", "encoding_format"), TEXTS, "encoding_format"),
    "base64, a list of errors": (422, {"detail": [extra("body", "encoding_format")]}, TEXTS, "encoding_format"),
    "base64, by its own name": (501, "base64 is not implemented; unsupported", TEXTS, "encoding_format"),
    "one that wasn't sent": (
        422,
        {"detail": [extra("body", "max_completion_tokens")]},
        {"messages": MESSAGES, "max_tokens": 700, "temperature": 0.0, "seed": 3},
        "seed",
    ),
}


@pytest.mark.parametrize(("status", "body", "sent", "parameter"), REFUSED.values(), ids=REFUSED)
def test_the_parameter_that_is_refused_is_found(status: int, body: Any, sent: dict[str, Any], parameter: str) -> None:
    assert unsupported_parameter(refusal(status, body), sent) == parameter


OTHERS: dict[str, tuple[int, Any, dict[str, Any]]] = {
    "another status": (429, told("temperature is not supported"), BOTH),
    "a number that is too large": (
        400,
        told("max_completion_tokens is too large: 900000. This model supports at most 16384", "max_completion_tokens"),
        BOTH,
    ),
    "the context": (
        400,
        told("'max_tokens' is too large: 700. This model's maximum context length is 512 tokens"),
        OLD,
    ),
    "a temperature that a person set": (
        400,
        told("Invalid 'temperature': decimal above maximum value. Expected a value <= 2", "temperature"),
        {**BOTH, "temperature": 9.0},
    ),
    "a model of that name": (404, told("The model `seed-oss` does not exist.", None, "model_not_found"), BOTH),
    "a moderated prompt": (400, told("Invalid prompt: flagged for 'the temperature'"), BOTH),
    "another field": (
        422,
        {"detail": [{"type": "string_too_long", "loc": ["body", "messages", 1], "msg": "too long", "input": "seed"}]},
        BOTH,
    ),
    "a parameter that was not sent": (
        400,
        told("Unsupported parameter: 'top_p'", "top_p", "unsupported_parameter"),
        NEW,
    ),
    "the system role where there is none": (400, told("System role not supported"), {"messages": MESSAGES[1:]}),
    "too many texts": (400, told("batch size is invalid, it should not be larger than 10.: input.contents"), TEXTS),
    "nothing": (400, "", BOTH),
}


@pytest.mark.parametrize(("status", "body", "sent"), OTHERS.values(), ids=OTHERS)
def test_an_error_about_something_else_names_no_parameter(status: int, body: Any, sent: dict[str, Any]) -> None:
    assert unsupported_parameter(refusal(status, body), sent) is None


def test_every_sentence_of_an_error_is_read_wherever_it_stands() -> None:
    nested = {"error": "Unprocessable", "message": {"detail": [{"loc": ["body"], "msg": "no", "input": "secret"}]}}
    assert error_text(refusal(422, nested)) == "Unprocessable no"
    assert error_text(refusal(500, "a page")) == "a page"
