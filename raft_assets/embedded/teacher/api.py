"""Questions about descriptions of API calls, which are lines of `field: value`: templates that ask about the fields."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from raft_assets.core.sentences import split_sentences
from raft_assets.embedded.teacher.asked import GeneratedQuestion, Ranked
from raft_assets.embedded.teacher.morphology import base_form, forms_of, third_person
from raft_assets.embedded.teacher.phrasing import content_words

_FIELD = re.compile(r"^([a-z]\w*(?:\.[^\s:]+)?):[ \t]+(\S.*?)[ \t\r]*$", re.MULTILINE)
_API_FIELD = re.compile(
    r"^(?:api_\w+(?:\.[^\s:]+)?|meta_data\.\w+|functionality|env_requirements|example_code):", re.MULTILINE
)
_CALLABLE = re.compile(r"((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*)\(")
_ARGUMENT = "api_arguments."
LONGEST_PURPOSE = 24  # words of a functionality that a question repeats
LONGEST_ARGUMENT = 16  # words of a description of an argument


@dataclass(frozen=True)
class ApiDescription:
    """The fields of a description; `quotes` are their whole lines."""

    values: dict[str, str]
    quotes: dict[str, str]

    @property
    def call(self) -> str:
        """The call as it is written, with its arguments."""
        return self.values["api_call"]

    @property
    def topic(self) -> str:
        """The call's name in questions: the dotted name before its arguments, else its name in words."""
        match = _CALLABLE.match(self.call)
        simple = match is not None and self.call.count("(") == self.call.count(")") and "()." not in self.call
        return match.group(1) if match and simple else f"the call “{self.values.get('api_name', self.call)}”"

    @property
    def description(self) -> str:
        """The free text about the call, empty where there is none."""
        return self.values.get("meta_data.description", "")


def api_description(chunk: str) -> ApiDescription | None:
    """Parse the chunk as a description; None where it is prose."""
    values: dict[str, str] = {}
    quotes: dict[str, str] = {}
    for match in _FIELD.finditer(chunk):
        values.setdefault(match.group(1), match.group(2))
        quotes.setdefault(match.group(1), match.group().rstrip())
    if "api_call" not in values or not ("functionality" in values or "api_name" in values):
        return None
    return ApiDescription(values, quotes)


def is_fragment(chunk: str) -> bool:
    """Return whether the chunk is a part of a description that doesn't name its call: "the call" could be any."""
    return bool(_API_FIELD.search(chunk)) and api_description(chunk) is None


def template_questions(api: ApiDescription) -> list[Ranked]:
    """Return questions about the fields; every field counts as a sentence of its own."""
    drafts = [*_about_purpose(api), *_about_version(api), *_about_arguments(api)]
    return [
        Ranked(
            GeneratedQuestion(draft.question, draft.answer, api.quotes[draft.field], "api", draft.rule),
            draft.score,
            -1 - i,
        )
        for i, draft in enumerate(drafts)
        if draft.answer in api.quotes[draft.field] and not _is_given_away(draft.question, draft.answer)
    ]


@dataclass(frozen=True)
class _Draft:
    question: str
    answer: str
    field: str
    rule: str
    score: float


def _about_purpose(api: ApiDescription) -> Iterator[_Draft]:
    """Ask which call it is, of which module, and what it does."""
    sentences = split_sentences(api.values.get("functionality", ""))
    purpose = sentences[0].rstrip(".") if sentences else ""
    verb, _, rest = purpose.partition(" ")
    infinitive = base_form(verb) if {"VBZ", "VB"} & forms_of(verb) and verb.isalpha() else None
    if infinitive is None or not rest or len(purpose.split()) > LONGEST_PURPOSE or len(content_words(purpose)) < 2:
        return
    yield _Draft(f"Which call {third_person(infinitive)} {rest}?", api.call, "api_call", "api_call", 1.6)
    if not api.topic.startswith("the call"):
        yield _Draft(f"What does {api.topic} do?", purpose, "functionality", "api_functionality", 1.2)
    module = api.values.get("env_requirements", "")
    if re.fullmatch(r"[\w.-]+", module) and module != "builtins":
        yield _Draft(f"Which module is needed to {infinitive} {rest}?", module, "env_requirements", "api_module", 1.1)


def _about_version(api: ApiDescription) -> Iterator[_Draft]:
    version = api.values.get("api_version", "")
    if re.fullmatch(r"[\w.-]{1,20}", version):
        yield _Draft(f"Which API version is given for {api.topic}?", version, "api_version", "api_version", 0.8)


def _about_arguments(api: ApiDescription) -> Iterator[_Draft]:
    for field, value in api.values.items():
        name = field.removeprefix(_ARGUMENT)
        meaning = split_sentences(value)[0].rstrip(".") if field.startswith(_ARGUMENT) else ""
        if (
            not re.fullmatch(r"\*{0,2}[A-Za-z_]\w*", name)
            or name == "self"
            or not 3 <= len(meaning.split()) <= LONGEST_ARGUMENT
        ):
            continue
        article, _, rest = meaning.partition(" ")
        if article == "Whether":
            yield _Draft(f"Which argument of {api.topic} says whether {rest}?", name, field, "api_argument", 1.15)
        elif article in ("The", "A", "An"):
            yield _Draft(
                f"Which argument of {api.topic} holds {article.lower()} {rest}?", name, field, "api_argument", 1.15
            )


def _is_given_away(question: str, answer: str) -> bool:
    """Return whether the question contains the name of the call, module or argument that it asks for."""
    match = _CALLABLE.match(answer)
    name = (match.group(1) if match else answer).lower().split(".")[-1].strip("*")
    stem = name.removesuffix("s")
    spellings = {name, stem, name.replace("_", " ")}
    return any(re.search(rf"(?<![\w.]){re.escape(spelling)}s?(?!\w)", question.lower()) for spelling in spellings)
