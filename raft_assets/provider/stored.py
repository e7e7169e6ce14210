"""What the provider keeps of a file, a batch, a job or a model: one JSON document, which may be damaged."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

Document = TypeVar("Document", bound=BaseModel)


def parse_stored(kind: type[Document], content: bytes) -> Document | None:
    """Return the document; None for one that isn't whole, or of another version."""
    try:
        return kind.model_validate_json(content)
    except ValidationError:
        return None
