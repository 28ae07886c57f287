"""Reminders: doses that are due, and doses that nobody charted, as alerts with their life.

Medication is read in the name of the clinician who asked for it, each time an access decided by policy and consent and
logged: half-hourly, when a dose falls due or is missed, and every five minutes while one waits to be charted. Of whom
that is withheld nobody is reminded, and what was raised is over. An alert's id follows from its dose, so whatever
process comes first, and however often, a dose raises one alert that it is due and one that it was missed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

import structlog

from twinward.access.interfaces import AccessContext, Permit, Principal
from twinward.core.clock import iso
from twinward.core.errors import NotFound, Refused, TwinwardError
from twinward.core.vocabulary import Action, Category, Purpose, TwinId
from twinward.live.alerts.models import Alert
from twinward.live.alerts.rules import Severity
from twinward.live.alerts.watch import Watch
from twinward.live.medication.models import DUE, MISSED, Charted, Dose, Plan, Reminding
from twinward.live.medication.schedule import DAY_MS, doses
from twinward.live.parts import LiveParts
from twinward.vault.errors import RecordDamaged

LOOK_EVERY_MS: Final = 30 * 60_000
WHILE_WAITING_MS: Final = 5 * 60_000
_ESCALATE_MS: Final = 15 * 60_000
_MEDICATION: Final = frozenset({Category.MEDICATIONS})

log = structlog.get_logger("twinward.live.medication")

Chart = tuple[Sequence[Plan], Sequence[Charted]]
ChartOf = Callable[[Permit], Chart]
"""What was ordered and what was charted for the permit's patient. Raises as the vault's ``read_twin``."""


@dataclass(frozen=True, slots=True)
class ReminderReport:
    """What a look did: patients looked at, alerts raised, dosages whose timing is not followed, patients withheld."""

    looked: int = 0
    raised: int = 0
    unclear: int = 0
    withheld: int = 0
    problem: str = ""


class Reminders:
    """Reminds.

    Args:
        parts, watch: live twins'.
        chart_of: reads a patient's medication.
        patients: who is on the wards now.
        caller_of: an account that may be used, by its name; raises ``TwinwardError`` for any other.
        zone: the hospital's.
    """

    def __init__(
        self,
        parts: LiveParts,
        watch: Watch,
        chart_of: ChartOf,
        patients: Callable[[], Sequence[TwinId]],
        caller_of: Callable[[str], Principal],
        zone: ZoneInfo,
    ) -> None:
        self._parts = parts
        self._watch = watch
        self._chart_of = chart_of
        self._patients = patients
        self._caller_of = caller_of
        self._zone = zone
        self._next_ms: dict[TwinId, int] = {}

    def begin(self, context: AccessContext) -> Reminding:
        """Have medication watched in the caller's name; doses that were due before are not. Raises ``AccessDenied``."""
        self._parts.access.decide(context.request(Action.READ, detail=(("live", "reminders-begun"),)))
        made = Reminding(context.principal.id, self._parts.clock.now_ms())
        with self._parts.database.writing() as tables:
            tables.remindings.put(made)
        self._next_ms.clear()
        return made

    def end(self, context: AccessContext) -> None:
        """Watch no more; what was raised is over. Raises ``AccessDenied``, ``NotFound``."""
        self._parts.access.decide(context.request(Action.READ, detail=(("live", "reminders-ended"),)))
        with self._parts.database.writing() as tables:
            if not tables.remindings.remove():
                raise NotFound("nobody is reminded of medication", hint="`twinward alerts remind` begins it")
            twins = tables.alerts.twins()
        for twin in twins:
            self._settle(twin, None)

    def run(self) -> ReminderReport:
        """Look at everybody who is due to be looked at. Raises ``Unavailable``."""
        with self._parts.database.reading() as tables:
            standing, alerted = tables.remindings.find(), tables.alerts.twins()
        if standing is None:
            return ReminderReport()
        try:
            context = AccessContext(self._caller_of(standing.account), Purpose.TREATMENT)
        except TwinwardError as error:
            log.warning("reminders_stand_still", kind=type(error).__name__)
            return ReminderReport(problem=str(error))
        now_ms, here = self._parts.clock.now_ms(), list(dict.fromkeys(self._patients()))
        for gone in self._next_ms.keys() - set(here):
            del self._next_ms[gone]
        due = [twin for twin in here if self._next_ms.get(twin, 0) <= now_ms]
        report = ReminderReport()
        requests = [context.request(Action.READ, twin, _MEDICATION, detail=(("live", "medication"),)) for twin in due]
        permits = {one.request.twin: one for one in self._parts.access.decide_permitted(requests)}
        for twin in due:
            report = self._looked(report, standing, twin, permits.get(twin), now_ms)
        for twin in set(alerted) - set(here):
            self._settle(twin, None)  # who left the wards is nobody's to remind
        return report

    def _looked(
        self, report: ReminderReport, standing: Reminding, twin: TwinId, permit: Permit | None, now_ms: int
    ) -> ReminderReport:
        plans: Sequence[Plan] = ()
        found: list[Dose] | None = None
        if permit is not None:
            try:
                for plans, charted in self._parts.access.opened(permit, self._chart_of):
                    found = self._doses(standing, plans, charted, now_ms)
            except (Refused, NotFound):
                pass  # withdrawn or erased since it was decided
            except RecordDamaged:
                log.warning("reminders_passed_over")  # and what was raised stands: who knows what was charted
                self._next_ms[twin] = now_ms + LOOK_EVERY_MS
                return report
        raised = self._settle(twin, found)
        self._next_ms[twin] = _next_look(found or (), now_ms)
        unclear = sum(one.unclear for one in plans)
        return ReminderReport(
            report.looked + (found is not None),
            report.raised + raised,
            report.unclear + unclear,
            report.withheld + (found is None),
        )

    def _doses(self, standing: Reminding, plans: Sequence[Plan], charted: Sequence[Charted], now_ms: int) -> list[Dose]:
        """Doses of a day back, and those that are due before the next look."""
        from_ms, to_ms = max(standing.since_ms, now_ms - DAY_MS), now_ms + LOOK_EVERY_MS
        return [one for plan in plans for one in doses(plan, charted, self._zone, from_ms, to_ms)]

    def _settle(self, twin: TwinId, found: Sequence[Dose] | None) -> int:
        """Alerts as doses make them; without doses all are over. How many rose."""
        now_ms, raised = self._parts.clock.now_ms(), 0
        try:
            keys = self._parts.keyring.keys(twin)
            with self._parts.database.writing() as tables:
                kept = {one.id: one for one in tables.alerts.of(keys, _MEDICATION)}
                wanted: dict[str, Alert] = {}
                for dose in found or ():
                    kind = MISSED if now_ms >= dose.missed_ms else DUE
                    if not dose.answered and dose.due_ms <= now_ms:
                        name = tables.remindings.alert_id(twin, dose, kind)
                        wanted[name] = _alert(name, twin, dose, kind, now_ms)
                for name, alert in wanted.items():
                    if name not in kept:
                        raised += self._watch.raise_alert(tables, keys, alert)
                for name, alert in kept.items():
                    if name not in wanted and alert.over_ms is None:
                        tables.alerts.put(keys, alert.ended(now_ms))
                self._watch.escalate(tables, keys)
        except (NotFound, RecordDamaged):
            return 0
        return raised


def _alert(name: str, twin: TwinId, dose: Dose, kind: str, now_ms: int) -> Alert:
    severity = Severity.URGENT if kind == MISSED else Severity.NOTICE
    # One that is due is escalated by being missed.
    escalate_ms = now_ms + _ESCALATE_MS if kind == MISSED else dose.missed_ms + DAY_MS
    at_ms = dose.missed_ms if kind == MISSED else dose.due_ms
    about = f"{dose.says}; due {iso(dose.due_ms)[:16]}Z ({dose.request})"
    return Alert(name, twin, kind, "reminders", severity, at_ms, (), escalate_ms, about=about)


def _next_look(found: Sequence[Dose], now_ms: int) -> int:
    moments = [now_ms + LOOK_EVERY_MS]
    for one in found:
        moments += [at_ms for at_ms in (one.due_ms, one.missed_ms) if at_ms > now_ms]
        if not one.answered and one.due_ms <= now_ms:
            moments.append(now_ms + WHILE_WAITING_MS)
    return min(moments)
