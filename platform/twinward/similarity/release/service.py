"""How an answer leaves: policy, consent, log, history, in this order. Matches go in, what a vendor may see goes out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from secrets import SystemRandom

from twinward.access.interfaces import AccessControl, AccessRequest, Principal
from twinward.core.errors import NotFound
from twinward.core.vocabulary import Action, Category, Purpose, TwinId
from twinward.protocol.terms import Mode
from twinward.similarity.cohort import Cohort, CohortSecrets
from twinward.similarity.interfaces import ReleasePolicy
from twinward.similarity.models import Asked, Match, Told
from twinward.similarity.release.history import ReleaseHistory
from twinward.similarity.release.policy import present, with_absent

_FEATURES = frozenset({Category.FEATURES})
_AT_ONCE = 4096
"""Events in one durable step of the log."""


class ReleaseService:
    """One epoch's answers.

    Args:
        secrets: the epoch's, for handles.
        policy: what may leave.
        access: decides and logs what leaves about each patient.
        history: what each vendor was told so far, in every epoch.
        erased: the twins of which something was erased since the snapshot: nothing is told of them any more, and
            nobody is asked whether it might.
        pad: told how many patients got an event each; makes the log grow by a number that says less.
    """

    def __init__(
        self,
        secrets: CohortSecrets,
        policy: ReleasePolicy,
        access: AccessControl,
        history: ReleaseHistory,
        erased: Callable[[], frozenset[TwinId]] = frozenset,
        pad: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._pad = pad
        self._secrets, self._policy = secrets, policy
        self._access, self._history, self._erased = access, history, erased
        self._lock = threading.Lock()
        self._compared: dict[str, set[TwinId] | frozenset[TwinId]] = {}

    def compare(self, principal: Principal, cohort: Cohort) -> None:
        """Before a query is scored: log that this vendor's queries are compared with each patient of the cohort.

        Once for each patient, vendor and epoch (and start of the node): the event says that it stands for every query
        of the vendor until the epoch ends, how many its allowance says. A patient's report so shows who asked, whether
        or not anything was told; what was told is a ``match`` of its own, each time.

        Raises:
            Unavailable: it could not be logged: nothing is scored.
        """
        vendor, gone = principal.id, self._erased()
        with self._lock:
            known = self._compared.get(vendor, frozenset())
            missing = frozenset() if known is cohort.everybody else cohort.everybody - known - gone
            fresh = [twin for twin in cohort.twins if twin in missing] if missing else []
        detail = (("epoch", str(self._secrets.epoch)), ("stands for", "every query until the epoch ends"))
        for start in range(0, len(fresh), _AT_ONCE):
            some = fresh[start : start + _AT_ONCE]
            self._access.decide_many(
                [
                    AccessRequest(principal, Action.QUERY, Purpose.SIMILARITY, twin, _FEATURES, detail=detail)
                    for twin in some
                ]
            )
            self._note_compared(vendor, some, cohort.everybody)
        if fresh:
            self._pad(len(fresh))

    def _note_compared(self, vendor: str, twins: Sequence[TwinId], everybody: frozenset[TwinId]) -> None:
        with self._lock:
            known = self._compared.get(vendor)
            noted = known if isinstance(known, set) else set(known or ())
            noted.update(twins)
            whole = len(noted) == len(everybody) and noted == everybody
            self._compared[vendor] = everybody if whole else noted  # one set for all vendors

    def tell(self, principal: Principal, asked: Asked, cohort: Cohort, matches: list[Match], left: int) -> Told:
        """The reply. Whoever would be told is decided on and logged; the history is written before it is returned.

        A number alone is the number of handles that the same query would have brought: same policy, same groups, same
        log. Those handles are then not handed out, so they open no records.

        Groups of earlier answers may hold patients who left the cohort since: these are told no more. Handles come in
        an order drawn anew for each answer: no place in it says anything.
        """
        vendor, epoch = principal.id, self._secrets.epoch
        with self._history.lock:  # two answers at once to one vendor could otherwise split a group between them
            ever = self._history.told(vendor)
            here = cohort.everybody
            told = present(ever, here)
            closed = self._history.closed(vendor)
            matches = [match for match in matches if match.twin not in closed]
            wanted = self._policy.candidates(matches, told)
            shown = self.tellable(principal, asked.mode, sorted(wanted & here))
            release = self._policy.release(matches, vendor=vendor, epoch=epoch, releasable=shown, told=told)
            handles = frozenset(release.handles if asked.tell is None else ())
            handed = frozenset(twin for twin in shown if self._secrets.handle(vendor, twin) in handles)
            self._history.write(vendor, with_absent(ever, release.groups, here), handed)
        order = sorted(handles)
        SystemRandom().shuffle(order)
        return Told(tuple(order), release.count, release.withheld, left, asked.tell)

    def tell_each(self, principal: Principal, mode: Mode, twins: Sequence[TwinId]) -> frozenset[TwinId]:
        """Who of these is told of, each for itself: vendor-key mode, where the hospital knows no matches."""
        shown = self.tellable(principal, mode, twins)
        with self._history.lock:
            self._history.write(principal.id, self._history.told(principal.id), shown)
        return shown

    def tellable(self, principal: Principal, mode: Mode, twins: Sequence[TwinId]) -> frozenset[TwinId]:
        """Who may be told of to this vendor right now: a handle, a distance. Each decision is in the log."""
        detail = (("mode", mode.value), ("epoch", str(self._secrets.epoch)))
        gone = self._erased()
        twins = [twin for twin in twins if twin not in gone]
        requests = [
            AccessRequest(principal, Action.MATCH, Purpose.SIMILARITY, twin, _FEATURES, detail=detail) for twin in twins
        ]
        permits = self._access.decide_many(requests) if requests else []
        permitted = frozenset(twin for twin, permit in zip(twins, permits, strict=True) if permit is not None)
        return permitted - self._erased()  # again: it may have happened while the log was written

    def resolve(self, vendor: str, handle: str) -> TwinId:
        """The twin behind a handle that this vendor was told, in this epoch, by any process of this node.

        Raises:
            NotFound: it was not, for whatever reason: unknown, another's, never told, erased since.
        """
        return self.resolve_all(vendor, [handle])[handle]

    def resolve_all(self, vendor: str, handles: Iterable[str]) -> dict[str, TwinId]:
        """The twins behind several handles, all or none. Raises as ``resolve``."""
        known = {self._secrets.handle(vendor, twin): twin for twin in self._history.handed(vendor) - self._erased()}
        try:
            return {handle: known[handle] for handle in handles}
        except KeyError:
            hint = "handles change with every epoch"
            raise NotFound("no such handle was released to you in this epoch", hint=hint) from None
