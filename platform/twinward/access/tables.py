"""The tables of accounts, consents and the policy, each with the chain beside its rows, and of sign-ins: each store in
a database (or in tables) of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sqlalchemy import Column, Integer, MetaData, String, Table

from twinward.core.errors import BadInput, store_unavailable
from twinward_ledger.storage import COUNTED, WITHOUT_ROWID, AsStored, Long, Name, Schema, column

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_CHAIN_IN_FILES: Final = "change"


def _change_columns() -> tuple[Column[Any], ...]:
    """A link of a store's chain: see ``vouched_store``."""
    return (
        column("seq", Long, primary_key=True, **COUNTED),
        column("subject", Name),
        column("digest", AsStored),
        column("mac", AsStored),
    )


ACCOUNTS_TABLES: Final = MetaData()
"""Tables of the accounts."""

account_table: Final = Table(
    "account_record",
    ACCOUNTS_TABLES,
    column("id", Name, primary_key=True),
    column("record", String),
    **WITHOUT_ROWID,
)
"""An account: see ``AccountRecord``."""

visit_table: Final = Table(
    "visit",
    ACCOUNTS_TABLES,
    column("account", Name, primary_key=True),
    column("size", Long),
    column("at_ms", Long),
    **WITHOUT_ROWID,
)
"""How much of the log an officer has seen."""

used_table: Final = Table(
    "used",
    ACCOUNTS_TABLES,
    column("account", Name, primary_key=True),
    column("token", Integer, primary_key=True),
    column("day", Integer),
    **WITHOUT_ROWID,
)
"""On which day (since the epoch) a token was last used; 0 stands for the password."""

account_change_table: Final = Table(
    "account_change",
    ACCOUNTS_TABLES,
    *_change_columns(),
)
"""The chain of the accounts: see ``vouched_store``."""

CONSENTS_TABLES: Final = MetaData()
"""Tables of the consents."""

consent_table: Final = Table(
    "consent",
    CONSENTS_TABLES,
    column("twin", Name, primary_key=True),
    column("version", Integer, primary_key=True),
    column("at_ms", Long),
    column("sealed", AsStored),
    **WITHOUT_ROWID,
)
"""A version of a patient's consent, sealed under the patient's key."""

consent_change_table: Final = Table(
    "consent_change",
    CONSENTS_TABLES,
    *_change_columns(),
)
"""The chain of the consents: see ``vouched_store``."""

SIGN_INS_TABLES: Final = MetaData()
"""Tables of sign-ins."""

sign_in_table: Final = Table(
    "sign_in",
    SIGN_INS_TABLES,
    column("id", AsStored, primary_key=True),
    column("kind", String),
    column("owner", AsStored, index=True),
    column("expires_at_ms", Long, index=True),
    column("sealed", AsStored),
    **WITHOUT_ROWID,
)
"""A session, or a step that waits for the next one: see ``SignInStore``."""

used_once_table: Final = Table(
    "used_once",
    SIGN_INS_TABLES,
    column("id", AsStored, primary_key=True),
    column("expires_at_ms", Long, index=True),
    **WITHOUT_ROWID,
)
"""The digest of something that is good for one use and was used."""

POLICIES_TABLES: Final = MetaData()
"""Tables of the policy."""

policy_table: Final = Table(
    "policy_record",
    POLICIES_TABLES,
    column("subject", Name, primary_key=True),
    column("record", String),
    **WITHOUT_ROWID,
)
"""A version, a proposal, or which version is in force: see ``PolicyStore``."""

policy_change_table: Final = Table(
    "policy_change",
    POLICIES_TABLES,
    *_change_columns(),
)
"""The chain of the policy: see ``vouched_store``."""


ACCOUNTS: Final = Schema(
    name="accounts",
    application_id=0x54574143,  # "TWAC"
    version=1,
    revisions=_MIGRATIONS / "accounts",
    models=lambda: ACCOUNTS_TABLES,
    in_files={account_change_table.name: _CHAIN_IN_FILES},
    unnumbered=1,
    unavailable=store_unavailable,
    malformed=BadInput,
)
CONSENTS: Final = Schema(
    name="consents",
    application_id=0x5457434E,  # "TWCN"
    version=1,
    revisions=_MIGRATIONS / "consents",
    models=lambda: CONSENTS_TABLES,
    in_files={consent_change_table.name: _CHAIN_IN_FILES},
    unnumbered=1,
    unavailable=store_unavailable,
    malformed=BadInput,
)
SIGN_INS: Final = Schema(
    name="sign_ins",
    application_id=0x54575349,  # "TWSI"
    version=1,
    revisions=_MIGRATIONS / "sign_ins",
    models=lambda: SIGN_INS_TABLES,
    unavailable=store_unavailable,
    malformed=BadInput,
)
POLICIES: Final = Schema(
    name="policies",
    application_id=0x5457504C,  # "TWPL"
    version=1,
    revisions=_MIGRATIONS / "policies",
    models=lambda: POLICIES_TABLES,
    unavailable=store_unavailable,
    malformed=BadInput,
)
