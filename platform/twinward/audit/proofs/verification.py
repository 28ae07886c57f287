"""Deriving a whole log again and holding it against everything that was ever signed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from twinward.audit.errors import LogTampered
from twinward.audit.events import head_event
from twinward.audit.events.sealer import EventSealer
from twinward.audit.interfaces import Head
from twinward.audit.proofs.completeness import Completeness
from twinward.core.errors import Unavailable
from twinward.core.vocabulary import TwinId
from twinward_crypto.errors import InvalidSignature
from twinward_ledger.errors import LedgerError, LogCorrupt, LogUnavailable
from twinward_ledger.formats.leaf import LeafKind
from twinward_ledger.log.fsck import fsck
from twinward_ledger.log.log import Log
from twinward_ledger.log.store import LogStore
from twinward_ledger.stores.sqlite import SqliteLogStore

_WITHOUT_SECRETS = frozenset(bytes([kind]) for kind in (LeafKind.HEARTBEAT, LeafKind.COMPLETENESS))
"""The second byte of leaves that are about nobody: no body that could be opened or erased."""


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """A log that was re-derived and is what was signed.

    Attributes:
        size: events whose leaves were hashed again.
        root: the root over all of them.
        signed_size: how many of them the newest checkpoint covers.
        checkpoints: how many signed checkpoints agreed.
        map_heads: how many roots of the completeness map were built again.
        map_covered: how many entries the newest of them covers.
        opened: bodies that were opened and held against their leaves (``deep`` only).
        erased: bodies that are erased (``deep`` only).
        heads: by store, the furthest head that any entry records, whatever the index says (``deep`` only).
    """

    size: int
    root: bytes
    signed_size: int
    checkpoints: int
    map_heads: int = 0
    map_covered: int = 0
    opened: int = 0
    erased: int = 0
    heads: Mapping[str, Head] = field(default_factory=dict)


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

    def verify(
        self,
        copy: Path | LogStore | None = None,
        *,
        deep: bool = False,
        going_on: Callable[[], bool] = lambda: True,
    ) -> VerifyReport:
        """Re-derive a log from its leaves: this node's own, or a copy of its file.

        The copy is held against its own checkpoints and against those this node kept. ``deep`` also opens every body
        and holds it against its leaf. Where leaves were rewritten with their hashes, bodies name the exact one.
        ``going_on`` is asked before each body; False gives it up.

        Raises:
            LogTampered: it is not what was signed; ``first_bad_index`` says where.
            Unavailable: it cannot be read, or was given up.
        """
        try:
            store = SqliteLogStore(copy, read_only=True) if isinstance(copy, Path) else copy or self._log.store
            try:
                return self._verify(store, deep=deep, going_on=going_on)
            finally:
                if store is not copy and store is not self._log.store:
                    store.close()
        except LogUnavailable as error:
            raise Unavailable(f"the log cannot be read: {error}") from error

    def _verify(self, store: LogStore, *, deep: bool, going_on: Callable[[], bool]) -> VerifyReport:
        try:
            tags = self._completeness.tags() if self._completeness is not None else None
            kept = [*self._anchored(), *(note for _, note in self._log.store.checkpoints())]
            report = fsck(store, self._log.key, kept, tags=tags)
            if self._completeness is not None and store is self._log.store:
                self._completeness.require_sound()
        except LogCorrupt as error:
            exact = self._first_misfit(store, error.first_bad_index)
            found = error.first_bad_index if exact is None else exact
            raise LogTampered(str(error), first_bad_index=found) from error
        except (InvalidSignature, LedgerError) as error:
            if isinstance(error, LogUnavailable):
                raise
            raise LogTampered(str(error), first_bad_index=None) from error
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
        found = head_event.read(event, self._log.origin) if twin is None else None
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
