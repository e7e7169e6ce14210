"""Pages of a list as the OpenAI API returns them: `limit` items after the item named by `after`."""

from collections.abc import Mapping, Sequence
from typing import Any

from raft_assets.provider.errors import bad_request

MAX_PAGE = 10_000


def page(items: Sequence[dict[str, Any]], query: Mapping[str, str], *, default_limit: int) -> dict[str, Any]:
    """Return the list object with the page that the query's `after` and `limit` select.

    `items` are in the order of the list and carry an `id`. An empty page has empty ids: the schema requires texts.
    """
    limit = _limit(query.get("limit", str(default_limit)))
    start = _position(items, query["after"]) + 1 if "after" in query else 0
    data = items[start : start + limit]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else "",
        "last_id": data[-1]["id"] if data else "",
        "has_more": start + limit < len(items),
    }


def _limit(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_PAGE:
        raise bad_request(
            f"Invalid 'limit': expected an integer from 1 to {MAX_PAGE}, got {text[:40]!r}.",
            param="limit",
            code="invalid_value",
        )
    return int(text)


def _position(items: Sequence[dict[str, Any]], after: str) -> int:
    for position, item in enumerate(items):
        if item["id"] == after:
            return position
    raise bad_request(f"Invalid 'after': there is no item {after!r} in this list.", param="after", code="invalid_value")
