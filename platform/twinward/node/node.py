"""One hospital's node: which backends it uses, and how its domains are wired together. The only place that knows."""

from __future__ import annotations

from dataclasses import dataclass

from twinward.access.accounts import Accounts
from twinward.access.capability import PermitAuthority
from twinward.access.consent import ConsentStore
from twinward.access.interfaces import Permit
from twinward.access.policy import Policy
from twinward.access.service import Access
from twinward.audit.break_glass_journal import BreakGlassJournal
from twinward.audit.completeness import Completeness
from twinward.audit.reader import AuditReader
from twinward.audit.service import Audit
from twinward.clock import Clock
from twinward.config import JOURNAL_FILE, Settings
from twinward.consortium import Consortium
from twinward.feature_schema import CARDIOMETABOLIC
from twinward.identity import Identity
from twinward.node.cohort import RunningCohort
from twinward.node.errors import translated
from twinward.similarity.service import Similarity
from twinward.split_views import EVIDENCE_FOLDER, keep_evidence
from twinward.twins.service import Twins
from twinward.vault.compaction import Compactor
from twinward.vault.database import Schema, open_database
from twinward.vault.erasure import Erasures
from twinward.vault.keyring import Keyring
from twinward.vault.service import Vault
from twinward.vault.stores import open_record_store
from twinward_ledger.anchor import Anchorer, ChainAnchor
from twinward_ledger.errors import SplitView
from twinward_ledger.evidence import SplitViewEvidence
from twinward_ledger.heartbeat import heartbeat
from twinward_ledger.log import Log
from twinward_ledger.policy import QuorumPolicy
from twinward_ledger.stores import open_store
from twinward_ledger.stores.anchor_journal import AnchorJournal
from twinward_ledger.stores.completeness import open_map_store
from twinward_ledger.stores.witness_memory import WitnessMemory
from twinward_ledger.tlog_tiles import LogFiles
from twinward_ledger.witness import Witness, WitnessPeer


@dataclass(frozen=True)
class Neighbourhood:
    """What surrounds a hospital: its consortium's contracts, the witnesses its log asks, and what a quorum of them is.

    ``policy`` None is any ``quorum`` (of the settings) of the witnesses.
    """

    consortium: Consortium
    witnesses: tuple[WitnessPeer, ...]
    policy: QuorumPolicy | None = None


class Node:
    """One hospital's node, wired. Use ``create_node`` or ``open_node``.

    Args:
        settings: the hospital's own.
        identity: its keys.
        neighbourhood: the consortium it belongs to.
        clock: its time.
    """

    def __init__(self, settings: Settings, identity: Identity, neighbourhood: Neighbourhood, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.identity = identity
        self.consortium = neighbourhood.consortium
        self.witnesses = neighbourhood.witnesses
        home = settings.home
        tenant = identity.tenant

        self.keyring = Keyring(open_database(settings.keyring_uri, Schema.KEYRING), identity.provider, tenant, clock)
        self.store = open_record_store(settings.records_uri)
        self.log = Log(open_store(settings.log_uri), identity.log_signer(settings.origin))
        anchorer = Anchorer(
            self.log,
            self.witnesses,
            settings.quorum if neighbourhood.policy is None else neighbourhood.policy,
            AnchorJournal(home / "anchors.db"),
            clock,
            ChainAnchor(self.consortium.chain, self.consortium.addresses.access_anchor),
            memory=WitnessMemory(home / "witnesses.db"),
            on_split=self._keep_evidence,
        )
        self.log_files = LogFiles(self.log, anchorer.policy)
        self.completeness = Completeness(self.log, open_map_store(settings.log_uri), self.keyring, clock)
        journal = BreakGlassJournal(home / JOURNAL_FILE, identity.log_signer(settings.origin))
        self.audit = Audit(anchorer, self.keyring, self.completeness, journal)
        self.authority = PermitAuthority(clock)
        self.audit_reader: AuditReader[Permit] = AuditReader(self.audit, self.authority)
        self.consents = ConsentStore(home / "consents.db", self.keyring, clock)
        self.policy = Policy.load(settings.policy)
        self.access = Access(self.policy, self.consents, self.audit, self.authority, clock, emergency=self.audit)
        self.accounts = Accounts(home / "accounts.db", clock)
        self.vault = Vault(self.store, self.keyring, self.authority, clock, tenant)
        self.compactor = Compactor(self.store, self.keyring, clock, tenant)
        self.twins = Twins(self.vault, self.store, self.access, clock, CARDIOMETABOLIC)
        self.erasures = Erasures(self.access, self.audit, self.keyring, self.store, self.consents, clock)
        self.cohort = RunningCohort(settings, identity, self.consortium, self.twins, self.access, self.vault, clock)

    def similarity(self) -> Similarity:
        """The running epoch's similarity service; a new epoch takes a new snapshot of consenting twins.

        Raises:
            Unavailable: the chain, which says what epoch it is, does not answer.
        """
        return self.cohort.current()

    def refresh_cohort(self) -> Similarity:
        """Take a new snapshot within the running epoch, under the same secrets: for new patients and new consents."""
        return self.cohort.refresh()

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
            self.identity.provider,  # last: what closes before may still ask for a key
        ):
            part.close()

    def _keep_evidence(self, split: SplitView) -> None:
        keep_evidence(
            self.settings.home / EVIDENCE_FOLDER, SplitViewEvidence.of(split.seen, split.offered, self.log.key)
        )
