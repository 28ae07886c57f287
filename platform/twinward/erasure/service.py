"""Erasing a person, or one category of what is known of them, so that it survives old backups.

    1. decide      policy, and the event of the decision in the log
    2. shred       the keys destroyed in the keyring, in one durable step; what is left to do is written down with it
    3. purge       rows, blind tags and consents deleted; the databases' files written anew without them
    4. rotate      survivors' keys under a KEK that is newer than any that ever wrapped the destroyed ones
    5. retire      the older KEKs destroyed at the key service: from here on no backup opens what was shredded
    6. log         that it is done, where it stays readable; anchored, and disclosed, that event is the receipt

From step 2 on nothing can be taken back, and every later step may be done again: whatever the process dies of,
``finish`` goes on. Erasures that wait for each other share steps 3 to 5. The event of the decision is about the twin,
and so sealed under the twin's own audit key, which the erasure of a twin destroys, and with it the salts of everything
that was logged about it. The event of step 6 is then sealed under the hospital's own key: an officer can read for ever
who had which opaque id shredded, and why.

A vector of features is derived from other categories: it is shredded with each of them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from twinward.access.consent import ConsentStore
from twinward.access.interfaces import AccessControl, AccessRequest
from twinward.audit.interfaces import AuditTrail
from twinward.audit.models import AccessEvent
from twinward.core.clock import Clock
from twinward.core.errors import BadInput
from twinward.core.turns import Turn
from twinward.core.vocabulary import Action, Category, Purpose, Role, TwinId
from twinward.vault.errors import RecordDamaged
from twinward.vault.interfaces import RecordStore
from twinward.vault.keys.erasure_journal import PendingShred, UnfinishedErasure
from twinward.vault.keys.keyring import Keyring
from twinward.vault.keys.rotation import Progress, RotationPlan
from twinward.vault.keys.twin_keys import CHECK_EVERY_MS
from twinward_crypto.canonical import canonicalize
from twinward_crypto.envelope import open_sealed, seal
from twinward_crypto.errors import OpenError
from twinward_crypto.padding import pad, unpad

ERASURE_ORDER = b"twinward/erasure-order/1"
DONE = ("shredded", "done")
"""What the event of step 6 says in its detail."""
PROPOSAL, PROPOSED_BY = "erasure", "proposed_by"
"""Of a request that two officers agreed on (``ErasureDesk``): the proposal's name and whose it was, in its detail."""


@dataclass(frozen=True, slots=True)
class ErasureReceipt:
    """What was erased, and where the log says so.

    Attributes:
        twin: whose.
        categories: which; none for the whole twin.
        decided_at_index: the decision; for a whole twin it is unreadable from now on.
        done_at_index: the deed; it stays readable.
        kek: the version of the KEK that wraps the survivors.
    """

    twin: TwinId
    categories: frozenset[Category]
    decided_at_index: int
    done_at_index: int
    kek: int


class Erasures:
    """Shreds twins and categories.

    Args:
        access, trail, keyring, store, consents, clock: the node's.
        departed: told when keys were destroyed: whatever this home keeps of those twins for cohorts has to go.
        purged: told when records were purged: whatever else is sealed under those keys has to go as well.
        wait: waits some seconds, until other processes have noticed that a category was shredded.
        turn: the processes of the home finish one after another; none does what another has done.
    """

    def __init__(
        self,
        access: AccessControl,
        trail: AuditTrail,
        keyring: Keyring,
        store: RecordStore,
        consents: ConsentStore,
        clock: Clock,
        *,
        departed: Callable[[], None] = lambda: None,
        purged: Callable[[], object] = lambda: None,
        wait: Callable[[float], None] = time.sleep,
        turn: Turn | None = None,
    ) -> None:
        self._access = access
        self._trail = trail
        self._keyring = keyring
        self._store = store
        self._consents = consents
        self._clock = clock
        self._departed = departed
        self._purged = purged
        self._wait = wait
        self._turn = turn or Turn()

    def erase(self, requests: Sequence[AccessRequest], progress: Progress | None = None) -> list[ErasureReceipt]:
        """``order`` and ``finish``. Also finishes what an earlier process left. Raises as they do."""
        self.order(requests)
        return self.finish(progress)

    def order(self, requests: Sequence[AccessRequest]) -> None:
        """Decide, and destroy the keys in the keyring: from now on nothing of it opens here, in no process.

        Old backups still open it, until ``finish``.

        Each request names one twin, and the categories to shred; none for the whole twin.

        Raises:
            BadInput: a request is not to shred one twin, or one twin is named twice.
            AccessDenied: policy says no to one of them; nothing was shredded.
            TwinNotFound: there was never such a twin; nothing was shredded.
        """
        named = [_twin_of(request) for request in requests]
        if len(set(named)) != len(named):
            raise BadInput("a twin is named twice: give it once, with every category that is to be shredded")
        self._access.require(*requests)  # before anything else is decided
        doomed = []
        for twin, permit in zip(named, self._access.decide_all(requests), strict=True):
            order = self._sealed_order(permit.request, permit.log_index)
            doomed.append(PendingShred(twin, with_derived(permit.request.categories), order))
        self._keyring.shred_all(doomed)
        for one in doomed:
            if not one.categories:
                self._consents.forget(one.twin)  # what it permitted is permitted no more, in any process
        self._departed()
        self._wait(CHECK_EVERY_MS / 1000)  # until no process has the keys in its cache

    def finish(self, progress: Progress | None = None) -> list[ErasureReceipt]:
        """Everything that is left to do for what was ordered: steps 3 to 6. Idempotent, and harmless when nothing is.

        Raises:
            Unavailable: a database, the key service or the log does not answer; doing it again goes on.
            Busy: another process is at it, and takes long.
        """
        with self._turn:
            return self._finish(progress)

    def proposals_under_way(self) -> dict[str, TwinId]:
        """The proposals of two officers whose keys are destroyed, and that are not finished: by name, whose they are.

        Raises ``Unavailable``, ``RecordDamaged``.
        """
        found = {self._order(one).erasure: one.twin for one in self._keyring.unfinished()}
        return {name: twin for name, twin in found.items() if name}

    def _finish(self, progress: Progress | None) -> list[ErasureReceipt]:
        unfinished = self._keyring.unfinished()
        if not unfinished:
            return []
        self._purge(unfinished)
        beyond = max(one.kek_version for one in unfinished)
        kek = self._keyring.rotate(progress, beyond=beyond)
        self._keyring.retire()
        done: list[ErasureReceipt] = []
        orders = [self._order(one) for one in unfinished]
        logged = self._trail.record(
            [self._event(one, order, kek) for one, order in zip(unfinished, orders, strict=True)]
        )
        for one, order, entry in zip(unfinished, orders, logged, strict=True):
            done.append(ErasureReceipt(one.twin, order.categories, order.decided_at_index, entry.index, kek))
        indices = {one.number: entry.index for one, entry in zip(unfinished, logged, strict=True)}
        self._keyring.finish(indices)
        return done

    def plan(self) -> RotationPlan:
        """What the rotation of an erasure that is ordered now would do. Changes nothing."""
        newest = self._keyring.census().keks[-1]
        return self._keyring.rotation_plan(newest)

    def _purge(self, unfinished: Sequence[UnfinishedErasure]) -> None:
        if any(one.category_tags for one in unfinished):
            # Whoever ordered it may have died at once: another process may still write under the old category key.
            self._wait(CHECK_EVERY_MS / 1000)
        for one in unfinished:
            if not one.category_tags:
                self._store.purge_twin(one.twin)
                self._consents.forget(one.twin)
            for tag in one.category_tags:
                self._store.purge_category(one.twin, tag)
        self._store.forget_deleted()
        self._purged()
        self._departed()

    def _event(self, one: UnfinishedErasure, order: _Order, kek: int) -> AccessEvent:
        detail = (
            DONE,
            ("erased", "category" if one.category_tags else "twin"),
            ("decided_at_index", str(order.decided_at_index)),
            ("kek", str(kek)),
            ("keks_destroyed_up_to", str(one.kek_version)),
            *(((PROPOSAL, order.erasure), (PROPOSED_BY, order.proposed_by)) if order.erasure else ()),
        )
        return AccessEvent(
            at_ms=self._clock.now_ms(),
            agent=order.agent,
            role=order.role,
            unit=order.unit,
            action=Action.SHRED,
            purpose=order.purpose,
            twin=one.twin,
            categories=tuple(sorted(order.categories)),
            decision="permit",
            reason=order.reason,
            policy_hash=order.policy_hash,
            consent_version=0,
            detail=detail,
        )

    def _sealed_order(self, request: AccessRequest, index: int) -> bytes:
        decision = self._access.check(request)
        plain = {
            "agent": request.principal.id,
            "role": request.principal.role.value,
            "unit": request.principal.units_said,
            "purpose": request.purpose.value,
            "categories": sorted(with_derived(request.categories)),
            "reason": decision.reason,
            "policy_hash": decision.policy_hash,
            "decided_at_index": index,
            **{name: said for name, said in request.detail if name in (PROPOSAL, PROPOSED_BY)},
        }
        return seal(self._keyring.audit_key(None), pad(canonicalize(plain)), ERASURE_ORDER)

    def _order(self, one: UnfinishedErasure) -> _Order:
        if not one.sealed:
            return _Order()
        try:
            plain = json.loads(unpad(open_sealed(self._keyring.audit_key(None), one.sealed, ERASURE_ORDER)))
        except OpenError:
            raise RecordDamaged("an unfinished erasure does not say who ordered it: the keyring was altered") from None
        return _Order.of(plain)


@dataclass(frozen=True, slots=True)
class _Order:
    """Who asked, and why. The defaults stand for a shredding in which no policy was asked."""

    agent: str = "node"
    role: Role = Role.NODE
    unit: str = ""
    purpose: Purpose = Purpose.COMPLIANCE
    categories: frozenset[Category] = frozenset()
    reason: str = "the node itself"
    policy_hash: str = ""
    decided_at_index: int = -1
    erasure: str = ""
    proposed_by: str = ""

    @classmethod
    def of(cls, plain: dict[str, Any]) -> _Order:
        """From what ``_sealed_order`` sealed."""
        enums = {"role": Role(plain["role"]), "purpose": Purpose(plain["purpose"])}
        categories = frozenset(map(Category, plain["categories"]))
        return replace(cls(), **{**plain, **enums, "categories": categories})


def _twin_of(request: AccessRequest) -> TwinId:
    if request.twin is None or request.action is not Action.SHRED:
        raise BadInput("an erasure is a request to shred one twin")
    return request.twin


def with_derived(categories: frozenset[Category]) -> frozenset[Category]:
    """These, and what goes with them: the feature vector is computed from the others, so it goes with each."""
    return categories | {Category.FEATURES} if categories else categories
