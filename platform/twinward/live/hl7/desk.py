"""HL7 messages in, whole or not at all: what becomes of each kind, and what its sender is told.

1. read      the header and the segments; what cannot be read is answered with the field that is wrong
2. settled   a control id of this source that was settled with the same content is accepted again, nothing is done;
             with another content it is refused: one of the two would be lost
3. who       PID's identifiers, looked up by blind tags; one that was merged is who it was merged into
4. do        ORU: readings, settled in the transaction that stores them. ADT and ORM: a FHIR transaction that may be
             done twice, then the control id; whatever the process dies of between, doing it again ends the same
5. answer    AA once everything is durable; AE or AR where nothing was filed
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any, Final

from twinward.access.errors import AccessDenied
from twinward.access.interfaces import AccessContext
from twinward.core.errors import Conflict, Refused, TwinwardError
from twinward.core.ids import uuid7
from twinward.core.vocabulary import TwinId
from twinward.live.errors import IntakeBusy, MessageConflict, MessageRefused
from twinward.live.hl7.acknowledgement import Acknowledgement, Code, Remark, acknowledge
from twinward.live.hl7.errors import (
    DATA_TYPE,
    DUPLICATE_KEY,
    EVENT_NOT_TAKEN,
    INTERNAL,
    MISSING,
    SEQUENCE,
    TYPE_NOT_TAKEN,
    UNKNOWN_KEY,
    VERSION_NOT_TAKEN,
    Hl7Fault,
    Where,
)
from twinward.live.hl7.message import Message, Segment, read_message
from twinward.live.hl7.movements import (
    amend_entry,
    beds_of,
    create_entry,
    merge_entry,
    order_entries,
    patient_said,
    visit_entry,
)
from twinward.live.hl7.people import Authorities, Identifier
from twinward.live.hl7.results import readings_of, results_of
from twinward.live.intake.turns import Turns
from twinward.live.models import Answer, Merger, MessageId, Outcome
from twinward.live.parts import Subjects
from twinward.live.service import Live

_VERSIONS: Final = ("2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8", "2.8.1", "2.8.2")
_MOVES: Final = frozenset({"A01", "A02", "A03"})
_CHANGES: Final = frozenset({"A01", "A02", "A03", "A04", "A08"})
_MERGE: Final = "A40"
_MOST_MERGERS: Final = 100
_CREATED: Final = 201
MOST_AT_ONCE: Final = 32
"""Messages that are read and answered at once, as many as share a commit: each takes a hundred times its bytes once it
is cut. The others wait as they came, and their senders' sockets with them."""
MOST_HEADER_BYTES: Final = 2_000
"""Of MSH, as far as it is read to tell a message's name to who is too many."""
WAIT_S: Final = 10.0
"""How long one waits for that; senders give up after half a minute."""


Entries = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Hospital:
    """What of the node HL7 reaches beside its live twins.

    Attributes:
        subject_of: the string an identifier's patient is looked up by.
        twins_of: the twins by such strings; an identifier of several is nobody's.
        file: does entries of a FHIR transaction, together, on behalf of somebody; each one's HTTP status.
        amend: the same about a twin who is there: decided as the sender's write, and done by the node, since what a
            message does not say can only stay where it is read, which no sender may. Nobody is shown it.
        lay: moves a patient into the first of these beds that is known, out of any other; into none where none is.
    """

    subject_of: Callable[[str, str], str]
    twins_of: Subjects
    file: Callable[[AccessContext, Entries], list[int]]
    amend: Callable[[AccessContext, TwinId, Entries], list[int]]
    lay: Callable[[AccessContext, TwinId, Sequence[str]], None] = lambda _context, _twin, _beds: None


@dataclass(frozen=True, slots=True)
class Hl7Source:
    """One sender, as an operator configured it.

    Attributes:
        name: of the source; its numbers and control ids are its own.
        authorities: whose identifiers are taken.
        zone: of moments that name no offset; None: such are refused.
    """

    name: str
    authorities: Authorities = field(default_factory=Authorities)
    zone: tzinfo | None = None


class Hl7Desk:
    """Answers messages of one source on behalf of one account. Safe to share between threads.

    Args:
        live: what takes readings.
        hospital: what else is reached.
        context: the account, and why.
        source: who sends.
        turns: how many messages are answered at once.
    """

    def __init__(
        self,
        live: Live,
        hospital: Hospital,
        context: AccessContext,
        source: Hl7Source,
        turns: Turns | None = None,
    ) -> None:
        self._live = live
        self._hospital = hospital
        self._context = context
        self._source = source
        self._turns = Turns(MOST_AT_ONCE, WAIT_S, "messages") if turns is None else turns

    def answer(self, raw: bytes) -> bytes:
        """What a sender is told of one message; everything it is told was done is durable.

        Raises nothing that a message can cause.
        """
        try:
            with self._turns.one():
                return self._answered(raw)
        except IntakeBusy as error:
            return self._said(_refused(Code.ERROR, INTERNAL, Where("MSH"), error), _header_of(raw))

    def _answered(self, raw: bytes) -> bytes:
        message: Message | None = None
        try:
            message = read_message(raw)
            told = self._take(message)
        except Hl7Fault as fault:
            code = Code.REJECTED if fault.is_rejection else Code.ERROR
            told = Acknowledgement(code, (Remark(fault.number, fault.where, str(fault)),))
        except MessageConflict as error:
            told = _refused(Code.REJECTED, DUPLICATE_KEY, Where("MSH", 1, 10), error)
        except (AccessDenied, MessageRefused):
            text = "policy or consent says no: nothing was filed"
            told = Acknowledgement(Code.REJECTED, (Remark(INTERNAL, Where("MSH"), text),))
        except TwinwardError as error:
            told = _refused(Code.ERROR, INTERNAL, Where("MSH"), error)
        return self._said(told, message)

    def refuse(self, text: str) -> bytes:
        """What a sender is told of bytes that were not read."""
        return self._said(Acknowledgement(Code.REJECTED, (Remark(SEQUENCE, Where("MSH"), text),)), None)

    def _said(self, told: Acknowledgement, message: Message | None) -> bytes:
        now_ms = self._live.clock.now_ms()
        return acknowledge(told, message, now_ms, uuid7(now_ms))

    def _take(self, message: Message) -> Acknowledgement:
        self._live.intake.require(self._context)
        version = message.header.text(12)
        if version not in _VERSIONS:
            raise Hl7Fault(VERSION_NOT_TAKEN, message.header.at(12), "MSH-12: a version from 2.1 to 2.8.2")
        kind, _, event = message.kind.partition("^")
        taken = MessageId(message.control_id, message.digest)
        if kind == "ORU" and event in ("R01", "R30", ""):  # whether it is known is seen where it is stored
            return self._results(message, taken)
        if self._live.messages.knows(self._context, self._source.name, taken):
            return Acknowledgement(Code.ACCEPTED)
        if kind == "ADT":
            return self._movement(message, taken, event)
        if kind in ("ORM", "OMG", "OML"):
            return self._orders(message, taken)
        raise Hl7Fault(TYPE_NOT_TAKEN, message.header.at(9), "MSH-9: ORU, ADT or ORM")

    def _results(self, message: Message, taken: MessageId) -> Acknowledgement:
        subject = self._subject(message)
        items = list(readings_of(message, subject, self._source.zone))
        answers = self._live.intake.take_message(self._context, self._source.name, taken, items)
        return Acknowledgement(Code.ACCEPTED, tuple(_remarks(message, answers)))

    def _movement(self, message: Message, taken: MessageId, event: str) -> Acknowledgement:
        if event == _MERGE:
            return self._merge(message, taken)
        if event not in _CHANGES:
            raise Hl7Fault(EVENT_NOT_TAKEN, message.header.at(9), "MSH-9: ADT of A01, A02, A03, A04, A08 or A40")
        pid = message.only("PID")
        known, _ = self._patient(pid, 3)
        said = patient_said(pid, known)
        visit = self._source.authorities.visit(message.first("PV1")) if event in _MOVES else None
        if event in _MOVES and visit is None:
            raise Hl7Fault(MISSING, Where("PV1", 1, 19), "PV1-19 is empty: a movement names its visit")
        moved = [visit_entry(message, visit, known[0], self._source.zone)] if visit else []
        try:
            (made,) = self._hospital.file(self._context, [create_entry(said)])
            amended = [amend_entry(said)] if said.members and made != _CREATED else []
            self._amend(known[0], [*amended, *moved])
        except AccessDenied:
            if event == "A03":  # whose no keeps the discharge out of the record has left all the same
                self._left(message, known[0])
            raise
        remarks = self._left(message, known[0]) if event == "A03" else ()
        if event in _MOVES and event != "A03":
            remarks = self._moved(message, known[0], event)
        if pid.text(7) and "birthDate" not in said.members:
            remarks = (*remarks, Remark(DATA_TYPE, pid.at(7), f"{pid.at(7)}: no such date: left as it was", "W"))
        self._live.messages.settle(self._context, self._source.name, taken)
        return Acknowledgement(Code.ACCEPTED, remarks)

    def _left(self, message: Message, patient: Identifier) -> tuple[Remark, ...]:
        """Their devices and their bed are the next one's."""
        self._release_devices(patient)
        return self._moved(message, patient, "A03")

    def _moved(self, message: Message, patient: Identifier, event: str) -> tuple[Remark, ...]:
        """The bed follows, where its twin is known here; what stands in the way is a warning: the rest was taken."""
        subject = self._hospital.subject_of(*patient)
        twin = self._hospital.twins_of([subject]).get(subject)
        beds = [] if event == "A03" else beds_of(message)
        if twin is None or (event == "A01" and not beds):
            return ()
        try:
            self._hospital.lay(self._context, twin, beds)
        except (Conflict, Refused) as error:
            return (Remark(INTERNAL, Where("PV1", 1, 3), f"PV1-3: the bed was not changed: {error.outside()[0]}", "W"),)
        return ()

    def _orders(self, message: Message, taken: MessageId) -> Acknowledgement:
        known, _ = self._patient(message.only("PID"), 3)
        self._amend(known[0], order_entries(message, known[0], self._source.authorities))
        self._live.messages.settle(self._context, self._source.name, taken)
        return Acknowledgement(Code.ACCEPTED)

    def _merge(self, message: Message, taken: MessageId) -> Acknowledgement:
        pid, mrg = message.only("PID"), message.only("MRG")
        (stays, *_), survivor = self._patient(pid, 3)
        (gone, *_), prior = self._found(self._source.authorities.identifiers(mrg, 1), mrg.at(1))
        for twin, where in ((survivor, pid.at(3)), (prior, mrg.at(1))):
            if twin is None:
                raise Hl7Fault(UNKNOWN_KEY, where, f"{where}: no patient of this hospital")
        if survivor is None or prior is None or survivor == prior:
            raise Hl7Fault(UNKNOWN_KEY, mrg.at(1), "MRG-1 and PID-3 are the same patient")
        self._live.require_hand_over(self._context, prior, survivor)
        self._amend(gone, [merge_entry(stays, gone)])
        merger = Merger((self._hospital.subject_of(*gone), prior), *stays, survivor)
        self._live.hand_over(self._context, prior, survivor, merger)
        self._live.messages.settle(self._context, self._source.name, taken)
        return Acknowledgement(Code.ACCEPTED)

    def _amend(self, patient: Identifier, entries: Entries) -> None:
        if not entries:
            return
        subject = self._hospital.subject_of(*patient)
        twin = self._hospital.twins_of([subject]).get(subject)
        if twin is None:
            raise Hl7Fault(UNKNOWN_KEY, Where("PID", 1, 3), "PID-3: no patient of this hospital, or two")
        self._hospital.amend(self._context, twin, entries)

    def _subject(self, message: Message) -> str:
        """Whose results they are: nobody's where PID is not there or empty, so that the device says it."""
        if next(message.all("PID"), None) is None or not message.only("PID").repetitions(3):
            return ""
        known, _ = self._patient(message.only("PID"), 3)
        return self._hospital.subject_of(*known[0])

    def _patient(self, segment: Segment, number: int) -> tuple[list[Identifier], TwinId | None]:
        """Identifiers of a field, each as whom it was merged into. Raises as ``_found``."""
        known = self._current(self._source.authorities.identifiers(segment, number))
        return self._found(known, segment.at(number))

    def _found(self, known: Sequence[Identifier], where: Where) -> tuple[list[Identifier], TwinId | None]:
        """Identifiers, those that somebody here is found by first; and whose they are, None for nobody's yet.

        Raises ``Hl7Fault`` where they are two patients': a message would change one by what is known of the other.
        """
        subjects = {one: self._hospital.subject_of(*one) for one in known}
        twins = self._hospital.twins_of(list(subjects.values()))
        if len(set(twins.values())) > 1:
            raise Hl7Fault(UNKNOWN_KEY, where, f"{where}: identifiers of two patients")
        ordered = sorted(subjects, key=lambda one: subjects[one] not in twins)
        return ordered, twins.get(subjects[ordered[0]])

    def _current(self, known: Sequence[Identifier]) -> list[Identifier]:
        """Identifiers, each as whom it was merged into."""
        return list(dict.fromkeys(self._survivor(one) for one in known))

    def _survivor(self, one: Identifier) -> Identifier:
        for _ in range(_MOST_MERGERS):
            subject = self._hospital.subject_of(*one)
            found = self._live.messages.merged(subject, *self._hospital.twins_of([subject]).values())
            if found is None:
                break
            one = Identifier(found.system, found.value)
        return one

    def _release_devices(self, patient: Identifier) -> None:
        """Who leaves takes no device along: what it measures from now on is not theirs."""
        subject = self._hospital.subject_of(*patient)
        twin = self._hospital.twins_of([subject]).get(subject)
        if twin is not None:
            self._live.hand_over(self._context, twin, None)


def _header_of(raw: bytes) -> Message | None:
    """As much of a message as names it, without cutting the rest; None where that cannot be read."""
    try:
        return read_message(re.split(rb"[\r\n]", raw[:MOST_HEADER_BYTES], maxsplit=1)[0])
    except Hl7Fault:
        return None


def _remarks(message: Message, answers: Sequence[Answer]) -> Iterable[Remark]:
    """What was kept apart of a message that was taken, for whoever looks after the interface."""
    for segment, answer in zip(results_of(message), answers, strict=True):
        if answer.outcome is Outcome.QUARANTINED:
            yield Remark(INTERNAL, segment.where, f"kept apart, {answer.reason}: {answer.detail}", "W")


def _refused(code: Code, number: int, where: Where, error: TwinwardError) -> Acknowledgement:
    message, hint = error.outside()  # a sender is outside: no file and no address of this node in its answer
    return Acknowledgement(code, (Remark(number, where, f"{message}: {hint}" if hint else message),))
