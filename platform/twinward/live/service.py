"""Live twins: the story of each walk. Every method asks access control first."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import msgspec

from twinward.access.interfaces import AccessContext, AccessRequest, Permit
from twinward.core.clock import iso
from twinward.core.errors import BadInput
from twinward.core.sentences import sentence
from twinward.core.vocabulary import Action, Category, TwinId
from twinward.live.alerts.delivery import Delivery
from twinward.live.alerts.desk import AlertDesk
from twinward.live.alerts.rules import Rules, shipped_rules
from twinward.live.alerts.watch import Watch
from twinward.live.assignments import ERASED, WITHHELD, Assignment, AssignmentLine
from twinward.live.errors import AssignmentConflict, DeviceUnknown, NothingMeasured, SignalUnknown
from twinward.live.following import Follower
from twinward.live.intake.intake import Intake
from twinward.live.intake.lines import require_name
from twinward.live.intake.messages import Messages
from twinward.live.intake.placing import FUTURE_MS
from twinward.live.leaving import Leaving
from twinward.live.models import QUALITIES, Answer, Merger
from twinward.live.parts import LiveParts
from twinward.live.signals import BY_NAME, LIVE_CATEGORIES, SIGNALS, Signal
from twinward.live.storage.closing import Closing
from twinward.live.storage.database import Tables
from twinward.live.storage.devices import DeviceAt
from twinward.live.storage.quarantine import Held
from twinward.live.storage.reader import SeriesReader
from twinward.live.storage.sources import SourceState
from twinward.live.timeseries import MAX_POINTS, Point, Span, joined, points
from twinward.live.ward import WardDesk

MOST_HELD = 1_000
"""Shown of a quarantine at a time."""


@dataclass(frozen=True, slots=True)
class Newest:
    """A signal's newest value."""

    signal: Signal
    point: Point


class Live:
    """A hospital's live twins.

    Args:
        parts: what they stand on.
        rules: the alert rules in force.
    """

    def __init__(self, parts: LiveParts, rules: Callable[[], Rules] = shipped_rules) -> None:
        self.parts = parts
        self._database = parts.database
        self._access = parts.access
        self._keyring = parts.keyring
        self.clock = parts.clock
        self.subjects = parts.subjects
        self.watch = Watch(parts, rules)
        self.webhook = parts.webhook
        self.delivery = Delivery(parts.database, parts.webhook, parts.clock)
        self.intake = Intake(parts, self.watch.follow)
        self.messages = Messages(parts)
        self.closing = Closing(parts)
        self.reader = self._reader = SeriesReader(parts.database, parts.keyring, parts.verifier)
        self.leaving = Leaving(parts.access, self._reader)
        self.alerts = AlertDesk(parts, self._reader)
        self.ward = WardDesk(parts, self._reader)

    def assign(self, context: AccessContext, device: str, twin: TwinId, from_ms: int | None = None) -> Assignment:
        """Say that a device is with a patient from a moment (now) on.

        Raises:
            AccessDenied: the caller may not write to this twin.
            BadInput: no such name; or a moment that is not here yet: what is said of it could not be taken back.
            AssignmentConflict: the device is with somebody, or readings from then on were placed already.
        """
        at_ms = self._moment(from_ms)
        require_name(device, "device")
        self._access.require(self._of_device(context, device, twin, "assigned", at_ms))
        with self._database.writing() as tables:
            if tables.messages.merged(twin) is not None:
                raise AssignmentConflict(
                    "the patient was merged into another", hint="assign it to the one who stays: what is sent is theirs"
                )
            at = tables.devices.find(device)
            line = at.line.assigned(twin, at_ms, context.principal.id)
            # In the transaction: the log tells of what is done, not of a race that was lost.
            self._access.decide(self._of_device(context, device, twin, "assigned", at_ms))
            tables.devices.put(DeviceAt(device, line, at.tag, at.revision))
        return line.assignments[-1]

    def release(self, context: AccessContext, device: str, until_ms: int | None = None) -> Assignment:
        """Say that a device is with its patient no longer. Raises as ``assign``; ``DeviceUnknown``.

        What a patient's consent withholds it cannot withhold that: it would keep a device on a patient who wants none.
        The patient is then ``WITHHELD`` in what this gives.
        """
        at_ms = self._moment(until_ms)
        require_name(device, "device")
        self._access.require(context.request(Action.WRITE))
        with self._database.writing() as tables:
            at = tables.devices.find(device)
            if at.line.current is None:
                raise DeviceUnknown("this device is assigned to nobody", hint="`twinward device list` shows all")
            line = at.line.released(at_ms)
            told = self._decide_on_end(context, device, at.line.current.twin, "released", at_ms)
            tables.devices.put(DeviceAt(device, line, at.tag, at.revision))
        return msgspec.structs.replace(line.assignments[-1], twin=told)

    def hand_over(
        self, context: AccessContext, twin: TwinId, to: TwinId | None, merger: Merger | None = None
    ) -> list[str]:
        """Release every device that is with a patient, and assign it to another where one is named.

        Each change is dated now, or as soon as no reading stands in the way. All of them are made together, and with
        them the merger they are because of: who dies in between has changed none, and no device is assigned to who is
        gone between the two. Gives the devices. Raises as ``assign``; ``MessageConflict`` as ``MessageRows.merge``.
        """
        self._access.require(context.request(Action.WRITE))
        with self._database.writing() as tables:
            if merger is not None:
                tables.messages.merge(merger)
            held = self._held_by(tables, twin)
            for at, at_ms in held:
                self._decide_on_end(context, at.device, twin, "released", at_ms)
                line = at.line.released(at_ms)
                if to is not None:
                    self._access.decide(self._of_device(context, at.device, to, "assigned", at_ms))
                    line = line.assigned(to, at_ms, context.principal.id)
                tables.devices.put(DeviceAt(at.device, line, at.tag, at.revision))
        return [at.device for at, _ in held]

    def require_hand_over(self, context: AccessContext, twin: TwinId, to: TwinId) -> None:
        """Whether ``hand_over`` may be done, before anything else is. Raises ``AccessDenied``; both are in the log."""
        self._access.require(context.request(Action.WRITE))
        with self._database.reading() as tables:
            held = self._held_by(tables, twin)
        for at, at_ms in held:
            self._decide_on_end(context, at.device, twin, "to-be-released", at_ms)
            self._access.decide(self._of_device(context, at.device, to, "to-be-assigned", at_ms))

    def _held_by(self, tables: Tables, twin: TwinId) -> list[tuple[DeviceAt, int]]:
        """Devices that are with a patient, and from when each may be with another."""
        held = [one for one in tables.devices.all() if one.line.current and one.line.current.twin == twin]
        now_ms = self.clock.now_ms()
        earliest = [max(now_ms, at.line.placed_until_ms, at.line.assignments[-1].from_ms + 1) for at in held]
        return list(zip(held, earliest, strict=True))

    def devices(self, context: AccessContext) -> list[DeviceAt]:
        """Every device and its assignments: opaque twins, no patient's name. Logged.

        A patient for whom the caller may assign none, by policy or consent, is ``WITHHELD``; one who was erased is
        ``ERASED``.
        """
        self._access.decide(context.request(Action.WRITE, detail=(("live", "devices"),)))
        with self._database.reading() as tables:
            found = tables.devices.all()
        twins = {one.twin for at in found for one in at.line.assignments}
        names = {twin: self._name(context, twin) for twin in twins}
        return [replace(at, line=at.line.told(names.__getitem__)) for at in found]

    def _name(self, context: AccessContext, twin: TwinId) -> TwinId:
        if self._keyring.is_shredded(twin):
            return ERASED
        asked = context.request(Action.WRITE, twin, {Category.MONITORING})
        return twin if self._access.may(asked) else WITHHELD

    def line_of(self, device: str) -> AssignmentLine:
        """A device's assignments: for other rooms, which have asked access control themselves."""
        with self._database.reading() as tables:
            return tables.devices.find(device).line

    def sources(self, context: AccessContext) -> list[SourceState]:
        """Every source, and how it is doing. Logged."""
        self._access.decide(context.request(Action.WRITE, detail=(("live", "sources"),)))
        with self._database.reading() as tables:
            return tables.sources.all()

    def quarantine(self, context: AccessContext, *, after: str = "", most: int = MOST_HELD) -> list[Held]:
        """What is in quarantine, the oldest first. Logged."""
        self._access.decide(context.request(Action.WRITE, detail=(("live", "quarantine"),)))
        with self._database.reading() as tables:
            return tables.quarantine.all(most, after)

    def drop(self, context: AccessContext, held: Sequence[Held]) -> int:
        """Delete from quarantine: what was never to be placed. Logged, with how many."""
        self._access.decide(context.request(Action.WRITE, detail=(("live", "dropped"), ("readings", str(len(held))))))
        with self._database.writing() as tables:
            return tables.quarantine.remove([one.id for one in held])

    def replay(self, context: AccessContext, held: Sequence[Held]) -> list[Answer]:
        """Place what can be placed by now. Raises as ``Intake.take``."""
        return self.intake.replay(context, held)

    def series(self, context: AccessContext, twin: TwinId, name: str, span: Span) -> list[Point]:
        """A signal of a twin over a span.

        Raises:
            AccessDenied: policy or consent says no; both this and a yes are in the log.
            SignalUnknown: no such signal.
            BadQuery: too much to show.
        """
        signal = signal_named(name)
        permit = self._access.decide(
            context.request(Action.READ, twin, {signal.category}, detail=(("live", "series"), ("signal", name)))
        )
        enough = None if span.step_ms else MAX_POINTS
        runs = self._reader.read(permit, signal, span.from_ms, span.to_ms, enough=enough)
        return points(joined(runs, span.from_ms, span.to_ms), span)

    def at(self, context: AccessContext, twin: TwinId, name: str, at_ms: int | None = None) -> Point:
        """A signal's value as it stood at a moment, or stands now. Raises as ``series``; ``NothingMeasured``."""
        signal = signal_named(name)
        permit = self._access.decide(
            context.request(Action.READ, twin, {signal.category}, detail=(("live", "value"), ("signal", name)))
        )
        found = self._reader.newest(permit, signal, self.clock.now_ms() if at_ms is None else at_ms)
        if found is None:
            raise NothingMeasured("nothing was measured of this signal up to then")
        return Point(found[0], found[1], QUALITIES[found[2]])

    def newest(
        self, context: AccessContext, twin: TwinId, at_ms: int | None = None
    ) -> tuple[list[Newest], frozenset[Category]]:
        """Every signal's newest value that the caller may see, and the categories that were withheld.

        Raises ``AccessDenied`` where that is none.
        """
        moment = self.clock.now_ms() if at_ms is None else at_ms
        permits = self._access.decide_part(
            context.request(Action.READ, twin, LIVE_CATEGORIES, detail=(("live", "newest"),))
        )
        shown = []
        for signal in SIGNALS:
            permit = next((one for one in permits if signal.category in one.request.categories), None)
            found = None if permit is None else self._reader.newest(permit, signal, moment)
            if found is not None:
                shown.append(Newest(signal, Point(found[0], found[1], QUALITIES[found[2]])))
        covered = frozenset[Category]().union(*(one.request.categories for one in permits))
        return shown, LIVE_CATEGORIES - covered

    def has_scorings(self) -> bool:
        """Whether any registered model is to score live twins."""
        with self._database.reading() as tables:
            return bool(tables.scorings.all())

    def has_reminders(self) -> bool:
        """Whether anybody is reminded of medication."""
        with self._database.reading() as tables:
            return tables.remindings.find() is not None

    def has_measured(self, twin: TwinId) -> bool:
        """Whether anything was ever stored of a twin. Opens nothing."""
        return not self._reader.newest_row(twin).endswith("/0")

    def has_any(self) -> bool:
        """Whether anything is stored of anybody. Opens nothing."""
        with self._database.reading() as tables:
            return tables.series.has_any()

    def observed(self, context: AccessContext, twin: TwinId, categories: Collection[Category]) -> list[Permit]:
        """Leave to read what was measured, as far as it may be had. The refusals are logged, too."""
        return self._access.decide_parts([self._observing(context, twin, categories)])

    def observed_one(self, context: AccessContext, twin: TwinId, category: Category) -> Permit:
        """Leave to read one category of it. Raises ``AccessDenied``."""
        return self._access.decide(self._observing(context, twin, {category}))

    def _observing(self, context: AccessContext, twin: TwinId, categories: Collection[Category]) -> AccessRequest:
        return context.request(Action.READ, twin, categories, detail=(("live", "observations"),))

    def follow(self, context: AccessContext, twin: TwinId, name: str, after_ms: int | None = None) -> Follower:
        """A signal from a moment (now) on, as it comes. Raises as ``series``."""
        signal = signal_named(name)
        begin_ms = self.clock.now_ms() if after_ms is None else after_ms
        return Follower(self._access, self._reader, context, twin, signal, begin_ms)

    def close(self) -> None:
        """Give back the database."""
        self._database.close()

    def _moment(self, at_ms: int | None) -> int:
        """When a device changes hands: as far ahead at most as a reading may be that stands in the way."""
        now_ms = self.clock.now_ms()
        if at_ms is None:
            return now_ms
        if not 0 <= at_ms <= now_ms + FUTURE_MS + 1:
            raise BadInput(
                sentence(
                    "a device changes hands now, or did: from 1970 to {minutes} minutes ahead",
                    minutes=FUTURE_MS // 60_000,
                ),
                hint="say it again then",
            )
        return at_ms

    def _decide_on_end(self, context: AccessContext, device: str, twin: TwinId, what: str, at_ms: int) -> TwinId:
        """Decide that an assignment ends: about the patient, or, where consent alone keeps that, about the device.

        Gives the patient as the caller may be told. Raises ``AccessDenied``.
        """
        asked = self._of_device(context, device, twin, what, at_ms)
        if not self._access.barred_by_consent_alone(asked):
            self._access.decide(asked)
            return twin
        self._access.decide(context.request(Action.WRITE, detail=asked.detail))
        return WITHHELD

    def _of_device(self, context: AccessContext, device: str, twin: TwinId, what: str, at_ms: int) -> AccessRequest:
        detail = (("live", what), ("device", device), ("at", iso(at_ms)))
        return context.request(Action.WRITE, twin, {Category.MONITORING}, detail=detail)


def signal_named(name: str) -> Signal:
    """A signal by its name. Raises ``SignalUnknown``."""
    found = BY_NAME.get(name)
    if found is None:
        raise SignalUnknown("there is no such signal", hint=sentence("one of {names}", names=", ".join(BY_NAME)))
    return found
