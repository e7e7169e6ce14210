"""The YAML at the head of a Hugging Face card: what its Hub and `datasets` read of a README.md.

What belongs here: the form of such a head, and of names in it. What a card says belongs to the room that knows it.
Source: https://huggingface.co/docs/hub/model-cards#model-card-metadata and the specs modelcard.md and datasetcard.md of
github.com/huggingface/hub-docs.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

MAX_ID_CHARACTERS = 96  # of the id of a model or data set, as huggingface_hub's `validate_repo_id` counts
PRODUCT_TAG = "raft-assets"  # in the tags of every card, by which it is known again
MIN_LANGUAGE_SHARE = 0.05  # of the texts: fewer may be mistakes of the detection

_FENCE = "---"
_BLOCK = re.compile(r"\A---\n.*?^---\n", re.DOTALL | re.MULTILINE)
_NO_WORD = re.compile(r"[^\w.,'()+-]+")
_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9._-]+")
_REPEATED = re.compile(r"([.-])[.-]+")


def front_matter(metadata: Mapping[str, Any]) -> list[str]:
    """Return the lines of the head, without what is empty."""
    known = {name: value for name, value in metadata.items() if value not in ("", None, [], {})}
    text = yaml.safe_dump(known, sort_keys=False, allow_unicode=True, width=10_000)
    return [_FENCE, *text.splitlines(), _FENCE]


def without_front_matter(text: str) -> str:
    """Return a card without its head."""
    return _BLOCK.sub("", text, count=1)


def is_own_card(text: str) -> bool:
    """Return whether a text is a card that this product wrote: its head has the product's tag."""
    found = _BLOCK.match(text)
    return found is not None and f"- {PRODUCT_TAG}" in found.group().splitlines()


def plain_name(text: str) -> str:
    """Return a name without what Markdown or HTML could take for markup: a head is shown as text in some places."""
    return " ".join(_NO_WORD.sub(" ", text).split())


def hub_id(text: str) -> str:
    """Return a name in the form of an id of the Hub (letters, digits, `.`, `_`, `-`; an owner before one slash).

    Source: `validate_repo_id` of huggingface_hub.
    """
    parts = [_REPEATED.sub(r"\1", _NOT_IN_IDS.sub("-", part)).strip(".-") for part in text.split("/")]
    parts = [part.removesuffix(".git") for part in parts if part]
    name = "/".join(parts) if len(parts) <= 2 else "-".join(parts)
    return name[:MAX_ID_CHARACTERS].rstrip(".-/") or "unnamed"


def main_languages(counts: Mapping[str, int]) -> list[str]:
    """Return the codes of the languages that texts are in, the most frequent first, by how many texts are in each."""
    total = sum(counts.values())
    ranked: Iterable[tuple[str, int]] = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [code for code, count in ranked if count >= MIN_LANGUAGE_SHARE * total and re.fullmatch("[a-z]{2,3}", code)]
