"""Packed tags say what a plain table would."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinward_ledger.errors import LogCorrupt
from twinward_ledger.log.store import Entry
from twinward_ledger.stores import postings

tags = st.sampled_from([bytes([n]) * 16 for n in range(4)])
entries = st.lists(st.lists(tags, max_size=5).map(lambda several: Entry(b"leaf", b"", tuple(several))), max_size=40)


@given(st.integers(0, 2**40), entries)
def test_rows_hold_exactly_the_pairs(start: int, several: list[Entry]) -> None:
    numbered = list(enumerate(several, start))
    rows = postings.of_entries(numbered)
    unpacked = [(tag, index) for tag, first, distances in rows for index in postings.unpack(first, distances)]
    assert unpacked == sorted({(tag, index) for index, entry in numbered for tag in entry.tags})
    assert len({(tag, first) for tag, first, _ in rows}) == len(rows)


@given(st.lists(st.integers(0, 2**32 - 1), unique=True, max_size=3000).map(sorted))
def test_long_lists_are_cut_and_joined(indices: list[int]) -> None:
    rows = list(postings.of_tag(b"t" * 16, indices))
    assert [index for _, first, distances in rows for index in postings.unpack(first, distances)] == indices
    assert all(len(distances) <= 4 * postings.MAX_INDICES for _, _, distances in rows)


@pytest.mark.parametrize("distances", [b"", b"\x00" * 3, b"\x00" * 5, 5, None, "text"])
def test_what_no_log_writes_is_refused(distances: Any) -> None:
    with pytest.raises(LogCorrupt):
        postings.unpack(7, distances)
