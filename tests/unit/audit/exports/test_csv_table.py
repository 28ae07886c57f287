"""A cell of the table: seen whole, computed by no spreadsheet."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twinward.audit.exports.csv_table import cell
from twinward.core.visible_text import visible


@given(st.text() | st.text(st.characters(codec="ascii")) | st.sampled_from((" =1", "1=1", "a\t", "\x7f", "é=1")))
def test_cells_never_start_like_a_formula_and_are_never_lost(text: str) -> None:
    shown = cell(text)
    assert shown in (visible(text), f"'{visible(text)}")
    assert not shown.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n", "|", "%"))
