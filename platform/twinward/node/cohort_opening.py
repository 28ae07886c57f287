"""Opening a cohort: the snapshot of who consents, under an epoch's secrets, and the answers that are given over it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from twinward.access.interfaces import NODE
from twinward.access.service import Access
from twinward.audit.interfaces import HeadTrail
from twinward.consortium.identity import Identity
from twinward.core.clock import Clock
from twinward.core.config import Settings
from twinward.core.private_files import write_private
from twinward.node.answer_files import SealedAnswers
from twinward.node.cohort_life import CohortLifeFile, Members
from twinward.node.departures import Departures, Moment
from twinward.node.release_history import SealedHistory
from twinward.protocol.proofs import AnswerSigner
from twinward.protocol.terms import binding_of
from twinward.similarity.answered_once import AnsweredOnce
from twinward.similarity.answers import Answers
from twinward.similarity.budget import LedgerBudget
from twinward.similarity.cohort import Cohort, CohortSecrets
from twinward.similarity.feasibility.budget import EpsilonBudget
from twinward.similarity.feasibility.service import Feasibility
from twinward.similarity.rate_limit import Pace
from twinward.similarity.release.history import ReleaseHistory
from twinward.similarity.room import room_for
from twinward.similarity.scoring.placement import Scoring
from twinward.similarity.service import Similarity
from twinward.similarity.service_policy import ServicePolicy
from twinward.twins.read.cohorts import CohortReader, ExportReader
from twinward.twins.service import Twins
from twinward.vault.interfaces import RecordVault
from twinward_crypto.envelope import open_sealed, seal
from twinward_crypto.errors import OpenError

COHORT_FILE = "cohort.sealed"


@dataclass
class CohortOpening:
    """Opens the cohorts of one node, one epoch after the other.

    Attributes:
        settings, identity, twins, access, vault, clock, departures, heads: as of ``RunningCohort``.
        life: what an officer decided about the snapshot.
        scoring, policy: who scores, and what is offered.
        budget, epsilon: vendors' allowances, of queries and of counts.
        signer: the hospital's key for answers.
        pad: makes the log grow by as much as the epoch has room for.
        room: how many patients the epoch has room for, to the log; 0 before the first snapshot.
    """

    settings: Settings
    identity: Identity
    twins: Twins
    access: Access
    vault: RecordVault
    clock: Clock
    departures: Departures
    heads: HeadTrail
    life: CohortLifeFile
    scoring: Scoring
    policy: ServicePolicy
    budget: LedgerBudget
    epsilon: EpsilonBudget
    signer: AnswerSigner
    pad: Callable[[int], None]
    room: int = 0
    _history: ReleaseHistory | None = field(default=None, init=False, repr=False)

    def open(self, epoch: int, opened: Moment) -> Answers:
        """Take a snapshot for an epoch.

        Args:
            epoch: the running one.
            opened: what was decided before this was called: whatever comes later counts.

        Raises:
            NoCohort: no patient's consent allows similarity search.
        """
        sealed = self._sealed_secrets(epoch)
        plan = self.policy.gated_plan(self.twins.schema)
        secrets = sealed or CohortSecrets.generate(epoch, self.twins.schema, plan)
        if self._history is None or self._history.epoch != epoch:
            self._history = ReleaseHistory(epoch, self._sealed_history())
        binding = binding_of(self.settings.hospital, self.twins.schema, epoch)
        store = SealedAnswers(self.settings.home, epoch, self.identity.sealing_key)
        once = AnsweredOnce(binding, self.signer, self.budget, store)
        counted_once = AnsweredOnce(binding, self.signer, self.epsilon, store)
        cohort = self._snapshot(epoch, secrets, store)
        similarity = Similarity(
            cohort,
            secrets,
            service_policy=self.policy,
            access=self.access,
            budget=once,
            records=ExportReader(self.vault, self.access),
            history=self._history,
            erased=lambda: self.departures.erased(opened),
            clock=self.clock,
            scoring=self.scoring,
            pace=Pace(self.settings.answer_step_ms / 1000),
            feasibility=self._counting(cohort, counted_once),
            pad=self.pad,
        )
        if sealed is None:
            content = seal(self.identity.sealing_key(), secrets.dangerously_export(), _aad(epoch))
            write_private(self.settings.home / COHORT_FILE, content)
        return Answers(similarity, once, counted_once)

    def _counting(self, cohort: Cohort, budget: AnsweredOnce) -> Feasibility | None:
        if not self.settings.feasibility:
            return None
        millis = tuple(dict.fromkeys(round(one * 1000) for one in self.settings.feasibility_epsilons))
        return Feasibility.prepare(cohort, self.room, budget, millis, self.scoring)

    def _snapshot(self, epoch: int, secrets: CohortSecrets, store: SealedAnswers) -> Cohort:
        source = CohortReader(self.twins, self.access, NODE)
        hospital, schema = self.settings.hospital, self.twins.schema
        members = self.life.read().members
        rows = source if members is None else Members(source, frozenset(members))
        cohort = Cohort.snapshot(rows, hospital=hospital, schema=schema, epoch=epoch, secrets=secrets)
        self.room = room_for(source.decided, secrets, store)
        self.pad(source.decided)
        return cohort

    def _sealed_history(self) -> SealedHistory:
        return SealedHistory(self.settings.home, self.identity.sealing_key, self.heads)

    def _sealed_secrets(self, epoch: int) -> CohortSecrets | None:
        """The running epoch's secrets from an earlier process, so that handles stay the same; None to begin anew."""
        path = self.settings.home / COHORT_FILE
        if not path.exists():
            return None
        try:
            opened = open_sealed(self.identity.sealing_key(), path.read_bytes(), _aad(epoch))
        except OpenError:
            return None  # sealed for another epoch: it is over
        return CohortSecrets.restore(opened, self.policy.gated_plan(self.twins.schema))


def _aad(epoch: int) -> bytes:
    return b"twinward/cohort-secrets/1" + epoch.to_bytes(8, "big")
