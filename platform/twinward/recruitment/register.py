"""The register of all contact requests, folded from their events in the order of the log.

Each step is an event of the action ``contact`` whose detail carries the ``step`` and the ``request``'s name:

=========  ===========================================================================================
step       says
=========  ===========================================================================================
proposed   a vendor's: title, purpose, text, criteria, the count that they were counted by
refused    an officer's, with a reason for the vendor
approved   an officer's: from then on patients are told
told       of one patient: that the hospital tells of it
compared   of one patient: that the criteria were held against the figures, and nobody was told
resumed    an officer's: telling goes on in this officer's name
finished   an officer's: everybody of the cohort was told or compared
answered   one patient's: yes or no
=========  ===========================================================================================

What is of one patient is sealed under that patient's key and erased with the twin; the others name no patient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from twinward.audit.models import AccessEvent, Noted
from twinward.core.vocabulary import Role, TwinId
from twinward.protocol.contacts import ContactState
from twinward.recruitment.models import ContactRequest, Told


class ContactRegister:
    """All requests by name. Not safe to share between threads by itself: ``ContactDesk`` holds a lock."""

    def __init__(self) -> None:
        self.requests: dict[str, ContactRequest] = {}
        self.told: dict[str, dict[TwinId, Told]] = {}
        """By request and twin."""
        self.done: dict[str, set[TwinId]] = {}
        """By request: who was told or compared."""

    def note(self, noted: Noted) -> None:
        """Take one event in; what is no step of a request is passed over."""
        event, detail = noted.event, dict(noted.event.detail)
        name, step = detail.get("request", ""), detail.get("step", "")
        if event.decision != "permit" or noted.index is None or not name:
            return
        if step == "proposed" and event.role is Role.VENDOR:
            self.requests.setdefault(name, _proposed(name, noted.index, event, detail))
            self.told.setdefault(name, {})
            self.done.setdefault(name, set())
        elif name in self.requests and event.twin is not None:
            self._of_patient(name, event.twin, step, event, detail)
        elif name in self.requests and step in _STEPS:
            self.requests[name] = _STEPS[step](self.requests[name], event, detail)

    def _of_patient(self, name: str, twin: TwinId, step: str, event: AccessEvent, detail: dict[str, str]) -> None:
        told = self.told[name]
        if step in ("told", "compared") and event.role is Role.OFFICER:
            self.done[name].add(twin)
        if step == "told" and event.role is Role.OFFICER:
            told.setdefault(twin, Told(twin, event.at_ms))
        elif step == "answered" and event.role is Role.PATIENT and twin in told:
            told[twin] = replace(told[twin], answer=detail.get("answer") == "yes")


def _proposed(name: str, index: int, event: AccessEvent, detail: dict[str, str]) -> ContactRequest:
    return ContactRequest(
        name=name,
        vendor=event.agent,
        epoch=int(detail["epoch"]),
        count_id=detail["count"],
        digest=detail["digest"],
        title=detail["title"],
        purpose=detail["purpose"],
        text=detail["text"],
        criteria=detail["criteria"],
        index=index,
        proposed_ms=event.at_ms,
    )


def _decided(state: ContactState) -> Callable[[ContactRequest, AccessEvent, dict[str, str]], ContactRequest]:
    def decided(request: ContactRequest, event: AccessEvent, detail: dict[str, str]) -> ContactRequest:
        if request.state is not ContactState.WAITING:
            return request
        reason = detail.get("reason", "")
        return replace(request, state=state, decided_ms=event.at_ms, decided_by=event.agent, reason=reason)

    return decided


def _resumed(request: ContactRequest, event: AccessEvent, _: dict[str, str]) -> ContactRequest:
    return replace(request, resumed_by=event.agent)


def _finished(request: ContactRequest, event: AccessEvent, _: dict[str, str]) -> ContactRequest:
    return replace(request, finished_ms=request.finished_ms or event.at_ms)


_STEPS: Final[dict[str, Callable[[ContactRequest, AccessEvent, dict[str, str]], ContactRequest]]] = {
    "approved": _decided(ContactState.APPROVED),
    "refused": _decided(ContactState.REFUSED),
    "resumed": _resumed,
    "finished": _finished,
}
