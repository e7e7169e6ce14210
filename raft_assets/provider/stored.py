"""What the provider keeps of a file, a batch, a job or a model: one JSON document, which may be damaged."""

from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from raft_assets.core.ports import SharedFiles

Document = TypeVar("Document", bound=BaseModel)


def parse_stored(kind: type[Document], content: bytes) -> Document | None:
    """Return the document; None for one that isn't whole, or of another version."""
    try:
        return kind.model_validate_json(content)
    except ValidationError:
        return None


def read_shared(kind: type[Document], shared: SharedFiles, name: str) -> Document | None:
    """Return the document that another machine shares by this name; None where there is none."""
    return parse_stored(kind, shared.read([name]).get(name, b""))


def list_shared(
    kind: type[Document], shared: SharedFiles, folder: str, is_wanted: Callable[[str], bool]
) -> list[Document]:
    """Return the documents below a folder that other machines share, those whose name is wanted."""
    contents = shared.read([name for name in shared.names(folder) if is_wanted(name)])
    return [document for content in contents.values() if (document := parse_stored(kind, content))]
