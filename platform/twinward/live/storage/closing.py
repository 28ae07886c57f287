"""Windows that are over: their rows made into one for each signal, and told to the log, device by device.

Nothing leaves the vault: what is opened on the way is sealed again, so that no permit opens it (as in compaction of
records); the log's event is a decision of access control all the same, and without it nothing is closed. It says how
many readings a device wrote to the twin in the window, and the root of an RFC 6962 tree over them:

    leaf = signal ‖ 0x00 ‖ seq u64 ‖ time_ms i64 ‖ value IEEE 754 double ‖ quality u8      (big-endian, by time and seq)

so that whoever holds the readings can prove that the log told of all of them. The event comes first: killed in between,
a window is told twice, with the same root. What comes late opens a window again; it is told again when it is closed.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from twinward.access.interfaces import NODE, AccessRequest
from twinward.core.clock import iso
from twinward.core.errors import NotFound
from twinward.core.vocabulary import Action, Category, Purpose, TwinId
from twinward.live.models import Sample
from twinward.live.parts import LiveParts
from twinward.live.signals import BY_NAME
from twinward.live.storage import columns
from twinward.live.storage.series import WINDOW_MS, Run, Sealed, SeriesSealer
from twinward.vault.errors import CategoryShredded, RecordDamaged
from twinward.vault.keys.twin_keys import TwinKeys
from twinward_ledger import merkle

GRACE_MS: Final = 10 * 60_000
"""How long after its end a window waits for what is late."""
_AT_ONCE: Final = 200
_LEAF: Final = struct.Struct(">QqdB")


@dataclass(frozen=True, slots=True)
class Told:
    """What one device wrote to one twin in one window."""

    device: str
    source: str
    account: str
    readings: int
    root: bytes
    categories: frozenset[Category]


@dataclass(frozen=True, slots=True)
class ClosedReport:
    """What a run did."""

    windows: int = 0
    samples: int = 0
    rows_before: int = 0
    rows_after: int = 0


class Closing:
    """Closes windows. Safe beside writers and readers in any process."""

    def __init__(self, parts: LiveParts) -> None:
        self._parts = parts
        self._sealer = SeriesSealer()

    def run(self, *, now: bool = False, going_on: Callable[[], bool] = lambda: True) -> ClosedReport:
        """Close what is over by ten minutes, or (``now``) whatever has begun; what consent forbids is left as it is.

        Raises:
            RecordDamaged: a row does not open in its place; every other window was closed.
            Unavailable: the database or the log does not answer; what was closed before stays closed.
        """
        before_ms = self._parts.clock.now_ms() + 1 if now else self._parts.clock.now_ms() - WINDOW_MS - GRACE_MS
        report, passed = ClosedReport(), set[tuple[TwinId, int]]()
        damaged: RecordDamaged | None = None
        while going_on():
            with self._parts.database.reading() as tables:
                found = tables.series.open_windows(before_ms, _AT_ONCE + len(passed))
            due = [one for one in found if one not in passed]
            if not due:
                break
            for twin, window_ms in due:
                passed.add((twin, window_ms))
                try:
                    report = _and(report, self._close(twin, window_ms))
                except RecordDamaged as error:
                    damaged = error
        if damaged is not None:
            raise damaged
        return report

    def tie_held(self) -> int:
        """Tie what is in quarantine to patients who became known since it came: it is erased with them. How many."""
        with self._parts.database.writing() as tables:
            held = tables.quarantine.untied()
            subjects = self._parts.subjects({one.reading.subject for one in held if one.reading}) if held else {}
            known = [
                (one, subjects[one.reading.subject]) for one in held if one.reading and one.reading.subject in subjects
            ]
            for one, twin in known:
                tables.quarantine.tie(one, twin)
        return len(known)

    def forget_shredded(self) -> int:
        """Delete rows whose keys are gone: how many twins had any.

        What rules remember and alerts quote is of every category, and what is in quarantine is under no key of the
        twin's: both go with the first category that goes. That somebody was merged into them goes with the twin.
        """
        forgotten = 0
        with self._parts.database.writing() as tables:
            held = tables.quarantine.by_twin()
            for twin in {*tables.series.twins(), *tables.alerts.twins(), *tables.alerts.monitored(), *held}:
                try:
                    keys = self._parts.keyring.keys(twin)
                except NotFound:
                    tags = None
                    forgotten += 1
                else:
                    tags = {keys.category_tag(one) for one in Category}
                if tables.series.remove_of(twin, tags) or tags is None:
                    tables.alerts.remove_of(twin)
                    tables.quarantine.remove(held.get(twin, []))
                tables.alerts.remove_of(twin, tags)
            tables.messages.forget_mergers(self._is_gone)
        self._parts.database.forget_deleted()
        return forgotten

    def _is_gone(self, twin: TwinId) -> bool:
        try:
            self._parts.keyring.keys(twin)
        except NotFound:
            return True
        return False

    def _close(self, twin: TwinId, window_ms: int) -> ClosedReport:
        try:
            keys = self._parts.keyring.keys(twin)
        except NotFound:
            return ClosedReport()  # shredded: the erasure deletes its rows
        with self._parts.database.writing() as tables:
            rows = tables.series.of_window(twin, window_ms)
            runs, opened = self._opened(keys, rows)
            if not runs or not self._told(twin, window_ms, runs):
                return ClosedReport()
            made = self._sealed(keys, window_ms, runs)
            tables.series.remove([row.id for row in opened])
            tables.series.add(made)
        return ClosedReport(1, sum(map(len, runs.values())), len(opened), len(made))

    def _opened(
        self, keys: TwinKeys, rows: Sequence[Sealed]
    ) -> tuple[dict[tuple[str, str, str, str], list[Sample]], list[Sealed]]:
        """Every sample of a window by signal, device, account and source; and the rows that were opened for it."""
        samples: dict[tuple[str, str, str, str], list[Sample]] = defaultdict(list)
        opened = []
        for row in rows:
            try:
                runs = self._sealer.open(keys, row)
            except CategoryShredded:
                continue
            opened.append(row)
            for run in runs:
                samples[run.signal, run.device, run.account, run.source] += run.columns().samples()
        return {key: sorted(some) for key, some in samples.items()}, opened

    def _sealed(
        self, keys: TwinKeys, window_ms: int, runs: dict[tuple[str, str, str, str], list[Sample]]
    ) -> list[Sealed]:
        by_signal: dict[str, list[Run]] = defaultdict(list)
        for key in sorted(runs):
            by_signal[key[0]].append(Run(*key, columns.encode(runs[key])))
        at_ms = self._parts.clock.now_ms()
        return [
            self._sealer.seal_closed(keys, BY_NAME[signal].category, window_ms, signal, some, at_ms)
            for signal, some in by_signal.items()
        ]

    def _told(self, twin: TwinId, window_ms: int, runs: dict[tuple[str, str, str, str], list[Sample]]) -> bool:
        """Whether the log was told of all of it. A no that stands is not told again at each look."""
        requests = [
            AccessRequest(
                NODE,
                Action.WRITE,
                Purpose.RECORD_MANAGEMENT,
                twin,
                one.categories,
                detail=(
                    ("live", "window"),
                    ("window", iso(window_ms)),
                    ("device", one.device or "none"),
                    ("source", one.source),
                    ("account", one.account),
                    ("samples", str(one.readings)),
                    ("root", one.root.hex()),
                ),
            )
            for one in told_of(runs)
        ]
        if not self._parts.access.may(*requests):
            return False
        return all(one is not None for one in self._parts.access.decide_many(requests))


def told_of(runs: dict[tuple[str, str, str, str], list[Sample]]) -> list[Told]:
    """What the log is told of a window's samples, by device and source."""
    grouped: dict[tuple[str, str, str], list[tuple[str, list[Sample]]]] = defaultdict(list)
    for (signal, device, account, source), samples in sorted(runs.items()):
        grouped[device, account, source].append((signal, samples))
    told = []
    for (device, account, source), parts in grouped.items():
        categories = frozenset(BY_NAME[signal].category for signal, _ in parts)
        count = sum(len(samples) for _, samples in parts)
        told.append(Told(device, source, account, count, root_of(parts), categories))
    return told


def root_of(parts: Sequence[tuple[str, Sequence[Sample]]]) -> bytes:
    """The root over samples, signal by signal in the order of their names, each by time and number."""
    leaves = [
        merkle.leaf_hash(signal.encode() + b"\x00" + _LEAF.pack(one.seq, one.time_ms, one.value, one.quality))
        for signal, samples in sorted(parts)
        for one in sorted(samples)
    ]
    return merkle.root(leaves)


def _and(one: ClosedReport, other: ClosedReport) -> ClosedReport:
    return ClosedReport(
        one.windows + other.windows,
        one.samples + other.samples,
        one.rows_before + other.rows_before,
        one.rows_after + other.rows_after,
    )
