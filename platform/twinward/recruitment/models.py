"""A vendor's contact request, as far as the log tells it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from twinward.core.clock import iso
from twinward.core.vocabulary import TwinId
from twinward.protocol.contacts import ContactReply, ContactState
from twinward.protocol.criteria import Criteria


@dataclass(frozen=True, slots=True)
class ContactRequest:
    """One request. Times are milliseconds since the epoch, 0 where it has not come to that.

    Attributes:
        name: 16 hexadecimal digits, of vendor and count: one count carries one request.
        count_id: the query id of the count that it stands on.
        digest: of what was proposed, to tell the same proposal sent again from another one.
        criteria: JSON, as the vendor disclosed them and as they were counted.
        resumed_by: another officer in whose name patients are told, where the one who approved is gone.
        finished_ms: when everybody was told who is to be told.
    """

    name: str
    vendor: str
    epoch: int
    count_id: str
    digest: str
    title: str = field(repr=False)
    purpose: str = field(repr=False)
    text: str = field(repr=False)
    criteria: str = field(repr=False)
    index: int
    proposed_ms: int
    state: ContactState = ContactState.WAITING
    decided_ms: int = 0
    decided_by: str = ""
    reason: str = field(default="", repr=False)
    resumed_by: str = ""
    finished_ms: int = 0

    @property
    def carried_by(self) -> str:
        """The officer in whose name patients are told."""
        return self.resumed_by or self.decided_by

    def reading(self) -> Criteria:
        """The criteria. Raises ``BadInput`` where they cannot be read any more."""
        return Criteria.of_json(self.criteria)

    def reply(self) -> ContactReply:
        """What its vendor may see."""
        return ContactReply(
            name=self.name,
            epoch=self.epoch,
            title=self.title,
            state=self.state,
            proposed_ms=self.proposed_ms,
            decided_ms=self.decided_ms,
            reason=self.reason if self.state is ContactState.REFUSED else "",
        )

    def as_json(self, people: Sequence[Told] | None = None) -> dict[str, Any]:
        """For an officer's machine; ``people`` are whom the hospital told, where that was asked for."""
        shown: dict[str, Any] = {
            "request": self.name,
            "vendor": self.vendor,
            "state": self.state.value,
            "title": self.title,
            "purpose": self.purpose,
            "text": self.text,
            "criteria": self.criteria,
            "proposed": iso(self.proposed_ms),
            "decided": iso(self.decided_ms) if self.decided_ms else "",
            "decided_by": self.decided_by,
            "reason": self.reason,
            "finished": iso(self.finished_ms) if self.finished_ms else "",
        }
        if people is not None:
            shown["told"] = [{"twin": one.twin, "at": iso(one.at_ms), "answer": one.said} for one in people]
        return shown


@dataclass(frozen=True, slots=True)
class Told:
    """A patient whom the hospital told, and whether it may pass the patient's contact on; None: no answer yet.

    Nobody outside is given this, nor how many there are.
    """

    twin: TwinId
    at_ms: int
    answer: bool | None = None

    @property
    def said(self) -> str:
        """The answer as a word; empty for none."""
        return {None: "", True: "yes", False: "no"}[self.answer]


@dataclass(frozen=True, slots=True)
class Invitation:
    """A request as the patient sees it who was told of it."""

    request: ContactRequest
    told: Told


def name_of(vendor: str, count_id: str) -> str:
    """The name of the request that stands on a vendor's count."""
    return hashlib.sha256(f"twinward/contact\0{vendor}\0{count_id}".encode()).hexdigest()[:16]
