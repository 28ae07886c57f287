"""By how much the log grows when patients are read for a study: kept, and drawn anew only where it is outgrown."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import cast

import pytest

from twinward.audit.interfaces import AuditTrail
from twinward.audit.models import AccessEvent
from twinward.core.vocabulary import NOBODY
from twinward.federation.aggregation.answered_rounds import AnsweredRounds
from twinward.node.study_log_room import MOST_EVENTS, SIZE_MILLIS, STEP, fill_room, room_for
from twinward_crypto.feasibility.noise import GeometricNoise


class Trail:
    def __init__(self) -> None:
        self.events: list[AccessEvent] = []

    def record(self, events: list[AccessEvent]) -> None:
        self.events += events


def grown(memory: AnsweredRounds, kind: str, events: int) -> int:
    trail = Trail()
    fill_room(cast("AuditTrail", trail), memory, kind, events, 1)
    assert {one.twin for one in trail.events} <= {NOBODY}
    return events + len(trail.events)


@pytest.mark.parametrize("events", [0, 1, 64, 5000])
def test_a_room_is_never_too_small_and_moves_by_its_noise(events: int) -> None:
    bound = GeometricNoise.of(SIZE_MILLIS // MOST_EVENTS).bound
    rooms = {room_for(events) for _ in range(40)}
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
