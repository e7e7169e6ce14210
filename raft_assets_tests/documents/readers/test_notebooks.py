"""Notebooks as Jupyter stores them."""

import json
from typing import Any

import pytest

from raft_assets.documents.readers.notebooks import MAX_OUTPUT_CHARACTERS
from raft_assets_tests.documents.conftest import Read, Refuse


def notebook(*cells: dict[str, Any], **metadata: Any) -> bytes:
    return json.dumps(
        {"nbformat": 4, "metadata": {"language_info": {"name": "python"}, **metadata}, "cells": list(cells)}
    ).encode()


def markdown(*lines: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": list(lines)}


def code(source: str, *outputs: dict[str, Any]) -> dict[str, Any]:
    return {"cell_type": "code", "metadata": {}, "execution_count": 1, "source": source, "outputs": list(outputs)}


def printed(text: str) -> dict[str, Any]:
    return {"output_type": "stream", "name": "stdout", "text": text.splitlines(keepends=True)}


def shown(**data: str) -> dict[str, Any]:
    return {"output_type": "display_data", "data": {name.replace("_", "/"): text for name, text in data.items()}}


def test_a_notebook_is_its_markdown_its_code_and_what_the_code_printed(read_file: Read) -> None:
    cells = (
        markdown("# Weights\n", "\n", "How heavy are *bats*?"),
        code("weigh(bats)\n# not a heading", printed("30 g\n\x1b[31mdone\x1b[0m\n")),
        markdown("## Plots"),
        code("plot(bats)", shown(image_png="iVBORw0", text_plain="<Figure size 640x480>")),
        code("weigh(None)", {"output_type": "error", "ename": "TypeError", "evalue": "no bat", "traceback": ["..."]}),
    )
    document = read_file("a.ipynb", notebook(*cells))
    assert (document.kind, document.title) == ("ipynb", "Weights")
    assert [page.heading for page in document.pages] == ["Weights", "Plots"]
    assert document.document_text == (
        "# Weights\n\nHow heavy are *bats*?\n\n```python\nweigh(bats)\n# not a heading\n```\n\n```\n30 g\ndone\n```\n\n"
        "## Plots\n\n```python\nplot(bats)\n```\n\n```\n<Figure size 640x480>\n```\n\n"
        "```python\nweigh(None)\n```\n\n```\nTypeError: no bat\n```"
    )


def test_long_outputs_are_cut_at_a_line_and_the_rest_is_counted(read_file: Read) -> None:
    lines = [f"step {number:04} of the training\n" for number in range(500)]
    document = read_file("a.ipynb", notebook(markdown("Training."), code("train()", printed("".join(lines)))))
    assert len(document.document_text) < MAX_OUTPUT_CHARACTERS + 100
    kept = document.document_text.count("of the training")
    assert document.document_text.endswith(f"step {kept - 1:04} of the training\n```")
    assert document.left_out == {"output": 5 * (500 - kept)}


def test_code_that_holds_a_fence_stays_in_one_block(read_file: Read) -> None:
    document = read_file("a.ipynb", notebook(code('text = """\n```\n# no heading\n```\n"""')))
    assert [page.heading for page in document.pages] == [""]
    assert document.document_text.startswith("````python\n")


def test_a_picture_inside_markdown_is_no_text(read_file: Read) -> None:
    picture = f"![bat](data:image/png;base64,{'iVBORw0KGgo' * 30})"
    assert (
        read_file("a.ipynb", notebook(markdown(f"A bat: {picture} flies."))).document_text == "A bat: ![bat]() flies."
    )


def test_the_format_before_version_4_is_read(read_file: Read) -> None:
    old = {
        "nbformat": 3,
        "metadata": {"name": ""},
        "worksheets": [
            {
                "cells": [
                    {"cell_type": "heading", "level": 2, "source": ["Bats"]},
                    {"cell_type": "code", "input": "fly()", "outputs": [{"output_type": "stream", "text": "up"}]},
                ]
            }
        ],
    }
    assert read_file("a.ipynb", json.dumps(old).encode()).document_text == "## Bats\n\n```\nfly()\n```\n\n```\nup\n```"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"{", "broken_json"),
        (b"[" * 200_000, "broken_json"),
        (b"[]", "unsupported"),
        (b'{"cells": 1}', "unsupported"),
        (notebook(), "no_text"),
        (notebook({"cell_type": "code", "source": 5, "outputs": [3, {"data": 7}]}), "no_text"),
    ],
)
def test_what_is_no_notebook_is_quarantined(refuse_file: Refuse, data: bytes, reason: str) -> None:
    assert refuse_file("a.ipynb", data).reason == reason
