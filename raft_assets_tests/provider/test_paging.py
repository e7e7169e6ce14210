"""Pages of lists."""

from hypothesis import given
from hypothesis import strategies as st

from raft_assets.provider.paging import page


@given(ids=st.lists(st.text(max_size=3), unique=True, max_size=20), limit=st.integers(1, 7))
def test_following_the_last_id_visits_every_item_once(ids: list[str], limit: int) -> None:
    items = [{"id": name} for name in ids]
    visited: list[str] = []
    query = {"limit": str(limit)}
    while True:
        found = page(items, query, default_limit=20)
        visited += [item["id"] for item in found["data"]]
        assert len(found["data"]) <= limit
        if not found["has_more"]:
            break
        query["after"] = found["last_id"]
    assert visited == ids


def test_without_a_limit_a_page_has_the_default_length() -> None:
    items = [{"id": str(number)} for number in range(30)]
    assert [item["id"] for item in page(items, {}, default_limit=20)["data"]] == [str(number) for number in range(20)]
