"""Contact requests: proposed by a vendor, decided on by an officer, told to patients; the log is where they are kept.

Invariants:

* Each step is one event, durable before anybody is told that it was taken. What a process knows of a request it has
  read off the log, so all processes know the same.
* A request is decided on once. Steps are taken in turn, over all processes.
* A patient is told only by that patient's own consent to being told, decided on and logged for each.
* Everybody of the cohort gets one event of an approved request, whether told or merely compared: how many leaves the
  published log grows by says nothing of how many are eligible. A request that was cut off in the middle goes on where
  it was, and tells nobody twice.
* No vendor is given a handle, a number or a patient's answer by anything here.
"""

from __future__ import annotations

import hashlib
import threading
import unicodedata
from collections.abc import Callable, Sequence
from secrets import SystemRandom
from typing import Final, Protocol

from twinward.access import justification
from twinward.access.interfaces import AccessContext, AccessControl, AccessRequest, Principal
from twinward.audit.models import Noted
from twinward.core.errors import BadInput
from twinward.core.turns import Turn
from twinward.core.vocabulary import Action, Category, Purpose, TwinId
from twinward.protocol.contacts import MAX_REQUESTS, ContactProposal, ContactState, criteria_json
from twinward.protocol.criteria import Criteria
from twinward.recruitment.errors import ContactConflict, ContactInvalid, NoSuchContact
from twinward.recruitment.models import ContactRequest, Invitation, Told, name_of
from twinward.recruitment.register import ContactRegister

_AT_ONCE: Final = 2048
"""Patients decided on in one durable step of the log."""
_IDENTITY: Final = frozenset({Category.DEMOGRAPHICS})
_FEATURES: Final = frozenset({Category.FEATURES})


class ContactLog(Protocol):
    """Where the steps are read back."""

    def size(self) -> int:
        """How many entries the log has. Raises ``Unavailable``."""
        ...

    def between(self, start: int, stop: int) -> list[Noted]:
        """Those of ``start <= index < stop``, oldest first. Raises ``Unavailable``, ``LogTampered``."""
        ...


Eligible = Callable[[Criteria], tuple[Sequence[TwinId], frozenset[TwinId]]]
"""The running cohort's twins, and which of them meet criteria. Raises ``BadInput``, ``NoCohort``, ``Unavailable``."""


class ContactDesk:
    """The contact requests of one node, in whichever process.

    Args:
        log: where they are read.
        access: decides on each step, and logs it.
        turn: the processes of the home take it one after another.
        eligible: whom criteria mean.
        pad: told how many patients got an event each; makes the log grow by a number that says less.
        is_kept: whether a twin was not erased.
    """

    def __init__(
        self,
        log: ContactLog,
        access: AccessControl,
        turn: Turn,
        eligible: Eligible,
        pad: Callable[[int], None],
        is_kept: Callable[[TwinId], bool],
    ) -> None:
        self._log, self._access, self._turn = log, access, turn
        self._eligible, self._pad, self._is_kept = eligible, pad, is_kept
        self._mutex = threading.RLock()
        self._register = ContactRegister()
        self._next = 0

    # A vendor's

    def propose(self, vendor: Principal, proposal: ContactProposal) -> ContactRequest:
        """Keep a proposal, once it was checked against the count that it stands on. The same again changes nothing.

        Raises:
            ContactConflict: another proposal stands on this count.
            ContactInvalid: a text that says nothing.
        """
        count_id = str(proposal.count.query_id)
        name = name_of(vendor.id, count_id)
        said = {
            "title": _sentence(proposal.title, "the title"),
            "purpose": _sentence(proposal.purpose, "the purpose"),
            "text": _body(proposal.text),
            "criteria": criteria_json(proposal.criteria),
        }
        digest = hashlib.sha256("\0".join(said.values()).encode()).hexdigest()
        with self._turn:
            known = self._requests().get(name)
            if known is None:
                more = {"epoch": str(proposal.count.epoch), "count": count_id, "digest": digest}
                detail = _detail("proposed", name, said | more)
                self._access.decide(AccessRequest(vendor, Action.CONTACT, Purpose.SIMILARITY, detail=detail))
            elif known.digest != digest:
                raise ContactConflict(
                    "another request stands on this count", hint="count anew for another one: it is a study of its own"
                )
        return self._request(name)

    def of_vendor(self, vendor: str) -> list[ContactRequest]:
        """A vendor's own, newest first."""
        found = [one for one in self._requests().values() if one.vendor == vendor]
        return sorted(found, key=lambda one: one.index, reverse=True)[:MAX_REQUESTS]

    # An officer's

    def all(self, officer: AccessContext) -> list[ContactRequest]:
        """Every request, newest first; the look is logged."""
        self._access.decide(officer.request(Action.CONTACT, detail=(("page", "contacts"),)))
        return sorted(self._requests().values(), key=lambda one: one.index, reverse=True)

    def one(self, officer: AccessContext, name: str) -> tuple[ContactRequest, list[Told]]:
        """A request, and whom the hospital told; the look is logged. Raises ``NoSuchContact``."""
        self._access.decide(officer.request(Action.CONTACT, detail=(("page", "contact"), ("request", name))))
        return self._request(name), self._told(name)

    def waiting(self) -> int:
        """How many wait for an officer; names nobody. Raises ``Unavailable``."""
        unfinished = (one for one in self._requests().values() if not one.finished_ms)
        return sum(one.state is not ContactState.REFUSED for one in unfinished)

    def refuse(self, officer: AccessContext, name: str, reason: str) -> ContactRequest:
        """Say no, with a reason that the vendor reads. Raises ``ContactConflict``, ``ContactInvalid``."""
        return self._decided(officer, name, "refused", _sentence(reason, "a reason"))

    def approve(
        self, officer: AccessContext, name: str, reason: str, told: Callable[[int, int], None] = lambda _, __: None
    ) -> ContactRequest:
        """Say yes, and have everybody told who is eligible now and consents to it.

        Args:
            officer: who decides, for compliance.
            name: the request's.
            reason: for the log; no vendor reads it.
            told: hears how many of the cohort were seen to, of how many.

        Raises:
            ContactConflict: it was decided on already.
            ContactInvalid: no reason; or the criteria mean nothing here any more.
            Unavailable, NoCohort: nobody can be told now; nothing was decided.
        """
        request = self._request(name)
        self._held(request)  # before anything is decided: criteria that mean nothing any more are no approval
        self._decided(officer, name, "approved", _sentence(reason, "a reason"))
        return self.finish(officer, name, told)

    def finish(
        self, officer: AccessContext, name: str, told: Callable[[int, int], None] = lambda _, __: None
    ) -> ContactRequest:
        """Go on with an approved request until everybody was told who is to be. Raises as ``approve``."""
        with self._turn:
            request = self._request(name)
            if request.state is not ContactState.APPROVED or request.finished_ms:
                raise ContactConflict("nobody is left to be told of this request")
            everybody, eligible = self._held(request)
            done = self._done(name)
            left = [twin for twin in everybody if twin not in done]
            SystemRandom().shuffle(left)  # no order of leaves says who is eligible
            for start in range(0, len(left), _AT_ONCE):
                some = left[start : start + _AT_ONCE]
                self._access.decide_many([self._seen_to(officer, name, twin, twin in eligible) for twin in some])
                told(start + len(some), len(left))
            self._pad(len(left))
            self._access.decide(officer.request(Action.CONTACT, detail=_detail("finished", name, {})))
        return self._request(name)

    # A patient's

    def invitations(self, twin: TwinId) -> list[Invitation]:
        """What a patient was told of, newest first. Whoever calls has had the look decided on."""
        with self._mutex:
            requests = self._requests()
            found = [
                Invitation(requests[name], some[twin]) for name, some in self._register.told.items() if twin in some
            ]
        return sorted(found, key=lambda one: one.told.at_ms, reverse=True)

    def answer(self, patient: AccessContext, twin: TwinId, name: str, *, wanted: bool) -> None:
        """A patient says whether the hospital may pass the contact on; the newest answer counts.

        Raises ``NoSuchContact``: the patient was told of no such request.
        """
        if name not in {one.request.name for one in self.invitations(twin)}:
            raise NoSuchContact("you were told of no such study", hint="go back to your invitations")
        detail = _detail("answered", name, {"answer": "yes" if wanted else "no"})
        self._access.decide(patient.request(Action.CONTACT, twin, detail=detail))

    # Inside

    def _held(self, request: ContactRequest) -> tuple[Sequence[TwinId], frozenset[TwinId]]:
        try:
            return self._eligible(request.reading())
        except BadInput as error:
            raise ContactInvalid(
                f"these criteria mean nothing here any more: {error}", hint="refuse it, and say why: they count anew"
            ) from error

    def _seen_to(self, officer: AccessContext, name: str, twin: TwinId, is_eligible: bool) -> AccessRequest:
        """What is decided about one patient: to be told, where eligible and willing; else to be compared only."""
        who = officer.principal
        detail = _detail("told", name, {})
        tell = AccessRequest(
            who, Action.CONTACT, Purpose.SIMILARITY, twin, _IDENTITY, detail=(*officer.detail, *detail)
        )
        willing = self._access.check(tell).permitted  # of everybody: what it takes says nothing of who is eligible
        if is_eligible and willing:
            return tell
        return officer.request(Action.CONTACT, twin, _FEATURES, detail=_detail("compared", name, {}))

    def _decided(self, officer: AccessContext, name: str, step: str, reason: str) -> ContactRequest:
        with self._turn:
            if self._request(name).state is not ContactState.WAITING:
                raise ContactConflict("this request was decided on already", hint="its page says by whom, and why")
            detail = _detail(step, name, {"reason": reason})
            self._access.decide(officer.request(Action.CONTACT, detail=detail))
        return self._request(name)

    def _request(self, name: str) -> ContactRequest:
        found = self._requests().get(name)
        if found is None:
            raise NoSuchContact("there is no contact request of this name", hint="the page of requests lists them")
        return found

    def _told(self, name: str) -> list[Told]:
        with self._mutex:
            found = list(self._register.told[name].values())
        return [one for one in sorted(found, key=lambda one: one.at_ms) if self._is_kept(one.twin)]

    def _done(self, name: str) -> frozenset[TwinId]:
        with self._mutex:
            self._requests()
            return frozenset(self._register.done[name])

    def _requests(self) -> dict[str, ContactRequest]:
        with self._mutex:
            size = self._log.size()
            if size < self._next:  # another log than before: a backup was restored
                self._register, self._next = ContactRegister(), 0
            if size > self._next:
                for noted in self._log.between(self._next, size):
                    self._register.note(noted)
                self._next = size
            return dict(self._register.requests)


def _detail(step: str, name: str, more: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return (("step", step), ("request", name), *more.items())


def _sentence(text: str, what: str) -> str:
    try:
        said = justification.bounded(text)
    except BadInput:
        raise ContactInvalid(f"{what} has {justification.MAX_CHARS} characters at most") from None
    if justification.fault(said) or any("\ud800" <= one <= "\udfff" for one in said):
        raise ContactInvalid(f"{what} is a sentence of a few words at least")
    return said


def _body(text: str) -> str:
    """A text for patients: its lines, each without what cannot be seen."""
    lines = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    said = "\n".join(justification.tidy(line) for line in lines).strip("\n")
    if justification.fault(" ".join(said.split())[: justification.MAX_CHARS]):
        raise ContactInvalid("the text for patients says something")
    if any("\ud800" <= one <= "\udfff" for one in said):
        raise ContactInvalid("the text for patients is text in UTF-8")
    return said
