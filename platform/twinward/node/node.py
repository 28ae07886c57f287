"""One hospital's node: which backends it uses, and how its domains are wired together. The only place that knows.

Every part is made when it is first asked for (``parts.part``), and imports what it is made of then: a command that
imports patients opens vault, access and audit, and nothing of the chain, the witnesses or similarity. A server calls
``open_all`` first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from twinward.access.interfaces import NODE
from twinward.core.clock import Clock
from twinward.core.config import (
    BREACHES_LOCK,
    CONDITIONS_LOCK,
    EMERGENCIES_LOCK,
    FOLLOW_UP_LOCK,
    JOURNAL_FILE,
    WRITING_LOCK,
    Settings,
)
from twinward.core.vocabulary import Action, Role, TwinId
from twinward.node.errors import translated
from twinward.node.parts import Parts, part
from twinward.node.restored_home import RestoredHome

if TYPE_CHECKING:
    from twinward.access.account_desk import AccountDesk
    from twinward.access.accounts import Accounts
    from twinward.access.client_tokens import ClientTokens
    from twinward.access.consent import ConsentStore
    from twinward.access.emergencies import Emergencies, Limits
    from twinward.access.emergency_follow_up import FollowUp
    from twinward.access.interfaces import Permit
    from twinward.access.permits import PermitAuthority
    from twinward.access.policy_desk import PolicyDesk
    from twinward.access.policy_store import PolicyStore
    from twinward.access.service import Access
    from twinward.access.sign_in_store import SignInStore
    from twinward.access.sign_ins import SignIns
    from twinward.audit.events.heads import StoreHeads
    from twinward.audit.models import Head
    from twinward.audit.proofs.trust import Trust
    from twinward.audit.proofs.verification import LogCheck
    from twinward.audit.reader import AuditReader
    from twinward.audit.saved_filters import SavedFilters
    from twinward.audit.search import AccessSearch
    from twinward.audit.service import Audit
    from twinward.breach.service import Breaches
    from twinward.consortium.identity import Identity
    from twinward.consortium.membership import Consortium
    from twinward.erasure.service import Erasures
    from twinward.fhir.subscriptions.store import SubscriptionStore
    from twinward.node.cohort import RunningCohort
    from twinward.node.consortium_links import ConsortiumLinks
    from twinward.node.departures import Departures
    from twinward.review.service import Reviews
    from twinward.similarity.service import Similarity
    from twinward.twins.service import Twins
    from twinward.vault.interfaces import RecordStore
    from twinward.vault.keys.keyring import Keyring
    from twinward.vault.segments.compaction import Compactor
    from twinward.vault.service import Vault
    from twinward_ledger.anchoring.anchorer import Anchorer
    from twinward_ledger.errors import SplitView
    from twinward_ledger.log.log import Log
    from twinward_ledger.log.static_files import LogFiles
    from twinward_ledger.stores.anchor_journal import AnchorJournal
    from twinward_ledger.witness.interfaces import WitnessPeer

ANCHORS_FILE = "anchors.db"
WITNESSES_FILE = "witnesses.db"
CONSENTS_FILE = "consents.db"
POLICIES_FILE = "policies.db"
ACCOUNTS_FILE = "accounts.db"
SUBSCRIPTIONS_FILE = "subscriptions.db"
SIGN_INS_FILE = "sign_ins.db"
SAVED_FILTERS_FILE = "saved_filters.db"


class Node(Parts):
    """One hospital's node, wired. Use ``create_node`` or ``open_node``.

    Args:
        settings: the hospital's own.
        identity: its keys.
        links: opens the consortium it belongs to.
        clock: its time.
        restored: the mark of a restored home that is not at work.
    """

    def __init__(
        self,
        settings: Settings,
        identity: Identity,
        links: Callable[[], ConsortiumLinks],
        clock: Clock,
        *,
        restored: RestoredHome | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.identity = identity
        self.clock = clock
        self.restored = restored
        self._join = links
        self.keep(identity)  # first, so that it closes last: what closes before may still ask for a key

    # Stores

    @part
    def keyring(self) -> Keyring:
        """The twins' keys, wrapped."""
        from twinward.vault.keys.keyring import Keyring
        from twinward.vault.storage.schemas import KEYRING
        from twinward_ledger.storage import open_database

        database = open_database(self.settings.keyring_uri, KEYRING)
        made = Keyring(database, self.identity.provider, self.identity.tenant, self.clock)
        self.keep(made)
        return made

    @part
    def store(self) -> RecordStore:
        """Sealed records."""
        from twinward.vault.storage.record_store import open_record_store

        made = open_record_store(self.settings.records_uri)
        self.keep(made)
        return made

    @part
    def log(self) -> Log:
        """The access log."""
        from twinward_ledger.log.log import Log
        from twinward_ledger.stores import open_store

        store = open_store(self.settings.log_uri)
        self.keep(store)
        signers = partial(self.identity.log_signer, self.settings.origin)
        return Log(store, signers(), signers)

    @part
    def anchors(self) -> AnchorJournal:
        """What of the log was anchored, and what was on its way."""
        from twinward_ledger.storage import open_database
        from twinward_ledger.stores.anchor_journal import AnchorJournal
        from twinward_ledger.stores.tables import ANCHORS

        made = AnchorJournal(open_database(self.settings.state_uri(ANCHORS_FILE), ANCHORS))
        self.keep(made)
        return made

    # The consortium

    @part
    def links(self) -> ConsortiumLinks:
        """What links it with its consortium."""
        made = self._join()
        self.keep(made)
        return made

    @property
    def consortium(self) -> Consortium:
        """Its contracts on the chain, and the keys of its members that are on this machine."""
        return self.links.consortium

    @property
    def witnesses(self) -> tuple[WitnessPeer, ...]:
        """Whom the log asks to co-sign."""
        return self.links.witnesses

    @part
    def _anchorer(self) -> Anchorer:
        from twinward.audit.events.heads import WitnessVoucher
        from twinward_ledger.anchoring.anchorer import Anchorer
        from twinward_ledger.anchoring.contract import ChainAnchor
        from twinward_ledger.storage import open_database
        from twinward_ledger.stores.tables import WITNESS_MEMORY
        from twinward_ledger.stores.witness_memory import WitnessMemory

        links = self.links
        memory = WitnessMemory(open_database(self.settings.state_uri(WITNESSES_FILE), WITNESS_MEMORY))
        made = Anchorer(
            self.log,
            links.witnesses,
            self.settings.quorum if links.policy is None else links.policy,
            self.anchors,
            self.clock,
            ChainAnchor(links.consortium.chain, links.consortium.addresses.access_anchor),
            memory=memory,
            on_split=self._keep_evidence,
        )
        self.keep(made)
        memory.vouched_by(WitnessVoucher(self.keyring, self.heads))
        return made

    # Audit

    @part
    def audit(self) -> Audit:
        """The audit trail: events in, checkpoints and anchors out, tampering found."""
        from twinward.audit.break_glass.journal import BreakGlassJournal
        from twinward.audit.service import Audit
        from twinward_ledger.stores.completeness import open_map_store

        map_store = open_map_store(self.settings.log_uri)
        self.keep(map_store)
        journal = BreakGlassJournal(self.settings.home / JOURNAL_FILE, self.identity.log_signer(self.settings.origin))
        return Audit(
            self.log,
            self.anchors,
            self.keyring,
            map_store,
            journal,
            clock=self.clock,
            anchorer=lambda: self._anchorer,
            at_work=self.restored is None,
        )

    @part
    def audit_reader(self) -> AuditReader[Permit]:
        """Reads the log, behind a permit."""
        from twinward.audit.reader import AuditReader

        return AuditReader(self.audit, self.authority)

    @part
    def access_search(self) -> AccessSearch[Permit]:
        """Finds accesses by filters, behind a permit."""
        from twinward.audit.search import AccessSearch

        return AccessSearch(self.audit, self.authority)

    @part
    def saved_filters(self) -> SavedFilters:
        """Officers' saved filters of the log, sealed."""
        from twinward.audit.saved_filters import SAVED_FILTERS, SavedFilters
        from twinward_ledger.storage import open_database

        made = SavedFilters(open_database(self.settings.state_uri(SAVED_FILTERS_FILE), SAVED_FILTERS), self.keyring)
        self.keep(made)
        return made

    @part
    def reviews(self) -> Reviews:
        """Accesses examined: explained, ranked, signed off."""
        from twinward.audit.action_log import ActionLog
        from twinward.review.service import Care, Reviews

        return Reviews(
            self.access_search,
            ActionLog(self.log, self.audit.sealer, Action.REVIEW),
            Care(self.vault, self.access, self.twins.directory),
            lambda: {one.id: one.unit for one in self.accounts.records()},
            lambda: {one.id: one.twin for one in self.accounts.records() if one.twin is not None},
            self._first_checkpoint_over,
        )

    def _first_checkpoint_over(self, size: int) -> bytes:
        """Size and root of the first signed checkpoint that covers so many events; nothing where none does yet."""
        for covered, note in self.log.store.checkpoints():
            if covered >= size > 0:
                checkpoint, _ = self.log.open(note)
                return covered.to_bytes(8, "big") + checkpoint.root
        return b""

    @part
    def heads(self) -> StoreHeads:
        """How far the small stores have come, in the log."""
        from twinward.audit.events.heads import StoreHeads

        return StoreHeads(self.log, self.audit.sealer, partial(self.audit.verify, deep=True), self.clock)

    @part
    def log_files(self) -> LogFiles:
        """The log as static files (tlog-tiles)."""
        from twinward_ledger.log.static_files import LogFiles

        return LogFiles(self.log, self.audit.anchorer.policy)

    @part
    def log_check(self) -> LogCheck:
        """Checks the whole log, now and then."""
        from twinward.audit.proofs.verification import LogCheck

        return LogCheck(self.audit, self.verify_stores, self.clock)

    # Access

    @part
    def accounts(self) -> Accounts:
        """Who may sign in."""
        from twinward.access.accounts import Accounts, PasswordRules
        from twinward.access.tables import ACCOUNTS
        from twinward_ledger.storage import open_database

        settings = self.settings
        made = Accounts(
            open_database(settings.state_uri(ACCOUNTS_FILE), ACCOUNTS),
            self.clock,
            trail=self.audit,
            keys=self.keyring,
            heads=self.heads,
            rules=PasswordRules(settings.password_days, (settings.hospital, settings.tenant)),
            # A home that noted its log's key was made by a release that vouches for accounts from the first.
            adopts=not settings.log_key,
        )
        self.keep(made)
        return made

    @part
    def account_desk(self) -> AccountDesk:
        """Changes accounts in an officer's name."""
        from twinward.access.account_desk import AccountDesk

        return AccountDesk(self.accounts, self.access, lambda: self.sign_ins, self._is_patient)

    def _is_patient(self, twin: TwinId) -> bool:
        """Whether this is a patient's twin that is kept here, and was not shredded."""
        return twin in self.twins.all(twin, 1) and not self.keyring.is_shredded(twin)

    @part
    def sign_in_store(self) -> SignInStore:
        """What sign-ins leave behind for a while."""
        from twinward.access.sign_in_store import SignInStore
        from twinward.access.tables import SIGN_INS
        from twinward_ledger.storage import open_database

        uri = self.settings.state_uri(SIGN_INS_FILE)
        made = SignInStore(open_database(uri, SIGN_INS), self.keyring, self.clock)
        self.keep(made)
        return made

    @part
    def client_tokens(self) -> ClientTokens:
        """Access tokens of systems and vendors."""
        from twinward.access.client_tokens import ClientTokens

        return ClientTokens(self.accounts, self.sign_in_store, self.clock)

    @part
    def sign_ins(self) -> SignIns:
        """Who has signed in, in every process."""
        from twinward.access.challenges import Challenges
        from twinward.access.passkeys import Passkeys, RelyingParty
        from twinward.access.second_factors import SecondFactors
        from twinward.access.sessions import Sessions
        from twinward.access.sign_ins import SignIns

        settings, store = self.settings, self.sign_in_store
        sessions = Sessions(
            store,
            self.clock,
            lifetime_ms=settings.session_s * 1000,
            idle_ms=settings.session_idle_s * 1000,
            fresh_ms=settings.fresh_sign_in_s * 1000,
        )
        factors = SecondFactors(self.accounts, store, self.keyring, settings.hospital)
        party = RelyingParty(settings.passkey_host, settings.passkey_origins, f"Twinward {settings.hospital}")
        passkeys = Passkeys(self.accounts, Challenges(store, self.keyring, self.clock), self.keyring, party)
        return SignIns(self.accounts, sessions, store, factors, passkeys, settings.second_factor_roles)

    @part
    def authority(self) -> PermitAuthority:
        """Makes permits, and knows its own."""
        from twinward.access.permits import PermitAuthority

        return PermitAuthority(self.clock, require_standing=self.accounts.require_standing)

    @part
    def consents(self) -> ConsentStore:
        """What patients allow."""
        from twinward.access.consent import ConsentStore
        from twinward.access.tables import CONSENTS
        from twinward_ledger.storage import open_database

        database = open_database(self.settings.state_uri(CONSENTS_FILE), CONSENTS)
        made = ConsentStore(database, self.keyring, self.clock, self.heads)
        self.keep(made)
        return made

    @part
    def policy(self) -> PolicyStore:
        """What the hospital allows, in versions."""
        from twinward.access.policy import Policy
        from twinward.access.policy_store import PolicyStore
        from twinward.access.tables import POLICIES
        from twinward_ledger.storage import open_database

        base = Policy.load(self.settings.policy)
        database = open_database(self.settings.state_uri(POLICIES_FILE), POLICIES)
        made = PolicyStore(database, self.keyring, base, self.heads)
        self.keep(made)
        return made

    @part
    def policy_desk(self) -> PolicyDesk:
        """Changes the policy in officers' names."""
        from twinward.access.policy_desk import PolicyDesk

        return PolicyDesk(self.policy, self.access, self.audit, self.clock)

    @part
    def emergencies(self) -> Emergencies:
        """Glass that was broken."""
        from twinward.access.emergencies import Emergencies
        from twinward.audit.break_glass.log import BreakGlassLog

        audit = self.audit
        return Emergencies(
            BreakGlassLog(self.log, audit.sealer, audit.journal),
            audit,
            self.authority,
            self.clock,
            limits_of(self.settings),
            self.settings.home / EMERGENCIES_LOCK,
        )

    @part
    def follow_up(self) -> FollowUp:
        """Tells of emergencies: the contract, and whom the settings name."""
        from twinward.access.emergency_follow_up import FollowUp, Webhook

        settings = self.settings
        return FollowUp(
            self.emergencies,
            self.audit,
            lambda: self.consortium.break_glass(),
            settings.home / FOLLOW_UP_LOCK,
            Webhook(settings.alert_url, settings.hospital) if settings.alert_url else None,
        )

    @part
    def breaches(self) -> Breaches:
        """Cases of breaches."""
        from twinward.audit.action_log import ActionLog
        from twinward.breach.entry import Known
        from twinward.breach.service import Breaches
        from twinward.core.turns import Turn

        audit, keyring = self.audit, self.keyring
        known = Known(
            role_of=self.accounts.role_of,
            has_twin=audit.sealer.has_key,
            keks=lambda: keyring.census().known,
            twins_from=keyring.twins_from,
            newest_erasure=keyring.newest_erasure,
        )
        return Breaches(
            ActionLog(self.log, audit.sealer, Action.BREACH),
            audit,
            self.authority,
            self.audit_reader,
            known,
            self.clock,
            Turn(self.settings.home / BREACHES_LOCK),
            self.settings.hospital,
        )

    @part
    def access(self) -> Access:
        """Decides, and logs before it permits."""
        from twinward.access.service import Access

        return Access(
            self.policy,
            self.consents,
            self.audit,
            self.authority,
            self.clock,
            emergency=self.audit,
            emergencies=self.emergencies,
            role_of=lambda name: NODE.role if name == NODE.id else self.accounts.role_of(name),
            require_standing=self.accounts.require_standing,
            consents_set=self._consents_set,
        )

    # Vault, twins, similarity

    @part
    def vault(self) -> Vault:
        """Seals records, and opens them against a permit."""
        from twinward.fhir.mapping.categories import ReleaseByContent
        from twinward.vault.service import Vault

        release = ReleaseByContent(self.access)
        return Vault(self.store, self.keyring, self.authority, self.clock, self.identity.tenant, release)

    @part
    def compactor(self) -> Compactor:
        """Packs records into segments."""
        from twinward.vault.segments.compaction import Compactor

        return Compactor(self.store, self.keyring, self.clock, self.identity.tenant)

    @part
    def twins(self) -> Twins:
        """Patients' twins."""
        from twinward.core.turns import Turn
        from twinward.node.code_list import schema_of
        from twinward.twins.service import Twins

        home = self.settings.home
        return Twins(
            self.vault,
            self.store,
            self.access,
            self.clock,
            schema_of(home),
            writing=Turn(home / WRITING_LOCK),
            conditions=Turn(home / CONDITIONS_LOCK),
        )

    @part
    def departures(self) -> Departures:
        """Who has to leave a cohort."""
        from twinward.node.departures import Departures

        return Departures(self.consents, self.keyring, self.access)

    @part
    def subscriptions(self) -> SubscriptionStore:
        """FHIR subscriptions, sealed."""
        from twinward.fhir.subscriptions.store import SUBSCRIPTIONS, SubscriptionStore
        from twinward_ledger.storage import open_database

        database = open_database(self.settings.state_uri(SUBSCRIPTIONS_FILE), SUBSCRIPTIONS)
        made = SubscriptionStore(database, self.keyring)
        self.keep(made)
        return made

    @part
    def cohort(self) -> RunningCohort:
        """The running epoch's cohort."""
        from twinward.node.cohort import RunningCohort

        made = RunningCohort(
            self.settings,
            self.identity,
            self.consortium,
            self.twins,
            self.access,
            self.vault,
            self.clock,
            self.departures,
            self.heads,
        )
        self.keep(made)
        return made

    @part
    def erasures(self) -> Erasures:
        """Erases patients, or parts of them."""
        from twinward.erasure.service import Erasures

        return Erasures(
            self.access,
            self.audit,
            self.keyring,
            self.store,
            self.consents,
            self.clock,
            departed=self._forget_indexes,
        )

    def similarity(self) -> Similarity:
        """The running epoch's similarity service; a new epoch takes a new snapshot of consenting twins.

        Raises:
            Unavailable: the chain, which says what epoch it is, does not answer.
        """
        return self.cohort.current().similarity

    def refresh_cohort(self) -> Similarity:
        """Take a new snapshot within the running epoch, under the same secrets: for new patients and new consents."""
        return self.cohort.refresh().similarity

    def verify_stores(self, recorded: Mapping[str, Head] | None = None) -> dict[str, int]:
        """Hold the small stores against their chains, and those against the log. Returns their numbers of changes.

        Args:
            recorded: the heads that a deep verification of the log found in it, by store.

        Raises:
            StoreAltered: one of them holds what this node did not write, or less than the log recorded.
        """
        from twinward.access.account_store import STORE as ACCOUNTS
        from twinward.access.consent import STORE as CONSENTS
        from twinward.access.policy_store import STORE as POLICIES

        known = recorded or {}
        return {
            ACCOUNTS: self.accounts.verify(known.get(ACCOUNTS)),
            CONSENTS: self.consents.verify(known.get(CONSENTS)),
            POLICIES: self.policy.verify(known.get(POLICIES)),
        }

    def known_names(self) -> tuple[str, ...]:
        """Names of hospitals, vendors and cohorts that this node knows: on the chain they stand as digests only."""
        from twinward.federation.models import COHORT

        vendors = (vendor.id for vendor in self.accounts.of_role(Role.VENDOR))
        return (self.settings.tenant, *self.settings.witnesses, COHORT, *vendors)

    def trust(self) -> Trust:
        """Whom an auditor of its log believes, all of it public: the log's keys, its witnesses, quorum and anchors."""
        from twinward.audit.proofs.trust import Trust

        addresses = self.consortium.addresses
        return Trust.of(
            self.log.history,
            [peer.key for peer in self.witnesses],
            self.audit.anchorer.quorum,
            bls_keys=self.consortium.witness_keys(),
            chain_id=addresses.chain_id,
            contract=bytes.fromhex(addresses.access_anchor.removeprefix("0x")),
        )

    def heartbeat(self) -> None:
        """Write into the log that this node is alive, and by when it will be heard from again.

        Raises:
            Unavailable: the log cannot be written.
        """
        from twinward_ledger.log.heartbeat import heartbeat

        with translated():
            self.log.append([heartbeat(self.clock.now_ms(), self.settings.heartbeat_s)])

    def _consents_set(self, twins: Sequence[TwinId]) -> None:
        """Whoever may not be in a cohort by them is in no index that is kept, from now on."""
        if not all(map(self.departures.may_stay, twins)):
            self._forget_indexes()

    def _forget_indexes(self) -> None:
        """Delete the encrypted indexes that are kept between starts: somebody in them has to go.

        The running cohort is not asked for it: it stands on the chain, and a no must not wait for that.
        """
        from twinward.node.departures import forget_indexes

        forget_indexes(self.settings.home)

    def _keep_evidence(self, split: SplitView) -> None:
        from twinward.consortium.witness.split_views import EVIDENCE_FOLDER, keep_evidence
        from twinward_ledger.witness.evidence import SplitViewEvidence

        keep_evidence(
            self.settings.home / EVIDENCE_FOLDER,
            SplitViewEvidence.of(split.seen, split.offered, *self.log.history.keys),
        )


def limits_of(settings: Settings) -> Limits:
    """The bounds of emergencies that the settings name."""
    from twinward.access.emergencies import Limits

    return Limits(
        patients=settings.break_glass_patients,
        window_s=settings.break_glass_window_s,
        box_s=settings.break_glass_box_s,
        review_s=settings.break_glass_review_s,
    )
