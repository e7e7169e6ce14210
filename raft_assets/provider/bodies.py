"""Request bodies of uploads, batches and fine-tuning jobs, and OpenAI's error for what an endpoint does not accept.

A body model lists the parameters that are obeyed. `unsupported` names official parameters that would change what comes
out; they are rejected unless they ask for nothing (null, false, empty).
"""

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from starlette.requests import Request

from raft_assets.provider.errors import ApiError, bad_request

MAX_JSON_BYTES = 64 << 20  # 2048 long texts to embed are about 20 MB
MAX_METADATA_PAIRS, MAX_METADATA_KEY, MAX_METADATA_VALUE = 16, 64, 512
_SURROGATE = re.compile("[\ud800-\udfff]")


def _auto_or_number(value: Any) -> Any:
    if value == "auto" or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise ValueError("expected a number or 'auto'")


Metadata = Annotated[
    dict[Annotated[str, Field(max_length=MAX_METADATA_KEY)], Annotated[str, Field(max_length=MAX_METADATA_VALUE)]],
    Field(max_length=MAX_METADATA_PAIRS),
]


class Body(BaseModel):
    """A request body; unknown names are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    unsupported: ClassVar[frozenset[str]] = frozenset()


B = TypeVar("B", bound=Body)


class Hyperparameters(Body):
    """Hyperparameters of a fine-tuning job; `auto` leaves the choice to the trainer."""

    n_epochs: Annotated[Literal["auto"] | Annotated[int, Field(ge=1, le=50)], BeforeValidator(_auto_or_number)] = "auto"
    batch_size: Annotated[Literal["auto"] | Annotated[int, Field(ge=1, le=256)], BeforeValidator(_auto_or_number)] = (
        "auto"
    )
    learning_rate_multiplier: Annotated[
        Literal["auto"] | Annotated[float, Field(gt=0, le=10)], BeforeValidator(_auto_or_number)
    ] = "auto"


class SupervisedMethod(Body):
    """Fine-tuning on right answers."""

    hyperparameters: Hyperparameters = Hyperparameters()


class Method(Body):
    """How a model is fine-tuned."""

    type: Literal["supervised"]
    supervised: SupervisedMethod = SupervisedMethod()


class JobRequest(Body):
    """`POST /v1/fine_tuning/jobs`."""

    unsupported = frozenset({"integrations"})
    model: str
    training_file: str
    validation_file: str | None = None
    suffix: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    method: Method | None = None
    hyperparameters: Hyperparameters | None = None
    metadata: Metadata | None = None

    @property
    def resolved_hyperparameters(self) -> Hyperparameters:
        """Those of the method, or those given in the older place."""
        return self.method.supervised.hyperparameters if self.method else self.hyperparameters or Hyperparameters()

    @model_validator(mode="after")
    def _hyperparameters_stand_once(self) -> Self:
        if self.method and self.hyperparameters:
            raise ValueError("give hyperparameters in 'method' or in 'hyperparameters', not in both")
        return self


class BatchRequest(Body):
    """`POST /v1/batches`."""

    input_file_id: str
    endpoint: Literal["/v1/chat/completions", "/v1/completions", "/v1/embeddings"]
    completion_window: Literal["24h"]
    metadata: Metadata | None = None


class UploadRequest(Body):
    """`POST /v1/uploads`."""

    filename: Annotated[str, Field(min_length=1)]
    purpose: Literal["fine-tune", "batch"]
    bytes: Annotated[int, Field(ge=1)]
    mime_type: Literal["text/jsonl", "application/jsonl"]


class CompleteUploadRequest(Body):
    """`POST /v1/uploads/{upload}/complete`."""

    part_ids: Annotated[list[str], Field(min_length=1)]
    md5: str | None = None


async def limit_stream(stream: AsyncIterator[bytes], limit: int) -> AsyncGenerator[bytes, None]:
    """Yield the stream, and raise ApiError (413) as soon as it is longer than `limit` bytes."""
    length = 0
    async for block in stream:
        length += len(block)
        if length > limit:
            raise ApiError(413, f"The request is larger than {limit >> 20} MB.", code="request_too_large")
        yield block


async def read_body(request: Request, kind: type[B]) -> B:
    """Read the request's body. Raises ApiError (400, 413) in OpenAI's words."""
    return parse_body(await read_object(request), kind)


async def read_object(request: Request) -> dict[str, Any]:
    """Read the JSON object that is the request's body. Raises ApiError (400, 413) in OpenAI's words."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":  # a form that a web page posts across origins never is
        raise bad_request(f"Invalid Content-Type header ({content_type[:80]}), expected application/json.")
    raw = b"".join([block async for block in limit_stream(request.stream(), MAX_JSON_BYTES)])
    return _json_object(raw)


def parse_body(content: Mapping[str, Any], kind: type[B]) -> B:
    """Parse the body that a JSON object contains."""
    given = {name: value for name, value in content.items() if name not in kind.unsupported or value}
    for name in given:
        if name in kind.unsupported:
            raise bad_request(
                f"Unsupported parameter: '{name}' is not supported with this model.",
                param=name,
                code="unsupported_parameter",
            )
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise _to_api_error(error.errors()[0]) from error


def _json_object(raw: bytes) -> dict[str, Any]:
    """Parse the object, in which null counts as absent."""
    try:
        content = _without_nulls(json.loads(raw))
    except (ValueError, RecursionError) as error:
        raise bad_request(
            "We could not parse the JSON body of your request: it must be a JSON object in UTF-8."
        ) from error
    if not isinstance(content, dict):
        raise bad_request(f"The JSON body of your request must be an object, not {type(content).__name__}.")
    if b"\\u" in raw and _SURROGATE.search(json.dumps(content, ensure_ascii=False)):
        raise bad_request("The JSON body of your request contains half of a surrogate pair, which is no text.")
    return content


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(part) for name, part in value.items() if part is not None}
    return [_without_nulls(part) for part in value] if isinstance(value, list) else value


def _to_api_error(problem: Mapping[str, Any]) -> ApiError:
    param = _path(problem["loc"])
    if problem["type"] == "extra_forbidden":
        return bad_request(f"Unknown parameter: '{param}'.", param=param, code="unknown_parameter")
    if problem["type"] == "missing":
        return bad_request(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")
    reason = str(problem["msg"]).removeprefix("Value error, ")
    where = f" for '{param}'" if param else ""
    return bad_request(f"Invalid value{where}: {reason}.", param=param, code="invalid_value")


def _path(location: Sequence[int | str]) -> str | None:
    """Return a path such as `messages[0].content`, without the branch of a union that pydantic adds to it."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", part) and part not in ("int", "float", "str"):
            path += f".{part}" if path else part
    return path or None
