"""Moments as they are written."""

from __future__ import annotations

import pytest

from twinward.core.clock import instant_ms, iso
from twinward.core.errors import BadInput


@pytest.mark.parametrize(
    "text",
    ["1000-01-01T00:00:00.000Z", "1969-12-31T23:59:59.999Z", "2026-01-31T08:30:00.250Z", "9999-12-31T23:59:59.999Z"],
)
def test_what_is_read_is_written_again(text: str) -> None:
    assert iso(instant_ms(text)) == text


@pytest.mark.parametrize(
    "text",
    ["0001-01-01T00:00:00+10:00", "9999-12-31T23:00:00-10:00", "2026-01-31T08:30:00", "2026-13-01T00:00:00Z", ""],
)
def test_what_is_no_moment_of_the_calendar_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="RFC 3339"):
        instant_ms(text)


def test_a_plus_sign_that_was_not_percent_encoded_is_mended() -> None:
    assert instant_ms("2026-01-31T08:30:00 02:00") == instant_ms("2026-01-31T06:30:00Z")
