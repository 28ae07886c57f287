"""The vault's two databases, each versioned by itself: ``migrations/<name>/``."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from twinward.vault.errors import MalformedRecord, VaultUnavailable
from twinward.vault.storage.tables import KeyringBase, RecordsBase
from twinward_ledger.storage import Schema

_MIGRATIONS: Final = Path(__file__).parent / "migrations"


def _unavailable(message: str, hint: str) -> VaultUnavailable:
    return VaultUnavailable(message, hint=hint)


RECORDS: Final = Schema(
    name="records",
    application_id=0x54575652,  # "TWVR"
    version=3,
    revisions=_MIGRATIONS / "records",
    models=lambda: RecordsBase.metadata,
    unavailable=_unavailable,
    malformed=MalformedRecord,
)
KEYRING: Final = Schema(
    name="keyring",
    application_id=0x54574B52,  # "TWKR"
    version=3,
    revisions=_MIGRATIONS / "keyring",
    models=lambda: KeyringBase.metadata,
    unavailable=_unavailable,
    malformed=MalformedRecord,
)
