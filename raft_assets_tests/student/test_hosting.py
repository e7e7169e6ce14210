"""What all hosts of students share: tags, names, pauses, and how long something may stand."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_assets.student.hosting import (
    HostedDeployment,
    build_tags,
    error_code_and_message,
    fields_from_tags,
    poll_until,
    slug,
)

NOW = datetime(2026, 11, 28, 12, 0, 30, 999, tzinfo=UTC)


@pytest.mark.parametrize("hours", [None, 24])
def test_what_tags_say_is_read_back(hours: int | None) -> None:
    told = fields_from_tags(build_tags("bats", "abc", hours=hours, now=NOW), SimpleNamespace(created_at=NOW))
    assert (told["domain"], told["training_hash"], told["created"]) == ("bats", "abc", NOW)
    assert told["expires"] == (None if hours is None else NOW.replace(microsecond=0) + timedelta(hours=24))


def test_tags_are_texts_and_stay_as_they_are_on_azure() -> None:
    # whoever looks for what was deployed by a version before finds it by these
    assert build_tags("bats", "abc", hours=1, now=NOW) == {
        "raft-domain": "bats",
        "raft-training-hash": "abc",
        "raft-expires": "2026-11-28T13:00:30+00:00",
    }


@pytest.mark.parametrize("tags", [None, {}, {"team": "zoo"}])
def test_what_carries_no_tags_of_ours_tells_nothing(tags: dict[str, str] | None) -> None:
    assert fields_from_tags(tags, None) == {"domain": "", "training_hash": "", "expires": None, "created": None}


@pytest.mark.parametrize(
    ("expires", "expired"),
    [(None, False), (NOW + timedelta(seconds=1), False), (NOW, True), (NOW - timedelta(days=1), True)],
)
def test_something_is_expired_from_its_end_on_and_what_has_none_never(expires: datetime | None, expired: bool) -> None:
    hosted = HostedDeployment("raft-bats", "m", "Succeeded", "sku", 1, "bats", "abc", NOW, expires)
    assert hosted.is_expired(NOW) is expired


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("Bats", "bats"),
        ("Bats & Moths (2)", "bats-moths-2"),
        ("--a_b--", "a-b"),
        ("Fledermäuse", "flederm-use"),
        ("…", ""),
    ],
)
def test_a_slug_is_letters_digits_and_hyphens(text: str, short: str) -> None:
    assert slug(text) == short


@given(st.text())
def test_a_slug_of_a_slug_is_itself_and_fits_a_name_on_azure(text: str) -> None:
    assert slug(slug(text)) == slug(text)
    assert slug(text).isascii()
    assert set(slug(text)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def refused(status: int = 409, reason: str | None = "Conflict", **error: Any) -> SimpleNamespace:
    return SimpleNamespace(status_code=status, reason=reason, error=SimpleNamespace(**error) if error else None)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (refused(code="QuotaExceeded", message="No\nquota."), "QuotaExceeded", "No quota"),
        (refused(code=None, message=None), "status 409", "Conflict"),
        (refused(), "status 409", "Conflict"),
        (refused(reason=None), "status 409", "no reason given"),
    ],
)
def test_a_refusal_of_azure_has_a_code_and_a_message_whatever_it_lacks(
    error: SimpleNamespace, code: str, message: str
) -> None:
    assert error_code_and_message(error) == (code, message)


def test_there_is_one_turn_at_once_even_without_any_time() -> None:
    assert list(poll_until(0)) == [None]
