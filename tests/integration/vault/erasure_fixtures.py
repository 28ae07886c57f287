"""A hospital on files with everything an erasure touches, its KEKs in a real local key store. Backs up and restores."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import cast

from tests.integration.fhir.hospital import CLINICIAN, OFFICER, TENANT, Hospital
from twinward.access.consent import ConsentStore
from twinward.access.interfaces import AccessRequest, Permit
from twinward.core.ids import new_twin_id
from twinward.core.vocabulary import Action, Category, Purpose, TwinId
from twinward.erasure.service import Erasures
from twinward.vault.interfaces import Record
from twinward_crypto.providers.local import LocalKeyProvider
from twinward_crypto.testing.memory_provider import MemoryKeyProvider

DATABASES = ("keyring.db", "records.db", "consents.db", "log.db")
KEPT = (Category.VITALS, Category.PSYCHIATRY)
EVERY = (Category.LABS, *KEPT)


class ErasureHouse:
    """A hospital, its erasures, and what an operator and a thief do with its files."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.provider = LocalKeyProvider(folder / "keys")
        self.hospital = Hospital(folder, cast(MemoryKeyProvider, self.provider))
        self.keyring, self.vault, self.clock = self.hospital.keyring, self.hospital.vault, self.hospital.clock
        self.store = self.hospital.store
        self.consents = ConsentStore(folder / "consents.db", self.keyring, self.clock)
        trail = self.hospital.trail
        parts = (self.hospital.access, trail, self.keyring, self.store, self.consents, self.clock)
        self.erasures = Erasures(*parts, wait=lambda _seconds: None)

    def twin(self, *categories: Category) -> TwinId:
        """A new twin with one record of each category, labs among them three."""
        twin = new_twin_id(self.clock.now_ms())
        self.vault.create_twin(self.permit(twin, Action.WRITE))
        wanted = categories or (Category.LABS, Category.LABS, *EVERY)
        self.write(twin, wanted)
        return twin

    def write(self, twin: TwinId, categories: Iterable[Category]) -> list[Record]:
        """One new record of each category, its content its category's name."""
        records = [
            Record(twin, "Observation", one, one.value.encode(), (f"Observation/{twin}-{one.value}",))
            for one in categories
        ]
        return self.vault.write(self.permit(twin, Action.WRITE), records)

    def permit(self, twin: TwinId, action: Action = Action.READ) -> Permit:
        """Leave to do anything to a twin, as if it had been decided."""
        request = AccessRequest(CLINICIAN, action, Purpose.TREATMENT, twin, frozenset(Category))
        return self.hospital.authority.issue(request, log_index=0)

    def contents(self, twin: TwinId) -> list[str]:
        """What is read of a twin, sorted."""
        return sorted(one.content.decode() for one in self.vault.read_twin(self.permit(twin)))

    def request(self, twin: TwinId, categories: Collection[Category] = ()) -> AccessRequest:
        """An officer's request to erase."""
        return AccessRequest(OFFICER, Action.SHRED, Purpose.PATIENT_REQUEST, twin, frozenset(categories))

    def back_up(self, target: Path) -> Path:
        """Copies of every database as it is now. The key service is elsewhere and is not among them."""
        target.mkdir(parents=True)
        for name in DATABASES:
            with sqlite3.connect(self.folder / name) as source, sqlite3.connect(target / name) as copy:
                source.backup(copy)
            source.close()
            copy.close()
        return target

    def close(self) -> None:
        """Give back every file."""
        self.consents.close()
        self.hospital.close()
        self.vault.close()
        self.provider.close()


def restored(house: ErasureHouse, *backups: tuple[Path, Iterable[str]]) -> ErasureHouse:
    """The hospital closed, some of its databases replaced by backups, and opened again: keys/ stays what it is."""
    house.close()
    for backup, names in backups:
        for name in names:
            for suffix in ("", "-wal", "-shm"):
                house.folder.joinpath(name + suffix).unlink(missing_ok=True)
            shutil.copy(backup / name, house.folder / name)
    return ErasureHouse(house.folder)


__all__ = ["DATABASES", "EVERY", "KEPT", "TENANT", "ErasureHouse", "restored"]
