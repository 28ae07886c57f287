"""A real vault on real files: local key provider, SQLite, and the platform's own permit authority."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.first_kek import with_first_kek
from twinward.access.interfaces import AccessRequest, Permit, Principal
from twinward.access.permits import PermitAuthority
from twinward.core.clock import FixedClock
from twinward.core.ids import new_twin_id
from twinward.core.vocabulary import Action, Category, Purpose, Role, TwinId
from twinward.vault.interfaces import Record
from twinward.vault.keys.keyring import Keyring
from twinward.vault.service import Vault
from twinward.vault.storage.sqlite_records import SqliteRecordStore
from twinward_crypto.keys import TenantId
from twinward_crypto.providers.local import LocalKeyProvider

TENANT = TenantId("st-anna")
ALL = tuple(Category)


@dataclass
class House:
    """One hospital's vault and everything around it."""

    folder: Path
    clock: FixedClock
    provider: LocalKeyProvider
    authority: PermitAuthority
    keyring: Keyring
    store: SqliteRecordStore
    vault: Vault

    def permit(
        self, twin: TwinId | None, action: Action = Action.READ, categories: tuple[Category, ...] = ALL
    ) -> Permit:
        principal = Principal("dr-weber", Role.CLINICIAN)
        request = AccessRequest(principal, action, Purpose.TREATMENT, twin, frozenset(categories))
        return self.authority.issue(request, log_index=0)

    def twin(self) -> TwinId:
        twin = new_twin_id(self.clock.now_ms())
        self.vault.create_twin(self.permit(twin, Action.WRITE))
        return twin

    def write(self, *records: Record) -> list[Record]:
        return self.vault.write(self.permit(records[0].twin, Action.WRITE), records)

    def files(self) -> dict[str, bytes]:
        """Every file's bytes, the write-ahead logs included."""
        return {str(path): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}


def build(folder: Path, clock: FixedClock) -> House:
    provider = with_first_kek(LocalKeyProvider(folder / "keys"))
    authority = PermitAuthority(clock)
    keyring = Keyring(folder / "keyring.db", provider, TENANT, clock)
    store = SqliteRecordStore(folder / "records.db")
    return House(folder, clock, provider, authority, keyring, store, Vault(store, keyring, authority, clock, TENANT))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = build(tmp_path, FixedClock())
    yield house
    house.vault.close()


def observation(twin: TwinId, content: bytes = b'{"value":1.10}', *references: str) -> Record:
    return Record(twin, "Observation", Category.LABS, content, references)
