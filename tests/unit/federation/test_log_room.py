"""By how much the log grows when patients are read for a study: kept, and drawn anew only where it is outgrown."""

from __future__ import annotations

import sys
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace as Namespace
from typing import cast
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twinward.audit.interfaces import AuditTrail
from twinward.audit.models import AccessEvent, Noted
from twinward.core.clock import FixedClock
from twinward.core.vocabulary import NOBODY
from twinward.federation.aggregation.answered_rounds import AnsweredRounds
from twinward.node.study_log_room import MOST_EVENTS, SIZE_MILLIS, STEP, StudyLogRoom, room_for
from twinward_crypto.feasibility.noise import GeometricNoise


def filler() -> tuple[str, str]:
    return ("filler", "stays of s")


@dataclass
class Log:
    """A log in memory, as a trail and as its events of any action."""

    details: list[tuple[tuple[str, str], ...]] = field(default_factory=list)

    def record(self, events: list[AccessEvent]) -> None:
        assert {one.twin for one in events} <= {NOBODY}
        self.details += [one.detail for one in events]

    def read(self, patients: int, study: str = "s") -> int:
        self.details += [(("study", study),)] * patients
        return patients

    def size(self) -> int:
        return len(self.details)

    def between(self, start: int, stop: int) -> list[Noted]:
        return cast("list[Noted]", [Namespace(event=Namespace(detail=one)) for one in self.details[start:stop]])

    def room(self, memory: AnsweredRounds) -> StudyLogRoom:
        return StudyLogRoom(cast("AuditTrail", self), self, self, memory, LOCKS / "lock", FixedClock())


LOCKS = Path()


@pytest.fixture(autouse=True)
def _locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "LOCKS", tmp_path)


def grown(memory: AnsweredRounds, kind: str, patients: int) -> int:
    log = Log()
    with log.room(memory).reading(kind, "s") as logged:
        logged.append(log.read(patients))
    return log.size()


@pytest.mark.parametrize("events", [0, 1, 64, 5000])
def test_a_room_is_never_too_small_and_moves_by_its_noise(events: int) -> None:
    bound = GeometricNoise.of(SIZE_MILLIS // MOST_EVENTS).bound
    rooms = {room_for(events) for _ in range(400)}  # nine of ten are the commonest one
    assert all(room % STEP == 0 and events <= room <= events + 2 * bound + STEP for room in rooms)
    assert len(rooms) > 1


def test_the_log_grows_by_the_same_in_every_process_until_more_come_than_fit(tmp_path: Path) -> None:
    place = tmp_path / "studies.db"
    with closing(AnsweredRounds(place)) as one, closing(AnsweredRounds(place)) as other:
        room = grown(one, "stays", 100)
        assert {grown(other, "stays", events) for events in (0, 99, 101, room)} == {room}
        assert grown(other, "stays", room + 1) > room
        assert grown(one, "stays", 100) == grown(other, "stays", 3) > room
        assert grown(one, "conditions", 0) % STEP == 0


@given(patients=st.integers(0, 300), reached=st.integers(0, 300), filled=st.integers(0, 300), others=st.integers(0, 9))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_reading_that_was_killed_is_completed_by_the_next_whatever_stands_of_it(
    tmp_path: Path, patients: int, reached: int, filled: int, others: int
) -> None:
    """Killed before any event, among them, or among the fillers: together the log grows as if nothing had happened."""
    place = tmp_path / f"{uuid4()}.db"
    with closing(AnsweredRounds(place)) as memory:
        kept = grown(memory, "stays", 300)
    log = Log()
    with closing(AnsweredRounds(place)) as memory:
        memory.begin_reading("stays", "s", log.size())
        log.read(min(patients, reached))
        log.read(others, "another study, or whoever trains beside it")
        if reached >= patients:
            log.details += [(filler(),)] * min(filled, kept - patients)
    with closing(AnsweredRounds(place)) as memory:  # another process
        log.room(memory).complete()
        log.room(memory).complete()
        assert log.size() == kept + others
        with log.room(memory).reading("stays", "t") as logged:
            logged.append(log.read(patients, "t"))
        assert log.size() == 2 * kept + others
        assert memory.open_readings() == []


def test_that_a_reading_begins_is_on_disk_before_its_first_event_and_an_error_fills_it_up(tmp_path: Path) -> None:
    place, log = tmp_path / "studies.db", Log()
    with closing(AnsweredRounds(place)) as memory, closing(AnsweredRounds(place)) as other:
        with suppress(ZeroDivisionError), log.room(memory).reading("stays", "s") as logged:
            assert other.open_readings() == [("stays", "s", 0)]
            logged.append(log.read(5))
            raise ZeroDivisionError
        assert log.size() == grown(other, "stays", 7)
        assert other.open_readings() == []
