"""Markdown and plain text."""

import re

from raft_assets.documents.readers.cleaning import clean, to_one_line
from raft_assets.documents.readers.content import FileKind, ParsedContent, find_headings, split_sections

_FRONT_MATTER = re.compile(r"\A---\n(?P<fields>.*?)\n(?:---|\.\.\.)\n", re.DOTALL)
_TITLE_FIELD = re.compile(r"^title:[ \t]*(?P<title>.+)$", re.MULTILINE)
_COMMENT = re.compile(r"^<!--.*?-->[ \t]*$\n?", re.MULTILINE | re.DOTALL)
# a line of words with a ruler of = or - below it, after a blank line: the same heading as # or ##
_UNDERLINED = re.compile(r"(?:\A|(?<=\n\n))(?P<words>[^\s#>|*-][^\n|]*)\n(?P<ruler>=|-)(?P=ruler){2,}(?:\n|\Z)")


def read_prose(text: str, kind: FileKind) -> ParsedContent:
    """Return the sections, which begin at headings; front matter gives the title and is no text."""
    text = clean(text)
    title = ""
    front = _FRONT_MATTER.match(text)
    if front:
        field = _TITLE_FIELD.search(front["fields"])
        title = field["title"].strip(" \"'") if field else ""
        text = text[front.end() :]
    text = clean(_COMMENT.sub("", text))
    text = _UNDERLINED.sub(
        lambda match: f"{'#' if match['ruler'] == '=' else '##'} {to_one_line(match['words'])}\n",
        text,
    )
    first_heading = next((words for _, words in find_headings(text)), "")
    return ParsedContent(kind, title or first_heading, split_sections(text))
