"""Markdown and plain text."""

import re
from collections import Counter
from collections.abc import Iterator

from raft_assets.documents.readers.cleaning import clean, to_one_line
from raft_assets.documents.readers.content import FileKind, ParsedContent, find_headings, split_sections
from raft_assets.documents.readers.left_out import LeftOutReason, count_words, counted

_FRONT_MATTER = re.compile(r"\A---\n(?P<fields>.*?)\n(?:---|\.\.\.)(?:\n|\Z)", re.DOTALL)
_FIELD = re.compile(r"(?P<name>[\w.-]+|\"[^\"]+\"|'[^']+')[ \t]*:(?:[ \t]+(?P<value>.*))?")
_LOWER_NAME = re.compile(r"[a-z][\w.-]*")
_SENTENCE = re.compile(r"(?:\S+\s+){3,}\S*[.!?…][\"”’')\]]*$")
# fields by which static sites, wikis, notebooks and editors describe a page
_USUAL_FIELDS = (
    "title subtitle date author authors layout tags tag categories category description draft slug permalink id lang"
    " language keywords summary image cover aliases alias created updated modified lastmod published publishdate type"
    " status version url uri weight order sidebar sidebar_label sidebar_position nav_order parent template css toc"
    " output bibliography csl name license licence copyright theme class excerpt hidden comments jupyter kernelspec"
    " redirect_from last_modified_at content_type product topic ms.date ms.topic ms.author uid source"
)
_COMMENT = re.compile(
    r"(?P<code>^[ \t]{0,3}(?P<fence>`{3,}(?=[^`\n]*$)|~{3,}).*?^[ \t]{0,3}(?P=fence))|^<!--(?:(?!-->).)*-->[ \t]*$\n?",
    re.MULTILINE | re.DOTALL,
)
# a line of words with a ruler of = or - below it, after a blank line: the same heading as # or ##
_UNDERLINED = re.compile(r"(?:\A|(?<=\n\n))(?P<words>[^\s#>|*-][^\n|]*)\n(?P<ruler>=|-)(?P=ruler){2,}(?:\n|\Z)")


def read_prose(text: str, kind: FileKind) -> ParsedContent:
    """Return the sections, which begin at headings; front matter gives the title and is no text."""
    text = clean(text)
    title, left_out = "", Counter[LeftOutReason]()
    front = _FRONT_MATTER.match(text)
    if front and _are_fields(front["fields"]):
        values = {name.casefold(): value for name, value in _fields(front["fields"]) if name}
        title = values.get("title", "").strip(" \"'")
        kept = "\n".join(_fields_of_text(front["fields"]))
        left_out["front_matter"] = count_words(front["fields"]) - count_words(kept)
        rest = text[front.end() :]
        text = f"{kept}\n\n{rest.lstrip(chr(10))}" if kept else rest
    left_out["comment"] = sum(count_words(match[0]) for match in _COMMENT.finditer(text) if not match["code"])
    without_comments = _COMMENT.sub(lambda match: match["code"] or "", text)
    text = clean(without_comments) if without_comments != text else text
    text = _UNDERLINED.sub(
        lambda match: f"{'#' if match['ruler'] == '=' else '##'} {to_one_line(match['words'])}\n",
        text,
    )
    first_heading = next((words for _, words in find_headings(text)), "")
    return ParsedContent(kind, title or first_heading, split_sections(text), counted(left_out))


def _are_fields(text: str) -> bool:
    """Return whether the lines between two rules are fields of front matter rather than text.

    Text begins with a rule as well: a notice between two rules, or a transcript, whose speakers look like fields.
    """
    fields = list(_fields(text))
    names = [name for name, _ in fields if name]
    if not names or len(names) < len(fields) or len(set(names)) < len(names):
        return False
    usual = _USUAL_FIELDS.split()
    unusual = [(name, value) for name, value in fields if name.casefold() not in usual]
    if not all(_LOWER_NAME.fullmatch(name) for name, _ in unusual):
        return False
    is_described = len(unusual) < len(fields)
    return is_described or not (text.startswith("\n") or any(_SENTENCE.search(value) for _, value in unusual))


def _fields_of_text(text: str) -> Iterator[str]:
    """Yield the fields of front matter that say something in a sentence and describe no page."""
    for name, value in _fields(text):
        if name.casefold() not in _USUAL_FIELDS.split() and _SENTENCE.search(value.strip("\"'")):
            yield f"{name}: {value}"


def _fields(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and first line of every field; the name of a line that is none is empty."""
    after_field = False
    for line in text.split("\n"):
        if not line.strip() or line.startswith("#") or (after_field and line.startswith((" ", "\t", "- "))):
            continue
        match = _FIELD.fullmatch(line)
        after_field = match is not None
        yield (match["name"].strip("\"'"), (match["value"] or "").strip()) if match else ("", line)
