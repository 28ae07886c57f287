"""Contact requests: proposed by a vendor, decided on by an officer, told to patients; the log is where they are kept.

Invariants:

* Each step is one event, durable before anybody is told that it was taken. What a process knows of a request it has
  read off the log, so all processes know the same.
* A request is decided on once. Steps are taken in turn, over all processes.
* An approval is a decision and nothing else. Telling goes on by itself in a served node, batch by batch, in the name of
  the officer who approved: killed anywhere, it goes on where the log says it was.
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

import structlog

from twinward.access import justification
from twinward.access.interfaces import AccessContext, AccessControl, AccessRequest, Principal
from twinward.audit.models import Noted
from twinward.core.errors import BadInput, TwinwardError
from twinward.core.sentences import sentence
from twinward.core.turns import Turn
from twinward.core.vocabulary import Action, Category, Purpose, TwinId
from twinward.protocol.contacts import MAX_REQUESTS, ContactProposal, ContactState, criteria_json
from twinward.protocol.criteria import Criteria
from twinward.recruitment.errors import ContactConflict, ContactInvalid, NoSuchContact
from twinward.recruitment.models import ContactRequest, Invitation, Told, name_of
from twinward.recruitment.register import ContactRegister

_AT_ONCE: Final = 2048
"""Patients decided on in one durable step of the log."""
_BY_ITSELF: Final = (("via", "the node, after an approval"),)
_IDENTITY: Final = frozenset({Category.DEMOGRAPHICS})
_FEATURES: Final = frozenset({Category.FEATURES})


log = structlog.get_logger("twinward.recruitment")


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
        turn: the processes of the home take it one after another, for a step.
        working: the same for telling, which takes long: one process at a time.
        meant: raises ``BadInput`` where criteria mean nothing here; looks at no patient.
        eligible: whom criteria mean.
        officer_of: an account that is in use, as an officer; None where it is none any more.
        pad: told how many patients got an event each; makes the log grow by a number that says less.
        is_kept: whether a twin was not erased.
    """

    def __init__(
        self,
        log: ContactLog,
        access: AccessControl,
        turn: Turn,
        working: Turn,
        meant: Callable[[Criteria], object],
        eligible: Eligible,
        officer_of: Callable[[str], Principal | None],
        pad: Callable[[int], None],
        is_kept: Callable[[TwinId], bool],
    ) -> None:
        self._log, self._access, self._turn, self._working = log, access, turn, working
        self._meant, self._eligible, self._officer_of = meant, eligible, officer_of
        self._pad, self._is_kept = pad, is_kept
        self.on_approval: Callable[[], None] = lambda: None
        """Called when there is somebody to tell: a served node has its background look."""
        self._sizes: dict[str, int] = {}
        self._stopping = False
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
            "title": _sentence(proposal.title, sentence("the title")),
            "purpose": _sentence(proposal.purpose, sentence("the purpose")),
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
        return self._decided(officer, name, "refused", _sentence(reason, sentence("a reason")))

    def approve(self, officer: AccessContext, name: str, reason: str) -> ContactRequest:
        """Say yes. Everybody who is eligible then and consents to it is told afterwards: see ``carry_on``.

        Args:
            officer: who decides, for compliance.
            name: the request's.
            reason: for the log; no vendor reads it.

        Raises:
            ContactConflict: it was decided on already.
            ContactInvalid: no reason; or the criteria mean nothing here any more.
        """
        self._means(self._request(name))  # criteria that mean nothing any more are no approval
        request = self._decided(officer, name, "approved", _sentence(reason, sentence("a reason")))
        self.on_approval()
        return request

    def resume(self, officer: AccessContext, name: str) -> ContactRequest:
        """Have telling go on in this officer's name, where the one who approved has no account any more.

        Raises ``ContactConflict``: everybody was told.
        """
        with self._turn:
            self._require_unfinished(self._request(name))
            self._access.decide(officer.request(Action.CONTACT, detail=_detail("resumed", name, {})))
        self.on_approval()
        return self._request(name)

    def carry_on(self, told: Callable[[int, int], None] = lambda _, __: None) -> None:
        """Tell everybody who is to be, of every approved request; harmless where nobody is left.

        One that cannot go on now (its officer's account is closed, no cohort, criteria that mean nothing any more)
        stays as it is, and does not hold up others.

        Args:
            told: hears how many of the cohort were seen to, of how many.

        Raises ``Unavailable``: the log cannot be read.
        """
        for request in self._requests().values():
            officer = self._officer_of(request.carried_by) if _is_unfinished(request) else None
            if officer is None:
                continue
            try:
                self.finish(AccessContext(officer, Purpose.COMPLIANCE, detail=_BY_ITSELF), request.name, told)
            except TwinwardError as error:
                log.warning("contact_request_waits", request=request.name, kind=type(error).__name__)

    def stop(self) -> None:
        """Have telling pause after its batch: the process ends. It goes on with the next start."""
        self._stopping = True

    def progress(self, name: str) -> tuple[int, int | None]:
        """How many of the cohort were seen to, and of how many; None where no process that is here knows."""
        done = len(self._done(name))
        return done, self._sizes.get(name)

    def finish(
        self, officer: AccessContext, name: str, told: Callable[[int, int], None] = lambda _, __: None
    ) -> ContactRequest:
        """Go on with an approved request until everybody was told who is to be.

        Raises:
            ContactConflict: nobody is left.
            ContactInvalid: the criteria mean nothing here any more.
            Unavailable, NoCohort: nobody can be told now.
        """
        with self._working:
            request = self._require_unfinished(self._request(name))
            everybody, eligible = self._held(request)
            done = self._done(name)
            left = [twin for twin in everybody if twin not in done]
            self._sizes[name] = len(done) + len(left)
            SystemRandom().shuffle(left)  # no order of leaves says who is eligible
            for start in range(0, len(left), _AT_ONCE):
                if self._stopping:
                    return request
                some = left[start : start + _AT_ONCE]
                self._access.decide_many([self._seen_to(officer, name, twin, twin in eligible) for twin in some])
                self._requests()  # reads them back while their keys are at hand, and not all of them at the end
                told(start + len(some), len(left))
            self._pad(len(left))
            self._access.decide(officer.request(Action.CONTACT, detail=_detail("finished", name, {})))
        return self._request(name)

    def _require_unfinished(self, request: ContactRequest) -> ContactRequest:
        if not _is_unfinished(request):
            raise ContactConflict("nobody is left to be told of this request")
        return request

    def _means(self, request: ContactRequest) -> None:
        try:
            self._meant(request.reading())
        except BadInput as error:
            raise _meaningless(error) from error

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
            raise _meaningless(error) from error

    def _seen_to(self, officer: AccessContext, name: str, twin: TwinId, is_eligible: bool) -> AccessRequest:
        """What is decided about one patient: to be told, where eligible and willing; else to be compared only."""
        who = officer.principal
        detail = _detail("told", name, {})
        tell = AccessRequest(
            who, Action.CONTACT, Purpose.SIMILARITY, twin, _IDENTITY, detail=(*officer.detail, *detail)
        )
        willing = self._access.may(tell)  # of everybody: what it takes says nothing of who is eligible
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


def _is_unfinished(request: ContactRequest) -> bool:
    return request.state is ContactState.APPROVED and not request.finished_ms


def _meaningless(error: BadInput) -> ContactInvalid:
    return ContactInvalid(
        sentence("these criteria mean nothing here any more: {error}", error=str(error)),
        hint="refuse it, and say why: they count anew",
    )


def _detail(step: str, name: str, more: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return (("step", step), ("request", name), *more.items())


def _sentence(text: str, what: str) -> str:
    try:
        said = justification.bounded(text)
    except BadInput:
        raise ContactInvalid(
            sentence("{what} has {most} characters at most", what=what, most=justification.MAX_CHARS)
        ) from None
    if justification.fault(said) or any("\ud800" <= one <= "\udfff" for one in said):
        raise ContactInvalid(sentence("{what} is a sentence of a few words at least", what=what))
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
