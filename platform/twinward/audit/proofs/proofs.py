"""What the trail proves to others: one event, all of a patient's accesses, that the log only grew."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Final

from twinward.audit.errors import NoSuchEvent, ledger_translated
from twinward.audit.events.sealer import ACCESS, EventSealer
from twinward.audit.proofs.completeness import Completeness
from twinward.core.sentences import sentence
from twinward.core.vocabulary import TwinId
from twinward_crypto.canonical import canonicalize
from twinward_ledger import merkle
from twinward_ledger.formats.anchor_record import AnchorRecord
from twinward_ledger.log.log import Log
from twinward_ledger.log.store import Entry
from twinward_ledger.proofs.access_report import AccessReport, LoggedLeaf, ReportRow
from twinward_ledger.proofs.bundle import ProofBundle
from twinward_ledger.stores.anchor_journal import AnchorJournal

CONSISTENCY_FORMAT: Final = "twinward/consistency/1"


class Proofs:
    """Proofs out of one log.

    Args:
        log: the log.
        anchors: what of it is on the chain.
        sealer: opens the rows of a report.
        completeness: the map that proves that no row was left out; None proves no report.
    """

    def __init__(
        self, log: Log, anchors: AnchorJournal, sealer: EventSealer, completeness: Completeness | None
    ) -> None:
        self._log = log
        self._anchors = anchors
        self._sealer = sealer
        self._completeness = completeness

    def inclusion(self, index: int) -> ProofBundle:
        """Everything that proves one event is in the log, without showing what it says.

        The checkpoint is the first anchored one that covers it; failing that, the newest one signed.

        Raises:
            NoSuchEvent: there is no such entry, or no checkpoint covers it yet.
        """
        with ledger_translated():
            leaf = self._log.store.entry(index).leaf
            size, note, anchor = self._covering(index)
            path = tuple(self._log.prove_inclusion(index, size))
            return ProofBundle(index, leaf, path, note, anchor).sealed(self._log.seal)

    def report(self, twin: TwinId, told: Callable[[int, int], None] = lambda _done, _rows: None) -> AccessReport:
        """All of a patient's accesses with the proof that none was left out. For ``AuditReader`` only: it opens them.

        It is complete up to the newest completeness map; what was logged since comes with the next checkpoint. ``told``
        hears after each row how many of how many are opened and proven.

        Raises:
            NoSuchEvent: no completeness map is logged, or no checkpoint covers it yet.
        """
        if self._completeness is None:
            raise NoSuchEvent("this log keeps no completeness map")
        with ledger_translated():
            found = self._completeness.prove(twin)
            index, head = found.logged.index, found.logged.head
            size, note, anchor = self._covering(index)
            prove = self._log.prover(size)
            logged = self._rows_of(twin, head.through)
            rows = []
            for (row, entry), (_, opening) in zip(logged, self._sealer.open_all(logged), strict=True):
                rows.append(ReportRow(LoggedLeaf(row, entry.leaf, tuple(prove(row))), opening))
                told(len(rows), len(logged))
            return AccessReport(
                origin=self._log.origin,
                subject=twin,
                label_key=found.label_key,
                head=head.encode(),
                head_place=LoggedLeaf(index, self._log.store.entry(index).leaf, tuple(prove(index))),
                proof=found.proof,
                rows=tuple(rows),
                note=note,
                anchor=anchor,
            ).sealed(self._log.seal)

    def consistency(self, old: int, new: int) -> list[bytes]:
        """The proof that the tree of ``new`` entries continues the one of ``old``: for an auditor who saw that one.

        Raises:
            NoSuchEvent: the log is not that large.
        """
        with ledger_translated():
            return self._log.prove_consistency(old, new)

    def consistency_file(self, old: int, new: int) -> bytes:
        """The same as RFC 8785 JSON that ``twinward-verify --consistency`` reads. Raises as ``consistency``."""
        path = [base64.b64encode(node).decode() for node in self.consistency(old, new)]
        said = {
            "format": CONSISTENCY_FORMAT,
            "origin": self._log.origin,
            "old": str(old),
            "new": str(new),
            "path": path,
        }
        return canonicalize(said)

    def _covering(self, index: int) -> tuple[int, bytes, AnchorRecord | None]:
        """The first anchored checkpoint that covers an entry; failing that, the newest one signed."""
        anchored = self._anchors.covering(index)
        if anchored:
            return anchored[1].statement.size, *anchored
        latest = self._log.latest()
        if not latest or latest[0].size <= index:
            raise NoSuchEvent(
                sentence("event {index} is not under a checkpoint yet", index=index),
                hint="make a checkpoint, then ask again",
            )
        return latest[0].size, latest[1].encode(), None

    def _rows_of(self, twin: TwinId, through: int) -> list[tuple[int, Entry]]:
        """The entries of a patient's sub-log, in the order of the log."""
        store = self._log.store
        indices = store.find(self._sealer.tag("twin", twin), before=through, limit=merkle.MAX_SIZE)[::-1]
        numbered = zip(indices, store.picked(indices), strict=True)
        return [(index, entry) for index, entry in numbered if entry.leaf[1:2] == ACCESS]
