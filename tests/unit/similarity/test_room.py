"""How many patients an epoch says that it has room for: kept, and told anew with other noise where it is outgrown."""

from __future__ import annotations

import hashlib
from typing import Any, cast

from twinward.similarity.cohort import CohortSecrets
from twinward.similarity.room import ROOM, SIZE_MILLIS, room_for
from twinward_crypto.feasibility.noise import GeometricNoise

EDGE = 2 * ROOM - GeometricNoise.of(SIZE_MILLIS).bound
"""With so many patients the room is two steps or three, by the sign of the noise."""


class Secrets:
    def __init__(self, number: int) -> None:
        self.row_secret = hashlib.sha256(bytes([number])).digest()

    room_bytes = CohortSecrets.room_bytes


class Kept:
    content: bytes | None = None

    def load(self, *_: str) -> bytes | None:
        return self.content

    def save(self, _: str, __: str, content: bytes) -> None:
        self.content = content


def room(patients: int, number: int, store: Kept) -> int:
    return room_for(patients, cast("CohortSecrets", Secrets(number)), cast("Any", store))


def test_a_room_is_kept_as_long_as_everybody_fits() -> None:
    store = Kept()
    first = room(100, 0, store)
    assert first % ROOM == 0
    assert {room(patients, 0, store) for patients in (1, 100, first)} == {first}


def test_a_room_that_is_outgrown_is_told_anew_with_noise_of_its_own_and_alike_in_every_process() -> None:
    more = []
    for number in range(20):
        store, other = Kept(), Kept()
        first = room(EDGE, number, store)
        other.content = store.content
        second = room(EDGE + 100 * ROOM, number, store)
        assert second == room(EDGE + 100 * ROOM, number, other)
        more.append(second - first)
    assert len(set(more)) > 1  # under the same noise it would say of how many more, each time
