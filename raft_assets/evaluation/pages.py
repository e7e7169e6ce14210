"""HTML pages: templates, their style sheet and script, and the filters that every text goes through.

What belongs here: what all pages have in common. What a page shows is said next to its data. Everything is escaped by
the templates.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup

from raft_assets.core.bidi import close_direction, close_directions
from raft_assets.evaluation.examples import Segment
from raft_assets.evaluation.wording import format_percent

MOST_CHARACTERS = 400  # of a question, a path or an answer where it stands in a line


@dataclass(frozen=True)
class Inlined:
    """A file of the templates that stands in the page, and the hash by which the content security policy allows it."""

    text: Markup
    sha256: str


def render_page(template: str, **values: Any) -> str:
    """Render a template that extends `page.html`, which has the style sheet and the content security policy."""
    return _environment().get_template(template).render(style=inline("style.css"), **values)


@cache
def inline(name: str) -> Inlined:
    """Return a style sheet or script of the templates; the policy allows nothing else."""
    text = jinja2.PackageLoader("raft_assets.evaluation").get_source(_environment(), name)[0]
    digest = hashlib.sha256(text.encode()).digest()
    return Inlined(Markup(text), base64.b64encode(digest).decode())  # noqa: S704 - a file of the package


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("raft_assets.evaluation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = format_percent
    environment.filters["clipped"] = _truncate
    environment.filters["short_hashes"] = _short_hashes
    environment.filters["isolated"] = _isolate
    environment.filters["closed"] = _close_segments
    environment.filters["closed_text"] = close_direction
    return environment


def _truncate(text: str, most: int = MOST_CHARACTERS) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _short_hashes(text: str) -> str:
    """Shorten the SHA-256 hashes in a text to what distinguishes them."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1…", text)


def _isolate(text: str) -> Markup:
    """Return a text of documents, people or models as an element whose direction is its own and ends with it."""
    return Markup("<bdi>{}</bdi>").format(close_direction(text))


def _close_segments(segments: Sequence[Segment]) -> list[Segment]:
    """Return the segments of one text, which turns no direction beyond its end."""
    texts = close_directions(segment.text for segment in segments)
    return [replace(segment, text=text) for segment, text in zip(segments, texts, strict=True)]
