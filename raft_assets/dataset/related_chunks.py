"""Which chunks must not be on both sides of evaluation: near-duplicates, overlaps, and shared text.

A group of near-duplicates is one text. Beyond it, text is shared by two groups at a time: a copy of a copy that has
nothing left of the first is no relative of it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from raft_assets.core.tables import Chunk
from raft_assets.dataset.near_duplicates import near_duplicate_groups
from raft_assets.dataset.shared_text import MAX_DOCUMENTS, SharedText, find_shared_text

RELATED_VERSION = "1"  # changes whenever the same chunks are related otherwise


@dataclass(frozen=True)
class Join:
    """Two chunks that ask for one split."""

    one: str
    other: str
    is_near_duplicate: bool


class RelatedChunks:
    """Near-duplicates of the named chunks, and chunks that share other text.

    `group_of` maps a chunk to the name of its group of near-duplicates; chunks without any are left out.
    """

    def __init__(
        self, names: Iterable[str], chunks: Mapping[str, Chunk], group_of: Mapping[str, str], shared: SharedText
    ) -> None:
        self.shared = shared
        self.group_of = group_of
        self._members: dict[str, list[str]] = defaultdict(list)
        documents: dict[str, set[str]] = defaultdict(set)
        for name in names:
            if name in group_of:
                self._members[group_of[name]].append(name)
                documents[group_of[name]].add(chunks[name].doc_id)
        self._widespread = {group for group, found in documents.items() if len(found) > MAX_DOCUMENTS}
        self._linked: dict[str, set[str]] = defaultdict(set)
        for one, other in shared.links:
            self._linked[self._group(one)].add(self._group(other))
            self._linked[self._group(other)].add(self._group(one))

    def relatives(self, chunk_ids: Iterable[str]) -> frozenset[str]:
        """Return the chunks with every near-duplicate of theirs, and every chunk that shares text with one of these."""
        own = {self._group(chunk_id) for chunk_id in chunk_ids}
        groups = own.union(*(self._linked.get(group, ()) for group in own))
        return frozenset(name for group in groups for name in self._members.get(group, (group,)))

    def joins(self) -> Iterator[Join]:
        """Yield what joins units, near-duplicates first, then from much to little shared text.

        A text in more than three documents joins none of them: where its copies have several splits, one keeps its
        rows.
        """
        for group, members in self._members.items():
            if group not in self._widespread:
                yield from (Join(members[0], other, is_near_duplicate=True) for other in members[1:])
        for one, other in sorted(self.shared.links, key=lambda link: (-self.shared.links[link], link)):
            yield Join(one, other, is_near_duplicate=False)

    def _group(self, chunk_id: str) -> str:
        return self.group_of.get(chunk_id, chunk_id)


Relate = Callable[[Mapping[str, Chunk], float], RelatedChunks]  # `find_related_chunks`, or what remembers its results


def find_related_chunks(chunks: Mapping[str, Chunk], near_duplicate: float) -> RelatedChunks:
    """Return how all chunks are related; `near_duplicate` is the similarity from which two are near-duplicates."""
    groups = near_duplicate_groups(chunks, chunks, near_duplicate)
    return RelatedChunks(chunks, chunks, groups, find_shared_text(chunks, chunks))
