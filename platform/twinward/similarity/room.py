"""How many patients an epoch says that it has room for: their number with noise, the same for everything that shows it.

Counts are answered with so many rows, and the published log grows by so many leaves whenever something is done with
each patient of the cohort. So both tell one noisy number, once an epoch, and nothing more. Where the cohort outgrows it
(a refresh), there is another one, with noise of its own: under the same noise the two would tell how many came.
"""

from __future__ import annotations

from typing import Final

from twinward.similarity.cohort import CohortSecrets
from twinward.similarity.interfaces import AnswerStore
from twinward_crypto.feasibility.noise import GeometricNoise

ROOM: Final = 64
"""It is a multiple of this."""
SIZE_MILLIS: Final = 250
"""The epsilon at which it tells how many patients there are, once an epoch."""
_ROOM_ID: Final = "0" * 32
_NOBODY: Final = "\x00room"
"""No account has such a name: under it the epoch's room is kept, sealed among the answers."""


def room_for(patients: int, secrets: CohortSecrets, store: AnswerStore) -> int:
    """The epoch's room: patients and noise, rounded up, and kept for the epoch. Never fewer than there are patients.

    The noise comes from the epoch's secrets and the room before: two processes that open the epoch at once find the
    same.

    Raises ``Unavailable`` where it cannot be kept.
    """
    kept = store.load(_NOBODY, _ROOM_ID)
    if kept is not None and int.from_bytes(kept, "big") >= patients:
        return int.from_bytes(kept, "big")
    noise = GeometricNoise.of(SIZE_MILLIS)
    drawn = noise.draw(
        lambda total: int.from_bytes(secrets.room_bytes(total.bit_length() // 8 + 16, kept or b""), "big") % total
    )
    room = -(-(patients + noise.bound + drawn) // ROOM) * ROOM
    store.save(_NOBODY, _ROOM_ID, room.to_bytes(8, "big"))
    return room
