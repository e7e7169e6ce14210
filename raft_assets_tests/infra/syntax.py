"""Bicep as declarations and expressions: what tree-sitter reads, without its quirks.

Its grammar binds `a ? b : c.d` as `(a ? b : c).d`. Here a postfix belongs to the last operand, as in the language.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import tree_sitter
import tree_sitter_bicep

LANGUAGE = tree_sitter.Language(tree_sitter_bicep.language())
KINDS = {
    "parameter_declaration": "param",
    "variable_declaration": "var",
    "resource_declaration": "resource",
    "module_declaration": "module",
    "output_declaration": "output",
}
ESCAPES = {"\\'": "'", "\\\\": "\\", "\\n": "\n", "\\r": "\r", "\\t": "\t", "\\$": "$"}


@dataclass(frozen=True)
class Expression:
    """`kind` says what `parts` are: see `_expression`."""

    kind: str
    parts: tuple[Any, ...] = ()

    def walk(self) -> Any:
        """This expression and all within it."""
        yield self
        for part in self.parts:
            for one in part if isinstance(part, tuple) else (part,):
                for inner in one if isinstance(one, tuple) else (one,):
                    if isinstance(inner, Expression):
                        yield from inner.walk()


@dataclass(frozen=True)
class Declaration:
    """A parameter, variable, resource, module or output. `source`: type and version, or the path of a module."""

    kind: str
    name: str
    type: str = ""
    source: str = ""
    is_existing: bool = False
    value: Expression | None = None
    decorators: dict[str, list[Expression]] = field(default_factory=dict)

    @property
    def body(self) -> Expression:
        """The object of a resource or module, without its loop and its condition."""
        found = self.value
        while found is not None and found.kind in ("for", "if"):
            found = found.parts[-1]
        assert found is not None
        assert found.kind == "object", f"{self.name} is no object"
        return found

    @property
    def is_conditional(self) -> bool:
        """Whether it may not be made."""
        return self.value is not None and self.value.kind == "if"

    def property(self, name: str) -> Expression | None:
        """A property of the body."""
        return next((value for key, value in self.body.parts if key == name), None)


@dataclass(frozen=True)
class Source:
    """A Bicep file."""

    path: Path
    target_scope: str
    declarations: tuple[Declaration, ...]
    errors: tuple[str, ...]

    def of(self, *kinds: str) -> dict[str, Declaration]:
        """The declarations of some kinds, by name."""
        return {one.name: one for one in self.declarations if one.kind in kinds}


def read(path: Path) -> Source:
    """Read a file."""
    return _read(path, path.read_bytes())


@cache
def _read(path: Path, text: bytes) -> Source:
    root = tree_sitter.Parser(LANGUAGE).parse(text).root_node
    errors = tuple(f"{path.name}: can't be read near {_broken(root)!r}" for _ in range(1) if root.has_error)
    scope, found, decorators = "resourceGroup", [], {}
    for node in () if errors else root.named_children:
        if node.type == "target_scope_assignment":
            scope = _text(node).split("'")[1]
        elif node.type == "decorators":
            decorators = dict(_decorator(one) for one in node.named_children)
        elif node.type in KINDS:
            found.append(_declaration(node, decorators))
            decorators = {}
        elif node.type not in ("comment", "metadata_declaration"):
            errors += (f"{path.name}: {node.type} is not known to these tests",)
    return Source(path, scope, tuple(found), errors)


def _broken(node: Any) -> str:
    inner = next((child for child in node.children if child.has_error), None)
    return _broken(inner) if inner is not None else _text(node)[:60]


def _text(node: Any) -> str:
    return node.text.decode("utf-8")


def _decorator(node: Any) -> tuple[str, list[Expression]]:
    call = _expression(node.named_children[0])
    return call.parts[0], list(call.parts[1])


def _declaration(node: Any, decorators: dict[str, list[Expression]]) -> Declaration:
    name, *rest = [child for child in node.named_children if child.type != "comment"]
    kind = KINDS[node.type]
    source = _text(rest.pop(0)).strip("'") if kind in ("resource", "module") else ""
    type_ = _text(rest.pop(0)) if kind in ("param", "output") else ""
    return Declaration(
        kind,
        _text(name),
        type_,
        source,
        any(child.type == "existing" for child in node.children),
        _expression(rest[0]) if rest else None,
        decorators,
    )


def _expression(node: Any) -> Expression:  # noqa: C901, PLR0911, PLR0912 - a line per kind
    inner = [child for child in node.named_children if child.type != "comment"]
    match node.type:
        case "identifier":
            return Expression("name", (_text(node),))
        case "number":
            return Expression("literal", (int(_text(node)),))
        case "boolean" | "null":
            return Expression("literal", ({"true": True, "false": False, "null": None}[_text(node)],))
        case "string":
            return Expression("text", tuple(_pieces(node)))
        case "parenthesized_expression":
            return Expression("group", (_expression(inner[0]),))
        case "array":
            return Expression("array", tuple(_expression(child) for child in inner))
        case "object":
            return Expression("object", tuple(_property(child) for child in inner))
        case "ternary_expression":
            return Expression("ternary", tuple(_expression(child) for child in inner))
        case "binary_expression":
            left, operator, right = [child for child in node.children if child.type != "comment"]
            return Expression("binary", (_text(operator), _expression(left), _expression(right)))
        case "unary_expression":
            return Expression("unary", (_text(node.children[0]), _expression(inner[0])))
        case "call_expression":
            return Expression("call", (_text(inner[0]), tuple(_expression(child) for child in inner[1].named_children)))
        case "member_expression":
            marks = {child.type for child in node.children}
            how = "?" if ".?" in marks else "!" if "!" in marks else ""
            return _postfix(_expression(inner[0]), "member", _text(inner[1]), how)
        case "subscript_expression":
            return _postfix(_expression(inner[0]), "index", _expression(inner[1]))
        case "if_statement":
            return Expression("if", (_expression(inner[0]), _expression(inner[1])))
        case "for_statement":
            return Expression("for", (_text(inner[0]), _expression(inner[-2]), _expression(inner[-1])))
    raise AssertionError(f"{node.type} is not known to these tests: {_text(node)[:80]}")


def _pieces(node: Any) -> Iterator[Any]:
    """The texts and expressions of a string; the grammar has no node for spaces at an end."""
    at = node.start_byte + 1
    for child in node.named_children:
        yield node.text[at - node.start_byte : child.start_byte - node.start_byte].decode()
        yield _expression(child.named_children[0]) if child.type == "interpolation" else _unescaped(_text(child))
        at = child.end_byte
    yield node.text[at - node.start_byte : -1].decode()


def _unescaped(text: str) -> str:
    return ESCAPES.get(text, text)


def _property(node: Any) -> tuple[str | Expression, Expression]:
    """A key, which is an expression where it is put together, and its value."""
    key, value = [child for child in node.named_children if child.type != "comment"]
    return _expression(key) if "${" in _text(key) else _text(key).strip("'"), _expression(value)


def _postfix(operand: Expression, kind: str, *rest: Any) -> Expression:
    if operand.kind in ("ternary", "binary", "unary"):
        return Expression(operand.kind, (*operand.parts[:-1], _postfix(operand.parts[-1], kind, *rest)))
    return Expression(kind, (operand, *rest))
