"""A chat request as one text with worked examples, for base models, which have no chat template.

Such a model goes on with a text: without examples it goes on with the instructions. What belongs here: how a service
says that it can't chat, and the text. What the examples are belongs to those who make the request.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from raft_assets.core.prompt_contract import REPLY, TASK
from raft_assets.llm.requests import Request

if TYPE_CHECKING:
    import openai

CHAT, COMPLETION = "chat", "completion"  # what is learned of a model: completion instead of chat
# parameters of a chat request that mean the same in a completion request, and what they are called there
_PARAMETERS = {
    "max_completion_tokens": "max_tokens",
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "seed": "seed",
    "response_format": "response_format",
}
_MARK = re.compile(rf"^(?=(?:{TASK}|{REPLY}))", re.MULTILINE)
# vLLM, SGLang, oMLX; TGI; Ollama; OpenAI of its base models
_NO_CHAT = re.compile(
    r"chat[ _]template\b.{0,80}\b(?:no longer allowed|not set|not defined?|missing|not found|required|must)"
    r"|(?:no|without a|must provide a|does not define a|doesn['’]t have a|does not have a) chat[ _]template"
    r"|template(?: error:? template)? not found"
    r"|does(?: not|n['’]t) support chat\b"
    r"|not a chat model",
    re.IGNORECASE | re.DOTALL,
)


class NoChatError(Exception):
    """The service says that the model can't chat."""


def refuses_chat(error: openai.APIStatusError) -> bool:
    """Return whether a service refuses a chat request because the model has no template for one."""
    return bool(_NO_CHAT.search(f"{error.message} {error.body}"))


def to_completion(request: Request) -> Request:
    """Return a chat request as a completion request: instructions, examples, task, and where the reply begins."""
    messages = request.body["messages"]
    instructions = "\n\n".join(message["content"] for message in messages if message["role"] == "system")
    content = "\n\n".join(message["content"] for message in messages if message["role"] == "user")
    task = _MARK.sub(" ", content)  # of documents and questions, no line begins as one of the prompt's own
    examples = "".join(f"{TASK}\n{asked}\n{REPLY}\n{reply}\n\n" for asked, reply in request.examples)
    prompt = f"{instructions}\n\n{examples}{TASK}\n{task}\n{REPLY}\n".lstrip()
    parameters = {_PARAMETERS[name]: value for name, value in request.body.items() if name in _PARAMETERS}
    # a base model begins a task of its own after its reply
    return Request("completion", {"prompt": prompt, **parameters, "stop": [f"\n{TASK}"]}, request.sample)
