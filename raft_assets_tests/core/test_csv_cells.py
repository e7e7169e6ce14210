"""No cell that we write is computed by a spreadsheet."""

import pytest

from raft_assets.core.csv_cells import neutralize


@pytest.mark.parametrize(
    "cell",
    ['=HYPERLINK("http://x")', "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", " \n=1", "\uff1d1+1", "=", "-lift"],
)
def test_a_cell_that_looks_like_a_formula_is_text(cell: str) -> None:
    assert neutralize(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["bats", "a = b", "", "-5", "+3.5e7", -5, 2.5, None, True])
def test_any_other_cell_stays_as_it_is(cell: object) -> None:
    assert neutralize(cell) == cell
