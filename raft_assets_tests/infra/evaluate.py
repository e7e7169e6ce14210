"""From `infra/` and an azd environment to the resources that Azure would be sent; what a compiler would refuse is said.

Values that only a deployment knows are `Runtime`: they are known at the start of the module that they are handed to,
and in a name, scope, condition or loop they are a mistake.
"""

import hashlib
import json
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from raft_assets_tests.infra.static import check
from raft_assets_tests.infra.syntax import Declaration, Expression, Source, read
from raft_assets_tests.infra.types import Types

SUBSCRIPTION, TENANT = "11111111-2222-3333-4444-555555555555", "99999999-2222-3333-4444-555555555555"
VARIABLE = re.compile(r"\$\{(\w+)(?:=([^}]*))?\}")
TYPES = {"string": str, "int": int, "bool": bool, "array": list, "object": dict}


class MistakeError(Exception):
    """The template can't be evaluated further."""


@dataclass(frozen=True)
class Runtime:
    """A value that is known once something was made; `value` stands for it."""

    value: Any


@dataclass(frozen=True)
class Place:
    """Where a deployment is sent."""

    kind: str
    subscription: str
    group: str = ""

    @property
    def id(self) -> str:
        """Its resource id."""
        return f"/subscriptions/{self.subscription}" + (f"/resourceGroups/{self.group}" if self.group else "")


@dataclass(frozen=True)
class Sent:
    """A resource as it is sent. `loop`: its declaration, and how many of it are made at once (0: all)."""

    type: str
    version: str
    id: str
    body: Mapping[str, Any]
    place: Place
    loop: tuple[str, int] | None = None


@dataclass
class Deployment:
    """What came out. `unchecked`: types that no schema at hand describes."""

    resources: list[Sent] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    unchecked: set[str] = field(default_factory=set)

    def of(self, kind: str) -> list[Sent]:
        """The resources of a type, of which the last words are enough."""
        return [one for one in self.resources if one.type.endswith(kind)]


def deploy(infra: Path, environment: Mapping[str, str], types: Types, module: str = "main") -> Deployment:
    """Evaluate a module as azd would deploy it with an environment, and check every body."""
    found = Deployment()
    source = read(infra / f"{module}.bicep")
    place = Place(source.target_scope, SUBSCRIPTION, "" if source.target_scope == "subscription" else "rg-own")
    try:
        found.findings += _checked(infra / f"{module}.bicep", _texts(infra), types)
        given = _parameters(source, infra / f"{module}.parameters.json", environment)
        if not found.findings:
            found.outputs = plain(Module(source, given, place, found).run())
    except MistakeError as mistake:
        found.findings.append(str(mistake))
    for one in found.resources:
        name = f"{one.type}@{one.version}"
        if types.knows(name):
            found.findings += [f"{one.id}: {said}" for said in types.breaches(name, one.place.kind, one.body)]
        else:
            found.unchecked.add(name)
    ids = [one.id.lower() for one in found.resources]
    found.findings += [f"{name} is sent twice" for name in sorted({name for name in ids if ids.count(name) > 1})]
    return found


def _texts(infra: Path) -> tuple[bytes, ...]:
    return tuple(file.read_bytes() for file in sorted(infra.rglob("*.bicep")))


@cache
def _checked(file: Path, _: tuple[bytes, ...], types: Types) -> list[str]:
    """What can be seen without a value, once for the same texts."""
    findings: list[str] = []
    check(file, findings, types)
    return findings


def _parameters(source: Source, file: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """The parameters as azd fills them in: by the environment, as the type of each asks, and none where it is empty."""
    given = {}
    declared = source.of("param")
    for name, entry in json.loads(file.read_text())["parameters"].items():
        if name not in declared:
            raise MistakeError(f"{file.name}: {name} is no parameter of {source.path.name}")
        text = VARIABLE.sub(lambda found: environment.get(found[1]) or found[2] or "", entry["value"])
        kind = declared[name].type
        try:
            value = text if kind == "string" else json.loads(text)
        except ValueError:
            raise MistakeError(f"{file.name}: {name} is {text!r}, not {kind}") from None
        if value != "" or declared[name].value is None:
            given[name] = value
    return given


class Module:
    """A file that is deployed to a place."""

    def __init__(self, source: Source, given: Mapping[str, Any], place: Place, found: Deployment) -> None:
        self.source, self.given, self.place, self.found = source, given, place, found
        self.known: dict[str, Any] = {}
        self.open: list[str] = []
        self.needs: dict[str, set[str]] = {}  # of each declaration: those that it refers to
        self.made: dict[str, set[str]] = {}  # ids that each declaration sends
        self.looked_up: dict[str, set[str]] = {}  # ids of others' resources that each declaration needs

    def run(self) -> dict[str, Any]:
        """Send everything, and return the outputs."""
        for name, one in self.source.of("param").items():
            self._check_parameter(one, self.value(name))
        for name in self.source.of("resource", "module"):
            self.value(name)
        self._check_order()
        return {name: self.eval(one.value, {}) for name, one in self.source.of("output").items()}

    def value(self, name: str) -> Any:
        """The value of a symbol; what is declared is evaluated when it is first needed."""
        if self.open:
            self.needs.setdefault(self.open[-1], set()).add(name)
        if name not in self.known:
            if name in self.open:
                raise MistakeError(f"{self.source.path.name}: {name} needs itself")
            one = self.source.of("param", "var", "resource", "module")[name]
            self.open.append(name)
            self.known[name] = getattr(self, f"_{one.kind}")(one)
            self.open.pop()
        return self.known[name]

    def _param(self, one: Declaration) -> Any:
        if one.name in self.given:
            return self.given[one.name]
        if one.value is None:
            raise MistakeError(f"{self.source.path.name}: the parameter {one.name} is not given")
        return self.eval(one.value, {})

    def _var(self, one: Declaration) -> Any:
        return self.eval(one.value, {})

    def _check_parameter(self, one: Declaration, value: Any) -> None:
        where = f"{self.source.path.name}: the parameter {one.name} is {value!r}"
        if type(value) is not TYPES[one.type]:
            raise MistakeError(f"{where}, not {one.type}")
        bounds = {name: self.eval(arguments[0], {}) for name, arguments in one.decorators.items() if arguments}
        size = value if isinstance(value, int) else len(value)
        low = bounds.get("minLength", bounds.get("minValue", 0))
        high = bounds.get("maxLength", bounds.get("maxValue", size))
        if not low <= size <= high or value not in bounds.get("allowed", [value]):
            raise MistakeError(f"{where}, which is not allowed")

    def _each(self, one: Declaration) -> Iterator[tuple[dict[str, Any], bool]]:
        """The loop variables of each copy, and whether it is made."""
        value, copies = one.value, [dict[str, Any]()]
        if value is not None and value.kind == "for":
            variable, collection, value = value.parts
            copies = [{variable: item} for item in self.at_start(collection, {}, f"the loop of {one.name}")]
        for variables in copies:
            wanted = value is None or value.kind != "if"
            yield variables, wanted or self.at_start(value.parts[0], variables, f"the condition of {one.name}")

    def _resource(self, one: Declaration) -> Any:
        is_loop = one.value is not None and one.value.kind == "for"
        copies = [self._send(one, variables, wanted=wanted) for variables, wanted in self._each(one)]
        return copies if is_loop else copies[0]

    def _send(self, one: Declaration, variables: Mapping[str, Any], *, wanted: bool) -> "Resource | None":
        if not wanted:
            return None
        kind, _, version = one.source.partition("@")
        body = {key: value for key, value in one.body.parts if key not in ("parent", "scope", "dependsOn")}
        name = self.at_start(body["name"], variables, f"the name of {one.name}")
        parent, scope = one.property("parent"), one.property("scope")
        if parent is not None:
            above = self.eval(parent, variables)
            id_ = f"{above.id}/{kind.rpartition('/')[2]}/{name}"
        else:
            above = self.eval(scope, variables) if scope is not None else None
            if kind == "Microsoft.Resources/resourceGroups":
                id_ = f"{self.place.id}/resourceGroups/{name}"
            else:
                id_ = f"{above.id if above else self.place.id}/providers/{kind}/{name}"
        resource = Resource(id_, name)
        mine = self.looked_up if one.is_existing else self.made
        mine.setdefault(one.name, set()).add(id_)
        if not one.is_existing:
            sent = plain({key: self.eval(value, variables) for key, value in body.items()})
            batch = one.decorators.get("batchSize")
            loop = (one.name, batch[0].parts[0] if batch else 0) if variables else None
            self.found.resources.append(Sent(kind, version, id_, sent, self.place, loop))
        return resource

    def _module(self, one: Declaration) -> Any:
        ((variables, wanted),) = self._each(one)
        if not wanted:
            return None
        self.at_start(one.property("name"), variables, f"the name of {one.name}")
        scope, depends = one.property("scope"), one.property("dependsOn")
        place = self.place if scope is None else self.at_start(scope, variables, f"the scope of {one.name}")
        if depends is not None:
            self.eval(depends, variables)
        given = plain(self.eval(one.property("params") or Expression("object"), variables))
        source = read(self.source.path.parent / one.source)
        if source.target_scope != place.kind:
            raise MistakeError(f"{self.source.path.name}: {one.source} is for a {source.target_scope}")
        module = Module(source, given, place, self.found)
        outputs = module.run()
        self.made[one.name] = set().union(*module.made.values())
        self.looked_up[one.name] = set().union(*module.looked_up.values()) | {place.id}
        return {"outputs": {name: Runtime(plain(value)) for name, value in outputs.items()}}

    def _check_order(self) -> None:
        """What is looked up must be made before: by a reference to who makes it, or by `dependsOn`."""
        makers = {id_: name for name, ids in self.made.items() for id_ in ids}
        for name, ids in self.looked_up.items():
            for maker in {makers[id_] for id_ in ids - self.made.get(name, set()) if id_ in makers} - {name}:
                if maker not in self._all_needs(name, set()):
                    self.found.findings.append(f"{self.source.path.name}: {name} doesn't wait for {maker}")

    def _all_needs(self, name: str, seen: set[str]) -> set[str]:
        for one in self.needs.get(name, set()) - seen:
            seen.add(one)
            self._all_needs(one, seen)
        return seen

    def at_start(self, expression: Expression | None, variables: Mapping[str, Any], what: str) -> Any:
        """A value that must be known before anything is made."""
        assert expression is not None, f"{what} is missing"
        value = self.eval(expression, variables)
        if isinstance(value, Runtime):
            raise MistakeError(f"{self.source.path.name}: {what} is not known at the start")
        return value

    def eval(self, expression: Expression | None, variables: Mapping[str, Any]) -> Any:
        """The value of an expression; of alternatives only the one that is taken is evaluated."""
        assert expression is not None
        return getattr(self, f"_eval_{expression.kind}")(*expression.parts, variables=variables)

    def _eval_name(self, name: str, *, variables: Mapping[str, Any]) -> Any:
        return variables[name] if name in variables else self.value(name)

    def _eval_literal(self, value: Any, *, variables: Mapping[str, Any]) -> Any:
        return value

    def _eval_text(self, *parts: Any, variables: Mapping[str, Any]) -> Any:
        values = [part if isinstance(part, str) else self.eval(part, variables) for part in parts]
        return _tainted("".join(str(plain(value)) for value in values), *values)

    def _eval_group(self, inner: Expression, *, variables: Mapping[str, Any]) -> Any:
        return self.eval(inner, variables)

    def _eval_array(self, *items: Expression, variables: Mapping[str, Any]) -> Any:
        return [self.eval(item, variables) for item in items]

    def _eval_object(self, *properties: tuple[str | Expression, Expression], variables: Mapping[str, Any]) -> Any:
        names = [plain(self.eval(name, variables)) if isinstance(name, Expression) else name for name, _ in properties]
        return {name: self.eval(value, variables) for name, (_, value) in zip(names, properties, strict=True)}

    def _eval_for(self, variable: str, items: Expression, body: Expression, *, variables: Mapping[str, Any]) -> Any:
        found = self.at_start(items, variables, "a loop")
        return [self.eval(body, {**variables, variable: item}) for item in found]

    def _eval_ternary(self, *parts: Expression, variables: Mapping[str, Any]) -> Any:
        condition, then, otherwise = parts
        value = self.eval(condition, variables)
        return _tainted(self.eval(then if plain(value) else otherwise, variables), value)

    def _eval_unary(self, operator: str, operand: Expression, *, variables: Mapping[str, Any]) -> Any:
        assert operator == "!", operator
        value = self.eval(operand, variables)
        return _tainted(not plain(value), value)

    def _eval_binary(self, operator: str, *parts: Expression, variables: Mapping[str, Any]) -> Any:
        left, right = (self.eval(part, variables) for part in parts)
        left_value, right_value = plain(left), plain(right)
        results = {
            ">": lambda: left_value > right_value,
            "==": lambda: left_value == right_value,
            "&&": lambda: left_value and right_value,
            "||": lambda: left_value or right_value,
        }
        return _tainted(results[operator](), left, right)

    def _eval_member(self, operand: Expression, name: str, how: str, *, variables: Mapping[str, Any]) -> Any:
        value = self.eval(operand, variables)
        if isinstance(value, Resource):
            return value.read(name)
        inner = value.value if isinstance(value, Runtime) else value
        if inner is None:
            raise MistakeError(f"{self.source.path.name}: reads .{name} of what is not made")
        if name not in inner:
            raise MistakeError(f"{self.source.path.name}: there is no .{name}")
        return _tainted(inner[name], value)

    def _eval_index(self, operand: Expression, index: Expression, *, variables: Mapping[str, Any]) -> Any:
        value, at = self.eval(operand, variables), plain(self.eval(index, variables))
        inner = value.value if isinstance(value, Runtime) else value
        try:
            return _tainted(inner[at], value)
        except (IndexError, KeyError):
            raise MistakeError(f"{self.source.path.name}: there is no [{at}] in {plain(value)!r}") from None

    def _eval_call(self, name: str, arguments: tuple[Expression, ...], *, variables: Mapping[str, Any]) -> Any:
        values = [self.eval(argument, variables) for argument in arguments]
        if name == "concat":  # its items stay what they are
            return [item for items in values for item in items]
        return _tainted(self._functions(name, [plain(value) for value in values]), *values)

    def _functions(self, name: str, given: list[Any]) -> Any:  # noqa: PLR0911 - a line per function
        match name:
            case "empty":
                return not given[0]
            case "split":
                return given[0].split(given[1])
            case "join":
                return given[1].join(given[0])
            case "uniqueString":
                return "u" + hashlib.sha256("|".join(given).encode()).hexdigest()[:12]
            case "guid":
                return str(uuid.uuid5(uuid.NAMESPACE_URL, "|".join(given)))
            case "utcNow":
                return "2026-11"
            case "json":
                return json.loads(given[0])
            case "environment":
                return {"authentication": {"loginEndpoint": "https://login.microsoftonline.com/"}}
            case "subscription":
                return {"id": Place("", SUBSCRIPTION).id, "subscriptionId": SUBSCRIPTION, "tenantId": TENANT}
            case "subscriptionResourceId":
                return f"/subscriptions/{self.place.subscription}/providers/{given[0]}/{given[1]}"
            case "resourceGroup" if given:
                return Place("resourceGroup", *([SUBSCRIPTION, *given][-2:]))
            case "resourceGroup":
                return {"id": self.place.id, "name": self.place.group}
        raise AssertionError(f"{name} is not known to these tests")


@dataclass(frozen=True)
class Resource:
    """A resource as expressions see it: id and name are known, the rest once it is made."""

    id: str
    name: str
    path: str = ""

    def read(self, name: str) -> Any:
        """A property; of `properties` a text that stands for what Azure would answer."""
        if not self.path and name in ("id", "name"):
            return getattr(self, name)
        inner = f"{self.path}.{name}"
        return Resource(self.id, self.name, inner) if inner == ".properties" else Runtime(f"<{self.name}{inner}>")


def _tainted(value: Any, *sources: Any) -> Any:
    return Runtime(plain(value)) if any(_knows_later(one) for one in sources) else value


def _knows_later(value: Any) -> bool:
    return isinstance(value, Runtime) or (isinstance(value, list) and any(map(_knows_later, value)))


def plain(value: Any) -> Any:
    """The value without marks of what is known when."""
    if isinstance(value, Runtime):
        return plain(value.value)
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value
