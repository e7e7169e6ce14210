"""The official schemas of Azure's management API, where they are at hand (`AZURE_CONTRACTS_DIR`)."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

from raft_assets_tests.openai_contract import FOLDER

COMMON = "https://schema.management.azure.com/schemas/common/definitions.json"
EXPRESSION = {"type": "string", "pattern": r"^\[.*\]$"}  # of templates; no request holds one


def breaches(file_pattern: str, resource: str, kind: str, name: str, body: Mapping[str, Any]) -> list[str]:
    """What the official schema says against the body of a PUT; nothing where the schema isn't at hand."""
    found = sorted(FOLDER.glob(file_pattern))
    if not found:
        return []
    schema = _schema(found[-1])
    version = schema["resourceDefinitions"][resource]["properties"]["apiVersion"]["enum"][0]
    validator = jsonschema.Draft4Validator(
        {"$ref": f"#/resourceDefinitions/{resource}", **{k: v for k, v in schema.items() if k != "id"}},
        registry=_common(),
    )
    instance = {**body, "name": name, "type": kind, "apiVersion": version}
    return [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(instance)]


@cache
def _schema(file: Path) -> dict[str, Any]:
    schema: dict[str, Any] = _open(json.loads(file.read_text("utf-8")))
    return schema


def _open(node: Any) -> Any:
    """The published schema closes the common part of a polymorphic type to the fields of its kinds: nothing fits.
    Common parts are opened; everything else stays as it is.
    """
    if isinstance(node, list):
        return [_open(part) for part in node]
    if not isinstance(node, dict):
        return node
    plain = {name: _open(part) for name, part in node.items()}
    for part in plain.get("allOf", ()):
        if part.get("additionalProperties") is False:
            del part["additionalProperties"]
    return plain


@cache
def _common() -> Any:
    common = Resource(contents={"definitions": {"expression": EXPRESSION}}, specification=DRAFT4)
    return Registry().with_resource(COMMON, common)
