"""Series opened against a permit. Order of checks: the permit, its twin, its category; only then an envelope."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Final

from twinward.access.interfaces import Permit, PermitVerifier
from twinward.core.vocabulary import Category, TwinId
from twinward.live.signals import LIVE_CATEGORIES, Signal
from twinward.live.storage.columns import Columns
from twinward.live.storage.database import LiveDatabase
from twinward.live.storage.series import Run, SeriesSealer, window_of
from twinward.vault.errors import PermitDoesNotOpen
from twinward.vault.keys.keyring import Keyring
from twinward.vault.service import OPENING_ACTIONS

_FOREVER_MS: Final = 1 << 50


class SeriesReader:
    """Opens what a permit covers."""

    def __init__(self, database: LiveDatabase, keyring: Keyring, verifier: PermitVerifier) -> None:
        self._database = database
        self._keyring = keyring
        self._verifier = verifier
        self._sealer = SeriesSealer()

    def read(
        self, permit: Permit, signal: Signal, from_ms: int, to_ms: int, *, enough: int | None = None
    ) -> list[Columns]:
        """Runs in which samples of a span are: all, or the first hours of it that have more than ``enough`` of them.

        Raises as ``newest``.
        """
        twin = self._twin_of(permit, signal.category)
        runs: list[Columns] = []
        found, last_ms = 0, -1
        opened = self._opened(twin, signal, from_ms, max(from_ms, to_ms - 1), newest_first=False)
        for window_ms, run in opened:
            if enough is not None and found > enough and window_ms != last_ms:
                break  # windows come oldest first: what follows is later
            last_ms = window_ms
            runs.append(run)
            found += int(((run.times >= from_ms) & (run.times < to_ms)).sum())
        return runs

    def read_on(
        self, permit: Permit, signal: Signal, after_ms: int, known: dict[str, int], *, enough: int
    ) -> list[Columns]:
        """Runs that may hold samples behind a moment, as ``read``; rows that were opened before and hold none are not.

        Args:
            known: what is remembered between calls: a row's id, and up to when its samples of this signal are. A row
                never changes: what becomes of an hour that is closed are other rows.
        """
        twin = self._twin_of(permit, signal.category)
        keys = self._keyring.keys(twin)
        tag, signal_tag = (
            keys.category_tag(signal.category),
            self._sealer.signal_tag(keys, signal.category, signal.name),
        )
        runs: list[Columns] = []
        found, last_ms = 0, -1
        with self._database.reading() as tables:
            ids = tables.series.ids_of(twin, tag, signal_tag, after_ms + 1)
            for gone in known.keys() - set(ids):
                del known[gone]
            for row in tables.series.by_ids([one for one in ids if known.get(one, _FOREVER_MS) > after_ms]):
                if found > enough and row.window_ms != last_ms:
                    break
                last_ms = row.window_ms
                some = [run.columns() for run in self._sealer.open(keys, row) if run.signal == signal.name]
                known[row.id] = max((int(run.times.max()) for run in some), default=0)
                runs += some
                found += sum(int((run.times > after_ms).sum()) for run in some)
        return runs

    def newest(self, permit: Permit, signal: Signal, at_ms: int) -> tuple[int, float, int] | None:
        """The last sample measured up to a moment: time, value, quality; None where there is none.

        Raises:
            Refused: the permit does not cover it.
            TwinNotFound, TwinShredded: no such twin.
            RecordDamaged: a row does not open in its place.
        """
        twin = self._twin_of(permit, signal.category)
        best: tuple[int, float, int] | None = None
        for window_ms, run in self._opened(twin, signal, 0, at_ms, newest_first=True):
            if best is not None and window_ms < window_of(best[0]):
                break  # windows come newest first
            within = (run.times <= at_ms).nonzero()[0]
            if not len(within):
                continue
            last = within[run.times[within].argmax()]
            found = int(run.times[last]), float(run.values[last]), int(run.qualities[last])
            best = found if best is None or found[0] > best[0] else best
        return best

    def read_every(self, permit: Permit, from_ms: int, to_ms: int) -> dict[str, list[Columns]]:
        """By signal, runs in which samples of a span are, of every signal that a permit covers.

        Each row is opened once, however many signals a batch brought. Raises as ``newest``.
        """
        found: dict[str, list[Columns]] = {}
        for category in sorted(permit.request.categories & LIVE_CATEGORIES):
            keys = self._keyring.keys(self._twin_of(permit, category))
            with self._database.reading() as tables:
                tag, last_ms = keys.category_tag(category), max(from_ms, to_ms - 1)
                for row in tables.series.of(keys.twin, tag, None, first_ms=from_ms, last_ms=last_ms):
                    for run in self._sealer.open(keys, row):
                        found.setdefault(run.signal, []).append(run.columns())
        return found

    def windows(
        self,
        permit: Permit,
        category: Category,
        *,
        first_ms: int = 0,
        last_ms: int = _FOREVER_MS,
        newest_first: bool = False,
    ) -> Iterator[list[Run]]:
        """All runs of a category, hour by hour, of the hours that hold these moments. Raises as ``newest``."""
        keys = self._keyring.keys(self._twin_of(permit, category))
        with self._database.reading() as tables:
            tag = keys.category_tag(category)
            rows = tables.series.of(keys.twin, tag, None, first_ms=first_ms, last_ms=last_ms, newest_first=newest_first)
            for _, hour in groupby(rows, key=lambda row: row.window_ms):
                yield [run for row in hour for run in self._sealer.open(keys, row)]

    def next_hour(
        self, permit: Permit, category: Category, after_ms: int, since_ms: int
    ) -> tuple[int, list[Run]] | None:
        """The first hour behind a moment of which anything was stored since another: when it begins, and all its runs.

        None where there is none. Raises as ``newest``.
        """
        keys = self._keyring.keys(self._twin_of(permit, category))
        with self._database.reading() as tables:
            tag = keys.category_tag(category)
            window_ms = tables.series.next_window(keys.twin, tag, after_ms, since_ms)
            if window_ms is None:
                return None
            rows = tables.series.of(keys.twin, tag, None, first_ms=window_ms, last_ms=window_ms)
            return window_ms, [run for row in rows for run in self._sealer.open(keys, row)]

    def newest_row(self, twin: TwinId) -> str:
        """Which row of a twin was stored last: another one once something was. Opens nothing."""
        with self._database.reading() as tables:
            return tables.series.stored_mark(twin)

    def _opened(
        self, twin: TwinId, signal: Signal, first_ms: int, last_ms: int, *, newest_first: bool
    ) -> Iterator[tuple[int, Columns]]:
        keys = self._keyring.keys(twin)
        with self._database.reading() as tables:
            rows = tables.series.of(
                twin,
                keys.category_tag(signal.category),
                self._sealer.signal_tag(keys, signal.category, signal.name),
                first_ms=first_ms,
                last_ms=last_ms,
                newest_first=newest_first,
            )
            for row in rows:
                for run in self._sealer.open(keys, row):
                    if run.signal == signal.name:
                        yield row.window_ms, run.columns()

    def _twin_of(self, permit: Permit, category: Category) -> TwinId:
        action, twin = permit.request.action, permit.request.twin
        if action not in OPENING_ACTIONS or twin is None:
            raise PermitDoesNotOpen(f"a permit to {action.value} opens no series", hint="ask for a permit to read")
        self._verifier.require(permit, action=action, twin=twin, category=category)
        return twin
