"""Alerts as clinicians handle them: seen, acknowledged, silenced with a reason; and rules tried on history."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from twinward.access.errors import AccessDenied
from twinward.access.interfaces import AccessContext
from twinward.access.justification import is_sufficient
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Action, Category, TwinId
from twinward.live.alerts.models import Alert
from twinward.live.alerts.monitor import Change, Measurement, Monitor, MonitorState
from twinward.live.alerts.rules import Rules
from twinward.live.errors import AlertNotFound
from twinward.live.parts import LiveParts
from twinward.live.signals import LIVE_CATEGORIES, SIGNALS
from twinward.live.storage.reader import SeriesReader
from twinward.live.timeseries import joined


class LookedAt(NamedTuple):
    """Alerts that wait, and the ids of those that do not open: somebody altered them."""

    alerts: list[Alert]
    damaged: list[str]


class AlertDesk:
    """What clinicians do with alerts. Every look and every step is an access, decided and logged."""

    def __init__(self, parts: LiveParts, reader: SeriesReader) -> None:
        self._parts = parts
        self._reader = reader

    def of(self, context: AccessContext, twin: TwinId, *, all_of_them: bool = False) -> list[Alert]:
        """A patient's alerts that somebody has to look at, or all. Raises ``AccessDenied``, ``TwinNotFound``.

        An alert says what was measured: it is shown to who may see vitals, laboratory values and monitoring; one of a
        dose to who may see medications besides. Those that do not open are left out: ``everywhere`` counts them.
        """
        return self._of(context, twin, all_of_them=all_of_them)[0]

    def everywhere(self, context: AccessContext) -> list[Alert]:
        """Alerts of all patients whose alerts the caller may see, the gravest and oldest first."""
        return self.looked_at(context).alerts

    def looked_at(self, context: AccessContext, twin: TwinId | None = None) -> LookedAt:
        """The same, of one patient or all, with the ids of alerts that were altered: they keep no other from view."""
        self._parts.access.require(context.request(Action.READ))
        if twin is not None:
            return LookedAt(*self._of(context, twin, all_of_them=False))
        with self._parts.database.reading() as tables:
            twins = tables.alerts.twins()
        found: list[Alert] = []
        damaged: list[str] = []
        for one in twins:
            if not self._parts.keyring.is_shredded(one):
                with suppress(AccessDenied):
                    some, broken = self._of(context, one, all_of_them=False)
                    found += some
                    damaged += broken
        order = {"emergency": 0, "urgent": 1, "notice": 2}
        return LookedAt(sorted(found, key=lambda one: (order[one.severity], one.raised_ms)), damaged)

    def acknowledge(self, context: AccessContext, alert: str) -> Alert:
        """Say that it was seen. Raises ``AccessDenied``, ``AlertNotFound``, ``AlertConflict``.

        Whoever may not see a patient's alerts handles none of them: a sender that only writes silences nothing.
        """
        by, now_ms = context.principal.id, self._parts.clock.now_ms()
        return self._changed(context, alert, "alert-acknowledged", lambda one: one.acknowledged(by, now_ms))

    def silence(self, context: AccessContext, alert: str, minutes: int, reason: str) -> Alert:
        """Have it told to nobody for a while. Raises as ``acknowledge``; ``BadInput``: the reason says nothing."""
        if not is_sufficient(reason):
            raise BadInput("say in a sentence why it is silenced")
        by, now_ms = context.principal.id, self._parts.clock.now_ms()
        until_ms = now_ms + minutes * 60_000
        return self._changed(context, alert, "alert-silenced", lambda one: one.silenced(by, until_ms, now_ms, reason))

    def back_test(self, context: AccessContext, twin: TwinId, rules: Rules, from_ms: int, to_ms: int) -> list[Change]:
        """What rules would have said over a patient's history: nothing is raised. Raises as ``of``."""
        detail = (("live", "back-test"), ("rules", rules.version))
        permit = self._parts.access.decide(context.request(Action.READ, twin, LIVE_CATEGORIES, detail=detail))
        measured: list[Measurement] = []
        for signal in SIGNALS:
            found = joined(self._reader.read(permit, signal, from_ms, to_ms), from_ms, to_ms)
            good = found.qualities < 2
            pairs = zip(found.times[good].tolist(), found.values[good].tolist(), strict=True)
            measured += [Measurement(time_ms, signal.name, value) for time_ms, value in pairs]
        monitor, changes = Monitor(rules, MonitorState()), list[Change]()
        for time_ms, moment in groupby(sorted(measured), attrgetter("time_ms")):
            changes += monitor.look(time_ms)
            changes += monitor.follow(moment)
        return changes

    def _of(self, context: AccessContext, twin: TwinId, *, all_of_them: bool) -> tuple[list[Alert], list[str]]:
        """Alerts that the caller may see, and the ids of those that do not open."""
        seen = (("live", "alerts"),)
        self._parts.access.decide(context.request(Action.READ, twin, LIVE_CATEGORIES, detail=seen))
        keys, kinds = self._parts.keyring.keys(twin), [Category.MONITORING]
        with self._parts.database.reading() as tables:
            of_doses = tables.alerts.sound(keys, (Category.MEDICATIONS,))
        if any(of_doses):
            with suppress(AccessDenied):
                self._parts.access.decide(context.request(Action.READ, twin, {Category.MEDICATIONS}, detail=seen))
                kinds.append(Category.MEDICATIONS)
        with self._parts.database.reading() as tables:
            found, damaged = tables.alerts.sound(keys, kinds)
        return [one for one in found if all_of_them or not one.is_done], damaged

    def _changed(self, context: AccessContext, name: str, what: str, change: Callable[[Alert], Alert]) -> Alert:
        self._parts.access.require(context.request(Action.WRITE))
        with self._parts.database.reading() as tables:
            twin = tables.alerts.twin_of(name)
        if twin is None:
            raise AlertNotFound("there is no such alert")
        detail, keys = (("live", what), ("alert", name)), self._parts.keyring.keys(twin)
        with self._parts.database.reading() as tables:
            category = tables.alerts.category_of(keys, name) or Category.MONITORING
        seen = LIVE_CATEGORIES if category is Category.MONITORING else LIVE_CATEGORIES | {category}
        self._parts.access.decide(context.request(Action.READ, twin, seen, detail=(("live", "alerts"),)))
        request = context.request(Action.WRITE, twin, {category}, detail=detail)
        self._parts.access.require(request)
        with self._parts.database.writing() as tables:
            found = next((one for one in tables.alerts.sound(keys)[0] if one.id == name), None)
            if found is None:
                raise AlertNotFound("there is no such alert")
            changed = change(found)
            self._parts.access.decide(request)
            tables.alerts.put(keys, changed)
        return changed
