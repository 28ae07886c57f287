"""Readings in: at least once from the sender, once in effect here.

    1. require   whoever may write to nobody is refused, and it is logged, before anything is looked at
    2. settled   a number of this source that was settled before is a duplicate: nothing is done
    3. place     code, unit, time, and whose it is: the patient named, or the one the device was with when it measured
    4. permit    for each twin and device: in the log before anything is sealed; a no is answered, and not settled
    5. seal      samples under the twin's category keys; what could not be placed under the hospital's own; alerts
    6. commit    samples, quarantine, devices' and the source's marks: one durable transaction, all or nothing
    7. answer    only now

Whatever the process dies of, either the transaction is there, and the same number sent again is a duplicate, or it is
not, and the sender still has it. Steps 2 to 6 hold the database's write lock: assignments cannot change in between.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from twinward.access.interfaces import AccessContext
from twinward.core.errors import NotFound
from twinward.core.ids import uuid7
from twinward.core.one_look import one_look
from twinward.core.vocabulary import Action, TwinId
from twinward.live.assignments import AssignmentLine
from twinward.live.errors import MessageConflict, MessageRefused
from twinward.live.intake.commits import commit_together
from twinward.live.intake.lines import Fault, require_name
from twinward.live.intake.permits import Wanted, WritePermits
from twinward.live.intake.placing import Placer, Unplaced
from twinward.live.intake.together import Together
from twinward.live.intake.turns import Turns
from twinward.live.models import Answer, MessageId, Outcome, Placed, Reading, Reason
from twinward.live.parts import LiveParts
from twinward.live.storage.database import Tables
from twinward.live.storage.devices import DeviceAt
from twinward.live.storage.quarantine import MAX_CONTENT_BYTES, Held
from twinward.live.storage.series import SeriesSealer, runs_of
from twinward.live.storage.sources import SourceAt

MOST_WAITING: Final = 16
"""Batches that wait for their turn, of one account half of them; one more is told to come again."""
MOST_TOGETHER: Final = 32
"""Messages, or senders' batches, that share a commit."""
MOST_MESSAGES: Final = 64
"""Messages that wait for theirs, two commits' worth, of one account one; one more is told to come again."""
Item = Reading | Fault
Watcher = Callable[[Tables, Sequence[Placed]], None]
"""Told of what is stored, within the transaction that stores it."""


@dataclass(slots=True)
class _Batch:
    """What one batch comes to, while its transaction is open."""

    tables: Tables
    source: SourceAt
    now_ms: int
    answers: list[Answer]
    name: str
    devices: dict[str, DeviceAt] = field(default_factory=dict)
    lines: dict[str, AssignmentLine] = field(default_factory=dict)
    placed: list[tuple[int, Placed]] = field(default_factory=list)
    held: list[tuple[int, Held]] = field(default_factory=list)

    def look_up(self, devices: Collection[str]) -> None:
        """Find devices, all at once."""
        self.devices = self.tables.devices.find_all(devices)
        self.lines = {name: one.line for name, one in self.devices.items()}

    def line_of(self, device: str) -> AssignmentLine:
        """A device's assignments as this transaction sees them."""
        if device not in self.lines:
            self.devices[device] = self.tables.devices.find(device)
            self.lines[device] = self.devices[device].line
        return self.lines[device]


@dataclass(slots=True)
class _Job:
    """One message to be taken: with how many others it is committed is nobody's to notice."""

    message: MessageId
    items: Sequence[Item]
    subjects: Mapping[str, TwinId]
    place: int | None = None
    answers: list[Answer] = field(default_factory=list)
    error: Exception | None = None


@dataclass(slots=True)
class _Batches:
    """Batches of one sender, of a source each."""

    context: AccessContext
    batches: Mapping[str, Sequence[Item]]
    subjects: Mapping[str, TwinId]
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    error: Exception | None = None


class Intake:
    """Takes batches in. Safe to share between threads; processes take turns by the database.

    Args:
        parts: what live twins stand on.
        watcher: told of what is stored.
    """

    def __init__(self, parts: LiveParts, watcher: Watcher = lambda _tables, _placed: None) -> None:
        self._parts = parts
        self._permits = WritePermits(parts.access, parts.verifier)
        self._sealer = SeriesSealer()
        self._batches = Turns(MOST_WAITING, 0, "batches", MOST_WAITING // 2)
        self._messages = Turns(MOST_MESSAGES, 0, "messages", MOST_MESSAGES // 2)
        self._watcher = watcher
        self._shared = Together[_Batches](self._take_batches, MOST_TOGETHER, gathers=False)
        self._lock = threading.Lock()
        self._together: dict[tuple[AccessContext, str], Together[_Job]] = {}

    def require(self, context: AccessContext) -> None:
        """Refuse, and log it, whoever may write to nobody. Raises ``AccessDenied``."""
        with one_look():
            self._parts.access.require(context.request(Action.WRITE))

    def take(self, context: AccessContext, source: str, items: Sequence[Item]) -> list[Answer]:
        """Take a batch of one source in: an answer for each item, in order. Durable when this returns.

        Raises:
            AccessDenied: the caller may write to nobody.
            BadInput: the source's name is none.
            IntakeBusy, QuarantineFull, Unavailable: nothing was taken.
        """
        return self.take_several(context, {source: items})[source]

    def take_several(self, context: AccessContext, batches: Mapping[str, Sequence[Item]]) -> dict[str, list[Answer]]:
        """Take batches of several sources in, in one transaction: all of them or none. Raises as ``take``."""
        for source in batches:
            require_name(source, "source")
        self.require(context)
        subjects = self._subjects_of([one for items in batches.values() for one in items])
        job = _Batches(context, batches, subjects)
        with self._batches.one(context.principal.id):
            self._shared.done(job)
        if job.error is not None:
            raise job.error
        return job.answers

    def _take_batches(self, jobs: Sequence[_Batches]) -> None:
        commit_together(self._parts.database, jobs, self._take_some)

    def _take_some(self, tables: Tables, jobs: Sequence[_Batches]) -> None:
        for job in jobs:
            job.answers = {}  # of a try that failed
            for source, items in job.batches.items():
                at = tables.sources.find(job.context.principal.id, source)
                job.answers[source] = self._taken(tables, at, job.context, items, job.subjects)

    def take_message(
        self, context: AccessContext, source: str, message: MessageId, items: Sequence[Item]
    ) -> list[Answer]:
        """Take a message in that has a name and no numbers: whole or not at all, once under its name.

        Args:
            items: its readings; they are numbered here, behind all that the source has.

        Raises:
            MessageConflict: the name was settled with another content.
            MessageRefused: policy or consent says no to one of them.
            AccessDenied, BadInput, IntakeBusy, QuarantineFull, Unavailable: as ``take``; nothing was taken.
        """
        require_name(source, "source")
        self.require(context)
        with self._messages.one(context.principal.id):
            job = _Job(message, items, self._subjects_of(items))
            self._together_of(context, source).done(job)
        if job.error is not None:
            raise job.error
        return job.answers

    def _together_of(self, context: AccessContext, source: str) -> Together[_Job]:
        with self._lock:
            together = self._together.get((context, source))
            if together is None:
                if len(self._together) >= MOST_WAITING:
                    self._together.clear()  # who is at it goes on; a source has few contexts
                together = Together[_Job](partial(self._take_jobs, context, source), MOST_TOGETHER)
                self._together[context, source] = together
            return together

    def _take_jobs(self, context: AccessContext, source: str, jobs: Sequence[_Job]) -> None:
        """Messages in one transaction, where none fails."""
        commit_together(
            self._parts.database, jobs, lambda tables, some: self._take_messages(tables, context, source, some)
        )

    def _take_messages(self, tables: Tables, context: AccessContext, source: str, jobs: Sequence[_Job]) -> None:
        at, now_ms = tables.sources.find(context.principal.id, source), self._parts.clock.now_ms()
        first = at.state.ranges[-1][1] if at.state.ranges else 0
        items: list[Item] = []
        subjects: dict[str, TwinId] = {}
        met: dict[str, MessageId] = {}
        for job in jobs:
            job.place = None  # of a try that failed
            met.setdefault(job.message.name, job.message)
            if met[job.message.name].digest != job.message.digest:
                raise MessageConflict("two messages of one name come at once")
            if met[job.message.name] is not job.message or tables.messages.knows(at.tag, job.message, now_ms):
                job.answers = [Answer(None, Outcome.DUPLICATE) for _ in job.items]
                continue
            job.place = len(items)
            items += [replace(one, seq=first + len(items) + place) for place, one in enumerate(job.items)]
            subjects.update(job.subjects)
        answers = self._taken(tables, at, context, items, subjects) if items else []
        if any(one.outcome is Outcome.REFUSED for one in answers):
            raise MessageRefused("policy or consent says no: nothing of the message was taken")
        tables.messages.forget(now_ms)
        for job in jobs:
            if job.place is not None:
                job.answers = answers[job.place : job.place + len(job.items)]
                tables.messages.settle(at.tag, job.message, now_ms)

    def _subjects_of(self, items: Sequence[Item]) -> Mapping[str, TwinId]:
        return self._parts.subjects({one.subject for one in items if one.subject})

    def _taken(
        self,
        tables: Tables,
        at: SourceAt,
        context: AccessContext,
        items: Sequence[Item],
        subjects: Mapping[str, TwinId],
    ) -> list[Answer]:
        batch = self._begun(tables, at, len(items))
        self._sort(batch, items, subjects)
        self._settle(batch, self._permitted(batch, context))
        return batch.answers

    def replay(self, context: AccessContext, held: Sequence[Held]) -> list[Answer]:
        """Place what can be placed by now of what is in quarantine; the rest stays. Durable when this returns.

        Raises as ``take``.
        """
        self.require(context)
        readable = [one for one in held if one.reading is not None]
        subjects = self._parts.subjects(
            {one.reading.subject for one in readable if one.reading and one.reading.subject}
        )
        answers = []
        for one in readable:
            with self._batches.one(context.principal.id), self._parts.database.writing() as tables:
                answers.append(self._replayed(tables, context, one, subjects))
        return answers

    def _replayed(self, tables: Tables, context: AccessContext, held: Held, subjects: Mapping[str, TwinId]) -> Answer:
        at = tables.sources.find(held.account, held.source)
        batch = self._begun(tables, at, 1)
        placed = Placer(subjects, batch.line_of, batch.now_ms).place(held.reading) if held.reading else None
        if not isinstance(placed, Placed):
            reason, detail = (placed.reason, placed.detail) if placed else (held.reason, held.detail)
            return Answer(held.seq, Outcome.QUARANTINED, reason, detail)
        if tables.quarantine.remove([held.id]) != 1:
            return Answer(held.seq, Outcome.DUPLICATE)  # somebody else replayed it meanwhile
        batch.placed.append((0, placed))
        permitted = self._permitted(batch, context)
        if not permitted:
            tables.quarantine.add([held], at.tag)
            return Answer(held.seq, Outcome.REFUSED, Reason.NOT_PERMITTED)
        self._seal(batch, permitted)
        at.state.quarantined -= 1
        at.state.stored += 1
        tables.sources.put(at)
        return Answer(held.seq, Outcome.STORED)

    def _begun(self, tables: Tables, at: SourceAt, count: int) -> _Batch:
        now_ms = self._parts.clock.now_ms()
        return _Batch(tables, at, now_ms, [_REFUSED] * count, uuid7(now_ms))

    def _sort(self, batch: _Batch, items: Sequence[Item], subjects: Mapping[str, TwinId]) -> None:
        """Each item to what is placed, held or answered already. Nothing is settled yet."""
        settled, met = batch.source.state.settled(), set[int]()
        batch.look_up({one.device for one in items if isinstance(one, Reading) and one.device})
        placer = Placer(subjects, batch.line_of, batch.now_ms)
        for number, one in enumerate(items):
            if one.seq is None:
                batch.answers[number] = Answer(None, Outcome.REFUSED, Reason.MALFORMED, one.detail)
            elif one.seq in settled or one.seq in met:
                batch.answers[number] = Answer(one.seq, Outcome.DUPLICATE)
            else:
                met.add(one.seq)
                found = placer.place(one) if isinstance(one, Reading) else one
                if isinstance(found, Placed):
                    batch.placed.append((number, found))
                else:
                    batch.held.append((number, self._held(batch, number, found, subjects)))

    def _held(self, batch: _Batch, number: int, found: Unplaced | Fault, subjects: Mapping[str, TwinId]) -> Held:
        state, at_ms = batch.source.state, batch.now_ms
        name = f"{batch.name}-{number:05}"  # in the order of the batch
        if isinstance(found, Unplaced):
            seq = found.reading.seq
            twin = found.twin or ""
            return Held(
                name, state.account, state.name, seq, found.reason, found.detail, at_ms, found.reading, b"", twin
            )
        content = found.content[:MAX_CONTENT_BYTES]
        current = batch.line_of(found.device).current if found.device else None
        twin = current.twin if current else subjects.get(found.subject, "")
        return Held(name, state.account, state.name, found.seq, found.reason, found.detail, at_ms, None, content, twin)

    def _permitted(self, batch: _Batch, context: AccessContext) -> list[tuple[int, Placed]]:
        """What may be written of what is placed. A no is answered; so is a twin whose keys are gone."""
        groups: dict[tuple[TwinId, str], list[tuple[int, Placed]]] = {}
        for number, one in batch.placed:
            groups.setdefault((one.twin, one.reading.device), []).append((number, one))
        wanted = {
            key: Wanted(*key, frozenset(one.signal.category for _, one in group))
            for key, group in groups.items()
            if self._is_open(key[0])
        }
        permits = self._permits.decide(context, batch.source.state.name, wanted.values()) if wanted else {}
        permitted = []
        for key, group in groups.items():
            if key in wanted and permits[wanted[key]] is not None:
                permitted += group
                continue
            for number, one in group:
                batch.answers[number] = Answer(one.reading.seq, Outcome.REFUSED, Reason.NOT_PERMITTED)
        return sorted(permitted, key=lambda one: one[0])

    def _is_open(self, twin: TwinId) -> bool:
        try:
            self._parts.keyring.keys(twin)
        except NotFound:
            return False
        return True

    def _settle(self, batch: _Batch, permitted: Sequence[tuple[int, Placed]]) -> None:
        """Mark, seal and store what may be. What leaves too many gaps in a source's numbers stays with its sender."""
        state, settled = batch.source.state, batch.source.state.settled()
        storing: list[tuple[int, Placed]] = []
        holding: list[Held] = []
        both: list[tuple[int, Placed | Held]] = [*permitted, *batch.held]
        for number, one in sorted(both, key=lambda pair: pair[0]):
            seq = one.reading.seq if isinstance(one, Placed) else one.seq
            if seq is None or not settled.has_room(seq):
                batch.answers[number] = Answer(seq, Outcome.REFUSED, Reason.TOO_MANY_GAPS)
                continue
            settled.add(seq)
            if isinstance(one, Placed):
                storing.append((number, one))
                batch.answers[number] = Answer(seq, Outcome.STORED)
            else:
                holding.append(one)
                batch.answers[number] = Answer(seq, Outcome.QUARANTINED, one.reason, one.detail)
        batch.placed = storing
        if not storing and not holding:
            return
        self._seal(batch, storing)
        batch.tables.quarantine.add(holding, batch.source.tag)
        state.ranges = list(settled)
        state.stored += len(storing)
        state.quarantined += len(holding)
        state.duplicates += sum(one.outcome is Outcome.DUPLICATE for one in batch.answers)
        ends = [one.reading.time_ms + (len(one.values) - 1) * one.reading.period_ms for _, one in storing]
        state.heard(batch.now_ms, max(ends, default=None))
        batch.tables.sources.put(batch.source)

    def _seal(self, batch: _Batch, permitted: Sequence[tuple[int, Placed]]) -> None:
        state = batch.source.state
        placed = [one for _, one in permitted]
        rows = []
        for (twin, category, window_ms), runs in runs_of(placed, state.account, state.name).items():
            keys = self._parts.keyring.keys(twin)
            rows.append(self._sealer.seal_fresh(keys, category, window_ms, runs, batch.now_ms))
        batch.tables.series.add(rows)
        self._watcher(batch.tables, placed)
        last_of: dict[str, int] = {}
        for one in placed:
            if one.reading.device and not one.reading.subject:
                last_ms = one.reading.time_ms + (len(one.values) - 1) * one.reading.period_ms
                last_of[one.reading.device] = max(last_ms, last_of.get(one.reading.device, 0))
        changed = []
        for device, last_ms in last_of.items():
            before = batch.devices[device]
            line = before.line.placed(last_ms)
            if line.placed_until_ms != before.line.placed_until_ms:
                changed.append(DeviceAt(device, line, before.tag, before.revision))
        batch.tables.devices.put_all(changed)


_REFUSED: Final = Answer(None, Outcome.REFUSED, Reason.MALFORMED)
