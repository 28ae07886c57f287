"""A hospital's vault and log on a PostgreSQL server: real keys, real permits, one database for each part."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.first_kek import with_first_kek
from twinward.access.interfaces import AccessRequest, Permit, Principal
from twinward.access.permits import PermitAuthority
from twinward.core.clock import FixedClock
from twinward.core.ids import new_twin_id
from twinward.core.vocabulary import Action, Category, Purpose, Role, TwinId
from twinward.vault.interfaces import Record, RecordStore
from twinward.vault.keys.keyring import Keyring
from twinward.vault.service import Vault
from twinward.vault.storage.record_store import open_record_store
from twinward.vault.storage.schemas import KEYRING
from twinward_crypto.keys import TenantId
from twinward_crypto.providers.local import LocalKeyProvider
from twinward_ledger.log.store import LogStore
from twinward_ledger.storage import open_database
from twinward_ledger.stores import open_store

TENANT = TenantId("st-anna")


@dataclass
class House:
    clock: FixedClock
    authority: PermitAuthority
    keyring: Keyring
    store: RecordStore
    vault: Vault
    log: LogStore

    def permit(self, twin: TwinId, action: Action = Action.READ) -> Permit:
        principal = Principal("dr-weber", Role.CLINICIAN)
        request = AccessRequest(principal, action, Purpose.TREATMENT, twin, frozenset(Category))
        return self.authority.issue(request, log_index=0)

    def twin(self) -> TwinId:
        twin = new_twin_id(self.clock.now_ms())
        self.vault.create_twin(self.permit(twin, Action.WRITE))
        return twin

    def write(self, twin: TwinId, *contents: bytes) -> list[Record]:
        records = [
            Record(twin, "Observation", Category.LABS, content, (content.decode(errors="replace"),))
            for content in contents
        ]
        return self.vault.write(self.permit(twin, Action.WRITE), records)

    def close(self) -> None:
        self.vault.close()
        self.log.close()


def build(keys: Path, records: str, keyring: str, log: str) -> House:
    clock = FixedClock()
    authority = PermitAuthority(clock)
    ring = Keyring(open_database(keyring, KEYRING), with_first_kek(LocalKeyProvider(keys)), TENANT, clock)
    store = open_record_store(records)
    return House(clock, authority, ring, store, Vault(store, ring, authority, clock, TENANT), open_store(log))
