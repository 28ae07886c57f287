"""The traffic light: the gravest doubt is said, and it is green only without any."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from twinward.audit.models import AuditRow, RowState
from twinward.audit.status import AuditStatus, JournalState, LastCheck
from twinward.console.health import LAGGING, STALE_MS, health
from twinward_ledger.formats.leaf import LeafKind
from twinward_ledger.stores.anchor_journal import Trouble

NOW_MS = 1_767_225_600_000
SOUND = AuditStatus(size=9, signed_size=9, witnesses=3, cosigned=3, quorum=2, anchored_size=9, anchored_block=7)
CHECKED = LastCheck(size=9, at_ms=NOW_MS - 1000)
DAMAGED = AuditRow(3, LeafKind.ACCESS, NOW_MS, RowState.DAMAGED, None, None)


def test_a_log_without_a_doubt_is_green() -> None:
    assert health(SOUND, [], CHECKED, NOW_MS)["kind"] == "good"


@pytest.mark.parametrize(
    ("log", "check", "rows", "kind", "said"),
    [
        ({}, {"fault": "leaf 3 differs"}, [], "bad", "not what was signed"),
        ({}, {}, [DAMAGED], "bad", "contradict what was committed"),
        ({"journal": JournalState(lost=1)}, {}, [], "bad", "journal was tampered with"),
        ({"journal": JournalState(evidence=(Path("x"),))}, {}, [], "bad", "journal was tampered with"),
        ({}, {"at_ms": 0}, [], "warn", "has not been checked yet"),
        ({}, {"trouble": "the disk is full"}, [], "warn", "It is long since"),
        ({}, {"at_ms": NOW_MS - STALE_MS - 1}, [], "warn", "It is long since"),
        ({"signed_size": 0}, {}, [], "warn", "Nothing is signed"),
        ({"cosigned": 1}, {}, [], "warn", "Too few hospitals"),
        ({"waits": Trouble(NOW_MS, "no funds")}, {}, [], "warn", "not being anchored"),
        ({"anchored_block": None}, {}, [], "warn", "lags behind"),
        ({"size": 10 + LAGGING}, {}, [], "warn", "lags behind"),
    ],
)  # fmt: skip
def test_each_doubt_is_said(
    log: dict[str, Any], check: dict[str, Any], rows: list[AuditRow], kind: str, said: str
) -> None:
    shown = health(replace(SOUND, **log), rows, replace(CHECKED, **check), NOW_MS)
    assert (shown["kind"], said in shown["say"]) == (kind, True)


def test_the_gravest_doubt_is_said_first() -> None:
    shown = health(replace(SOUND, cosigned=0), [DAMAGED], LastCheck(), NOW_MS)
    assert shown["kind"] == "bad"
