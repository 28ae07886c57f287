"""Moments that a hospital tells can be shown as dates, whatever it says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from twinward.protocol.fields import Milliseconds, Seconds
from twinward.protocol.messages import BudgetReply, RecordsReply
from twinward.protocol.terms import CohortLife

LAST_S = 253_402_300_799


def test_the_last_moment_can_be_shown_and_the_next_is_refused() -> None:
    for kind, last, each in ((Seconds, LAST_S, 1), (Milliseconds, 1000 * LAST_S + 999, 1000)):
        found: TypeAdapter[Any] = TypeAdapter(kind)
        assert datetime.fromtimestamp(found.validate_python(last) // each, tz=UTC).year == 9999
        for wrong in (last + 1, -1):
            with pytest.raises(ValidationError):
                found.validate_python(wrong)


@pytest.mark.parametrize(
    "told",
    [
        (BudgetReply, {"epoch": 1, "remaining": 1, "resets_at_s": 1 << 52}),
        (RecordsReply, {"epoch": 1, "records": [], "withheld": "", "until_s": 1 << 52}),
        (CohortLife, {"taken_ms": 1 << 52, "room": 1}),
        (CohortLife, {"taken_ms": 1, "room": 1, "ends_at_s": 1 << 52}),
    ],
)
def test_an_answer_with_a_moment_beyond_the_calendar_is_malformed(told: tuple[Any, dict[str, Any]]) -> None:
    with pytest.raises(ValidationError, match="less than"):
        told[0].model_validate(told[1])
