"""How the chunks of a domain are related, kept where it is asked again: several assets and commands need it.

A file per domain in the project's cache, which may vanish. It holds no text and no ids, but places in the sorted ids.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from raft_assets.core.atomic import write_text
from raft_assets.core.tables import Chunk
from raft_assets.dataset.related_chunks import RELATED_VERSION, Relate, RelatedChunks, find_related_chunks
from raft_assets.dataset.shared_text import SharedText
from raft_assets.settings.project import Project


def relations_file(project: Project, domain: str) -> Path:
    """Return where a domain's relations are kept."""
    return project.home / "cache" / "related" / f"{domain}.json"


def remembered_relations(project: Project, domain: str) -> Relate:
    """Return what finds the related chunks of a domain once for the same chunks and similarity."""
    return partial(_relate, relations_file(project, domain))


def _relate(file: Path, chunks: Mapping[str, Chunk], near_duplicate: float) -> RelatedChunks:
    names, key = sorted(chunks), _key(chunks, near_duplicate)
    with suppress(OSError, ValueError, TypeError, KeyError, IndexError):
        kept = json.loads(file.read_text("utf-8"))
        if kept["key"] == key:
            return _from_record(kept, names, chunks)
    related = find_related_chunks(chunks, near_duplicate)
    with suppress(OSError):  # a cache that can't be written costs time only
        write_text(file, json.dumps({"key": key, **_to_record(related, names)}))
    return related


def _key(chunks: Mapping[str, Chunk], near_duplicate: float) -> str:
    hasher = sha256(json.dumps([RELATED_VERSION, near_duplicate]).encode())
    for chunk in chunks.values():
        hasher.update(json.dumps(chunk.model_dump()).encode() + b"\n")
    return hasher.hexdigest()


def _to_record(related: RelatedChunks, names: list[str]) -> dict[str, Any]:
    place = {name: number for number, name in enumerate(names)}
    return {
        "groups": [[place[name], place[first]] for name, first in related.group_of.items()],
        "links": [[place[one], place[other], share] for (one, other), share in related.shared.links.items()],
        "boilerplate": [[place[name], share] for name, share in related.shared.boilerplate.items()],
    }


def _from_record(kept: Mapping[str, Any], names: list[str], chunks: Mapping[str, Chunk]) -> RelatedChunks:
    return RelatedChunks(
        chunks,
        chunks,
        {names[place]: names[first] for place, first in kept["groups"]},
        SharedText(
            {(names[one], names[other]): share for one, other, share in kept["links"]},
            {names[place]: share for place, share in kept["boilerplate"]},
        ),
    )
