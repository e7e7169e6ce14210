"""Columns and settings that were added after projects had been stored without them.

A field made by `added` has a default. A file that was written before is read with that default, and a value that is the
default stays out of every digest: a project made by an earlier version stays fresh.
"""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field
from pydantic.fields import FieldInfo

SINCE = "since"
DIGESTED = "digested"
MEANS_DEFAULT = "means_default"


def added(
    default: Any, *, since: str, description: str, digested: bool = True, means_default: Sequence[str] = ()
) -> Any:
    """Return a field that came with a version, such as `added("", since="0.3.0", description="...")`.

    With `digested=False` it enters no digest, whatever it holds: it describes the row, and nothing is made from it.
    `means_default`: other values that say what the default says, and stay out of digests as it does.
    """
    extra: dict[str, Any] = {SINCE: since, DIGESTED: digested, MEANS_DEFAULT: list(means_default)}
    return Field(default=default, description=description, json_schema_extra=extra)


def is_added(field: FieldInfo) -> bool:
    """Return whether older files may lack the field."""
    return isinstance(field.json_schema_extra, dict) and SINCE in field.json_schema_extra


def digest_content(model: BaseModel, content: dict[str, Any]) -> dict[str, Any]:
    """Return a dump of a model (`model_dump`) without the added fields that no digest is made of, at any depth.

    These are the fields that hold their default or what means the same, and those that are never digested.
    """
    kept: dict[str, Any] = {}
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if is_added(field) and (value == field.default or value in _extra(field, MEANS_DEFAULT, otherwise=())):
            continue
        if is_added(field) and not _extra(field, DIGESTED, otherwise=True):
            continue
        kept[name] = digest_content(value, content[name]) if isinstance(value, BaseModel) else content[name]
    return kept


def _extra(field: FieldInfo, name: str, *, otherwise: Any) -> Any:
    return field.json_schema_extra.get(name, otherwise) if isinstance(field.json_schema_extra, dict) else otherwise
