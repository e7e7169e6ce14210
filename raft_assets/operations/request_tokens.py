"""Tokens of requests as they are counted before anything is sent."""

from collections.abc import Callable
from functools import partial

from raft_assets.documents.chunking import token_count
from raft_assets.llm.capabilities import Capabilities
from raft_assets.llm.completion_form import CHAT, COMPLETION, to_completion
from raft_assets.llm.requests import Request
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.process import records_of
from raft_assets.settings.endpoints import Role

TOKENS_PER_MESSAGE = 4
count_tokens = partial(token_count, tokenizer="o200k_base")


def request_tokens(request: Request, count: Callable[[str], int] = count_tokens) -> int:
    """Return the tokens of a request's prompt, each message with what a service counts around it."""
    if request.kind == COMPLETION:
        return count(request.body["prompt"])
    return sum(count(message["content"]) + TOKENS_PER_MESSAGE for message in request.body["messages"])


def wording(models: ModelClients, role: Role) -> Callable[[Request], Request]:
    """Return what becomes of a request on its way to the role's model, as far as that is known: one text for some."""
    endpoint = models.endpoints[role]
    known = Capabilities.of(records_of(models.project), endpoint, endpoint.model)
    takes_chat = known.substitutes.get(CHAT) != COMPLETION
    return lambda request: to_completion(request) if request.kind == CHAT and not takes_chat else request
