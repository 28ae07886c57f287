"""The tables of accounts, consents and the policy, each with the chain beside its rows, and of sign-ins: each store in
a database (or in tables) of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final

from sqlalchemy import MetaData
from sqlmodel import Field, SQLModel

from twinward.core.errors import BadInput, store_unavailable
from twinward_ledger.storage import COUNTED, WITHOUT_ROWID, AsStored, Long, Name, Schema

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_CHAIN_IN_FILES: Final = "change"


class _Change(SQLModel):
    """A link of a store's chain: see ``vouched_store``."""

    seq: int = Field(sa_type=Long, primary_key=True, sa_column_kwargs=COUNTED)
    subject: str = Field(sa_type=Name)
    digest: bytes = Field(sa_type=AsStored)
    mac: bytes = Field(sa_type=AsStored)


class AccountsBase(SQLModel):
    """Tables of the accounts."""

    metadata: ClassVar[MetaData] = MetaData()


class AccountRow(AccountsBase, table=True):
    """An account: see ``AccountRecord``."""

    __tablename__ = "account_record"
    __table_args__ = WITHOUT_ROWID

    id: str = Field(sa_type=Name, primary_key=True)
    record: str


class Visit(AccountsBase, table=True):
    """How much of the log an officer has seen."""

    __tablename__ = "visit"
    __table_args__ = WITHOUT_ROWID

    account: str = Field(sa_type=Name, primary_key=True)
    size: int = Field(sa_type=Long)
    at_ms: int = Field(sa_type=Long)


class Used(AccountsBase, table=True):
    """On which day (since the epoch) a token was last used; 0 stands for the password."""

    __tablename__ = "used"
    __table_args__ = WITHOUT_ROWID

    account: str = Field(sa_type=Name, primary_key=True)
    token: int = Field(primary_key=True)
    day: int


class AccountChange(AccountsBase, _Change, table=True):
    """The chain of the accounts: see ``vouched_store``."""

    __tablename__ = "account_change"


class ConsentsBase(SQLModel):
    """Tables of the consents."""

    metadata: ClassVar[MetaData] = MetaData()


class ConsentRow(ConsentsBase, table=True):
    """A version of a patient's consent, sealed under the patient's key."""

    __tablename__ = "consent"
    __table_args__ = WITHOUT_ROWID

    twin: str = Field(sa_type=Name, primary_key=True)
    version: int = Field(primary_key=True)
    at_ms: int = Field(sa_type=Long)
    sealed: bytes = Field(sa_type=AsStored)


class ConsentChange(ConsentsBase, _Change, table=True):
    """The chain of the consents: see ``vouched_store``."""

    __tablename__ = "consent_change"


class SignInsBase(SQLModel):
    """Tables of sign-ins."""

    metadata: ClassVar[MetaData] = MetaData()


class SignInRow(SignInsBase, table=True):
    """A session, or a step that waits for the next one: see ``SignInStore``."""

    __tablename__ = "sign_in"
    __table_args__ = WITHOUT_ROWID

    id: bytes = Field(sa_type=AsStored, primary_key=True)
    kind: str
    owner: bytes = Field(sa_type=AsStored, index=True)
    expires_at_ms: int = Field(sa_type=Long, index=True)
    sealed: bytes = Field(sa_type=AsStored)


class UsedOnceRow(SignInsBase, table=True):
    """The digest of something that is good for one use and was used."""

    __tablename__ = "used_once"
    __table_args__ = WITHOUT_ROWID

    id: bytes = Field(sa_type=AsStored, primary_key=True)
    expires_at_ms: int = Field(sa_type=Long, index=True)


class PoliciesBase(SQLModel):
    """Tables of the policy."""

    metadata: ClassVar[MetaData] = MetaData()


class PolicyRow(PoliciesBase, table=True):
    """A version, a proposal, or which version is in force: see ``PolicyStore``."""

    __tablename__ = "policy_record"
    __table_args__ = WITHOUT_ROWID

    subject: str = Field(sa_type=Name, primary_key=True)
    record: str


class PolicyChange(PoliciesBase, _Change, table=True):
    """The chain of the policy: see ``vouched_store``."""

    __tablename__ = "policy_change"


ACCOUNTS: Final = Schema(
    name="accounts",
    application_id=0x54574143,  # "TWAC"
    version=1,
    revisions=_MIGRATIONS / "accounts",
    models=lambda: AccountsBase.metadata,
    in_files={str(AccountChange.__tablename__): _CHAIN_IN_FILES},
    unnumbered=1,
    unavailable=store_unavailable,
    malformed=BadInput,
)
CONSENTS: Final = Schema(
    name="consents",
    application_id=0x5457434E,  # "TWCN"
    version=1,
    revisions=_MIGRATIONS / "consents",
    models=lambda: ConsentsBase.metadata,
    in_files={str(ConsentChange.__tablename__): _CHAIN_IN_FILES},
    unnumbered=1,
    unavailable=store_unavailable,
    malformed=BadInput,
)
SIGN_INS: Final = Schema(
    name="sign_ins",
    application_id=0x54575349,  # "TWSI"
    version=1,
    revisions=_MIGRATIONS / "sign_ins",
    models=lambda: SignInsBase.metadata,
    unavailable=store_unavailable,
    malformed=BadInput,
)
POLICIES: Final = Schema(
    name="policies",
    application_id=0x5457504C,  # "TWPL"
    version=1,
    revisions=_MIGRATIONS / "policies",
    models=lambda: PoliciesBase.metadata,
    unavailable=store_unavailable,
    malformed=BadInput,
)
