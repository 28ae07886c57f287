"""Erasing by two officers: one proposes, another approves, and what was ordered goes on whatever the node dies of.

    1. propose     an event that says why; nothing is erased
    2. approve     by another officer: the decision is logged, then the keys go in one durable step of the keyring
    3. carry_on    rows, old keys and backups follow, in whichever process; the log says that it is done

Killed before the keyring's step, nothing is gone and the proposal waits as before. Killed after it, the keyring knows
what is left to do, and a served node goes on by itself. There is nothing between.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Final, Protocol

from twinward.access.interfaces import AccessContext, AccessControl, AccessRequest, Principal
from twinward.access.second_officer import require_second, why
from twinward.audit.interfaces import AuditTrail
from twinward.audit.models import AccessEvent, Noted
from twinward.core.clock import Clock
from twinward.core.errors import Conflict, NotFound
from twinward.core.sentences import sentence
from twinward.core.turns import Turn
from twinward.core.vocabulary import Action, Category, TwinId
from twinward.erasure.proposals import MOOT, UNDER_WAY, WAITING, ErasureRegister, ProposedErasure
from twinward.erasure.service import PROPOSAL, PROPOSED_BY, ErasureReceipt, Erasures
from twinward.vault.keys.keyring import Keyring

MOST_WAITING: Final = 100
REASONS: Final = {
    "proposed": "an officer proposed an erasure",
    "concerns": "an officer proposed to erase this record, or a part of it",
    "withdrawn": "the proposed erasure was withdrawn",
}


class ErasureLog(Protocol):
    """Where the steps are read back."""

    def size(self) -> int:
        """How many entries the log has. Raises ``Unavailable``."""
        ...

    def between(self, start: int, stop: int) -> list[Noted]:
        """Those of ``start <= index < stop``, oldest first. Raises ``Unavailable``, ``LogTampered``."""
        ...


class ErasureDesk:
    """Proposals of one node, in whichever process. Each step is refused to whom policy does not let shred that twin.

    Args:
        log: where they are read.
        trail: where they are written.
        access: decides who may.
        erasures: what does it.
        keyring: knows what is gone.
        clock: the node's time.
        turn: the processes of the home take steps one after another.
        officers: whoever could be the second one: officers whose accounts may be used now.

    Attributes:
        progress: keys wrapped anew so far and of how many, while this process carries one on; None otherwise.
    """

    def __init__(
        self,
        log: ErasureLog,
        trail: AuditTrail,
        access: AccessControl,
        erasures: Erasures,
        keyring: Keyring,
        clock: Clock,
        turn: Turn,
        officers: Callable[[], Collection[Principal]],
    ) -> None:
        self._log, self._trail, self._access, self._officers = log, trail, access, officers
        self._erasures, self._keyring, self._clock, self._turn = erasures, keyring, clock, turn
        self._mutex = threading.RLock()
        self._register, self._next = ErasureRegister(), 0
        self.progress: tuple[int, int] | None = None

    def all(self) -> list[ProposedErasure]:
        """Every proposal, newest first. Names twins: for whom a page's permit was given. Raises ``Unavailable``."""
        under_way = self._erasures.proposals_under_way()
        found = [self._as_it_is(one, under_way) for one in self._proposals().values()]
        return sorted(found, key=lambda one: one.index, reverse=True)

    def proposal(self, name: str) -> ProposedErasure:
        """One of them. Raises ``NotFound``."""
        found = self._proposals().get(name)
        if found is None:
            raise NotFound("there is no proposed erasure of this name", hint="the page Erasure lists all")
        return self._as_it_is(found, self._erasures.proposals_under_way())

    def waiting(self) -> int:
        """How many wait for a second officer. Names nobody."""
        return sum(one.state == WAITING for one in self.all())

    def propose(
        self, context: AccessContext, twin: TwinId, categories: Collection[Category], reason: str
    ) -> ProposedErasure:
        """Propose to erase a twin, or categories of one. Nothing is erased.

        Raises:
            AccessDenied: policy does not let this officer shred that twin for this purpose; the refusal is logged.
            NotFound: there is no such twin, or it was shredded.
            BadInput: the reason says nothing.
            Conflict: the same waits already, or too many wait.
        """
        request = context.request(Action.SHRED, twin, categories)
        self._access.require(request)
        said = why(reason)
        if not self._has(twin):
            raise NotFound("there is no such twin, or it is erased already", hint="`twinward twin list` prints all")
        with self._turn:
            waiting = [one for one in self.all() if one.state == WAITING]
            if any((one.twin, one.categories) == (twin, frozenset(categories)) for one in waiting):
                raise Conflict("this erasure is proposed already", hint="another officer approves it")
            if len(waiting) >= MOST_WAITING:
                raise Conflict(
                    sentence("{most} erasures wait already", most=MOST_WAITING), hint="approve or withdraw one first"
                )
            name = secrets.token_hex(8)
            self._trail.record(
                [
                    self._event(request, "proposed", name, said),
                    self._event(request, "concerns", name, ""),
                ]
            )
        return self.proposal(name)

    def approve(self, context: AccessContext, name: str) -> ProposedErasure:
        """Approve another officer's proposal: the keys are destroyed before this returns, and nothing brings them back.

        ``context``'s purpose is the proposal's own, whatever it says.

        Raises:
            AccessDenied: policy does not let this officer shred that twin; nothing was erased.
            NotFound: there is no such proposal.
            Conflict: who proposes approves, or it does not wait any more.
            Unavailable: nothing was erased, or, where the keys are gone, ``carry_on`` goes on.
        """
        with self._turn:
            one = self._waiting(name)
            require_second(one.proposed_by, context.principal.id)
            if one.twin is None:
                raise Conflict("whose erasure this is can not be read", hint="withdraw it and propose it anew")
            detail = ((PROPOSAL, name), (PROPOSED_BY, one.proposed_by))
            asked = replace(context, purpose=one.purpose, justification=one.why)
            self._erasures.order([asked.request(Action.SHRED, one.twin, one.categories, detail=detail)])
        return self.proposal(name)

    def order_alone(self, requests: Sequence[AccessRequest]) -> None:
        """Order what one officer asks for where nobody else could approve it: a hospital of one officer erases, too.

        Raises:
            AccessDenied: policy says no to one of them; the refusal is logged, nothing was erased.
            Conflict: there is an officer besides whom policy lets shred that twin: it takes both.
            BadInput, TwinNotFound, Unavailable: as ``Erasures.order``.
        """
        self._access.require(*requests)
        others = self._officers()
        for request in requests:
            if any(self._could_approve(one, request) for one in others):
                raise Conflict(
                    "an erasure takes two officers, and there is another one who may approve it; nothing was erased",
                    hint="`twinward erasure propose`, and the other officer `twinward erasure approve`",
                )
        self._erasures.order(requests)

    def withdraw(self, context: AccessContext, name: str) -> None:
        """Take a proposal back, or turn another officer's down. Raises as ``approve``."""
        with self._turn:
            one = self._waiting(name)
            request = replace(context, purpose=one.purpose).request(Action.SHRED, one.twin, one.categories)
            self._access.require(request)
            self._trail.record([self._event(request, "withdrawn", name, "")])

    def carry_on(self) -> list[ErasureReceipt]:
        """Finish what two officers agreed on and what a crash left of it; harmless where nothing is left.

        Erasures of the command line that wait for `keys finish` go along where there is one. Raises as
        ``Erasures.finish``.
        """
        if not self._erasures.proposals_under_way():
            return []
        try:
            return self._erasures.finish(self._progressed)
        finally:
            self.progress = None

    def _progressed(self, done: int, total: int) -> None:
        self.progress = done, total

    def _could_approve(self, officer: Principal, request: AccessRequest) -> bool:
        asked = replace(request, principal=officer)
        return officer.id != request.principal.id and self._access.may(asked)

    def _has(self, twin: TwinId) -> bool:
        """Whether its key is there. Opens no record."""
        try:
            self._keyring.keys(twin)
        except NotFound:
            return False
        return True

    def _waiting(self, name: str) -> ProposedErasure:
        one = self.proposal(name)
        if one.state != WAITING:
            raise Conflict(sentence("this erasure does not wait any more: it is {state}", state=sentence(one.state)))
        return one

    def _as_it_is(self, one: ProposedErasure, under_way: dict[str, TwinId]) -> ProposedErasure:
        """What the keyring knows of a proposal besides."""
        if one.state != WAITING:
            return one
        if one.name in under_way:
            return replace(one, twin=under_way[one.name], state=UNDER_WAY, interrupted_by="")
        if one.twin is None or self._keyring.is_shredded(one.twin):
            return replace(one, state=MOOT)
        return one

    def _proposals(self) -> dict[str, ProposedErasure]:
        with self._mutex:
            size = self._log.size()
            if size < self._next:  # another log than before: a backup was restored
                self._register, self._next = ErasureRegister(), 0
            if size > self._next:
                for noted in self._log.between(self._next, size):
                    self._register.note(noted)
                self._next = size
            return dict(self._register.proposals)

    def _event(self, request: AccessRequest, step: str, name: str, said: str) -> AccessEvent:
        who = request.principal
        return AccessEvent(
            at_ms=self._clock.now_ms(),
            agent=who.id,
            role=who.role,
            unit=who.unit,
            action=Action.SHRED,
            purpose=request.purpose,
            twin=request.twin if step == "concerns" else None,
            categories=tuple(sorted(request.categories)),
            decision="permit",
            reason=REASONS[step],
            policy_hash=self._access.check(request).policy_hash,
            consent_version=0,
            detail=(("step", step), (PROPOSAL, name), *((("why", said),) if said else ()), *request.detail, *who.place),
        )
