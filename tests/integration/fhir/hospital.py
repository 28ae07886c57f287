"""A small hospital for tests: the real vault, keyring, policy, consents and permits, on files of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from tests.first_kek import with_first_kek
from twinward.access.consent import ConsentStore, Provision
from twinward.access.interfaces import NODE, AccessContext, Principal
from twinward.access.permits import PermitAuthority
from twinward.access.policy import Policy
from twinward.access.service import Access
from twinward.audit.events.write_index import WriteIndex
from twinward.audit.models import AccessEvent, LoggedEvent
from twinward.audit.service import Audit
from twinward.core.clock import FixedClock
from twinward.core.turns import Turn
from twinward.core.vocabulary import Category, Purpose, Role, TwinId
from twinward.fhir.mapping.categories import ReleaseByContent
from twinward.fhir.rest.service import FhirService
from twinward.fhir.search.facets import SearchFacets
from twinward.fhir.subscriptions.store import SubscriptionStore
from twinward.twins.service import Twins
from twinward.vault.keys.keyring import Keyring
from twinward.vault.service import Vault
from twinward.vault.storage.sqlite_records import SqliteRecordStore
from twinward_crypto.keys import TenantId
from twinward_crypto.testing.memory_provider import MemoryKeyProvider
from twinward_ledger.anchoring.anchorer import Anchorer
from twinward_ledger.formats.note import NoteSigner
from twinward_ledger.log.log import Log
from twinward_ledger.stores.anchor_journal import AnchorJournal
from twinward_ledger.stores.sqlite import SqliteLogStore
from twinward_ledger.witness.interfaces import WitnessPeer

SYSTEM = NODE
CLINICIAN = Principal("dr-lee", Role.CLINICIAN, "Dr. Lee", "cardiology")
OFFICER = Principal("officer", Role.OFFICER)
RESEARCHER = Principal("marie", Role.RESEARCHER)
VENDOR = Principal("acme", Role.VENDOR)
SIMILARITY_YES = Provision(effect="permit", purposes=(Purpose.SIMILARITY,), categories=(Category.FEATURES,))
RESEARCH_YES = Provision(effect="permit", purposes=(Purpose.RESEARCH,), categories=(Category.MONITORING,))
TENANT = TenantId("st-anna")


class Unasked:
    """A witness with a key and nothing else."""

    key = NoteSigner("nobody.example", bytes([1]) * 32).key


class Trail:
    """The real audit trail on the real log, remembering in the clear what it was told."""

    def __init__(self, folder: Path, keyring: Keyring, clock: FixedClock) -> None:
        self.events: list[AccessEvent] = []
        self.log = Log(SqliteLogStore(folder / "log.db"), NoteSigner("test.example/log", bytes(32)))
        nobody = cast(WitnessPeer, Unasked())  # no checkpoint is made in these tests, so no witness is ever asked
        self._audit = Audit.through(
            Anchorer(self.log, [nobody], 1, AnchorJournal(folder / "anchors.db"), clock), keyring
        )

    def record(self, events: Sequence[AccessEvent]) -> list[LoggedEvent]:
        logged = self._audit.record(events)
        self.events += events
        return logged

    @property
    def writes(self) -> WriteIndex:
        return self._audit.writes

    def close(self) -> None:
        self._audit.anchorer.journal.close()
        self.log.store.close()


class Hospital:
    """Everything wired, on a folder. ``reopen`` is what a restart of the process would find."""

    def __init__(self, folder: Path, provider: MemoryKeyProvider | None = None) -> None:
        self.folder = folder
        self.provider = with_first_kek(provider or MemoryKeyProvider())
        self.clock = FixedClock()
        self.keyring = Keyring(folder / "keyring.db", self.provider, TENANT, self.clock)
        self.store = SqliteRecordStore(folder / "records.db")
        self.trail = Trail(folder, self.keyring, self.clock)
        self.authority = PermitAuthority(self.clock)
        consents = ConsentStore(folder / "consents.db", self.keyring, self.clock)
        self.access = Access(Policy.load(), consents, self.trail, self.authority, self.clock)
        release = ReleaseByContent(self.access)
        self.vault = Vault(self.store, self.keyring, self.authority, self.clock, TENANT, release, SearchFacets)
        turns = {name: Turn(folder / f"{name}.lock") for name in ("writing", "conditions")}
        self.twins = Twins(self.vault, self.store, self.access, self.clock, **turns)
        self.fhir = FhirService(self.twins, self.clock)
        self.subscriptions = SubscriptionStore(folder / "subscriptions.db", self.keyring)
        self._consents = consents

    def consent(self, twin: TwinId, *provisions: Provision) -> None:
        self.access.set_consent(AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), twin, provisions)

    def close(self) -> None:
        self.subscriptions.close()
        self._consents.close()
        self.trail.close()
        self.vault.close()

    def reopen(self) -> Hospital:
        self.close()
        return Hospital(self.folder, self.provider)
