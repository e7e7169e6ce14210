"""A field that came later is read from older files as its default, and enters no digest where it holds it."""

from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import BaseModel

from raft_assets.core.errors import DataError
from raft_assets.core.stored_fields import added, digest_content
from raft_assets.core.tables import Row
from raft_assets.storage.lake import Lake


class Before(Row):
    table: ClassVar[str] = "things"

    name: str


class Now(Row):
    table: ClassVar[str] = "things"

    language: str = added("en", since="0.3.0", description="language")
    name: str


class Other(Row):
    table: ClassVar[str] = "things"

    name: str
    size: int


class Inner(BaseModel):
    old: int = 1
    new: bool = added(default=False, since="0.3.0", description="a setting")


class Outer(BaseModel):
    inner: Inner = Inner()


def test_an_older_file_is_read_with_the_default_of_a_new_column(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    lake.write(Before, "bats", [Before(name="a")])
    assert list(lake.rows(Now, "bats")) == [Now(name="a", language="en")]


def test_rows_that_hold_the_default_have_the_digest_of_before_and_others_have_another(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    before = lake.write(Before, "bats", [Before(name="a")]).digest
    assert lake.write(Now, "bats", [Now(name="a")]).digest == before
    assert lake.write(Now, "bats", [Now(name="a", language="zh")]).digest != before
    assert list(lake.rows(Now, "bats")) == [Now(name="a", language="zh")]


def test_a_column_without_a_version_has_to_be_there(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    lake.write(Before, "bats", [Before(name="a")])
    with pytest.raises(DataError, match=r"different columns than things \(size int64\)"):
        list(lake.rows(Other, "bats"))


def test_a_new_setting_counts_once_it_is_not_the_default() -> None:
    outer = Outer()
    assert digest_content(outer, outer.model_dump()) == {"inner": {"old": 1}}
    chosen = Outer(inner=Inner(new=True))
    assert digest_content(chosen, chosen.model_dump()) == {"inner": {"old": 1, "new": True}}


def test_a_value_that_means_the_default_has_the_digest_of_before() -> None:
    class Told(BaseModel):
        language: str = added("", since="9", means_default=("en",), description="of the row")

    assert [digest_content(Told(language=code), {"language": code}) for code in ("", "en")] == [{}, {}]
    assert digest_content(Told(language="zh"), {"language": "zh"}) == {"language": "zh"}
