"""Which document is which after files were renamed, moved or edited.

A document's id is the hash of the path under which it was first seen, and it stays: by its content where the file has
another name, by its name where it has another content. So what is made from ids (chunks, questions, draws, splits) is
the same after a rename. Keeping the list of known documents belongs in `operations/document_ids`.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any, Self

from raft_assets.core.identity import doc_id, short_digest
from raft_assets.settings.domains import DocumentFile


@dataclass(frozen=True)
class KnownDocument:
    """A document of the domain: `paths` are all that it had, relative to the domain, the present one last."""

    doc_id: str
    paths: tuple[str, ...]
    content_hash: str

    @property
    def path(self) -> str:
        """The present path."""
        return self.paths[-1]

    @property
    def is_as_first_seen(self) -> bool:
        """Whether path and id are those that the file would get if it were seen for the first time."""
        return self.paths == (self.path,) and self.doc_id == doc_id(self.path)

    @property
    def record(self) -> dict[str, Any]:
        """The document as JSON."""
        return {"doc_id": self.doc_id, "paths": list(self.paths), "content_hash": self.content_hash}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """Return the document in a record."""
        return cls(record["doc_id"], tuple(record["paths"]), record["content_hash"])


def identify_documents(files: Sequence[DocumentFile], known: Iterable[KnownDocument]) -> list[KnownDocument]:
    """Return the documents that the files are, in the order of their first paths.

    An unchanged file is what it was. A file under a new path whose content is that of a document that has gone is that
    document. A file whose content changed is still the document of its path, unless that one has moved. Of two files
    whose names differ by their Unicode form only, the first counts.
    """
    before = {document.path: document for document in known}
    files_by_path: dict[str, DocumentFile] = {}
    for file in files:
        files_by_path.setdefault(file.path, file)
    found: dict[str, KnownDocument] = {
        path: before[path]
        for path, file in files_by_path.items()
        if path in before and before[path].content_hash == file.content_hash
    }
    gone: dict[str, list[KnownDocument]] = {}
    for document in before.values():
        if document.path not in found and document.content_hash:
            gone.setdefault(document.content_hash, []).append(document)
    for path, file in files_by_path.items():
        if path not in found and gone.get(file.content_hash):
            moved = gone[file.content_hash].pop(0)
            found[path] = replace(moved, paths=(*moved.paths, path))
    taken = {document.doc_id for document in found.values()}
    for path, file in files_by_path.items():
        if path not in found and path in before and before[path].doc_id not in taken:
            found[path] = replace(before[path], content_hash=file.content_hash)
            taken.add(found[path].doc_id)
    for path, file in files_by_path.items():
        if path not in found:
            name = _free_name(path, file.content_hash, taken)
            found[path] = KnownDocument(name, (path,), file.content_hash)
            taken.add(name)
    return sorted(found.values(), key=lambda document: (document.paths[0], document.path))


def _free_name(path: str, content_hash: str, taken: AbstractSet[str]) -> str:
    """Return the id of a new document: by its path, where a document that moved has that one by its content as well.

    Where the same content was at the same path before and moved away, too, the names are counted.
    """
    names = (short_digest("doc", path, content_hash, *([number] if number else ())) for number in itertools.count())
    return next(name for name in itertools.chain([doc_id(path)], names) if name not in taken)
