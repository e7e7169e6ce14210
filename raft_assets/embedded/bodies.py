"""Request bodies of the endpoints that ask a model.

A body model lists the parameters that the embedded models obey, then those that cannot change their answers and are
accepted for the sake of clients; those that would change an answer are `unsupported` (see `provider.bodies`).
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from raft_assets.provider.bodies import Body, Metadata

UNSUPPORTED_IN_CHATS = frozenset(
    {
        *("audio", "function_call", "functions", "logit_bias", "logprobs", "modalities", "parallel_tool_calls"),
        *("prediction", "reasoning_effort", "response_format", "tool_choice", "tools", "top_logprobs", "verbosity"),
        "web_search_options",
    }
)


def _text(value: Any) -> str:
    """Return a message's content: a text, or parts that are all texts."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(_is_text_part(part) for part in value):
        return "".join(part["text"] for part in value)
    raise ValueError("expected a string or an array of text parts; the embedded models read nothing but text")


def _is_text_part(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)


def _texts(value: Any) -> list[str]:
    """Return a text or an array of texts as an array."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and value and all(isinstance(text, str) for text in value):
        return value
    raise ValueError(
        "expected a string or a non-empty array of strings; arrays of tokens are not supported, send the text"
    )


Texts = Annotated[list[str], BeforeValidator(_texts)]


class Message(Body):
    """A message of a conversation; the embedded models read the last one of the user."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, BeforeValidator(_text)]
    name: str | None = None


class StreamOptions(Body):
    """How a stream ends. `include_obfuscation` pads chunks against eavesdroppers; on one machine there are none."""

    include_usage: bool = False
    include_obfuscation: bool = False


class Generation(Body):
    """Parameters that chat completions and completions share."""

    model: str
    stop: Annotated[list[Annotated[str, Field(min_length=1)]], BeforeValidator(_texts)] = Field(
        default_factory=list, max_length=4
    )
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=1)] = 1  # answers never vary: a second choice would be a copy

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: int | None = None
    user: str | None = None

    @model_validator(mode="after")
    def _stream_options_need_a_stream(self) -> Self:
        if self.stream_options and not self.stream:
            raise ValueError("'stream_options' is only allowed when 'stream' is true")
        return self


class ChatRequest(Generation):
    """`POST /v1/chat/completions`."""

    unsupported = UNSUPPORTED_IN_CHATS
    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None

    metadata: Metadata | None = None
    store: bool = False
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None

    @property
    def limit(self) -> int | None:
        """Maximum tokens of the answer."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def prompt(self) -> str:
        """The user's last message."""
        return next((message.content for message in reversed(self.messages) if message.role == "user"), "")

    @model_validator(mode="after")
    def _a_user_speaks(self) -> Self:
        if not any(message.role == "user" for message in self.messages):
            raise ValueError("'messages' must hold a message of the role 'user'")
        return self


class CompletionRequest(Generation):
    """`POST /v1/completions`. Without `max_tokens` an answer is complete (OpenAI truncates it to 16 tokens)."""

    unsupported = frozenset({"best_of", "echo", "logit_bias", "logprobs", "suffix"})
    prompt: Texts


class EmbeddingRequest(Body):
    """`POST /v1/embeddings`."""

    model: str
    input: Annotated[list[Annotated[str, Field(min_length=1)]], Field(max_length=2048), BeforeValidator(_texts)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    user: str | None = None
