"""Rules at work: in the transaction that stores a batch, and on the clock.

Whatever stores a measurement raises its alert in the same transaction: killed in between there are both or neither.
What a monitor remembers of a patient is opened and sealed again, and handed to nobody (as in compaction of records);
each alert is an event about the patient, decided as the node's own write, before it is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

import msgspec
import structlog

from twinward.access.interfaces import NODE, AccessContext
from twinward.core.errors import BadInput, NotFound, Unavailable
from twinward.core.ids import uuid7
from twinward.core.vocabulary import Action, Category, Purpose, TwinId
from twinward.live.alerts.models import Alert
from twinward.live.alerts.monitor import Change, Measurement, Monitor, MonitorState
from twinward.live.alerts.notices import ESCALATED, RAISED, Notice
from twinward.live.alerts.rules import Rules
from twinward.live.models import Placed, Quality
from twinward.live.parts import LiveParts
from twinward.live.storage.database import Tables
from twinward.vault.errors import RecordDamaged
from twinward.vault.keys.twin_keys import TwinKeys

log = structlog.get_logger("twinward.live.alerts")
HISTORY_MS: Final = 86_400_000
"""What was measured longer ago is history: no rule looks at it, and a file of years raises nothing."""
_LOOKED_AT: Final = 500
"""Twins at a time."""
_WATCHING: Final = AccessContext(NODE, Purpose.RECORD_MANAGEMENT)


class Watch:
    """Follows rules over everybody's measurements.

    Args:
        parts: what live twins stand on.
        rules: those in force; asked for once.
    """

    def __init__(self, parts: LiveParts, rules: Callable[[], Rules]) -> None:
        self._parts = parts
        self._rules_of = rules
        self._rules: Rules | None = None

    @property
    def rules(self) -> Rules:
        """The rules in force. Raises ``BadInput``: the home's file of them is wrong."""
        if self._rules is None:
            self._rules = self._rules_of()
        return self._rules

    @property
    def _in_force(self) -> Rules:
        try:
            return self.rules
        except BadInput as error:  # whoever sends readings did nothing wrong: they are to be sent again
            raise Unavailable(
                "this hospital's alert rules are wrong: no reading is taken until they are mended",
                hint="on the node's machine `twinward alerts rules` says what is wrong",
            ) from error

    def follow(self, tables: Tables, placed: Iterable[Placed]) -> None:
        """Take a batch's measurements in, within its transaction. Raises ``Unavailable``."""
        by_twin: dict[TwinId, list[Measurement]] = {}
        oldest_ms = self._parts.clock.now_ms() - HISTORY_MS
        for one in placed:
            if one.reading.quality is not Quality.ARTEFACT:
                name = one.signal.name
                found = [Measurement(at.time_ms, name, at.value) for at in one.samples() if at.time_ms >= oldest_ms]
                if found:
                    by_twin.setdefault(one.twin, []).extend(found)
        kept, followed = tables.alerts.monitors(list(by_twin)), list[tuple[TwinKeys, MonitorState]]()
        for twin, measurements in by_twin.items():
            keys = self._parts.keyring.keys(twin)
            try:
                monitor = Monitor(self._in_force, tables.alerts.opened(keys, kept.get(twin)))
                self.note(tables, keys, list(monitor.follow(measurements)))
                followed.append((keys, monitor.state))
            except RecordDamaged:  # somebody altered it: no other patient's readings wait for that, nor are these lost
                log.warning("live_rules_stand_still")
        tables.alerts.put_monitors(followed)

    def raise_alert(self, tables: Tables, keys: TwinKeys, alert: Alert) -> bool:
        """Store an alert that no rule made, and tell of it. False where consent keeps the node from it."""
        if not self._told(alert, "alert-raised"):
            return False
        tables.alerts.put(keys, alert)
        self._tell(tables, RAISED, alert)
        return True

    def tick(self) -> None:
        """What time alone changes: measurements that stay away, alerts that nobody looks at.

        Raises ``Unavailable``; ``RecordDamaged`` of a patient once all others were looked at.
        """
        with self._parts.database.reading() as tables:
            twins, alerted = tables.alerts.monitored(), set(tables.alerts.twins())
        damaged: RecordDamaged | None = None
        for first in range(0, len(twins), _LOOKED_AT):
            for twin in self._due(twins[first : first + _LOOKED_AT], alerted):
                try:
                    self._look(self._parts.keyring.keys(twin))
                except NotFound:
                    continue
                except RecordDamaged as error:
                    damaged = error
        if damaged is not None:
            raise damaged

    def _due(self, twins: Sequence[TwinId], alerted: Collection[TwinId]) -> list[TwinId]:
        """Of whom something changes by now, or does not open. Readings go on being written meanwhile."""
        now_ms, due = self._parts.clock.now_ms(), list[TwinId]()
        with self._parts.database.reading() as tables:
            kept = tables.alerts.monitors(twins)
            for twin in twins:
                try:
                    keys = self._parts.keyring.keys(twin)
                    changes = any(Monitor(self._in_force, tables.alerts.opened(keys, kept.get(twin))).look(now_ms))
                    waits = twin in alerted and any(one.is_to_escalate(now_ms) for one in tables.alerts.of(keys))
                except NotFound:
                    continue
                except RecordDamaged:
                    changes = waits = True
                if changes or waits:
                    due.append(twin)
        return due

    def note(self, tables: Tables, keys: TwinKeys, changes: Sequence[Change]) -> None:
        """Alerts as changes make them, within the transaction that stores what they are of."""
        if not changes:
            return
        alerts = {one.id: one for one in tables.alerts.of(keys, (Category.MONITORING,))}
        for change in changes:
            fitting = next((one for one in reversed(alerts.values()) if one.folds(change)), None)
            if not change.rose:
                if fitting is not None:
                    alerts[fitting.id] = msgspec.structs.replace(fitting, over_ms=change.time_ms)
                    tables.alerts.put(keys, alerts[fitting.id])
                continue
            found = self._raised(keys.twin, change) if fitting is None else fitting.rose_again(change)
            if fitting is not None or self._told(found, "alert-raised"):
                alerts[found.id] = found
                tables.alerts.put(keys, found)
                if fitting is None:
                    self._tell(tables, RAISED, found)

    def escalate(self, tables: Tables, keys: TwinKeys) -> None:
        """Alerts of a twin that nobody has seen for too long."""
        now_ms = self._parts.clock.now_ms()
        for one in tables.alerts.of(keys):
            if one.is_to_escalate(now_ms) and self._told(one, "alert-escalated"):
                tables.alerts.put(keys, msgspec.structs.replace(one, escalated_ms=now_ms))
                self._tell(tables, ESCALATED, one)

    def _look(self, keys: TwinKeys) -> None:
        with self._parts.database.writing() as tables:
            monitor = Monitor(self._in_force, tables.alerts.monitor(keys))
            changes = list(monitor.look(self._parts.clock.now_ms()))
            self.note(tables, keys, changes)
            if changes:
                tables.alerts.put_monitor(keys, monitor.state)
            self.escalate(tables, keys)

    def _raised(self, twin: TwinId, change: Change) -> Alert:
        now_ms = self._parts.clock.now_ms()
        return Alert(
            uuid7(now_ms),
            twin,
            change.rule.name,
            change.version or self.rules.version,
            change.rule.severity,
            change.time_ms,
            change.because,
            now_ms + change.rule.escalate_minutes * 60_000,
            change.score,
            shares=dict(change.shares),
        )

    def _tell(self, tables: Tables, kind: str, alert: Alert) -> None:
        if self._parts.webhook is not None:
            now_ms = self._parts.clock.now_ms()
            tables.notices.put(uuid7(now_ms), now_ms, Notice(kind, alert.id, alert.severity.value, now_ms))

    def _told(self, alert: Alert, what: str) -> bool:
        """Whether the log was told of it; False where consent forbids it, which is not told again at each look."""
        detail = (("live", what), ("rule", alert.rule), ("alert", alert.id), ("severity", alert.severity.value))
        request = _WATCHING.request(Action.WRITE, alert.twin, {alert.category}, detail=detail)
        if not self._parts.access.may(request):
            return False
        (permit,) = self._parts.access.decide_many([request])
        return permit is not None
