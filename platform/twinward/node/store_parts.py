"""What a node keeps and what vouches for it: keys, sealed records, the log, its consortium and the audit trail.

Every part is made when it is first asked for (``parts.part``), and imports what it is made of then: a command that
imports patients opens vault, access and audit, and nothing of the chain, the witnesses or similarity.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from twinward.core.clock import Clock
from twinward.core.config import JOURNAL_FILE, Settings
from twinward.node.errors import translated
from twinward.node.parts import Parts, part
from twinward.node.restored_home import RestoredHome

if TYPE_CHECKING:
    from twinward.audit.events.heads import StoreHeads
    from twinward.audit.proofs.trust import Trust
    from twinward.audit.saved_filters import SavedFilters
    from twinward.audit.service import Audit
    from twinward.consortium.identity import Identity
    from twinward.consortium.membership import Consortium
    from twinward.node.consortium_links import ConsortiumLinks
    from twinward.vault.interfaces import RecordStore
    from twinward.vault.keys.keyring import Keyring
    from twinward_ledger.anchoring.anchorer import Anchorer
    from twinward_ledger.errors import SplitView
    from twinward_ledger.log.log import Log
    from twinward_ledger.log.static_files import LogFiles
    from twinward_ledger.storage import Database, Schema
    from twinward_ledger.stores.anchor_journal import AnchorJournal
    from twinward_ledger.witness.interfaces import WitnessPeer

_FILES: Final = {"witness_memory": "witnesses.db"}


def state_file(schema: Schema) -> str:
    """In which file of the home a small store is that is on no server."""
    return _FILES.get(schema.name, f"{schema.name}.db")


class StoreParts(Parts):
    """Stores, log, consortium and audit trail.

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

    def state(self, schema: Schema) -> Database:
        """A small store's database: on the server that the settings name, or in a file of the home."""
        from twinward_ledger.storage import open_database

        return open_database(self.settings.state_uri(state_file(schema)), schema)

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
        from twinward_ledger.stores.anchor_journal import AnchorJournal
        from twinward_ledger.stores.tables import ANCHORS

        made = AnchorJournal(self.state(ANCHORS))
        self.keep(made)
        return made

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
        from twinward_ledger.stores.tables import WITNESS_MEMORY
        from twinward_ledger.stores.witness_memory import WitnessMemory

        links = self.links
        memory = WitnessMemory(self.state(WITNESS_MEMORY))
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
    def saved_filters(self) -> SavedFilters:
        """Officers' saved filters of the log, sealed."""
        from twinward.audit.saved_filters import SAVED_FILTERS, SavedFilters

        made = SavedFilters(self.state(SAVED_FILTERS), self.keyring)
        self.keep(made)
        return made

    def heartbeat(self) -> None:
        """Write into the log that this node is alive, and by when it will be heard from again.

        Raises:
            Unavailable: the log cannot be written.
        """
        from twinward_ledger.log.heartbeat import heartbeat

        with translated():
            self.log.append([heartbeat(self.clock.now_ms(), self.settings.heartbeat_s)])

    def _keep_evidence(self, split: SplitView) -> None:
        from twinward.consortium.witness.split_views import EVIDENCE_FOLDER, keep_evidence
        from twinward_ledger.witness.evidence import SplitViewEvidence

        keep_evidence(
            self.settings.home / EVIDENCE_FOLDER,
            SplitViewEvidence.of(split.seen, split.offered, *self.log.history.keys),
        )

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
