"""Jupyter notebooks: Markdown as it is, code as fenced blocks, and the text that it printed, bounded."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from raft_assets.documents.readers.cleaning import to_one_line
from raft_assets.documents.readers.content import ParsedContent, UnreadableError
from raft_assets.documents.readers.left_out import LeftOutReason, count_words, counted
from raft_assets.documents.readers.prose import read_prose

MAX_OUTPUT_CHARACTERS = 2_000  # of a cell; longer outputs are logs and dumps of tables

_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")  # of terminals
_EMBEDDED = re.compile(r"data:[\w/+.-]+;base64,[A-Za-z0-9+/=\s]{40,}")  # a picture in Markdown
_LANGUAGE = re.compile(r"[\w+#-]{0,20}")
_BACKTICKS = re.compile(r"`{3,}")
_TEXT_TYPES = ("text/markdown", "text/latex", "text/plain")  # of an output that has several forms, the first

Cell = dict[str, Any]


def read_notebook(text: str) -> ParsedContent:
    """Return the sections, which begin at headings. Raises UnreadableError (broken_json, unsupported)."""
    try:
        notebook = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableError("broken_json", f"The notebook is no JSON ({error}); save it again.") from error
    cells = _find_cells(notebook)
    metadata = _get(notebook, "metadata")
    language = to_one_line(str(_get(metadata, "language_info").get("name") or ""))
    left_out: Counter[LeftOutReason] = Counter()
    parts = [part for cell in cells for part in _render_cell(cell, language, left_out)]
    content = read_prose("\n\n".join(parts), "ipynb")
    title = metadata.get("title")
    left_out.update(content.left_out)  # type: ignore[arg-type]
    return ParsedContent(
        "ipynb",
        to_one_line(title) if isinstance(title, str) and title.strip() else content.title,
        content.sections,
        counted(left_out),
    )


def _find_cells(notebook: object) -> list[Cell]:
    """Return the cells; the format before version 4 has them in worksheets."""
    if isinstance(notebook, dict):
        sheets = notebook.get("worksheets")
        groups = [notebook, *(sheets if isinstance(sheets, list) else [])]
        lists = [group["cells"] for group in groups if isinstance(group, dict) and isinstance(group.get("cells"), list)]
        if lists:
            return [cell for cells in lists for cell in cells if isinstance(cell, dict)]
    raise UnreadableError("unsupported", "The file is no Jupyter notebook, which has cells; save it as one.")


def _render_cell(cell: Cell, language: str, left_out: Counter[LeftOutReason]) -> Iterator[str]:
    kind, source = cell.get("cell_type"), _join(cell.get("source", cell.get("input")))
    if kind == "code":
        if source.strip():
            yield _fence(source, _LANGUAGE.match(language)[0])  # type: ignore[index]
        yield from _render_outputs(cell.get("outputs"), left_out)
    elif kind == "heading":  # before version 4
        level = cell.get("level")
        yield f"{'#' * (level if isinstance(level, int) and 1 <= level <= 6 else 1)} {to_one_line(source)}"
    elif source.strip():
        yield _EMBEDDED.sub("", source)


def _render_outputs(outputs: object, left_out: Counter[LeftOutReason]) -> Iterator[str]:
    texts = (
        [_output_text(output) for output in outputs if isinstance(output, dict)] if isinstance(outputs, list) else []
    )
    text = _COLOUR.sub("", "\n".join(filter(None, (text.strip("\n") for text in texts))))
    kept = text[:MAX_OUTPUT_CHARACTERS]
    if len(kept) < len(text):
        kept = kept.rpartition("\n")[0] or kept
        left_out["output"] += count_words(text[len(kept) :])
    if kept.strip():
        yield _fence(kept, "")


def _output_text(output: Cell) -> str:
    if output.get("output_type") in ("error", "pyerr"):
        return f"{output.get('ename', '')}: {output.get('evalue', '')}"
    if "text" in output:
        return _join(output["text"])
    data = _get(output, "data")
    return next((_join(data[kind]) for kind in _TEXT_TYPES if kind in data), "")


def _fence(text: str, language: str) -> str:
    marks = "`" * (max((len(found) for found in _BACKTICKS.findall(text)), default=2) + 1)
    return f"{marks}{language}\n{text.strip(chr(10))}\n{marks}"


def _join(source: object) -> str:
    """Return a text that is stored as one or as a list of lines."""
    if isinstance(source, list):
        return "".join(line for line in source if isinstance(line, str))
    return source if isinstance(source, str) else ""


def _get(value: object, name: str) -> dict[str, Any]:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}
