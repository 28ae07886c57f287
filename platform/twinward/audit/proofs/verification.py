"""Deriving a whole log again and holding it against everything that was ever signed.

A page shows the newest events, and holds those against their leaves. Whoever alters an older one is found by
``LogCheck``: every leaf is hashed again, every event is opened, and the small stores are held against what the log
recorded of them. What is known is kept in memory: a file that says that all is well could be written by whoever
altered the log.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from twinward.audit.errors import LogTampered, corrupt
from twinward.audit.events.heads import head_of
from twinward.audit.events.sealer import EventSealer
from twinward.audit.models import Head
from twinward.audit.proofs.completeness import Completeness
from twinward.audit.status import LastCheck, VerifyReport
from twinward.core.clock import Clock
from twinward.core.errors import StoreAltered, TwinwardError, Unavailable
from twinward.core.sentences import of_numbers
from twinward.core.vocabulary import TwinId
from twinward_crypto.errors import CryptoError, InvalidSignature
from twinward_ledger.errors import LedgerError, LogCorrupt, LogUnavailable
from twinward_ledger.formats.leaf import LeafKind
from twinward_ledger.log.fsck import FsckReport, fsck
from twinward_ledger.log.log import Log
from twinward_ledger.log.map_check import NOTHING_CHECKED
from twinward_ledger.log.store import LogStore
from twinward_ledger.stores.sqlite import SqliteLogStore

_WITHOUT_SECRETS = frozenset(bytes([kind]) for kind in (LeafKind.HEARTBEAT, LeafKind.COMPLETENESS))
"""The second byte of leaves that are about nobody: no body that could be opened or erased."""


def _nobody(_done: int, _of: int) -> None:
    """Nobody watches."""


BREATH_EVERY: Final = 64
BREATH_S: Final = 0.002
"""A check in the background lets requests go first: it rests this long after so many events."""


class Verification:
    """Verifies one log, and copies of it.

    Args:
        log: the log, whose key and checkpoints count.
        sealer: opens bodies to hold them against their leaves.
        completeness: the map that is built again; None checks none.
        anchored: the checkpoints that were sent to the chain, which are kept beside the log and not in it.
    """

    def __init__(
        self,
        log: Log,
        sealer: EventSealer,
        completeness: Completeness | None,
        anchored: Callable[[], Iterable[bytes]] = tuple,
    ) -> None:
        self._log = log
        self._anchored = anchored
        self._sealer = sealer
        self._completeness = completeness
        self._checked = NOTHING_CHECKED  # of this log, in memory only: a file could be written by whoever altered it

    def verify(
        self,
        copy: Path | LogStore | None = None,
        *,
        deep: bool = False,
        going_on: Callable[[], bool] = lambda: True,
        told: Callable[[int, int], None] = _nobody,
    ) -> VerifyReport:
        """Re-derive a log from its leaves: this node's own, or a copy of its file.

        The copy is held against its own checkpoints and against those this node kept. ``deep`` also opens every body
        and holds it against its leaf. Where leaves were rewritten with their hashes, bodies name the exact one.
        ``going_on`` is asked before each body; False gives it up. ``told`` hears how many leaves are hashed, of all.

        Raises:
            LogTampered: it is not what was signed; ``first_bad_index`` says where.
            Unavailable: it cannot be read, or was given up.
        """
        try:
            store = SqliteLogStore(copy, read_only=True) if isinstance(copy, Path) else copy or self._log.store
            try:
                return self._verify(store, deep=deep, going_on=going_on, told=told)
            finally:
                if store is not copy and store is not self._log.store:
                    store.close()
        except LogUnavailable as error:
            raise Unavailable(f"the log cannot be read: {error}") from error

    def _verify(
        self, store: LogStore, *, deep: bool, going_on: Callable[[], bool], told: Callable[[int, int], None]
    ) -> VerifyReport:
        try:
            tags = self._completeness.tags() if self._completeness is not None else None
            kept = [*self._anchored(), *(note for _, note in self._log.store.checkpoints())]
            report = self._rederived(store, kept, tags, told)
            if self._completeness is not None and store is self._log.store:
                self._completeness.require_sound()
        except LogCorrupt as error:
            exact = self._first_misfit(store, error.first_bad_index)
            raise corrupt(error, first_bad_index=exact) from error
        except (InvalidSignature, LedgerError) as error:
            if isinstance(error, LogUnavailable):
                raise
            raise LogTampered(of_numbers(str(error)), first_bad_index=None) from error
        heads: dict[str, Head] = {}
        opened, erased = self._open_all(store, range(report.size), heads, going_on) if deep else (0, 0)
        return VerifyReport(
            size=report.size,
            root=report.root,
            signed_size=report.signed_size,
            checkpoints=report.checkpoints,
            map_heads=report.map_heads,
            map_covered=report.map_covered,
            opened=opened,
            erased=erased,
            heads=heads,
        )

    def _rederived(
        self,
        store: LogStore,
        notes: list[bytes],
        tags: Mapping[bytes, bytes] | None,
        told: Callable[[int, int], None],
    ) -> FsckReport:
        """Every root again; of the completeness map those that an earlier call did not hold against the rows.

        Where that does not agree, all of them: it names the first that is wrong. If none is, this is another log than
        the one that was checked, rolled back or written anew, and stays so until that one is back or this process ends.
        """
        if store is not self._log.store:
            return fsck(store, self._log.history, notes, tags=tags, told=told)
        try:
            report = fsck(store, self._log.history, notes, tags=tags, known=self._checked, told=told)
        except LogCorrupt:
            if not self._checked.count:
                raise
            fsck(store, self._log.history, notes, tags=tags)
            report = fsck(store, self._log.history, notes, tags=tags, known=self._checked)
        self._checked = report.map_checked
        return report

    def _open_all(
        self,
        store: LogStore,
        indices: Iterable[int],
        heads: dict[str, Head],
        going_on: Callable[[], bool] = lambda: True,
    ) -> tuple[int, int]:
        opened = erased = 0
        for index in indices:
            if not going_on():
                raise Unavailable("the check was given up before its end")
            entry = store.entry(index)
            twin, opening = self._sealer.open(index, entry)
            self._sealer.require_filed(index, entry, twin, opening)
            if entry.leaf[1:2] in _WITHOUT_SECRETS:
                continue
            if opening:
                opened += 1
                self._note_head(opening.event, twin, heads)
            else:
                erased += 1
        return opened, erased

    def _note_head(self, event: bytes, twin: TwinId | None, heads: dict[str, Head]) -> None:
        """Keep the furthest head of each store: events about patients record none."""
        found = head_of(event, self._log.origin) if twin is None else None
        if found is not None and found[1].changes >= heads.get(found[0], found[1]).changes:
            heads[found[0]] = found[1]

    def _first_misfit(self, store: LogStore, start: int | None) -> int | None:
        """The first entry from ``start`` whose body does not belong to its leaf: bodies were sealed to their leaves."""
        if start is None:
            return None
        try:
            self._open_all(store, range(start, store.size()), {})
        except (LogTampered, LogCorrupt) as error:
            return error.first_bad_index
        except LedgerError:
            return None
        return None


class _Verifiable(Protocol):
    def verify(self, *, deep: bool, going_on: Callable[[], bool]) -> VerifyReport: ...


class LogCheck:
    """Checks one node's log. Safe to share between threads; one check at a time.

    Args:
        audit: the trail.
        verify_stores: holds the small stores against the heads that the log recorded of them.
        clock: the node's.
    """

    def __init__(self, audit: _Verifiable, verify_stores: Callable[[Mapping[str, Head]], object], clock: Clock) -> None:
        self._audit = audit
        self._verify_stores = verify_stores
        self._clock = clock
        self._running = threading.Lock()
        self._last = LastCheck()

    @property
    def last(self) -> LastCheck:
        """What came of it last."""
        return self._last

    def run(self, going_on: Callable[[], bool] = lambda: True) -> LastCheck:
        """Check everything. Whatever it finds is in what it returns; it does not raise for that.

        Args:
            going_on: asked now and then; False gives the check up.
        """
        with self._running:
            at_ms = self._clock.now_ms()
            try:
                report = self._audit.verify(deep=True, going_on=_breathing(going_on))
                self._verify_stores(report.heads)
            except (LogTampered, StoreAltered) as error:
                self._last = LastCheck(self._last.size, at_ms, fault=error.outside()[0])
            except (TwinwardError, LedgerError, CryptoError) as error:
                self._last = replace(self._last, trouble=str(error))
            else:
                self._last = LastCheck(report.size, at_ms)
            return self._last

    def note(self, error: LogTampered) -> None:
        """Keep what another look at the log found."""
        with self._running:
            self._last = replace(self._last, fault=error.outside()[0])


def _breathing(going_on: Callable[[], bool]) -> Callable[[], bool]:
    asked = 0

    def ask() -> bool:
        nonlocal asked
        asked += 1
        if asked % BREATH_EVERY == 0:
            time.sleep(BREATH_S)
        return going_on()

    return ask
