"""Verify an endpoint with the smallest possible call: one short question, one vector or one list of jobs.

Its answer is not stored, and none is taken from the store: that would verify nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, TypeVar

from raft_assets.core.errors import EndpointError
from raft_assets.llm.service_errors import (
    FailCall,
    StopEndpoint,
    Unexplained,
    UnsupportedParameter,
    classify_error,
    redact_message,
)
from raft_assets.settings.endpoints import Endpoint, Role

if TYPE_CHECKING:
    import openai

T = TypeVar("T")

QUESTION = "Say yes."
FINE_TUNE_REMEDY = (
    "ask for a role that may fine-tune (on Azure: Cognitive Services OpenAI Contributor; on OpenAI: a key with write "
    "permission for fine-tuning)"
)


async def probe(client: openai.AsyncOpenAI, endpoint: Endpoint, *, completion: bool) -> str:
    """Return what the endpoint does, in half a sentence.

    `completion`: the student's base model is called through the older API. A student's base need not be deployed; what
    matters is that the service lets the caller fine-tune it. Raises EndpointError with what to set, or whom to ask.
    """
    if endpoint.role is Role.STUDENT:
        await _translate_errors(client.fine_tuning.jobs.list(limit=1), endpoint, FINE_TUNE_REMEDY)
        return "fine-tuning is permitted"
    if endpoint.role is Role.EMBEDDING:
        embedded = await _translate_errors(client.embeddings.create(model=endpoint.model, input=[QUESTION]), endpoint)
        return f"embeds with {len(embedded.data[0].embedding)} dimensions"
    if completion and endpoint.role is Role.BASELINE:
        await _translate_errors(client.completions.create(model=endpoint.model, prompt=QUESTION), endpoint)
        return "completes"
    messages: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": QUESTION}]
    await _translate_errors(client.chat.completions.create(model=endpoint.model, messages=messages), endpoint)
    return "answers"


async def _translate_errors(call: Awaitable[T], endpoint: Endpoint, forbidden: str = "") -> T:
    import openai

    try:
        return await call
    except openai.APIError as error:
        service_error = classify_error(error, endpoint, endpoint.model)
        if forbidden and getattr(error, "status_code", 0) == 403:
            raise EndpointError(f"{endpoint.role} ({endpoint.service}) refuses (403): {forbidden}.") from None
        match service_error:
            case StopEndpoint(sentence):
                raise EndpointError(sentence) from None
            case UnsupportedParameter(_, sentence) | Unexplained(_, sentence):
                raise EndpointError(sentence) from None
            case FailCall(reason):
                raise EndpointError(f"{endpoint.role} ({endpoint.service}): {reason}.") from None
        raise EndpointError(
            f"{endpoint.role} ({endpoint.model} at {endpoint.service}) does not respond: "
            f"{redact_message(error, endpoint)}. Check address and network, or wait."
        ) from None
