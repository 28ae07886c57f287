"""Home's look at the newest entries: each is opened once, and again as soon as a byte of it is another."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.audit.test_audit_trail import EVENT, open_house
from twinward.audit import newest
from twinward.audit.errors import LogTampered
from twinward.audit.events.sealer import EventSealer
from twinward.audit.models import AuditRow
from twinward_ledger.log.store import Entry


def test_a_file_that_is_altered_between_two_looks_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    once = newest.row_of

    def counted(sealer: EventSealer, origin: str, index: int, entry: Entry) -> AuditRow:
        opened.append(index)
        return once(sealer, origin, index, entry)

    monkeypatch.setattr(newest, "row_of", counted)
    with open_house(tmp_path, None) as house:
        house.audit.record([replace(EVENT, at_ms=EVENT.at_ms + number) for number in range(6)])
        assert [house.audit.newest.damaged(4) for _ in range(3)] == [[], [], []]
        assert opened == [2, 3, 4, 5]
        house.audit.record([EVENT])
        assert house.audit.newest.damaged(4) == []
        assert opened == [2, 3, 4, 5, 6]
        with closing(sqlite3.connect(tmp_path / "log.db")) as database, database:
            database.execute("UPDATE bodies SET body = (SELECT body FROM bodies WHERE idx = 3) WHERE idx = 5")
        assert [house.audit.newest.damaged(4) for _ in range(2)] == [[5], [5]]
        with closing(sqlite3.connect(tmp_path / "log.db")) as database, database:
            database.execute("DELETE FROM leaves WHERE idx = 5")
        with pytest.raises(LogTampered):
            house.audit.newest.damaged(4)
