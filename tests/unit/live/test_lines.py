"""Batches of lines: how much is in one, whatever form it comes in."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from twinward.core.errors import BadInput
from twinward.live.intake.lines import Fault, batches, read_lines


def line(seq: int, count: int, period_ms: int) -> bytes:
    series = {"periodMs": period_ms, "values": [1] * count}
    time = "2026-01-01T00:00:00Z"
    said = {"seq": seq, "subject": "Patient/a", "code": "8867-4", "unit": "/min", "time": time, "series": series}
    return json.dumps(said, separators=(",", ":")).encode()


def test_a_series_counts_for_the_hours_it_spans() -> None:
    day = line(1, 25, 3_600_000)
    assert len(read_lines(b"\n".join([day] * 800))) == 800
    with pytest.raises(BadInput, match="lines"):
        read_lines(b"\n".join([day] * 801))
    assert len(read_lines(b"\n".join([line(1, 24, 1)] * 801))) == 801


def test_a_batch_has_so_many_values_and_no_more() -> None:
    full = line(1, 4_096, 1)
    assert len(read_lines(b"\n".join([full] * 244))) == 244
    with pytest.raises(BadInput, match="values"):
        read_lines(b"\n".join([full] * 245))


def test_lines_are_counted_before_they_are_cut() -> None:
    assert read_lines(b"\n" * 40_000) == []
    assert len(read_lines(b"1\n\n" * 20_000)) == 20_000
    tracemalloc.start()
    try:
        with pytest.raises(BadInput, match="20000 lines"):
            read_lines(b"1\n" * 1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_a_file_is_cut_where_a_batch_would_be_too_large() -> None:
    file = b"\n".join([line(1, 4_096, 3_600_000), b"", *[line(2, 4_096, 1)] * 300, b"no reading"])
    cut = list(batches(file))
    assert [len(one) for one in cut] == [244, 58]
    assert sum(len(one) for one in cut) == 302
    assert list(batches(b"\n \n")) == []


def test_a_file_of_nothing_but_ends_of_lines_is_not_cut_at_once() -> None:
    content = b"x\n" * 2_000_000
    tracemalloc.start()
    try:
        first = next(batches(content))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(first) == 5_000
    assert peak < 16 * 2**20
    assert [len(one) for one in batches(b"\n \n\nx\n\r\nx")] == [2]


def test_a_line_that_nests_without_end_is_one_bad_line() -> None:
    deep = b'{"seq":2,"subject":5,"zz":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
    found = read_lines(b"\n".join([line(1, 1, 1), deep, line(3, 1, 1)]))
    assert [isinstance(one, Fault) for one in found] == [False, True, False]
