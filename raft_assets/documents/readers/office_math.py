"""Word's equations as plain text: `(a + b)/c`, `x_i^2`, `√(2)`. mammoth leaves them out."""

import re
from collections.abc import Iterable
from xml.etree.ElementTree import Element, SubElement

MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
XML_SPACE = "{http://www.w3.org/XML/1998/namespace}space"

_SIMPLE = re.compile(r"[\w.,′°%]*|[(\[{].*[)\]}]")


def replace_equations(root: Element) -> int:
    """Put a run of text in the place of every equation below an element; return how many there are."""
    replaced = 0
    for parent in list(root.iter()):
        if parent.tag.startswith(MATH):
            continue
        for index, child in enumerate(list(parent)):
            if child.tag not in (f"{MATH}oMath", f"{MATH}oMathPara"):
                continue
            equations = [child] if child.tag == f"{MATH}oMath" else child.findall(f"{MATH}oMath")
            run = Element(f"{WORD}r")
            text = SubElement(run, f"{WORD}t", {XML_SPACE: "preserve"})
            text.text = "; ".join(filter(None, map(equation_text, equations)))
            run.tail = child.tail
            parent[index] = run
            replaced += len(equations)
    return replaced


def equation_text(element: Element) -> str:
    """Return an equation, or a part of one, on one line."""
    name = element.tag.removeprefix(MATH)
    if name == "t" or element.tag == f"{WORD}t":
        return element.text or ""
    render = _RENDERERS.get(name)
    return render(element) if render else _joined(element)


def _joined(element: Element) -> str:
    return "".join(equation_text(child) for child in element if not child.tag.endswith("Pr"))


def _part(element: Element, name: str) -> str:
    child = element.find(f"{MATH}{name}")
    return "" if child is None else _joined(child)


def _grouped(text: str) -> str:
    return text if _SIMPLE.fullmatch(text) else f"({text})"


def _property(element: Element, name: str, default: str) -> str:
    found = element.find(f"{MATH}{element.tag.removeprefix(MATH)}Pr/{MATH}{name}")
    return default if found is None else found.get(f"{MATH}val", default)


def _indexed(base: str, below: str, above: str) -> str:
    return base + (f"_{_grouped(below)}" if below else "") + (f"^{_grouped(above)}" if above else "")


def _fraction(element: Element) -> str:
    return f"{_grouped(_part(element, 'num'))}/{_grouped(_part(element, 'den'))}"


def _scripts(element: Element) -> str:
    return _indexed(_grouped(_part(element, "e")), _part(element, "sub"), _part(element, "sup"))


def _limit(element: Element) -> str:
    is_below = element.tag.endswith("limLow")
    limit = _part(element, "lim")
    return _indexed(_part(element, "e"), limit if is_below else "", "" if is_below else limit)


def _root(element: Element) -> str:
    degree = _part(element, "deg")
    return f"{degree}√({_part(element, 'e')})"


def _sum(element: Element) -> str:
    sign = _indexed(_property(element, "chr", "∫"), _part(element, "sub"), _part(element, "sup"))
    return f"{sign} {_part(element, 'e')}"


def _delimited(element: Element) -> str:
    separator = _property(element, "sepChr", "|")
    inner = separator.join(_joined(part) for part in element.findall(f"{MATH}e"))
    return f"{_property(element, 'begChr', '(')}{inner}{_property(element, 'endChr', ')')}"


def _function(element: Element) -> str:
    return f"{_part(element, 'fName')} {_part(element, 'e')}"


def _rows(element: Element) -> str:
    return "; ".join(_joined(row) for row in element.findall(f"{MATH}e"))


def _matrix(element: Element) -> str:
    rows: Iterable[str] = (
        ", ".join(_joined(cell) for cell in row.findall(f"{MATH}e")) for row in element.findall(f"{MATH}mr")
    )
    return f"[{'; '.join(rows)}]"


_RENDERERS = {
    "f": _fraction,
    "sSub": _scripts,
    "sSup": _scripts,
    "sSubSup": _scripts,
    "limLow": _limit,
    "limUpp": _limit,
    "rad": _root,
    "nary": _sum,
    "d": _delimited,
    "func": _function,
    "eqArr": _rows,
    "m": _matrix,
}
