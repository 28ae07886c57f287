"""What twins of things stand on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twinward.access.interfaces import AccessControl
from twinward.core.clock import Clock
from twinward.core.vocabulary import TwinId
from twinward.live.service import Live
from twinward.things.storage.database import ThingDatabase


@dataclass(frozen=True, slots=True)
class ThingParts:
    """A hospital's parts that twins of things use.

    Attributes:
        database: where they are kept.
        live: what knows to whom a device is assigned, and what was measured.
        access: what decides.
        is_erased: whether a twin's keys are gone.
        clock: the node's.
    """

    database: ThingDatabase
    live: Live
    access: AccessControl
    is_erased: Callable[[TwinId], bool]
    clock: Clock
