"""How far long work is."""

from raft_assets.core.progress import shown_by, track


def test_items_pass_as_they_are_whether_anybody_looks_or_not() -> None:
    assert list(track("bats counted", "abc")) == ["a", "b", "c"]
    with shown_by(lambda *_: None):
        assert list(track("bats counted", "abc")) == ["a", "b", "c"]


def test_whoever_starts_the_work_sees_what_is_done_and_how_much_is_left() -> None:
    seen = list[tuple[str, int, int | None]]()
    with shown_by(lambda *step: seen.append(step)):
        list(track("bats counted", "ab", 2))
        list(track("caves searched", "c"))
    assert seen == [("bats counted", 1, 2), ("bats counted", 2, 2), ("caves searched", 1, None)]


def test_work_outside_is_not_shown() -> None:
    seen = list[object]()
    with shown_by(lambda *step: seen.append(step)):
        pass
    list(track("bats counted", "abc"))
    assert seen == []
