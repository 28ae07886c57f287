"""An account as it is kept, and the store of all: one truth for every process, no row that this node did not write.

Each row is vouched for under the hospital's key, and the log records how far the store has come (``vouched_store``):
whoever can write to the database makes nobody a clinician, brings no revoked token back and lets no account disappear.
A row that nobody vouches for is no account; one that was altered, or a store that is older, is ``StoreAltered``.

When officers last looked and when tokens were last used are notes beside them, which decide nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, select

from twinward.access.interfaces import Principal, Standing
from twinward.access.tables import ACCOUNTS, AccountChange, AccountRow, Used, Visit
from twinward.access.vouched_store import Row, VouchedStore, Writer
from twinward.audit.interfaces import EventKeys, HeadTrail
from twinward.audit.models import Head
from twinward.core.errors import Conflict, NotFound, Unavailable
from twinward.core.sentences import sentence
from twinward.core.vocabulary import Role, TwinId
from twinward_crypto.kdf import length_prefixed
from twinward_ledger.storage import Database, table_of, upsert
from twinward_ledger.storage.sqlite import SqliteFile

STORE: Final = ACCOUNTS.name
_accounts, _visits, _used = table_of(AccountRow), table_of(Visit), table_of(Used)
MOST_TOKENS = 100
"""Of one account, revoked ones counted."""
DAY_MS = 86_400_000


class TokenRecord(BaseModel):
    """A bearer token: never itself, only the SHA-256 (hex) of its 256 random bits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    sha256: str
    made_at_ms: int = 0
    expires_at_ms: int | None = None
    revoked: bool = False

    def fault(self, at_ms: int) -> str:
        """Why it is no longer good; empty where it is."""
        if self.revoked:
            return "revoked"
        return "expired" if self.expires_at_ms is not None and at_ms >= self.expires_at_ms else ""


class PasskeyRecord(BaseModel):
    """A passkey: its id and public key (base64url), how often it said it was used, and what its owner calls it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    public_key: str
    sign_count: int
    name: str
    made_at_ms: int


class ClientKeyRecord(BaseModel):
    """A public key by which a system signs: its name, the one algorithm it is for, its JWK (RFC 7517)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kid: str
    alg: str
    jwk: str
    made_at_ms: int


class ClientCertificateRecord(BaseModel):
    """A certificate of a system or vendor: its ``x5t#S256`` (RFC 8705), and what it said when it was registered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    thumbprint: str
    subject: str
    expires_at_ms: int
    made_at_ms: int


class IdentityRecord(BaseModel):
    """Who somebody is to an OpenID provider: its issuer, and the subject that is theirs for ever."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: str
    subject: str


class DelegationRecord(BaseModel):
    """A colleague's role, lent to this account in ``[from_ms, until_ms)``: see ``delegations``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    by: str
    role: Role
    units: tuple[str, ...] = ()
    from_ms: int
    until_ms: int
    reason: str
    ended_at_ms: int | None = None

    def fault(self, at_ms: int) -> str:
        """Why it does not hold: "to come" or "over"; empty where it does."""
        if self.ended_at_ms is not None or at_ms >= self.until_ms:
            return "over"
        return "to come" if at_ms < self.from_ms else ""


class AccountRecord(BaseModel):
    """An account. ``generation`` counts up whenever whoever is signed in must no longer be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    role: Role
    name: str = ""
    unit: str = ""
    disabled: bool = False
    generation: int = 1
    password: str = ""
    """A PHC string of Argon2id; empty is none."""
    password_at_ms: int = 0
    must_change: bool = False
    """Somebody else knows the password: it is good for one thing, to choose another."""
    tokens: tuple[TokenRecord, ...] = ()
    totp: str = ""
    """The secret of an authenticator app, sealed (``second_factors``); empty is none."""
    wrong_codes: int = 0
    """Codes in a row that were not the app's, each after a right password."""
    recovery: tuple[str, ...] = ()
    """SHA-256 (hex) of the recovery codes that are left."""
    passkeys: tuple[PasskeyRecord, ...] = ()
    twin: TwinId | None = None
    """A patient's own record, as an officer tied it; None, as in every row of an earlier release, is none."""
    client_keys: tuple[ClientKeyRecord, ...] = ()
    certificates: tuple[ClientCertificateRecord, ...] = ()
    certificate_bound: bool = False
    """Nothing is done in its name but over a connection that proved one of ``certificates``, of which may be none."""
    identities: tuple[IdentityRecord, ...] = ()
    waits: bool = False
    """Made by the hospital's sign-in, and not enabled since."""
    first_yes: str = ""
    """The officer who would enable it, where that takes two."""
    proposed_links: tuple[tuple[IdentityRecord, str], ...] = ()
    """Persons whom one officer (the second of each) would let sign in with it, where that takes two."""
    more_units: tuple[str, ...] = ()
    """Units besides ``unit``."""
    delegations: tuple[DelegationRecord, ...] = ()

    @property
    def every_unit(self) -> tuple[str, ...]:
        """All its units, in order."""
        return tuple(sorted({self.unit, *self.more_units} - {""}))

    def principal(self, token: int = 0) -> Principal:
        """Who signs in with this account now."""
        standing = Standing(self.generation, token)
        return Principal(self.id, self.role, self.name, self.unit, standing, self.twin, self.more_units)

    def acting(self, one: DelegationRecord, standing: Standing) -> Principal:
        """Who signs in with this account, with a role that was lent to it."""
        first, *rest = one.units or ("",)
        lent = replace(standing, delegation=one.number)
        return Principal(self.id, one.role, self.name, first, lent, more_units=tuple(rest))

    def fault(self, standing: Standing, at_ms: int) -> str:
        """Why somebody who has signed in is signed in no longer; empty where it stands."""
        if self.disabled:
            return "disabled"
        if standing.generation != self.generation:
            return "ended"
        if standing.until_ms and at_ms >= standing.until_ms:
            return "expired"
        if standing.delegation:
            lent = next((one for one in self.delegations if one.number == standing.delegation), None)
            if lent is None or lent.fault(at_ms):
                return "the role is lent no longer"
        if not standing.token:
            return ""
        token = next((one for one in self.tokens if one.number == standing.token), None)
        return "revoked" if token is None else token.fault(at_ms)

    def certificate_fault(self, presented: str, at_ms: int) -> str:
        """Why a connection with this certificate (its thumbprint; empty for none) is not the account's; empty if so."""
        if not self.certificate_bound:
            return ""
        held = next((one for one in self.certificates if hmac.compare_digest(one.thumbprint, presented)), None)
        if held is None:
            return "without its certificate"
        return "by a certificate that has expired" if at_ms >= held.expires_at_ms else ""

    def ended(self, **more: object) -> AccountRecord:
        """The account with everybody who has signed in signed out, and these fields changed."""
        return self.model_copy(update={**more, "generation": self.generation + 1})

    def usable(self, at_ms: int) -> bool:
        """Whether anybody can sign in with it."""
        return not self.disabled and bool(
            self.password
            or self.passkeys
            or self.client_keys
            or self.certificates
            or self.identities
            or any(not one.fault(at_ms) for one in self.tokens)
        )

    def password_expires_at_ms(self, days: int) -> int | None:
        """When its password will have to be changed, if it is good for so many days; 0 is for ever."""
        return self.password_at_ms + days * DAY_MS if days and self.password else None


def digest_of(secret: str) -> bytes:
    """SHA-256 of a secret that is drawn at random: what is kept of it."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


Check = Callable[[AccountRecord, Iterator[AccountRecord]], None]
"""Raises where an account may not be changed, in view of it and of all others."""


class AccountStore:
    """The rows of one node's accounts. Safe to share between threads and processes.

    Args:
        place: a file of their own, or a database that is already open.
        keys: whose tenant key vouches for the rows.
        heads: the log's record of how far the store has come; None keeps none.
        adopts: whether rows that nothing vouches for may be an earlier release's; else they are somebody else's.

    Attributes:
        taken_over: whether what is there is of an earlier release, and had no chain.
    """

    def __init__(
        self, place: Path | Database, keys: EventKeys, heads: HeadTrail | None, *, adopts: bool = True
    ) -> None:
        self._lock = threading.Lock()
        self._records: dict[str, tuple[bytes, AccountRecord]] = {}
        self._database: Database = SqliteFile(place, ACCOUNTS) if isinstance(place, Path) else place
        self._store = VouchedStore(self._database, STORE, AccountChange, keys, heads, adopt=_rows, adopts=adopts)
        self.taken_over = not self._store.has_chain() and self._has_rows()

    def find(self, account: str) -> AccountRecord | None:
        """An account as it is now, whoever changed it last. Raises ``StoreAltered``, ``Unavailable``."""
        digest = self._store.newest(account)
        if not digest:
            return None
        known = self._records.get(account)
        if known is None or known[0] != digest:
            known = self._read(account)
        return None if known is None else known[1]

    def all(self) -> list[AccountRecord]:
        """Every account, by id. Raises as ``find``."""
        names = sorted({name for name, _ in self._store.verify()})
        return [record for record in map(self.find, names) if record is not None]

    def add(self, record: AccountRecord, announce: Callable[[], None]) -> None:
        """Add an account once ``announce`` has returned. Raises ``Conflict`` where there is one of that id."""
        with self._store.writing() as writer:
            if writer.newest(record.id):
                raise Conflict(sentence("there is an account {account!r} already", account=record.id))
            announce()
            _put(writer, record)

    def change(
        self,
        account: str,
        changed: Callable[[AccountRecord], AccountRecord],
        announce: Callable[[AccountRecord], None],
        check: Check | None = None,
    ) -> AccountRecord:
        """Change an account, as it is now, once ``announce`` has returned. Raises ``NotFound``, and as ``find``.

        ``check`` sees the account and all others before that, while nobody else can change any.
        """
        with self._store.writing() as writer:
            digest = writer.newest(account)
            if not digest:
                raise NotFound(
                    sentence("there is no account {account!r}", account=account),
                    hint="`twinward account list` prints all",
                )
            found = self._parsed(account, _record_of(writer.db, account), digest)
            if check is not None:
                check(found, self._others(writer, account))
            record = changed(found)
            announce(record)
            _put(writer, record)
        return record

    def visit(self, account: str, size: int, at_ms: int) -> tuple[int, int]:
        """Note that somebody has seen the log up to ``size``; return (size, at_ms) of the time before."""
        with self._database.writing() as db:
            found = db.execute(select(_visits.c.size, _visits.c.at_ms).where(_visits.c.account == account)).first()
            upsert(db, _visits, account=account, size=size, at_ms=at_ms)
        return (0, 0) if found is None else (int(found.size), int(found.at_ms))

    def note_use(self, account: str, token: int, day: int) -> bool:
        """Note on which day something was last used, if nobody is writing just now; whether it was noted."""
        with suppress(Unavailable), self._database.writing(wait=False) as db:
            upsert(db, _used, account=account, token=token, day=day)
            return True
        return False

    def used(self) -> dict[tuple[str, int], int]:
        """The day (since the epoch) on which each token was last used; 0 stands for the password."""
        with self._database.reading() as db:
            rows = db.execute(select(_used.c.account, _used.c.token, _used.c.day)).all()
        return {(str(account), int(token)): int(day) for account, token, day in rows}

    def verify(self, recorded: Head | None = None) -> int:
        """Hold every row against the chain, and the chain against the log. Returns how many changes there were.

        Args:
            recorded: a head that is known to stand in the log.

        Raises:
            StoreAltered: a row or a change was altered, added, taken away or turned back.
        """
        changes = self._store.verify(recorded)
        with self._store.reading() as reader:
            found = dict(_rows(reader.db))
        if found != dict(changes):  # the newest change of each; no account is ever deleted
            raise self._store.altered(sentence("rows are missing, altered or were added"))
        return len(changes)

    def close(self) -> None:
        """Give back the file."""
        self._store.close()

    def _read(self, account: str) -> tuple[bytes, AccountRecord] | None:
        with self._store.reading() as reader:
            digest = reader.newest(account)
            if not digest:
                return None
            record = self._parsed(account, _record_of(reader.db, account), digest)
        with self._lock:
            self._records[account] = digest, record
        return digest, record

    def _has_rows(self) -> bool:
        with self._database.reading() as db:
            return db.execute(select(_accounts.c.id).limit(1)).first() is not None

    def _others(self, writer: Writer, account: str) -> Iterator[AccountRecord]:
        for name, record in _all_of(writer.db):
            if name != account and (digest := writer.newest(name)):
                yield self._parsed(name, record, digest)

    def _parsed(self, account: str, text: object, digest: bytes) -> AccountRecord:
        """The record of a row that is vouched for by this digest. Raises ``StoreAltered``."""
        if not isinstance(text, str) or _digest(account, text) != digest:
            raise self._store.altered(sentence("a row is not the one that was written last"))
        record = AccountRecord.model_validate_json(text)
        if record.role is Role.NODE:  # taken over from a file that somebody had written to
            raise self._store.altered(sentence("an account acts as the node itself"))
        return record


def _put(writer: Writer, record: AccountRecord) -> None:
    text = record.model_dump_json()
    upsert(writer.db, _accounts, id=record.id, record=text)
    writer.note(record.id, _digest(record.id, text))


def _digest(account: str, record: str) -> bytes:
    return hashlib.sha256(length_prefixed(account.encode(), record.encode())).digest()


def _rows(db: Connection) -> Iterator[Row]:
    """What is there, to be vouched for where no chain was begun yet."""
    for name, record in _all_of(db):
        yield str(name), _digest(str(name), str(record))


def _all_of(db: Connection) -> Sequence[tuple[str, str]]:
    return db.execute(select(_accounts.c.id, _accounts.c.record).order_by(_accounts.c.id)).all()


def _record_of(db: Connection, account: str) -> object:
    """What the row holds; None where there is none, or it holds nothing."""
    return db.execute(select(_accounts.c.record).where(_accounts.c.id == account)).scalar_one_or_none()
