"""Which parameter of a call a service refuses, in whatever words it says so.

The services that were read for it: OpenAI, Azure OpenAI and its serverless models, vLLM, SGLang, TGI, llama.cpp,
Ollama, LM Studio, Mistral, Gemini, DeepSeek, DashScope, Doubao, Groq, xAI, OpenRouter. What is sent instead belongs in
`capabilities`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from raft_assets.llm.service_messages import ECHOED, error_body, find_texts, walk_body

if TYPE_CHECKING:
    import openai

MAX_TOKENS_PARAMETERS = ("max_completion_tokens", "max_tokens")
SYSTEM_ROLE = "system"  # refused like a parameter: the model's chat template knows users and assistants only
SYSTEM_ROLES = (SYSTEM_ROLE, "developer")
# without one of these, a call loses the least
_EASILY_DROPPED = ("seed", "reasoning_effort", "response_format", "encoding_format")
_DROPPED = (*MAX_TOKENS_PARAMETERS, "temperature", *_EASILY_DROPPED)
# with which a parameter is refused: a chat template that fails is a 500 at some, no provider that takes it a 404
_STATUSES = {400, 404, 405, 415, 422, 500, 501}
_CODES = {"unsupported_parameter", "unsupported_value", "unknown_parameter", "invalid_parameter_combination"}
_PLACES = {"loc", "param"}
_NO_SENTENCE = ECHOED | _PLACES | {"code", "type", "object", "id", "request_id"}
_LOCATION = re.compile(r"""['"]loc['"]\s*:\s*[\[(]([^\])]*)[\])]""")  # Pydantic's list of errors, printed as a text
_PRINTED_INPUT = re.compile(r"""['"](?:input|ctx)['"]\s*:.*\Z""", re.DOTALL)
_NAME = re.compile(r"(?<![\w-])[A-Za-z][A-Za-z_]*(?![\w-])")
_EXPECTED = re.compile(r"expected one of|(?:valid|supported|allowed|known) (?:fields|parameters)", re.IGNORECASE)
_UNKNOWN_NAME = re.compile(
    r"""(?:un(?:known|recognized|recognised|expected|supported)|extra|invalid|illegal|no\ssuch)\s
    (?:field|parameter|param|argument|name|key|property|keyword\sargument|request\sargument)s?(?:\ssupplied)?
    \s*:?\s*[`'"]*(\w+)""",
    re.IGNORECASE | re.VERBOSE,
)
_FORBIDDEN = re.compile(
    r"extra[ _](?:forbidden|inputs|fields)|not permitted|additional propert|requested parameters", re.IGNORECASE
)
_REFUSED = re.compile(
    r"n[o']t (?:be )?(?:support|permit|allow|enabl|availab|accept|recogni|implement|valid|a valid|known|set|one of)"
    r"|unsupported|unavailable|unrecogni|unknown|unexpected|invalid|forbidden|cannot|can't|only|must|should be|instead"
    r"|deprecated|incompatible|no endpoints|extra|mandatory",
    re.IGNORECASE,
)
_TOGETHER = re.compile(r"same time|both|mutually exclusive|together|only one of|conflict", re.IGNORECASE)
_OUT_OF_RANGE = re.compile(
    r"too (?:large|big|high|long|many)|at most|exceed|less than|greater than|above|<=|>=|between|range|context length",
    re.IGNORECASE,
)
_WANTED = re.compile(
    r"(?:use|with|to|of|by|try|expects?)\s+(?:the\s+)?(?:parameter\s+)?['\"`]*(max_\w+)", re.IGNORECASE
)
_MODERATED = re.compile(
    r"content[ _](?:filter|policy|management)|moderat|flagged|safety|inspection|risk", re.IGNORECASE
)
_ROLE = re.compile(
    r"(?:system|developer)['\"`]*[ _](?:role|message|prompt|instruction)|roles?[ '\"`:]{1,4}(?:system|developer)"
    r"|unexpected (?:message )?role|only user(?:,| and|/).{0,20}assistant|(?:system|developer)['\"`]* is not one of"
    r"|\.role['\"`]* does not support",
    re.IGNORECASE,
)
_ALTERNATE = re.compile(r"roles? must alternate", re.IGNORECASE)
# how services speak of a parameter without its name
_NICKNAMES = {
    "encoding_format": re.compile(r"\bbase64\b", re.IGNORECASE),
    "response_format": re.compile(
        r"json[ _]?(?:object|schema|mode|output)|structured[ _]outputs?|guided[ _](?:decoding|json)|response schema",
        re.IGNORECASE,
    ),
    "reasoning_effort": re.compile(r"\bthinking\b|\breasoning\b", re.IGNORECASE),
}


@dataclass(frozen=True)
class _Complaint:
    """What an error says: its sentences, and the names that it points to."""

    text: str
    located: frozenset[str]

    @classmethod
    def of(cls, error: openai.APIStatusError) -> _Complaint:
        body = error_body(error)
        printed = " ".join(find_texts(body, skipped=_NO_SENTENCE))
        located = [*_locations(body), *(name for place in _LOCATION.findall(printed) for name in _NAME.findall(place))]
        return cls(_PRINTED_INPUT.sub("", printed), frozenset(map(_plain, located)) - {"none", "body"})


def unsupported_parameter(error: openai.APIStatusError, sent: Mapping[str, Any]) -> str | None:
    """Return the parameter of the body that the service turned down; None if the error isn't about one.

    `system`: the model takes no instructions apart from the user's message.
    """
    said = _Complaint.of(error)
    text = said.text
    is_refusal = error.code in _CODES or _REFUSED.search(text) or _FORBIDDEN.search(text)
    if error.status_code not in _STATUSES or not is_refusal or _MODERATED.search(text):
        return None
    if _has_instructions(sent) and _refuses_instructions(said):
        return SYSTEM_ROLE
    names = [name for name in _DROPPED if name in sent and not _is_out_of_range(name, sent, text)]
    if found := _choose(names, said.located, text):
        return found
    if said.located - _KNOWN and not _FORBIDDEN.search(text):  # something else is wrong, and the error says where
        names = [name for name in names if "_" in name]  # `seed` and `temperature` are words of any text
    unknown = {_plain(name) for name in _UNKNOWN_NAME.findall(text)}
    mentioned = {_plain(name) for name in _NAME.findall(_EXPECTED.split(text)[0])} - unknown
    return (
        _choose(names, unknown, text)
        or _choose(names, mentioned, text)
        or next((name for name, spoken in _NICKNAMES.items() if name in names and spoken.search(text)), None)
        or _instead_of_another(names, said.located | unknown, text)
    )


def error_text(error: openai.APIStatusError) -> str:
    """Return every sentence of an error, wherever in its body the service put it."""
    return " ".join(find_texts(error_body(error), skipped=_NO_SENTENCE))


def _plain(name: str) -> str:
    """Return a name as it is compared: `reasoningEffort` is reasoning_effort."""
    return name.replace("_", "").lower()


_KNOWN = frozenset(map(_plain, _DROPPED))


def _choose(names: Collection[str], said: Collection[str], text: str) -> str | None:
    """Return which of the names that were sent the service means."""
    found = [name for name in names if _plain(name) in said]
    limits = [name for name in found if name in MAX_TOKENS_PARAMETERS]
    if not limits:
        return found[0] if found else None
    if _TOGETHER.search(text) and set(MAX_TOKENS_PARAMETERS) <= set(names):
        return "max_tokens"  # the older one of two that the service knows
    wanted = {name.lower() for name in _WANTED.findall(text)}
    position = {name: at if (at := text.find(name)) >= 0 else len(text) for name in limits}
    return min((name for name in limits if name not in wanted), key=position.__getitem__, default=None)


def _is_out_of_range(name: str, sent: Mapping[str, Any], text: str) -> bool:
    """Return whether the number is refused, which a person set too high, and not the parameter.

    Temperature 0 is what the product asks for; where a service has none, its own is as near.
    """
    if not _OUT_OF_RANGE.search(text) or name not in (*MAX_TOKENS_PARAMETERS, "temperature"):
        return False
    return not (name == "temperature" and sent[name] == 0)


def _instead_of_another(names: Collection[str], said: Collection[str], text: str) -> str | None:
    """Return a parameter to do without where the service forbids none that was sent, so that it must mean another."""
    if not _FORBIDDEN.search(text) or not _KNOWN.issuperset(said):
        return None
    return next((name for name in _EASILY_DROPPED if name in names), None)


def _has_instructions(sent: Mapping[str, Any]) -> bool:
    messages = sent.get("messages")
    return isinstance(messages, list | tuple) and any(message.get("role") in SYSTEM_ROLES for message in messages)


def _refuses_instructions(said: _Complaint) -> bool:
    return bool("role" in said.located or _ALTERNATE.search(said.text) or _ROLE.search(said.text))


def _locations(body: object) -> list[str]:
    """Return the names in `loc` and `param`, wherever they are."""
    places = walk_body(body, skipped=_NO_SENTENCE - _PLACES)
    return [part for name, value in places if name in _PLACES for part in _NAME.findall(str(value))]
