"""What can be seen without a value: names that nothing defines or nothing uses, as a compiler and its linter say it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from raft_assets_tests.infra.syntax import Declaration, Expression, Source, read
from raft_assets_tests.infra.types import Types

FUNCTIONS = {
    "concat", "empty", "environment", "guid", "join", "json", "resourceGroup", "split", "subscription",
    "subscriptionResourceId", "uniqueString", "utcNow",
}  # fmt: skip
SECRET = re.compile(r"secret|password|connectionstring|(?<!public)key\d*$|accesskey|token$|sas$", re.IGNORECASE)
MODULE_PROPERTIES = {"name", "scope", "params", "dependsOn"}


def check(path: Path, findings: list[str], types: Types, seen: set[Path] | None = None) -> None:
    """Check a file and the modules that it uses, and add to the findings."""
    seen = set() if seen is None else seen
    if path in seen:
        return
    seen.add(path)
    source = read(path)
    findings += source.errors
    if not source.errors:
        findings += [f"{path.name}: {said}" for said in _check(source, types)]
        for one in source.of("module").values():
            if (path.parent / one.source).is_file():
                check(path.parent / one.source, findings, types, seen)


def _check(source: Source, types: Types) -> Iterator[str]:
    symbols = [one.name for one in source.declarations if one.kind != "output"]
    yield from (f"{name} is declared twice" for name in sorted({name for name in symbols if symbols.count(name) > 1}))
    used = set()
    for one in source.declarations:
        for expression, variables in _expressions(one):
            used |= {part.parts[0] for part in expression.walk() if part.kind == "name"}
            yield from _check_names(one, expression, set(symbols) | variables)
            yield from _check_members(source, expression, types)
        if one.kind == "output":
            yield from _check_output(source, one)
        if one.kind == "module":
            yield from _check_module(source, one)
    for one in source.declarations:
        if one.name not in used and (one.kind in ("param", "var") or one.is_existing):
            yield f"{one.name} is never used"


def _expressions(one: Declaration) -> Iterator[tuple[Expression, set[str]]]:
    """The expressions of a declaration, with the variables of its loops."""
    variables = {part.parts[0] for part in (one.value.walk() if one.value else ()) if part.kind == "for"}
    for arguments in one.decorators.values():
        yield from ((argument, set()) for argument in arguments)
    if one.value is not None:
        yield one.value, variables


def _check_names(one: Declaration, expression: Expression, defined: set[str]) -> Iterator[str]:
    for part in expression.walk():
        name = part.parts[0] if part.kind in ("name", "call") else ""
        if part.kind == "name" and name not in defined:
            yield f"{name} is not defined"
        elif part.kind == "call" and name.rpartition(".")[2].startswith("list"):
            yield f"{one.name} reads keys by {name}"
        elif part.kind == "call" and name not in FUNCTIONS:
            yield f"{name} is no function that these tests know"
        elif name == "utcNow" and one.kind != "param":
            yield "utcNow is only allowed as the default of a parameter"


def _check_members(source: Source, expression: Expression, types: Types) -> Iterator[str]:
    """Check `symbol.a.b` against what the symbol has, and that what may not be made is read with care."""
    declared = source.of("resource", "module")
    for part in expression.walk():
        path, how, root = [], "", part
        while root.kind == "member":
            path.insert(0, root.parts[1])
            how, root = root.parts[2], root.parts[0]
        one = declared.get(root.parts[0]) if root.kind == "name" and path else None
        if one is None:
            continue
        if one.is_conditional and not how:
            yield f"{one.name} may not be made, and .{path[0]} is read without ! or .?"
        if one.kind == "resource" and (lacking := types.readable(one.source, path)):
            yield f"{one.name} has no property {lacking}"
        module = source.path.parent / one.source
        if one.kind == "module" and len(path) > 1 and module.is_file() and path[1] not in read(module).of("output"):
            yield f"{one.name} has no output {path[1]}"


def _check_module(source: Source, one: Declaration) -> Iterator[str]:
    path = source.path.parent / one.source
    if not path.is_file():
        yield f"there is no {one.source}"
        return
    yield from (f"{one.name} has no {key}" for key, _ in one.body.parts if key not in MODULE_PROPERTIES)
    given: dict[str, Any] = dict(params.parts) if (params := one.property("params")) else {}
    declared = read(path).of("param")
    yield from (f"{name} is no parameter of {one.source}" for name in given if name not in declared)
    for name, parameter in declared.items():
        if parameter.value is None and name not in given:
            yield f"{one.source} is not given {name}"


def _check_output(source: Source, one: Declaration) -> Iterator[str]:
    words = {one.name} | {part.parts[1] for part in one.value.walk() if part.kind == "member"} if one.value else set()
    yield from (f"the output {one.name} shows a secret ({word})" for word in sorted(words) if SECRET.search(word))
    secure = {name for name, param in source.of("param").items() if "secure" in param.decorators}
    names = {part.parts[0] for part in one.value.walk() if part.kind == "name"} if one.value else set()
    yield from (f"the output {one.name} shows the secret {name}" for name in sorted(names & secure))
