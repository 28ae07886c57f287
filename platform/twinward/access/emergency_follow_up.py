"""What follows an emergency and must never stand in its way: the contract's deadline, the officers' alert, the review.

The contract learns 32 bytes for each emergency, ``SHA-256("twinward/break-glass/1" ‖ LF ‖ salt ‖ leaf hash)``: without
the salt, which only the hospital can compute, nobody can tell which entry of the log it is, let alone whom it is about.
It says by when a review is due, and records when it came. A review is committed to in the same way, by its own leaf.

Each step is asked for again until it is done, is logged once it is, and is skipped where it was done already: two
processes, a restart and a transaction that was sent and never heard of come to the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import structlog

from twinward.access.emergencies import Emergencies
from twinward.access.emergency import JUSTIFIED, Emergency
from twinward.access.interfaces import NODE
from twinward.audit.interfaces import AuditTrail
from twinward.core.clock import iso
from twinward.core.errors import TwinwardError
from twinward.core.receiver import post
from twinward.core.turns import process_lock
from twinward_ledger.errors import ChainError

DOMAIN: Final = b"twinward/break-glass/1\n"
TRIES: Final = 5
"""How often an alert is sent before it counts as not delivered."""

AT_ONCE: Final = 50
ALERT_PAGE = "/console/emergencies"
ALERT_TIMEOUT_S = 5.0

log = structlog.get_logger("twinward.emergencies")


class Declared(Protocol):
    """What the contract knows of one emergency."""

    @property
    def deadline_s(self) -> int:
        """By when it is to be reviewed, Unix seconds."""
        ...

    @property
    def reviewed_at_s(self) -> int | None:
        """When it was; None while it was not."""
        ...

    @property
    def reviewed_late(self) -> bool:
        """Whether that was too late."""
        ...


class ReviewContract(Protocol):
    """``twinward_contracts.bindings.BreakGlass`` is one."""

    def declare(self, commitment: bytes) -> object:
        """Declare an emergency."""
        ...

    def review(self, commitment: bytes, *, justified: bool, report_hash: bytes) -> object:
        """Record its review."""
        ...

    def declaration(self, commitment: bytes) -> Declared | None:
        """What is known of it; None where nothing is."""
        ...


Alert = Callable[[Emergency], None]
"""Tells officers that an emergency has begun; raises ``TwinwardError`` where it could not."""


class FollowUp:
    """Ends, declares, tells and closes whatever is due, in any process of the node.

    Args:
        emergencies: the node's.
        trail: where each step is logged.
        contract: gives the contract where reviews are due; may raise as a chain does.
        lock: a file that the processes of the home share: one of them does it at a time.
        alert: how officers are told; None where nobody is to be.
    """

    def __init__(
        self,
        emergencies: Emergencies,
        trail: AuditTrail,
        contract: Callable[[], ReviewContract],
        lock: Path,
        alert: Alert | None = None,
    ) -> None:
        self._emergencies = emergencies
        self._trail = trail
        self._contract = contract
        self._lock = lock
        self._alert = alert
        self._tries: dict[str, int] = {}
        self.problem = ""
        """Why the contract did not take what it was to take, last time; empty where it did."""

    def do(self) -> None:
        """Do what is due, once. Never raises for a log, chain or receiver that is down: it is done next time."""
        try:
            self._emergencies.end_due()
        except TwinwardError as error:
            log.warning("emergencies_wait", kind=type(error).__name__)
        with process_lock(self._lock, wait=False) as mine:
            if not mine:
                return  # another process is at it
            every = list(self._emergencies.register().emergencies.values())
            logged = [one for one in every if one.index is not None]
            if self._alert is not None:
                for one in [one for one in logged if not one.told and not one.finding][:AT_ONCE]:
                    self._tell(self._alert, one)
            try:
                for one in [one for one in logged if one.deadline_ms is None and one.leaf_hash][:AT_ONCE]:
                    self._declare(one)
                for one in [one for one in self._declared() if one.finding and not one.closed][:AT_ONCE]:
                    self._close(one)
                self.problem = ""
            except (ChainError, TwinwardError) as error:
                self.problem = str(error)
                log.warning("emergencies_wait", kind=type(error).__name__)

    def _declared(self) -> list[Emergency]:
        every = self._emergencies.register().emergencies.values()
        return [one for one in every if one.commitment and one.deadline_ms is not None]

    def _declare(self, one: Emergency) -> None:
        commitment = self.commitment(one.leaf_hash)
        contract = self._contract()
        found = contract.declaration(commitment)
        if found is None:
            contract.declare(commitment)
            found = contract.declaration(commitment)
        if found is not None:
            self._note(one, "declared", commitment=commitment.hex(), deadline=iso(found.deadline_s * 1000))

    def _close(self, one: Emergency) -> None:
        contract = self._contract()
        found = contract.declaration(one.commitment)
        if found is not None and found.reviewed_at_s is None:
            report = self.commitment(one.review_leaf_hash)
            contract.review(one.commitment, justified=one.finding == JUSTIFIED, report_hash=report)
            found = contract.declaration(one.commitment)
        if found is not None and found.reviewed_at_s is not None:
            self._note(one, "closed", finding=one.finding, late="yes" if found.reviewed_late else "no")

    def _tell(self, alert: Alert, one: Emergency) -> None:
        tries = self._tries[one.name] = self._tries.get(one.name, 0) + 1
        try:
            alert(one)
        except TwinwardError as error:
            log.warning("alert_not_delivered", kind=type(error).__name__, tries=tries)
            if tries < TRIES:
                return
            self._try_to_note(one, "no")
        else:
            self._try_to_note(one, "yes")

    def _try_to_note(self, one: Emergency, delivered: str) -> None:
        try:
            self._note(one, "told", delivered=delivered)
        except TwinwardError as error:
            log.warning("emergencies_wait", kind=type(error).__name__)
        else:
            self._tries.pop(one.name, None)

    def _note(self, one: Emergency, phase: str, **detail: str) -> None:
        self._trail.record([self._emergencies.event(NODE, phase, one, **detail)])

    def commitment(self, leaf_hash: bytes) -> bytes:
        """The 32 bytes by which the contract knows an event of the log."""
        return hashlib.sha256(DOMAIN + self._emergencies.log.salt(leaf_hash) + leaf_hash).digest()


@dataclass(frozen=True, slots=True)
class Webhook:
    """The officers' alert as a webhook: an address of the hospital's own is told that the glass was broken.

    No more: what is sent names no patient, clinician or reason, it says where to look.
    """

    url: str
    hospital: str

    def __call__(self, emergency: Emergency) -> None:
        """Tell it. Raises ``Unavailable`` unless it answers with a 2xx in time."""
        body = {"kind": "break-glass", "hospital": self.hospital, "emergency": emergency.name, "page": ALERT_PAGE}
        post(self.url, json.dumps(body).encode(), timeout_s=ALERT_TIMEOUT_S)
