"""The event that records where a store stands, and what is none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.access_events import read_by_a_clinician
from twinward.audit.events import codec
from twinward.audit.events.heads import head_of, recording, saying
from twinward.audit.models import AccessEvent, Head
from twinward.core.vocabulary import TwinId

ORIGIN = "log.example"
HEAD = Head(7, bytes(range(32)))
RECORDED = recording("accounts", HEAD, 1_767_225_600_000)


def test_a_recorded_head_reads_back() -> None:
    assert head_of(codec.encode(RECORDED, ORIGIN), ORIGIN) == ("accounts", HEAD)


@pytest.mark.parametrize(
    "event",
    [
        read_by_a_clinician(TwinId("01941f29-7c00-7000-8000-000000000001")),
        replace(read_by_a_clinician(TwinId("t")), detail=RECORDED.detail),
        saying("accounts", "begun anew", 1_767_225_600_000),
        replace(RECORDED, detail=(("store", "accounts"), ("changes", "many"), ("head", "00"))),
        replace(RECORDED, detail=(("store", "accounts"), ("changes", "1"), ("head", "zz"))),
    ],
)
def test_nothing_else_is_a_head(event: AccessEvent) -> None:
    assert head_of(codec.encode(event, ORIGIN), ORIGIN) is None


def test_nor_is_what_is_no_event() -> None:
    assert head_of(b"{}", ORIGIN) is None
    assert head_of(codec.encode(RECORDED, ORIGIN), "log.another") is None
