"""Who may sign in: people with a password (Argon2id), systems and vendors with a bearer token.

Tokens are 256 random bits, so a plain SHA-256 of one is safe to store; passwords are stretched with Argon2id
(RFC 9106, second recommended option: 3 passes, 64 MiB, 4 lanes). A wrong name costs as much time as a wrong secret.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from twinward.access.errors import SignInRefused
from twinward.access.interfaces import Principal
from twinward.clock import Clock
from twinward.errors import BadInput, Conflict, NotFound, Unavailable
from twinward.vocabulary import Role

PASSWORD_MIN_LENGTH = 12
TOKEN_PREFIX = "twk"  # noqa: S105 - the public marker secret scanners look for, not a secret
SESSION_LIFETIME_MS = 8 * 3600 * 1000
_ACCOUNT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:@-]{0,63}")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS account (
    id TEXT PRIMARY KEY, role TEXT NOT NULL, name TEXT NOT NULL, unit TEXT NOT NULL,
    password TEXT NOT NULL DEFAULT '', token_hash BLOB NOT NULL DEFAULT x'', visited_size INTEGER NOT NULL DEFAULT 0,
    visited_at_ms INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True)
class Session:
    """A browser's sign-in: who, and the token that every form must carry back (CSRF)."""

    principal: Principal
    csrf: str
    expires_at_ms: int


class Accounts:
    """The node's own accounts, on SQLite."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions: dict[bytes, Session] = {}
        self._decoy = _stretch(secrets.token_hex(16))
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute(_SCHEMA)
        except sqlite3.Error as error:
            raise Unavailable(f"the account store {path.name} cannot be opened: {error}") from error

    def add_person(self, principal: Principal, password: str) -> None:
        """Add somebody who signs in with a password. Raises ``Conflict`` if the id is taken."""
        if len(password) < PASSWORD_MIN_LENGTH:
            raise BadInput(f"a password needs at least {PASSWORD_MIN_LENGTH} characters")
        self._insert(principal, password=_stretch(password))

    def add_system(self, principal: Principal) -> str:
        """Add a system or vendor; return its bearer token, which is shown this once and kept only as a hash."""
        secret = secrets.token_urlsafe(32)
        self._insert(principal, token_hash=_digest(secret))
        return f"{TOKEN_PREFIX}_{principal.id}_{secret}"

    def sign_in(self, account_id: str, password: str) -> str:
        """Check a password; return a session id for a cookie. Raises ``SignInRefused`` without saying why."""
        row = self._row(account_id)
        stored = row[4] if row is not None and row[4] else self._decoy
        try:
            Argon2id.verify_phc_encoded(password.encode(), stored)
        except InvalidKey:
            raise SignInRefused from None
        if row is None or not row[4]:
            raise SignInRefused
        session_id = secrets.token_urlsafe(32)
        session = Session(_principal(row), secrets.token_urlsafe(16), self._clock.now_ms() + SESSION_LIFETIME_MS)
        with self._lock:
            self._sessions[_digest(session_id)] = session
        return session_id

    def session(self, session_id: str) -> Session:
        """The session a cookie names. Raises ``SignInRefused`` if unknown or expired."""
        with self._lock:
            session = self._sessions.get(_digest(session_id))
            if session is not None and self._clock.now_ms() >= session.expires_at_ms:
                del self._sessions[_digest(session_id)]
                session = None
        if session is None:
            raise SignInRefused
        return session

    def sign_out(self, session_id: str) -> None:
        """End a session."""
        with self._lock:
            self._sessions.pop(_digest(session_id), None)

    def by_token(self, token: str) -> Principal:
        """The principal a bearer token belongs to. Raises ``SignInRefused``."""
        prefix, _, rest = token.partition("_")
        account_id, _, secret = rest.partition("_")
        row = self._row(account_id)
        stored = row[5] if row is not None and row[5] else bytes(32)
        if not hmac.compare_digest(stored, _digest(secret)) or row is None or prefix != TOKEN_PREFIX:
            raise SignInRefused
        return _principal(row)

    def named(self, account_id: str) -> Principal:
        """The principal of an account, whoever asks: for the node's own command line. Raises ``NotFound``."""
        row = self._row(account_id)
        if row is None:
            raise NotFound(
                f"there is no account {account_id!r}", hint="`twinward node add-person` and `add-system` make accounts"
            )
        return _principal(row)

    def of_role(self, role: Role) -> list[Principal]:
        """Every account of a role, by id."""
        try:
            rows = self._db.execute("SELECT * FROM account WHERE role = ? ORDER BY id", (role.value,)).fetchall()
        except sqlite3.Error as error:
            raise Unavailable(f"the account store cannot be read: {error}") from error
        return [_principal(row) for row in rows]

    def visit(self, account_id: str, size: int) -> tuple[int, int]:
        """Note that an officer has seen the log up to ``size``; return (size, at_ms) of the visit before."""
        row = self._row(account_id)
        try:
            self._db.execute(
                "UPDATE account SET visited_size = ?, visited_at_ms = ? WHERE id = ?",
                (size, self._clock.now_ms(), account_id),
            )
        except sqlite3.Error as error:
            raise Unavailable(f"the visit could not be noted: {error}") from error
        return (int(row[6]), int(row[7])) if row is not None else (0, 0)

    def close(self) -> None:
        """Give back the file."""
        self._db.close()

    def _insert(self, principal: Principal, *, password: str = "", token_hash: bytes = b"") -> None:
        if not _ACCOUNT_ID.fullmatch(principal.id):
            raise BadInput("an account id is 1 to 64 letters, digits, '.', ':', '@' or '-'")
        try:
            self._db.execute(
                "INSERT INTO account (id, role, name, unit, password, token_hash) VALUES (?, ?, ?, ?, ?, ?)",
                (principal.id, principal.role.value, principal.name, principal.unit, password, token_hash),
            )
        except sqlite3.IntegrityError:
            raise Conflict(f"there is an account {principal.id!r} already") from None
        except sqlite3.Error as error:
            raise Unavailable(f"the account could not be stored: {error}") from error

    def _row(self, account_id: str) -> tuple[str, str, str, str, str, bytes, int, int] | None:
        try:
            found = self._db.execute("SELECT * FROM account WHERE id = ?", (account_id,)).fetchone()
        except sqlite3.Error as error:
            raise Unavailable(f"the account store cannot be read: {error}") from error
        return None if found is None else tuple(found)


def _principal(row: tuple[str, str, str, str, str, bytes, int, int]) -> Principal:
    return Principal(id=row[0], role=Role(row[1]), name=row[2], unit=row[3])


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _stretch(password: str) -> str:
    kdf = Argon2id(salt=secrets.token_bytes(16), length=32, iterations=3, lanes=4, memory_cost=64 * 1024)
    return kdf.derive_phc_encoded(password.encode())
