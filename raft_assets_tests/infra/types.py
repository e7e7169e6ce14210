"""The official resource types of Bicep: from `bicep_types.json` where it is at hand, else from an excerpt.

`resource_types.json` beside this file holds the types that `infra/` uses, without descriptions and what can't be
written, and the notice of their licence. `excerpt` makes it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from raft_assets_tests.openai_contract import FOLDER

OFFICIAL = FOLDER / "bicep_types.json"
EXCERPT = Path(__file__).with_name("resource_types.json")
PRIMITIVES = {"string": str, "int": int, "bool": bool, "any": object, "object": dict}
NOTICE = (
    "Excerpt of the resource types of Azure Bicep (bicep-types-az), as the package msmcp-azure 3.0.0 answers them. "
    "MIT License. Copyright (c) Microsoft Corporation. Permission is hereby granted, free of charge, to any person "
    'obtaining a copy of this software and associated documentation files (the "Software"), to deal in the Software '
    "without restriction, including without limitation the rights to use, copy, modify, merge, publish, distribute, "
    "sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, "
    "subject to the following conditions: The above copyright notice and this permission notice shall be included in "
    'all copies or substantial portions of the Software. THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY '
    "KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A "
    "PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY "
    "CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR "
    "IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE."
)


class Types:
    """Resource types by `type@version`. `seen`: the types of objects that were looked at, by resource type."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._types = {
            part["name"]: (part, {one.get("name"): one for one in parts})
            for parts in content.values()
            for part in parts
            if part["$type"] == "Resource"
        }
        self.seen: dict[str, set[str]] = {}

    def knows(self, name: str) -> bool:
        """Whether a type is known in that version, or in another, which makes the version a mistake."""
        kind = name.partition("@")[0]
        return any(one.partition("@")[0] == kind for one in self._types)

    def breaches(self, name: str, scope: str, body: Mapping[str, Any]) -> Iterator[str]:
        """What is wrong with the body of a resource, sent to a `subscription` or a `resourceGroup`."""
        if name not in self._types:
            yield f"{name} is not a version that the types know"
            return
        resource, _ = self._types[name]
        allowed = resource["writableScopes"]
        if allowed != "AllExceptExtension" and scope.lower() not in allowed.lower():
            yield f"{name} can't be sent to a {scope}"
        yield from self._object(name, resource["bodyType"], body, "")

    def readable(self, name: str, path: list[str]) -> str | None:
        """The property of a path that a resource doesn't have, if any."""
        if name not in self._types:
            return None
        resource, named = self._types[name]
        found = resource["bodyType"]
        for part in path:
            properties = {one["name"]: one for one in found.get("properties", ())}
            if part not in properties:
                return None if "additionalPropertiesType" in found else part
            self.seen.setdefault(name, set()).add(found["name"])
            found = named.get(properties[part]["type"], {"additionalPropertiesType": "any"})
        return None

    def _object(self, of: str, type_: Mapping[str, Any], value: Any, path: str) -> Iterator[str]:
        self.seen.setdefault(of, set()).add(type_["name"])
        if not isinstance(value, Mapping):
            yield f"{path} is {value!r}, not an object"
            return
        properties = {one["name"]: one for one in type_["properties"]}
        for name, one in properties.items():
            if "Required" in one.get("flags", "") and value.get(name) is None:
                yield f"{path}.{name} is required"
        for name, inner in value.items():
            where = f"{path}.{name}"
            if inner is None:
                continue
            if name not in properties:
                if "additionalPropertiesType" not in type_:
                    yield f"{where} is no property of {type_['name']}"
                else:
                    yield from self._value(of, type_["additionalPropertiesType"], inner, where)
            elif "ReadOnly" in properties[name].get("flags", ""):
                yield f"{where} can only be read"
            else:
                yield from self._value(of, properties[name]["type"], inner, where)
                yield from _modifiers(properties[name].get("modifiers", ""), inner, where)

    def _value(self, of: str, type_: str, value: Any, path: str) -> Iterator[str]:
        if type_.endswith("[]"):
            if not isinstance(value, list):
                yield f"{path} is {value!r}, not an array"
                return
            for index, one in enumerate(value):
                yield from self._value(of, type_[:-2], one, f"{path}[{index}]")
        elif type_ in PRIMITIVES:
            right = isinstance(value, PRIMITIVES[type_]) and not (type_ == "int" and isinstance(value, bool))
            right |= path.endswith(".resources.cpu") and isinstance(value, float)  # which the type calls a whole number
            if not right:
                yield f"{path} is {value!r}, not {type_}"
        elif " | " in type_:
            choices = type_.split(" | ")
            if value not in choices and not ("string" in choices and isinstance(value, str)):
                yield f"{path} is {value!r}; allowed is {type_}"
            elif "string" in choices and value not in choices and value.lower() in map(str.lower, choices):
                yield f"{path} is {value!r}, which differs from {type_} by case"
        elif type_ in self._types[of][1]:
            yield from self._object(of, self._types[of][1][type_], value, path)
        elif value != type_:  # a type of one word
            yield f"{path} is {value!r}, not {type_!r}, or its type is not in the excerpt"


def _modifiers(modifiers: str, value: Any, path: str) -> Iterator[str]:
    for rule in filter(None, re.split(r", (?=\w+: )", modifiers)):
        name, _, bound = rule.partition(": ")
        match name:
            case "minLength" | "minValue":
                right = _size(value) >= int(bound)
            case "maxLength" | "maxValue":
                right = _size(value) <= int(bound)
            case "pattern":
                right = re.search(bound, value) is not None
            case _:
                right = name == "sensitive"
        if not right:
            yield f"{path} is {value!r}, against {rule}"


def _size(value: Any) -> int:
    return value if isinstance(value, int) else len(value)


@cache
def excerpted() -> Types:
    """The types of the excerpt."""
    return Types({name: parts for name, parts in json.loads(EXCERPT.read_text()).items() if name != "notice"})


@cache
def official() -> Types:
    """All the types that are at hand."""
    return Types(json.loads(OFFICIAL.read_text("utf-8"))) if OFFICIAL.is_file() else excerpted()


def excerpt(types: Types) -> str:
    """The text of the excerpt: what `types` has seen."""
    found: dict[str, Any] = {"notice": NOTICE}
    for name, parts in json.loads(OFFICIAL.read_text("utf-8")).items():
        resource = next(part for part in parts if part["$type"] == "Resource")
        seen = types.seen.get(resource["name"])
        if not seen:
            continue
        body = {**resource["bodyType"], "properties": [_short(one) for one in resource["bodyType"]["properties"]]}
        found[name] = [{**resource, "bodyType": body}] + [
            {**part, "properties": [_short(one) for one in part["properties"]]}
            for part in parts
            if part["$type"] == "Object" and part["name"] in seen
        ]
    return "{\n" + ",\n".join(f"{json.dumps(name)}: {json.dumps(part)}" for name, part in found.items()) + "\n}\n"


def _short(one: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in one.items() if key != "description"}
