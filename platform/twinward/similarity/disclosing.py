"""How an answer leaves: policy, consent, log, book, in this order. Matches go in, what the vendor may see comes out."""

from __future__ import annotations

import threading
from collections import defaultdict

from twinward.access.interfaces import AccessControl, AccessRequest, Principal
from twinward.client.messages import MatchReply, Mode
from twinward.errors import NotFound
from twinward.similarity.book import Book
from twinward.similarity.cohort import Cohort
from twinward.similarity.cohort_secrets import CohortSecrets
from twinward.similarity.interfaces import Match, ReleasePolicy
from twinward.vocabulary import Action, Category, Purpose, TwinId

KEPT_RESULTS = 100
"""Results kept for a vendor to look at again, in memory, until the epoch ends."""


class Disclosure:
    """One epoch's answers.

    Args:
        cohort: whom answers are about.
        secrets: the epoch's, for handles.
        policy: what may leave.
        access: decides and logs what leaves about each patient.
        book: what each vendor was told so far.
    """

    def __init__(
        self, cohort: Cohort, secrets: CohortSecrets, policy: ReleasePolicy, access: AccessControl, book: Book
    ) -> None:
        self._cohort, self._secrets, self._policy = cohort, secrets, policy
        self._access, self._book = access, book
        self._lock = threading.Lock()
        self._results: dict[str, list[MatchReply]] = defaultdict(list)
        self._twins: dict[str, dict[str, TwinId]] = {}

    def tell(self, principal: Principal, mode: Mode, matches: list[Match], left: int) -> MatchReply:
        """The reply. Whoever would be told is decided on and logged; the book is written before it is returned."""
        vendor, epoch = principal.id, self._cohort.epoch
        with self._book.lock:  # two answers at once to one vendor could otherwise split a group between them
            told = self._book.told(vendor)
            wanted = self._policy.candidates(matches, told)
            shown = self.exported(principal, mode, sorted(wanted))
            release = self._policy.release(matches, vendor=vendor, epoch=epoch, releasable=shown, told=told)
            self._book.write(vendor, release.groups)
        reply = MatchReply(
            mode=mode,
            epoch=epoch,
            handles=release.handles,
            count=release.count,
            withheld=release.withheld,
            budget_left=left,
        )
        with self._lock:
            self._results[vendor] = [*self._results[vendor], reply][-KEPT_RESULTS:]
        return reply

    def exported(self, principal: Principal, mode: Mode, twins: list[TwinId]) -> frozenset[TwinId]:
        """Whose consent lets something out to this vendor right now; each decision is in the log."""
        detail = (("mode", mode.value), ("epoch", str(self._cohort.epoch)))
        features = frozenset({Category.FEATURES})
        requests = [
            AccessRequest(principal, Action.EXPORT, Purpose.SIMILARITY, twin, features, detail=detail) for twin in twins
        ]
        permits = self._access.decide_many(requests) if requests else []
        return frozenset(twin for twin, permit in zip(twins, permits, strict=True) if permit is not None)

    def results(self, vendor: str) -> tuple[MatchReply, ...]:
        """What a vendor was told by this process, the latest ``KEPT_RESULTS``, oldest first."""
        with self._lock:
            return tuple(self._results.get(vendor, ()))

    def resolve(self, vendor: str, handle: str) -> TwinId:
        """The twin behind a vendor's handle. Raises ``NotFound``.

        A handle is 128 bits of a MAC over vendor, epoch and twin: whoever shows one was given it.
        """
        with self._lock:
            if vendor not in self._twins:
                self._twins[vendor] = {self._secrets.handle(vendor, twin): twin for twin in self._cohort.twins}
            twin = self._twins[vendor].get(handle)
        if twin is None:
            raise NotFound("no such handle was released to you in this epoch", hint="handles change with every epoch")
        return twin
