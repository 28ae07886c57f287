"""Alerts as clinicians handle them: seen, acknowledged, silenced with a reason; and rules tried on history."""

from __future__ import annotations

from collections.abc import Callable

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


class AlertDesk:
    """What clinicians do with alerts. Every look and every step is an access, decided and logged."""

    def __init__(self, parts: LiveParts, reader: SeriesReader) -> None:
        self._parts = parts
        self._reader = reader

    def of(self, context: AccessContext, twin: TwinId, *, all_of_them: bool = False) -> list[Alert]:
        """A patient's alerts that somebody has to look at, or all. Raises ``AccessDenied``, ``TwinNotFound``.

        An alert says what was measured: it is shown to who may see vitals, laboratory values and monitoring.
        """
        self._parts.access.decide(context.request(Action.READ, twin, LIVE_CATEGORIES, detail=(("live", "alerts"),)))
        with self._parts.database.reading() as tables:
            found = tables.alerts.of(self._parts.keyring.keys(twin))
        return [one for one in found if all_of_them or not one.is_done]

    def everywhere(self, context: AccessContext) -> list[Alert]:
        """Alerts of all patients whose alerts the caller may see, the gravest and oldest first."""
        self._parts.access.require(context.request(Action.READ))
        with self._parts.database.reading() as tables:
            twins = tables.alerts.twins()
        found: list[Alert] = []
        for twin in twins:
            if not self._parts.keyring.is_shredded(twin):
                try:
                    found += self.of(context, twin)
                except AccessDenied:
                    continue
        order = {"emergency": 0, "urgent": 1, "notice": 2}
        return sorted(found, key=lambda one: (order[one.severity], one.raised_ms))

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
        for one in sorted(measured):
            changes += monitor.look(one.time_ms)
            changes += monitor.follow([one])
        return changes

    def _changed(self, context: AccessContext, name: str, what: str, change: Callable[[Alert], Alert]) -> Alert:
        self._parts.access.require(context.request(Action.WRITE))
        with self._parts.database.reading() as tables:
            twin = tables.alerts.twin_of(name)
        if twin is None:
            raise AlertNotFound("there is no such alert")
        detail = (("live", what), ("alert", name))
        self._parts.access.decide(context.request(Action.READ, twin, LIVE_CATEGORIES, detail=(("live", "alerts"),)))
        request = context.request(Action.WRITE, twin, {Category.MONITORING}, detail=detail)
        self._parts.access.require(request)
        keys = self._parts.keyring.keys(twin)
        with self._parts.database.writing() as tables:
            found = next((one for one in tables.alerts.of(keys) if one.id == name), None)
            if found is None:
                raise AlertNotFound("there is no such alert")
            changed = change(found)
            self._parts.access.decide(request)
            tables.alerts.put(keys, changed)
        return changed
