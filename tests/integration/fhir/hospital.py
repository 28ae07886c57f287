"""A small hospital for tests: the real vault, keyring, policy, consents and permits, on files of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from twinward.access.capability import PermitAuthority
from twinward.access.consent import ConsentStore, Provision
from twinward.access.interfaces import Principal
from twinward.access.policy import Policy
from twinward.access.service import Access
from twinward.audit.interfaces import AccessEvent, LoggedEvent
from twinward.clock import FixedClock
from twinward.fhir.service import FhirService
from twinward.twins.service import Twins
from twinward.vault.keyring import Keyring
from twinward.vault.service import Vault
from twinward.vault.stores.sqlite import SqliteRecordStore
from twinward.vocabulary import Category, Purpose, Role, TwinId
from twinward_crypto.keys import TenantId
from twinward_crypto.testing.memory_provider import MemoryKeyProvider

SYSTEM = Principal("node", Role.SYSTEM)
CLINICIAN = Principal("dr-lee", Role.CLINICIAN, "Dr. Lee", "cardiology")
OFFICER = Principal("officer", Role.OFFICER)
RESEARCHER = Principal("marie", Role.RESEARCHER)
VENDOR = Principal("acme", Role.VENDOR)
SIMILARITY_YES = Provision(effect="permit", purposes=(Purpose.SIMILARITY,), categories=(Category.FEATURES,))
RESEARCH_YES = Provision(effect="permit", purposes=(Purpose.RESEARCH,), categories=(Category.MONITORING,))
TENANT = TenantId("st-anna")


class Trail:
    """Events in a list, in order: what these tests ask of the log."""

    def __init__(self, keyring: Keyring) -> None:
        self.events: list[AccessEvent] = []
        self._keyring = keyring

    def record(self, events: Sequence[AccessEvent]) -> list[LoggedEvent]:
        for event in events:
            self._keyring.audit_key(
                event.twin
            )  # as the real trail does: a twin-to-be gets its key with its first event
        first = len(self.events)
        self.events += events
        return [LoggedEvent(first + i, bytes(32), event) for i, event in enumerate(events)]


class Hospital:
    """Everything wired, on a folder. ``reopen`` is what a restart of the process would find."""

    def __init__(self, folder: Path, provider: MemoryKeyProvider | None = None) -> None:
        self.folder = folder
        self.provider = provider or MemoryKeyProvider()
        self.clock = FixedClock()
        self.keyring = Keyring(folder / "keyring.db", self.provider, TENANT, self.clock)
        self.store = SqliteRecordStore(folder / "records.db")
        self.trail = Trail(self.keyring)
        self.authority = PermitAuthority(self.clock)
        consents = ConsentStore(folder / "consents.db", self.keyring, self.clock)
        self.access = Access(Policy.load(), consents, self.trail, self.authority, self.clock)
        self.vault = Vault(self.store, self.keyring, self.authority, self.clock, TENANT)
        self.twins = Twins(self.vault, self.store, self.access, self.clock)
        self.fhir = FhirService(self.twins, self.clock)
        self._consents = consents

    def consent(self, twin: TwinId, *provisions: Provision) -> None:
        self.access.set_consent(OFFICER, twin, provisions)

    def close(self) -> None:
        self._consents.close()
        self.vault.close()

    def reopen(self) -> Hospital:
        self.close()
        return Hospital(self.folder, self.provider)
