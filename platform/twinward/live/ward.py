"""Patients as a ward watches them: everybody with a device, and one of them over time."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from twinward.access.interfaces import AccessContext, Permit, categories_in
from twinward.core.errors import NotFound, StoreAltered
from twinward.core.vocabulary import Action, Category, TwinId
from twinward.live.alerts.models import Alert
from twinward.live.alerts.monitor import Measurement, ModelScore
from twinward.live.alerts.scores import Score, news2
from twinward.live.assignments import Assignment
from twinward.live.parts import LiveParts
from twinward.live.signals import BY_NAME, LIVE_CATEGORIES, SIGNALS, Signal
from twinward.live.storage.alerts import EVERY
from twinward.live.storage.database import Tables
from twinward.live.storage.reader import SeriesReader
from twinward.live.timeseries import Samples, joined
from twinward.live.watching import Leave
from twinward.vault.errors import RecordDamaged

MOST_PATIENTS: Final = 60
"""On one ward's page."""
VALID_MS: Final = 240 * 60_000
"""How old a value may be that a score is made of: as the shipped rules have it."""
_GRAVITY: Final = {"emergency": 0, "urgent": 1, "notice": 2}


def _grave(alert: Alert) -> tuple[int, int]:
    return _GRAVITY[alert.severity], alert.raised_ms


_CONDITIONS: Final = Category.CONDITIONS


def _asked(tables: Tables, more: Collection[Category]) -> frozenset[Category]:
    """What a page asks for: medication as well where somebody is reminded of it, conditions where a model scores by
    them."""
    doses = {Category.MEDICATIONS} if tables.remindings.find() is not None else set()
    return LIVE_CATEGORIES | set(more) | doses | ({_CONDITIONS} if _scores_by_conditions(tables) else set())


def _scores_by_conditions(tables: Tables) -> bool:
    """In doubt they are asked for: what somebody altered keeps no ward from view."""
    try:
        return any(one.of_conditions for one in tables.scorings.all())
    except StoreAltered:
        return True


def _alerts_of(permits: Sequence[Permit]) -> tuple[Category, ...]:
    """Alerts of which categories may be shown: none to who may not see all that rules look at."""
    if not any(one.request.categories >= LIVE_CATEGORIES for one in permits):
        return ()
    covered = categories_in([one.request for one in permits])
    return tuple(one for one in EVERY if one is Category.MONITORING or one in covered)


@dataclass(frozen=True, slots=True)
class Watched:
    """One patient as they are now, as far as the watcher may see.

    Attributes:
        devices: that are with the patient.
        permits: leave to see this, and what else was asked for.
        newest: the last measurement of each signal, artefacts aside.
        score: NEWS2 of those of the last four hours; None where there is none.
        alerts: those that wait; None where the watcher may not see all that they are about.
        models: by study, what its model said last; nothing where alerts are None, and of one that scores by disease
            group nothing where the watcher may not see conditions.
        damaged: what a monitor remembers of the patient does not open.
    """

    twin: TwinId
    devices: tuple[str, ...]
    permits: tuple[Permit, ...]
    newest: Mapping[str, Measurement]
    score: Score | None
    alerts: tuple[Alert, ...] | None
    damaged: bool = False
    models: Mapping[str, ModelScore] = field(default_factory=dict)

    @property
    def withheld(self) -> tuple[Signal, ...]:
        """Signals that the watcher may not see."""
        covered = categories_in([one.request for one in self.permits])
        return tuple(one for one in SIGNALS if one.category not in covered)

    @property
    def last_ms(self) -> int | None:
        """When anything was measured last."""
        return max((one.time_ms for one in self.newest.values()), default=None)

    def order(self) -> tuple[object, ...]:
        """The gravest alert first, then the highest score, then by device."""
        waiting = [one for one in self.alerts or () if one.acknowledged_ms is None]
        gravest = min((_GRAVITY[one.severity] - (one.escalated_ms is not None) for one in waiting), default=9)
        return gravest, -(self.score.total if self.score else 0), self.devices, self.twin


@dataclass(frozen=True, slots=True)
class Ward:
    """A ward. ``hidden``: patients of whom the watcher may see nothing; ``left``: who found no room."""

    patients: tuple[Watched, ...]
    hidden: int
    left: int


@dataclass(frozen=True, slots=True)
class History:
    """One patient over a span: samples by signal, every device with its times, and all alerts."""

    now: Watched
    samples: Mapping[str, Samples]
    devices: Sequence[tuple[str, Assignment]]
    alerts: Sequence[Alert] | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Alerts that wait, and by which permits they are shown. ``damaged``: patients whose alerts do not open."""

    alerts: Sequence[Alert]
    permits: Mapping[TwinId, Sequence[Permit]]
    damaged: int


class WardDesk:
    """What a ward watches. Every patient that is shown is an access: decided, and logged once for ten minutes."""

    def __init__(self, parts: LiveParts, reader: SeriesReader) -> None:
        self._parts = parts
        self._reader = reader
        self._leave = Leave(parts.access, parts.verifier)

    def patients(self, context: AccessContext, more: Collection[Category] = (), *, begins: str = "") -> Ward:
        """Everybody with a device whose name begins so, the gravest first.

        Args:
            more: categories that are asked for besides, the patients' names say; see ``Watched.permits``.
        """
        self._parts.access.require(context.request(Action.READ))
        with self._parts.database.reading() as tables:
            devices = self._devices(tables, begins)
            asked = _asked(tables, more)
        twins = [one for one in devices if not self._parts.keyring.is_shredded(one)]
        shown = self._leave.of_many(context, "ward", twins[:MOST_PATIENTS], asked)
        with self._parts.database.reading() as tables:
            found = [self._watched(tables, twin, devices[twin], permits) for twin, permits in shown.items()]
        patients = sorted((one for one in found if one is not None), key=Watched.order)
        return Ward(tuple(patients), len(twins[:MOST_PATIENTS]) - len(patients), len(twins[MOST_PATIENTS:]))

    def with_devices(self) -> list[TwinId]:
        """Everybody with a device: for other rooms, which ask access control themselves."""
        with self._parts.database.reading() as tables:
            return list(self._devices(tables, ""))

    def of(self, context: AccessContext, twins: Collection[TwinId]) -> Mapping[TwinId, Watched]:
        """These patients as they are now, as far as the watcher may see; the others are missing."""
        kept = [one for one in twins if not self._parts.keyring.is_shredded(one)]
        shown = self._leave.of_many(context, "ward", kept, LIVE_CATEGORIES)
        with self._parts.database.reading() as tables:
            found = {twin: self._watched(tables, twin, (), permits) for twin, permits in shown.items()}
        return {twin: one for twin, one in found.items() if one is not None}

    def patient(
        self, context: AccessContext, twin: TwinId, from_ms: int, to_ms: int, more: Collection[Category] = ()
    ) -> History:
        """One patient over a span. Raises ``AccessDenied``, ``TwinNotFound``, ``RecordDamaged``."""
        with self._parts.database.reading() as tables:
            asked = _asked(tables, more)
        permits = self._leave.of_one(context, "patient", twin, asked)
        with self._parts.database.reading() as tables:
            lines = [(one.device, each) for one in tables.devices.all() for each in one.line.assignments]
            devices = [(name, one) for name, one in lines if one.twin == twin]
            with_them = tuple(name for name, one in devices if one.until_ms is None)
            now = self._watched(tables, twin, with_them, permits)
            if now is None:
                raise NotFound("there is no such twin")
            shown = _alerts_of(permits)
            every = tables.alerts.of(self._parts.keyring.keys(twin), shown) if shown else None
        samples = {}
        for permit in permits:
            for name, runs in self._reader.read_every(permit, from_ms, to_ms).items():
                if name in BY_NAME:
                    samples[name] = joined(runs, from_ms, to_ms)
        return History(now, samples, sorted(devices, key=lambda one: -one[1].from_ms), every)

    def alerts(self, context: AccessContext, more: Collection[Category] = ()) -> Waiting:
        """Alerts of all patients whose alerts the watcher may see, the gravest and oldest first."""
        self._parts.access.require(context.request(Action.READ))
        with self._parts.database.reading() as tables:
            twins = [one for one in tables.alerts.twins() if not self._parts.keyring.is_shredded(one)]
            waiting = [one for one in twins if self._has_waiting(tables, one)]
            asked = _asked(tables, more)
        shown = self._leave.of_many(context, "alerts", waiting, asked)
        found: list[Alert] = []
        damaged = 0
        with self._parts.database.reading() as tables:
            for twin, permits in shown.items():
                try:
                    some, broken = tables.alerts.sound(self._parts.keyring.keys(twin), _alerts_of(permits))
                except NotFound:
                    continue
                found += [one for one in some if not one.is_done]
                damaged += bool(broken)  # what was altered of one patient keeps no other from being looked at
        return Waiting(sorted(found, key=_grave), shown, damaged)

    def _has_waiting(self, tables: Tables, twin: TwinId) -> bool:
        """Whether there is anything to show of a twin: nobody is told of who has nothing. Hands nothing out."""
        try:
            return any(not one.is_done for one in tables.alerts.of(self._parts.keyring.keys(twin)))
        except NotFound:
            return False
        except RecordDamaged:
            return True

    def _devices(self, tables: Tables, begins: str) -> dict[TwinId, tuple[str, ...]]:
        """Who has devices, by the first of them."""
        found: dict[TwinId, tuple[str, ...]] = {}
        for one in tables.devices.all():
            if one.line.current is not None and one.device.startswith(begins):
                found[one.line.current.twin] = (*found.get(one.line.current.twin, ()), one.device)
        return found

    def _watched(
        self, tables: Tables, twin: TwinId, devices: tuple[str, ...], permits: Sequence[Permit]
    ) -> Watched | None:
        """A patient as far as permits reach; None for one who is erased."""
        covered = categories_in([one.request for one in permits])
        whole = bool(_alerts_of(permits))
        try:
            keys = self._parts.keyring.keys(twin)
            state = tables.alerts.monitor(keys)
            every = tables.alerts.of(keys, _alerts_of(permits)) if whole else ()
            alerts = tuple(sorted((one for one in every if not one.is_done), key=_grave)) if whole else None
        except NotFound:
            return None
        except RecordDamaged:
            return Watched(twin, devices, tuple(permits), {}, None, None, damaged=True)
        newest = {
            name: Measurement(time_ms, name, value)
            for name, (time_ms, value) in state.newest.items()
            if name in BY_NAME and BY_NAME[name].category in covered
        }
        shown = {name: one for name, one in state.scored.items() if not one.of_conditions or _CONDITIONS in covered}
        models = dict(sorted(shown.items())) if whole else {}
        return Watched(twin, devices, tuple(permits), newest, self._score(newest), alerts, models=models)

    def _score(self, newest: Mapping[str, Measurement]) -> Score | None:
        oldest_ms = self._parts.clock.now_ms() - VALID_MS
        valid = {name: one.value for name, one in newest.items() if one.time_ms >= oldest_ms}
        return news2(valid) if any(BY_NAME[name].category is Category.VITALS for name in valid) else None
