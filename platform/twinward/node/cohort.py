"""The running epoch's cohort: opened when first asked for, its secrets sealed in the home to outlive the process.

What a cohort is made of (``cohort_opening``) is loaded with the first: a node that nobody asks encrypted questions has
neither numpy nor SEAL of it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from twinward.access.interfaces import Principal
from twinward.access.service import Access
from twinward.audit.fillers import fill_up
from twinward.audit.interfaces import AuditTrail, HeadTrail
from twinward.consortium.identity import Identity
from twinward.consortium.membership import Consortium
from twinward.core.clock import Clock
from twinward.core.config import Settings
from twinward.node.cohort_life import CohortLifeFile
from twinward.node.departures import INDEX_FOLDER, Departures, Moment
from twinward.protocol.messages import BudgetReply, ResultsReply
from twinward.protocol.terms import CohortLife, Mode, Terms
from twinward.similarity.budget import LedgerBudget
from twinward.similarity.errors import NoCohort
from twinward.similarity.feasibility.budget import EpsilonBudget
from twinward.similarity.scoring.placement import Scoring
from twinward.similarity.service_policy import PublicTerms, ServicePolicy
from twinward.twins.service import Twins
from twinward.vault.interfaces import RecordVault

if TYPE_CHECKING:
    from twinward.node.cohort_opening import CohortOpening
    from twinward.protocol.contacts import ContactsReply
    from twinward.protocol.messages import KeptAnswer
    from twinward.similarity.answers import Answers
    from twinward.similarity.service import Similarity

MINUTE_MS = 60_000
_NEVER = (-1, 0, 0)
"""Epoch, moment and room of no snapshot."""


class RunningCohort:
    """Holds the running epoch's cohort and its answers.

    Args:
        settings: what is offered, and where the sealed secrets lie.
        identity: whose key seals them.
        consortium: whose chain says what epoch it is.
        twins: whose feature vectors the snapshot takes.
        access: what decides on each of them.
        vault: whose records are released where consent allows.
        clock: the node's time.
        departures: who has to leave a cohort that runs.
        heads: the log's record of how far the history of releases has come.
        trail: where fillers go.
    """

    def __init__(
        self,
        settings: Settings,
        identity: Identity,
        consortium: Consortium,
        twins: Twins,
        access: Access,
        vault: RecordVault,
        clock: Clock,
        departures: Departures,
        heads: HeadTrail,
        trail: AuditTrail,
    ) -> None:
        self._heads, self._trail = heads, trail
        self._taken = _NEVER
        self._departures = departures
        self._settings = settings
        self._identity = identity
        self._twins = twins
        self._access = access
        self._vault = vault
        self._clock = clock
        self._lock = threading.Lock()
        self._answers: Answers | None = None
        self._opened = self._looked = self._let_go = Moment(0, ())
        self._opening: CohortOpening | None = None
        self.life = CohortLifeFile(settings.home, identity.sealing_key)
        """What an officer decided about the snapshot, in whichever process."""
        self._refreshes = 0
        self._scoring = Scoring.parse(settings.scoring, settings.home / INDEX_FOLDER)
        self._policy = ServicePolicy(
            modes=tuple(Mode(name) for name in settings.modes),
            max_weight=settings.max_weight,
            noise_width=settings.vendor_key_noise,
            vendor_key_weighted=settings.vendor_key_weighted,
            minimum_count=settings.minimum_count,
            requests_per_minute=settings.requests_per_minute,
            facet_minimum=settings.facet_minimum,
            record_days=settings.record_days,
        )
        self._budget = LedgerBudget(
            consortium.budgets,
            window_epochs=settings.vendor_window_epochs,
            window_grants=settings.vendor_window_grants,
        )
        self._epsilon = EpsilonBudget(self._budget, settings.tenant)
        self.signer = identity.answer_signer()
        """The hospital's key for answers."""
        self._public_terms = PublicTerms(settings.hospital, twins.schema, self._policy, self._budget, self.signer)

    def terms(self) -> Terms:
        """What may be asked in the running epoch, whether or not there is a cohort. Raises as ``current_epoch``."""
        epoch = self._budget.current_epoch()
        return self._public_terms.terms(epoch, self._life(epoch))

    def _life(self, epoch: int) -> CohortLife | None:
        """The snapshot that runs, as far as vendors may know it; None where there is none yet. Waits for nothing."""
        taken_epoch, taken_ms, room = self._taken
        if taken_epoch != epoch:
            return None
        frozen_since_ms = self.life.read().frozen_since_ms // MINUTE_MS * MINUTE_MS or None
        ends_at_s = self._budget.resets_at_s(epoch)
        return CohortLife(taken_ms=taken_ms, room=room, ends_at_s=ends_at_s, frozen_since_ms=frozen_since_ms)

    def allowance(self, principal: Principal) -> BudgetReply:
        """What a vendor has left of the running epoch, whether or not there is a cohort. Raises ``Unavailable``."""
        return self._public_terms.allowance(principal, self._budget.current_epoch())

    def sign_contacts(self, reply: ContactsReply, vendor: str) -> ContactsReply:
        """What became of a vendor's contact requests, signed, whether or not there is a cohort."""
        return self._public_terms.sign_contacts(reply, vendor, self._budget.current_epoch())

    def results(self, principal: Principal) -> ResultsReply:
        """What a vendor was released in the running epoch; nothing where there is no cohort."""
        try:
            return self.current().results(principal)
        except NoCohort:
            return ResultsReply(results=())

    def result(self, principal: Principal, query_id: str) -> KeptAnswer:
        """The answer to one of a vendor's queries of the running epoch, again. Raises ``NotFound``, ``Conflict``."""
        return self.current().result(principal, query_id)

    def current(self) -> Answers:
        """The running epoch's answers; a new epoch takes a new snapshot. Who withdrew or was erased is in it no more.

        Raises:
            Unavailable: the chain does not answer, or it cannot be known who withdrew.
            NoCohort: no patient's consent allows similarity search.
        """
        epoch = self._budget.current_epoch()
        with self._lock:
            life = self.life.read()
            fits = self._answers is not None and self._answers.similarity.cohort.epoch == epoch
            if self._answers is None or not fits or life.refreshes != self._refreshes:
                self._end()
                self._refreshes, self._answers = life.refreshes, self._open(epoch)
            else:
                self._keep_up(self._answers.similarity)
            if life.is_open:
                self.life.keep(self._answers.similarity.cohort.twins)
            return self._answers

    def refresh(self) -> Answers:
        """A new snapshot within the running epoch, under the same secrets."""
        with self._lock:
            self._end()
        return self.current()

    def pad(self, written: int) -> None:
        """Make the log grow as if so many patients' events were as many as the epoch has room for.

        Raises as ``AuditTrail.record``.
        """
        room = 0 if self._opening is None else self._opening.room
        fill_up(self._trail, room - written, self._clock.now_ms())

    def close(self) -> None:
        """End what scores, and give back files."""
        with self._lock:
            self._end()

    def let_go(self) -> None:
        """Drop from memory who withdrew or was erased, in whatever process, also while nobody asks anything.

        And write down who is in a cohort that was frozen: before another epoch asks who that was.

        Raises:
            Unavailable: it cannot be known who that is; no query is answered then either.
        """
        with self._lock:
            if self._answers is None:
                return
            similarity = self._answers.similarity
            now = self._departures.now()
            if now != self._let_go:
                gone = self._departures.of(similarity.cohort.twins, self._opened)
                try:
                    if gone:
                        similarity.drop(gone)
                except NoCohort:
                    self._end()
                self._let_go = now
            if self._answers is not None and self.life.read().is_open:
                self.life.keep(similarity.cohort.twins)

    def _keep_up(self, similarity: Similarity) -> None:
        """Let those leave who withdrew or were erased since the last look, in whatever process."""
        now = self._departures.now()
        if now == self._looked:
            return
        gone = self._departures.of(similarity.cohort.twins, self._opened)
        try:
            if gone or not (self._scoring.is_kept() or Mode.GATED not in self._policy.modes):
                similarity.drop(gone)
        except NoCohort:
            self._end()
            raise
        self._looked = now

    def _end(self) -> None:
        if self._answers is not None:
            self._answers.similarity.close()
        self._answers, self._taken = None, _NEVER

    def _open(self, epoch: int) -> Answers:
        self._opening = self._opening or self._made_opening()
        self._opened = self._looked = self._departures.now()  # before the snapshot: what comes later counts
        answers = self._opening.open(epoch, self._opened)
        self._taken = (epoch, self._clock.now_ms() // MINUTE_MS * MINUTE_MS, self._opening.room)
        return answers

    def _made_opening(self) -> CohortOpening:
        from twinward.node.cohort_opening import CohortOpening

        return CohortOpening(
            self._settings,
            self._identity,
            self._twins,
            self._access,
            self._vault,
            self._clock,
            self._departures,
            self._heads,
            self.life,
            self._scoring,
            self._policy,
            self._budget,
            self._epsilon,
            self.signer,
            self.pad,
        )
