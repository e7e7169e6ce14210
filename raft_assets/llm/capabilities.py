"""What a model accepts: tables of families and services, and what its service has taught, kept among the records.

Nothing here is part of a call's key: how a request is worded for a model doesn't change what is asked.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from typing import Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict

from raft_assets.core.ports import Records, VersionedRecord
from raft_assets.llm.requests import JSON_OBJECT, Usage
from raft_assets.llm.service_errors import SUBSTITUTES
from raft_assets.llm.unsupported_parameters import MAX_TOKENS_PARAMETERS, SYSTEM_ROLE, SYSTEM_ROLES
from raft_assets.settings.endpoints import Endpoint

log = logging.getLogger(__name__)
EntryT = TypeVar("EntryT", bound=BaseModel)

CAPABILITIES_FILE, SERVICES_FILE = "capabilities.yaml", "services.yaml"
LEARNED_FILE = "calls/capabilities"  # record: what was learned, by service and model
Parameter = Literal["max_tokens", "max_completion_tokens", "temperature", "seed", "response_format", "reasoning_effort"]
Substitutes = dict[str, str | None]  # parameter to what is sent instead; None: nothing
Fact = Literal["texts_a_call", "tokens_a_text", "dimensions"]  # of embeddings
FACTS: dict[Fact, str] = {
    "texts_a_call": "at most {} texts are embedded by a call",
    "tokens_a_text": "a text to embed has at most {} tokens",
    "dimensions": "vectors have {} numbers",
}
IGNORED = "ignored"  # the name of the limit that the service takes and doesn't keep to
_INSTEAD: Mapping[str, str | None] = {**SUBSTITUTES, SYSTEM_ROLE: "user"}


class Capability(BaseModel):
    """An entry of the table; `model` is a pattern in which * matches anything."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    instead: Mapping[Parameter, Parameter | None] = {}
    context_tokens: int | None = None  # prompt and answer together
    source: str
    date: date


class KnownService(BaseModel):
    """A service whose reference says what it takes; `host` is a pattern in which * matches anything."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    instead: Mapping[Parameter, Parameter | None] = {}
    source: str
    date: date


@dataclass(frozen=True)
class _Learned:
    """What one model of one service has taught."""

    substitutes: Substitutes
    facts: dict[Fact, int]
    ignored: str = ""

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Self:
        return cls(
            {
                name: other
                for name, other in entry.items()
                if other is None or (isinstance(other, str) and name != IGNORED)
            },
            {fact: entry[fact] for fact in FACTS if isinstance(entry.get(fact), int)},
            str(entry.get(IGNORED, "")),
        )

    @property
    def entry(self) -> dict[str, Any]:
        """As it is stored."""
        facts = {str(fact): number for fact, number in self.facts.items()}
        return {**self.substitutes, **facts, **({IGNORED: self.ignored} if self.ignored else {})}

    def with_substitute(self, parameter: str, instead: str | None) -> "_Learned":
        others = {name: other for name, other in self.substitutes.items() if name != instead}
        return replace(self, substitutes={**others, parameter: instead})


class Capabilities:
    """What one model of one service accepts: by the tables, and as any process of the project learned it.

    `family` is looked up in the table: the name of the base model, which a deployment's name may not reveal.
    `is_known`: the service says which name of an answer's limit it takes; others are sent both.
    """

    def __init__(self, records: Records, service: str, model: str, *, family: str, is_known: bool = True) -> None:
        self._record = VersionedRecord(records, LEARNED_FILE)
        self._name = f"{service} {model}"
        self._is_known = is_known
        entry = next((entry for entry in load_capabilities() if fnmatchcase(family, entry.model)), None)
        table = _known_service(service)
        self._learned = _Learned.of(_read(self._record.read()).get(self._name, {}))
        self._table = _over(table.instead if table else {}, entry.instead if entry else {})
        self.context_tokens = entry.context_tokens if entry else None

    @classmethod
    def of(cls, records: Records, endpoint: Endpoint, model: str) -> Self:
        """Return those of a model of an endpoint, as the project knows them."""
        is_known = endpoint.provider != "openai" or _known_service(endpoint.service) is not None
        return cls(records, endpoint.service, model, family=endpoint.normalized_model, is_known=is_known)

    @property
    def substitutes(self) -> Substitutes:
        """What is sent instead of a parameter: what the service said takes precedence over the tables."""
        return _over(self._learned.substitutes, self._table)

    @property
    def texts_a_call(self) -> int | None:
        """How many texts a call may embed; None while no service has said."""
        return self._learned.facts.get("texts_a_call")

    @property
    def dimensions(self) -> int | None:
        """The length of the model's vectors; None before the first one."""
        return self._learned.facts.get("dimensions")

    def apply(self, body: Mapping[str, Any], *, is_sent_later: bool = False) -> dict[str, Any]:
        """Return a body as the model accepts it.

        `is_sent_later`: with a batch, whose refusal comes after a day and teaches nothing; no name is sent on trial.
        """
        substitutes, limits, is_chat = self.substitutes, set(MAX_TOKENS_PARAMETERS), "messages" in body
        if not is_chat:  # the older API has one name for the limit
            substitutes = {name: other for name, other in substitutes.items() if name not in limits}
        sends_both = is_chat and not (self._is_known or is_sent_later or limits & substitutes.keys())
        sent: dict[str, Any] = {}
        for name, value in body.items():
            if sends_both and name in limits:
                sent |= dict.fromkeys(MAX_TOKENS_PARAMETERS, value)
            elif (other := substitutes.get(name, name)) is not None:
                sent[other] = value
        if "response_format" in sent:
            sent |= {"response_format": self._response_format(sent)}
            if sent["response_format"] is None:
                del sent["response_format"]
        if SYSTEM_ROLE in substitutes and "messages" in sent:
            sent["messages"] = merge_instructions(sent["messages"])
        return sent

    def learn(self, parameter: str, instead: str | None) -> None:
        """Remember a rejected parameter for this process and later ones."""
        self._remember(lambda learned: learned.with_substitute(parameter, instead))
        log.warning("%s: %s", self._name, _sentence(parameter, instead))

    def learn_unsupported(self, parameter: str, sent: Mapping[str, Any]) -> bool:
        """Remember that the service refuses a parameter of a body; False if nothing is known to send instead.

        Another call may have learned it while this one was under way; nothing is substituted back and forth.
        """
        name, instead = _name_of(parameter, sent), _INSTEAD[parameter]
        if name in self.substitutes:
            return self.apply(sent) != sent
        is_back = instead in MAX_TOKENS_PARAMETERS and self._learned.substitutes.get(instead) == parameter
        if is_back and self._learned.ignored != instead:
            return False  # it refuses both names
        self.learn(name, instead)
        return True

    def check_limit(self, sent: Mapping[str, Any], usage: Usage) -> None:
        """Learn from an answer that is longer than its limit: the service ignores the name of the limit."""
        names = [name for name in MAX_TOKENS_PARAMETERS if name in sent]
        if "messages" not in sent or len(names) != 1 or self._learned.ignored:
            return
        (name,) = names
        (other,) = set(MAX_TOKENS_PARAMETERS) - {name}
        if usage.output_tokens - usage.reasoning_tokens > sent[name] and self._learned.substitutes.get(other) != name:
            self._remember(lambda learned: replace(learned.with_substitute(name, other), ignored=name))
            log.warning("%s: %s, %s", self._name, _sentence(IGNORED, name), _sentence(name, other))

    def find_out(self, fact: Fact, number: int) -> None:
        """Remember a number that the service has told or shown."""
        if self._learned.facts.get(fact) != number:
            self._remember(lambda learned: replace(learned, facts={**learned.facts, fact: number}))

    def _response_format(self, sent: Mapping[str, Any]) -> Any:
        """Return the format that the service takes, at most what was asked: a schema, a JSON object, or nothing."""
        asked, substitutes = sent["response_format"], self.substitutes
        if _name_of("response_format", sent) not in substitutes:
            return asked
        is_schema = isinstance(asked, Mapping) and asked.get("type") == "json_schema"
        # services take a JSON object where the prompt asks for one
        speaks_of_it = "json" in json.dumps(sent.get("messages", ""), default=str).lower()
        if (
            is_schema
            and speaks_of_it
            and _name_of("response_format", {"response_format": JSON_OBJECT}) not in substitutes
        ):
            return JSON_OBJECT
        return None

    def _remember(self, change: Callable[[_Learned], _Learned]) -> None:
        self._learned = change(self._learned)

        def changed(record: bytes | None) -> bytes:
            entries = _read(record)
            entries[self._name] = change(_Learned.of(entries.get(self._name, {}))).entry
            return json.dumps(entries, indent=1, sort_keys=True).encode()

        self._record.change(changed)


@cache
def load_capabilities() -> tuple[Capability, ...]:
    """Return the families in the order of the table."""
    return _load(CAPABILITIES_FILE, Capability)


@cache
def load_services() -> tuple[KnownService, ...]:
    """Return the services in the order of the table."""
    return _load(SERVICES_FILE, KnownService)


def learned_capabilities(records: Records) -> list[tuple[str, str]]:
    """Return what services have taught: service and model, and a clause for each thing."""
    return [
        (name, _sentence(what, value))
        for name, entry in sorted(_read(VersionedRecord(records, LEARNED_FILE).read()).items())
        for what, value in sorted(entry.items())
    ]


def forget_capabilities(records: Records) -> None:
    """Forget what services have taught; it is learned again, call by call."""
    VersionedRecord(records, LEARNED_FILE).delete()


def merge_instructions(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return messages with the instructions at the beginning of the user's next one, for models without that role."""
    merged: list[Mapping[str, Any]] = []
    told: list[str] = []
    for message in messages:
        if message.get("role") in SYSTEM_ROLES:
            told.append(_text_of(message.get("content")))
        elif told and message.get("role") == "user":
            merged.append({**message, "content": _prepend("\n\n".join(told), message.get("content"))})
            told = []
        else:
            merged.append(message)
    return [*merged, {"role": "user", "content": "\n\n".join(told)}] if told else merged


def _text_of(content: Any) -> str:
    if not isinstance(content, list):
        return str(content or "")
    return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))


def _prepend(text: str, content: Any) -> Any:
    return [{"type": "text", "text": text}, *content] if isinstance(content, list) else f"{text}\n\n{content or ''}"


def _name_of(parameter: str, sent: Mapping[str, Any]) -> str:
    """Return the name by which a parameter is learned: a service may take one response format and refuse another."""
    value = sent.get(parameter)
    is_typed = parameter == "response_format" and isinstance(value, Mapping) and "type" in value
    return f"{parameter}.{value['type']}" if is_typed and value is not None else parameter


def _sentence(what: str, value: Any) -> str:
    if what in FACTS:
        return FACTS[what].format(f"{value:,}")
    if what == IGNORED:
        return f"{value} is ignored"
    if what == SYSTEM_ROLE:
        return "instructions stand in the user's message"
    return f"{value} is sent instead of {what}" if value else f"{what} is left out"


def _over(stronger: Mapping[Any, str | None], weaker: Mapping[Any, str | None]) -> Substitutes:
    """Return both, without what of the weaker ones leads to a parameter that the stronger ones rule out."""
    return {**{name: other for name, other in weaker.items() if other not in stronger}, **stronger}


def _known_service(service: str) -> KnownService | None:
    host = urlsplit(service).hostname or ""
    return next((entry for entry in load_services() if fnmatchcase(host, entry.host)), None)


def _load(file: str, kind: type[EntryT]) -> tuple[EntryT, ...]:
    text = (resources.files("raft_assets.llm") / file).read_text("utf-8")
    return tuple(kind.model_validate(entry) for entry in yaml.safe_load(text))


def _read(learned: bytes | None) -> dict[str, dict[str, Any]]:
    """Return what was learned; a record that is gone or broken is learned again, call by call."""
    try:
        entries = json.loads(learned or b"{}")
    except ValueError:
        return {}
    return entries if isinstance(entries, dict) else {}
