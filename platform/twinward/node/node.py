"""One hospital's node: which backends it uses, and how its domains are wired together. The only place that knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from twinward.access.account_desk import AccountDesk
from twinward.access.account_store import STORE as ACCOUNTS
from twinward.access.alert import Webhook
from twinward.access.capability import PermitAuthority
from twinward.access.consent import STORE as CONSENTS
from twinward.access.consent import ConsentStore
from twinward.access.emergencies import Emergencies, Limits
from twinward.access.emergency_follow_up import FollowUp
from twinward.access.interfaces import Permit
from twinward.access.policy import Policy
from twinward.access.service import Access
from twinward.audit.break_glass.journal import BreakGlassJournal
from twinward.audit.break_glass.log import BreakGlassLog
from twinward.audit.events.store_heads import StoreHeads
from twinward.audit.events.witness_voucher import WitnessVoucher
from twinward.audit.interfaces import Head
from twinward.audit.proofs.completeness import Completeness
from twinward.audit.proofs.log_check import LogCheck
from twinward.audit.reader import AuditReader
from twinward.audit.service import Audit
from twinward.consortium.identity import Identity
from twinward.consortium.membership import Consortium
from twinward.consortium.witness.split_views import EVIDENCE_FOLDER, keep_evidence
from twinward.core.clock import Clock
from twinward.core.config import (
    CONDITIONS_LOCK,
    EMERGENCIES_LOCK,
    FOLLOW_UP_LOCK,
    JOURNAL_FILE,
    WRITING_LOCK,
    Settings,
)
from twinward.core.restored_home import RestoredHome
from twinward.core.vocabulary import Role
from twinward.erasure.service import Erasures
from twinward.features.schema import CARDIOMETABOLIC
from twinward.federation.privacy_cohort import COHORT
from twinward.fhir.mapping.release import ReleaseByContent
from twinward.node.accounts import accounts_of
from twinward.node.cohort import RunningCohort
from twinward.node.departures import Departures
from twinward.node.errors import translated
from twinward.node.system import SYSTEM
from twinward.similarity.service import Similarity
from twinward.twins.service import Twins
from twinward.twins.turns import Turn
from twinward.vault.keys.keyring import Keyring
from twinward.vault.segments.compaction import Compactor
from twinward.vault.service import Vault
from twinward.vault.storage.database import Schema, open_database
from twinward.vault.storage.record_store import open_record_store
from twinward_ledger.anchoring.anchorer import Anchorer, ChainAnchor
from twinward_ledger.errors import SplitView
from twinward_ledger.formats.policy import QuorumPolicy
from twinward_ledger.log.heartbeat import heartbeat
from twinward_ledger.log.log import Log
from twinward_ledger.log.static_files import LogFiles
from twinward_ledger.stores import open_store
from twinward_ledger.stores.anchor_journal import AnchorJournal
from twinward_ledger.stores.completeness import open_map_store
from twinward_ledger.stores.witness_memory import WitnessMemory
from twinward_ledger.witness.evidence import SplitViewEvidence
from twinward_ledger.witness.witness import Witness, WitnessPeer

CONSENTS_FILE = "consents.db"


@dataclass(frozen=True)
class Neighbourhood:
    """What surrounds a hospital: its consortium's contracts, the witnesses its log asks, and what a quorum of them is.

    ``policy`` None is any ``quorum`` (of the settings) of the witnesses.
    """

    consortium: Consortium
    witnesses: tuple[WitnessPeer, ...]
    policy: QuorumPolicy | None = None


def limits_of(settings: Settings) -> Limits:
    """The bounds of emergencies that the settings name."""
    return Limits(
        patients=settings.break_glass_patients,
        window_s=settings.break_glass_window_s,
        box_s=settings.break_glass_box_s,
        review_s=settings.break_glass_review_s,
    )


class Node:
    """One hospital's node, wired. Use ``create_node`` or ``open_node``.

    Args:
        settings: the hospital's own.
        identity: its keys.
        neighbourhood: the consortium it belongs to.
        clock: its time.
        restored: the mark of a restored home that is not at work.
    """

    def __init__(
        self,
        settings: Settings,
        identity: Identity,
        neighbourhood: Neighbourhood,
        clock: Clock,
        *,
        restored: RestoredHome | None = None,
    ) -> None:
        self.settings = settings
        self.restored = restored
        self.clock = clock
        self.identity = identity
        self.consortium = neighbourhood.consortium
        self.witnesses = neighbourhood.witnesses
        home = settings.home
        tenant = identity.tenant

        self.keyring = Keyring(open_database(settings.keyring_uri, Schema.KEYRING), identity.provider, tenant, clock)
        self.store = open_record_store(settings.records_uri)
        self.log = Log(open_store(settings.log_uri), identity.log_signer(settings.origin))
        memory = WitnessMemory(home / "witnesses.db")
        anchorer = Anchorer(
            self.log,
            self.witnesses,
            settings.quorum if neighbourhood.policy is None else neighbourhood.policy,
            AnchorJournal(home / "anchors.db"),
            clock,
            ChainAnchor(self.consortium.chain, self.consortium.addresses.access_anchor),
            memory=memory,
            on_split=self._keep_evidence,
        )
        self.log_files = LogFiles(self.log, anchorer.policy)
        self.completeness = Completeness(self.log, open_map_store(settings.log_uri), self.keyring, clock)
        journal = BreakGlassJournal(home / JOURNAL_FILE, identity.log_signer(settings.origin))
        self.audit = Audit(anchorer, self.keyring, self.completeness, journal, at_work=restored is None)
        self.heads = StoreHeads(self.audit, clock)
        memory.vouched_by(WitnessVoucher(self.keyring, self.heads))
        self.accounts = accounts_of(settings, clock, self.audit, self.keyring, self.heads)
        self.authority = PermitAuthority(clock, require_standing=self.accounts.require_standing)
        self.log_check = LogCheck(self.audit, self.verify_stores, clock)
        self.audit_reader: AuditReader[Permit] = AuditReader(self.audit, self.authority)
        self.consents = ConsentStore(home / CONSENTS_FILE, self.keyring, clock, self.heads)
        self.policy = Policy.load(settings.policy)
        self.emergencies = Emergencies(
            BreakGlassLog(self.audit), self.audit, self.authority, clock, limits_of(settings), home / EMERGENCIES_LOCK
        )
        self.follow_up = FollowUp(
            self.emergencies,
            self.audit,
            self.consortium.break_glass,
            home / FOLLOW_UP_LOCK,
            Webhook(settings.alert_url, settings.hospital) if settings.alert_url else None,
        )
        self.access = Access(
            self.policy,
            self.consents,
            self.audit,
            self.authority,
            clock,
            emergency=self.audit,
            emergencies=self.emergencies,
            role_of=lambda name: SYSTEM.role if name == SYSTEM.id else self.accounts.role_of(name),
            require_standing=self.accounts.require_standing,
            consents_set=lambda twins: self.cohort.consents_set(twins),
        )
        self.account_desk = AccountDesk(self.accounts, self.access)
        release = ReleaseByContent(self.access)
        self.vault = Vault(self.store, self.keyring, self.authority, clock, tenant, release)
        self.compactor = Compactor(self.store, self.keyring, clock, tenant)
        self.twins = Twins(
            self.vault,
            self.store,
            self.access,
            clock,
            CARDIOMETABOLIC,
            writing=Turn(home / WRITING_LOCK),
            conditions=Turn(home / CONDITIONS_LOCK),
        )
        departures = Departures(home / CONSENTS_FILE, self.keyring, self.access)
        self.cohort = RunningCohort(
            settings, identity, self.consortium, self.twins, self.access, self.vault, clock, departures, self.heads
        )
        self.erasures = Erasures(
            self.access,
            self.audit,
            self.keyring,
            self.store,
            self.consents,
            clock,
            departed=self.cohort.forget_indexes,
        )

    def similarity(self) -> Similarity:
        """The running epoch's similarity service; a new epoch takes a new snapshot of consenting twins.

        Raises:
            Unavailable: the chain, which says what epoch it is, does not answer.
        """
        return self.cohort.current()

    def refresh_cohort(self) -> Similarity:
        """Take a new snapshot within the running epoch, under the same secrets: for new patients and new consents."""
        return self.cohort.refresh()

    def verify_stores(self, recorded: Mapping[str, Head] | None = None) -> dict[str, int]:
        """Hold the small stores against their chains, and those against the log. Returns their numbers of changes.

        Args:
            recorded: the heads that a deep verification of the log found in it, by store.

        Raises:
            StoreAltered: one of them holds what this node did not write, or less than the log recorded.
        """
        known = recorded or {}
        return {
            ACCOUNTS: self.accounts.verify(known.get(ACCOUNTS)),
            CONSENTS: self.consents.verify(known.get(CONSENTS)),
        }

    def known_names(self) -> tuple[str, ...]:
        """Names of hospitals, vendors and cohorts that this node knows: on the chain they stand as digests only."""
        vendors = (vendor.id for vendor in self.accounts.of_role(Role.VENDOR))
        return (self.settings.tenant, *self.settings.witnesses, COHORT, *vendors)

    def heartbeat(self) -> None:
        """Write into the log that this node is alive, and by when it will be heard from again.

        Raises:
            Unavailable: the log cannot be written.
        """
        with translated():
            self.log.append([heartbeat(self.clock.now_ms(), self.settings.heartbeat_s)])

    def close(self) -> None:
        """Give back every file, the chain's and the witnesses' too."""
        self.close_own()
        self.consortium.chain.close()
        for witness in self.witnesses:
            if isinstance(witness, Witness):
                witness.close()

    def close_own(self) -> None:
        """Give back this node's own files; what it shares with the consortium stays open."""
        self.cohort.close()
        self.audit.anchorer.close()
        journal = self.audit.anchorer.journal
        for part in (
            self.accounts,
            self.consents,
            self.store,
            self.keyring,
            journal,
            self.completeness,
            self.log.store,
            self.identity,  # last: what closes before may still ask for a key
        ):
            part.close()

    def _keep_evidence(self, split: SplitView) -> None:
        keep_evidence(
            self.settings.home / EVIDENCE_FOLDER, SplitViewEvidence.of(split.seen, split.offered, self.log.key)
        )
