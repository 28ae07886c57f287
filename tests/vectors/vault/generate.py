"""Makes the golden vault: ``python -m tests.vectors.vault.generate FOLDER``.

A small vault in today's bytes, which every later release must open: rows, versions, a move between categories, a
segment of new records, a segment of compacted versions, and a twin of which one category was shredded. Sealing draws
nonces, so the files never come out the same twice: the ones beside this script were made once, and are replaced only
when a release gives up reading them on purpose. ``expected.json`` says what has to come out of them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.first_kek import with_first_kek
from twinward.access.interfaces import AccessRequest, Permit, Principal
from twinward.access.permits import PermitAuthority
from twinward.core.clock import FixedClock
from twinward.core.ids import new_twin_id
from twinward.core.vocabulary import Action, Category, Purpose, Role, TwinId
from twinward.vault.interfaces import Draft, Record
from twinward.vault.keys.keyring import Keyring
from twinward.vault.segments.compaction import Compactor
from twinward.vault.service import Vault
from twinward.vault.storage.sqlite_records import SqliteRecordStore
from twinward_crypto.keys import TenantId
from twinward_crypto.providers.local import LocalKeyProvider

TENANT = TenantId("golden")
FOLDER = Path(__file__).parent
CATEGORIES = (Category.LABS, Category.VITALS, Category.CONDITIONS, Category.PSYCHIATRY)
"""What the golden records are about. Spelled out: later releases know more categories."""


class GoldenVault:
    """The vault in a folder, and leave to do anything in it."""

    def __init__(self, folder: Path, clock: FixedClock) -> None:
        self.clock = clock
        self.authority = PermitAuthority(clock)
        self.keyring = Keyring(folder / "keyring.db", with_first_kek(LocalKeyProvider(folder / "keys")), TENANT, clock)
        self.store = SqliteRecordStore(folder / "records.db")
        self.vault = Vault(self.store, self.keyring, self.authority, clock, TENANT)

    def permit(self, twin: TwinId, action: Action = Action.READ) -> Permit:
        principal = Principal("golden", Role.CLINICIAN)
        request = AccessRequest(principal, action, Purpose.TREATMENT, twin, frozenset(Category))
        return self.authority.issue(request, log_index=0)

    def shown(self, twin: TwinId) -> list[dict[str, object]]:
        """Every version of every record of a twin."""
        permit = self.permit(twin)
        ids = [one.record_id for one in self.vault.read_twin(permit) if one.record_id is not None]
        return [
            {
                "record_id": one.record_id,
                "version": one.version,
                "type": one.record_type,
                "category": one.category.value,
                "content": one.content.hex(),
                "references": list(one.references),
                "at_ms": one.committed_at_ms,
            }
            for record_id in sorted(ids)
            for one in self.vault.read_history(permit, record_id)
        ]


def observation(number: int) -> bytes:
    return b'{"resourceType":"Observation","id":"o%d","status":"final","valueQuantity":{"value":1.10}}' % number


def fill(golden: GoldenVault) -> list[TwinId]:
    """Two twins: one with all there is, one of which the labs were shredded."""
    twins = []
    for _ in range(2):
        golden.clock.advance(1000)
        twin = new_twin_id(golden.clock.now_ms())
        golden.vault.create_twin(golden.permit(twin, Action.WRITE))
        twins.append(twin)
        _write(golden, twin)
    golden.keyring.shred(twins[1], [Category.LABS])
    return twins


def _write(golden: GoldenVault, twin: TwinId) -> None:
    write = golden.permit(twin, Action.WRITE)
    for category in CATEGORIES:
        name = f"Observation/{twin}-{category.value}"
        golden.vault.write(write, [Record(twin, "Observation", category, observation(0), (name,), fingerprint=name)])
    many = [Record(twin, "Observation", Category.LABS, observation(n), (f"Observation/{twin}-{n}",)) for n in range(20)]
    golden.vault.write(write, many)
    Compactor(golden.store, golden.keyring, golden.clock, TENANT).run([twin], tidy=False)
    golden.clock.advance(1000)
    names = [f"Condition/{twin}-{n}" for n in range(20)]
    contents = [b'{"resourceType":"Condition","id":"c%d"}' % n for n in range(20)]
    draft = Draft(Category.CONDITIONS, ["Condition"] * 20, [(name,) for name in names], contents, names)
    golden.vault.write_many([], [(write, [draft])])
    name = (f"Condition/{twin}",)
    first, *_ = golden.vault.write(write, [Record(twin, "Condition", Category.CONDITIONS, b"{}", name)])
    moved = Record(twin, "Condition", Category.PSYCHIATRY, b'{"moved":true}', name, first.record_id, 1)
    golden.vault.write(write, [moved])


def main(folder: Path) -> None:
    clock = FixedClock()
    golden = GoldenVault(folder, clock)
    twins = fill(golden)
    expected = {"at_ms": clock.now_ms(), "twins": {twin: golden.shown(twin) for twin in twins}}
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")
    golden.vault.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
