"""What an officer decides about the running snapshot: take it anew, or let nobody join. One sealed file of the home.

Every process of the home reads it before each answer, so a served node follows what a command wrote. A **refresh** has
each process take a new snapshot with the next question, under the same secrets: handles stay. While it is **frozen**
nobody joins, over restarts and epochs, until it is thawed: whoever is in it when it is frozen and still consents makes
up every snapshot. Patients leave it at once all the same.

Whoever takes the file away, or puts an older one in its place, lets those join whose consent lets them anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from twinward.core.errors import Conflict, StoreAltered
from twinward.core.private_files import write_private
from twinward.core.turns import Turn
from twinward.core.vocabulary import TwinId
from twinward.node.home import COHORT_LIFE_LOCK
from twinward_crypto.envelope import open_sealed, seal
from twinward_crypto.errors import OpenError

if TYPE_CHECKING:
    from twinward.similarity.interfaces import FeatureSource

LIFE_FILE: Final = "cohort-life.sealed"
_AAD: Final = b"twinward/cohort-life/1"
_NOT_READ: Final = (-1, -1, -1)


Row: TypeAlias = tuple[TwinId, Sequence[int], Sequence[int], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Members:
    """Implements ``similarity.interfaces.FeatureSource``: of another source's rows those of some twins."""

    source: FeatureSource
    twins: frozenset[str] = field(repr=False)

    def consenting(self) -> Sequence[Row]:
        """As ``FeatureSource.consenting``."""
        return [row for row in self.source.consenting() if row[0] in self.twins]


class LifeState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was decided.

    Attributes:
        refreshes: how often a new snapshot was asked for.
        frozen_since_ms: since when nobody joins; 0 where everybody may.
        members: who may be in a frozen snapshot; None until the first process that has one wrote it down.
    """

    refreshes: int = 0
    frozen_since_ms: int = 0
    members: tuple[str, ...] | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is frozen and nobody wrote down yet who is in it."""
        return bool(self.frozen_since_ms) and self.members is None


@dataclass(slots=True)
class CohortLifeFile:
    """The file, read when it changed.

    Args:
        home: the node's.
        key: seals it.
    """

    home: Path
    key: Callable[[], bytes] = field(repr=False)
    _seen: tuple[int, int, int] = _NOT_READ
    _state: LifeState = field(default_factory=LifeState, repr=False)

    def read(self) -> LifeState:
        """What holds now, whoever decided it. Raises ``StoreAltered`` where the file does not open."""
        try:
            found = (self.home / LIFE_FILE).stat()
        except FileNotFoundError:
            self._seen, self._state = _NOT_READ, LifeState()
            return self._state
        stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
        if stamp != self._seen:
            self._state, self._seen = self._opened(), stamp
        return self._state

    def refresh(self) -> LifeState:
        """Have every process take a new snapshot."""
        return self._changed(lambda old: msgspec.structs.replace(old, refreshes=old.refreshes + 1))

    def freeze(self, now_ms: int) -> LifeState:
        """Let nobody join from now on. Raises ``Conflict`` where it is frozen."""

        def frozen(old: LifeState) -> LifeState:
            if old.frozen_since_ms:
                raise Conflict("the cohort is frozen already", hint="`twinward similarity thaw` lets patients join")
            return msgspec.structs.replace(old, frozen_since_ms=now_ms, members=None)

        return self._changed(frozen)

    def thaw(self) -> LifeState:
        """Let everybody join who consents, with a new snapshot. Raises ``Conflict`` where it is not frozen."""

        def thawed(old: LifeState) -> LifeState:
            if not old.frozen_since_ms:
                raise Conflict("the cohort is not frozen", hint="`twinward similarity freeze` freezes it")
            return LifeState(refreshes=old.refreshes + 1)

        return self._changed(thawed)

    def keep(self, members: Iterable[TwinId]) -> LifeState:
        """Write down who is in a frozen snapshot, unless another process did."""

        def kept(old: LifeState) -> LifeState:
            return msgspec.structs.replace(old, members=tuple(sorted(members))) if old.is_open else old

        return self._changed(kept)

    def _changed(self, change: Callable[[LifeState], LifeState]) -> LifeState:
        with Turn(self.home / COHORT_LIFE_LOCK):
            old = self.read()
            new = change(old)
            if new != old:
                write_private(self.home / LIFE_FILE, seal(self.key(), msgspec.json.encode(new), _AAD))
        return self.read()

    def _opened(self) -> LifeState:
        try:
            content = open_sealed(self.key(), (self.home / LIFE_FILE).read_bytes(), _AAD)
            return msgspec.json.decode(content, type=LifeState)
        except (OpenError, msgspec.DecodeError) as error:
            raise StoreAltered(
                f"{LIFE_FILE} was altered, or is another home's",
                hint="put the right one back, or delete it: not frozen",
            ) from error
