"""Consent: what a patient allows, shaped after FHIR R4 Consent.provision, sealed at rest under the patient's own key.

A consent is a list of provisions. For a request, a matching ``deny`` wins; else every category asked for must be
covered by a ``permit``; else there is no consent, and policy decides what that means (for vendors and studies: no).
A twin's consents are versioned and never overwritten; the newest version is the one in force.
"""

from __future__ import annotations

import sqlite3
import struct
import threading
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from twinward.access.errors import ConsentInvalid
from twinward.access.interfaces import AccessRequest
from twinward.audit.interfaces import EventKeys
from twinward.clock import Clock
from twinward.errors import NotFound, Unavailable
from twinward.vocabulary import Category, Purpose, Role, TwinId
from twinward_crypto.envelope import open_sealed, seal
from twinward_crypto.errors import OpenError

_AAD_LABEL = b"twinward/consent/v1"


class ConsentOutcome(StrEnum):
    """What the patient's consent says about one request."""

    PERMIT = "permit"
    DENY = "deny"
    NONE = "none"


class Provision(BaseModel):
    """One rule of a consent. An empty tuple means "all"; the period is half-open ``[from, until)`` in ms."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    effect: Literal["permit", "deny"]
    roles: tuple[Role, ...] = ()
    actors: tuple[str, ...] = ()
    categories: tuple[Category, ...] = ()
    purposes: tuple[Purpose, ...] = ()
    valid_from_ms: int = 0
    valid_until_ms: int | None = None

    def concerns(self, request: AccessRequest, at_ms: int) -> bool:
        """Whether actor, purpose and time match; categories are looked at by the caller."""
        in_period = self.valid_from_ms <= at_ms and (self.valid_until_ms is None or at_ms < self.valid_until_ms)
        right_role = not self.roles or request.principal.role in self.roles
        right_actor = not self.actors or request.principal.id in self.actors
        right_purpose = not self.purposes or request.purpose in self.purposes
        return in_period and right_role and right_actor and right_purpose

    def covers(self, category: Category) -> bool:
        """Whether a category falls under this provision."""
        return not self.categories or category in self.categories


class Consent(BaseModel):
    """One version of a patient's consent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    provisions: tuple[Provision, ...]

    def outcome(self, request: AccessRequest, at_ms: int) -> ConsentOutcome:
        """What this consent says about a request at a moment."""
        concerned = [p for p in self.provisions if p.concerns(request, at_ms)]
        asked = request.categories or frozenset(Category)
        if any(p.covers(c) for p in concerned if p.effect == "deny" for c in asked):
            return ConsentOutcome.DENY
        permits = [p for p in concerned if p.effect == "permit"]
        if permits and all(any(p.covers(c) for p in permits) for c in asked):
            return ConsentOutcome.PERMIT
        return ConsentOutcome.NONE


NO_CONSENT = Consent(version=0, provisions=())
"""What stands where a patient has said nothing."""


class ConsentStore:
    """Versioned consents on SQLite. Rows hold a twin's opaque id, a version and sealed bytes."""

    def __init__(self, path: Path, keys: EventKeys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock
        self._lock = threading.Lock()
        self._cache: dict[TwinId, Consent] = {}
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA secure_delete=ON")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS consent (twin TEXT NOT NULL, version INTEGER NOT NULL,"
                " at_ms INTEGER NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (twin, version)) WITHOUT ROWID"
            )
        except sqlite3.Error as error:
            raise Unavailable(f"the consent store {path.name} cannot be opened: {error}") from error

    def current(self, twin: TwinId) -> Consent:
        """The consent in force; ``NO_CONSENT`` where there is none or the twin was shredded."""
        with self._lock:
            cached = self._cache.get(twin)
            if cached is None:
                cached = self._cache[twin] = self._load(twin)
            return cached

    def put(self, twin: TwinId, provisions: tuple[Provision, ...]) -> Consent:
        """Store the next version durably. Takes effect at the next decision."""
        return self.put_many([(twin, provisions)])[0]

    def put_many(self, consents: list[tuple[TwinId, tuple[Provision, ...]]]) -> list[Consent]:
        """Store many next versions in one durable transaction, all or none."""
        with self._lock:
            stored: list[Consent] = []
            try:
                self._db.execute("BEGIN IMMEDIATE")
                for twin, provisions in consents:
                    consent = Consent(version=self._newest_version(twin) + 1, provisions=provisions)
                    sealed = seal(
                        self._keys.audit_key(twin), consent.model_dump_json().encode(), _aad(twin, consent.version)
                    )
                    row = (twin, consent.version, self._clock.now_ms(), sealed)
                    self._db.execute("INSERT INTO consent VALUES (?, ?, ?, ?)", row)
                    stored.append(consent)
                self._db.execute("COMMIT")
            except BaseException as error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise Unavailable(f"the consent could not be stored: {error}") from error
                raise
            self._cache.update({twin: consent for (twin, _), consent in zip(consents, stored, strict=True)})
            return stored

    def forget(self, twin: TwinId) -> None:
        """Drop every version of a twin's consent, for erasure."""
        with self._lock:
            self._cache.pop(twin, None)
            try:
                self._db.execute("DELETE FROM consent WHERE twin = ?", (twin,))
            except sqlite3.Error as error:
                raise Unavailable(f"the consent could not be erased: {error}") from error

    def close(self) -> None:
        """Give back the file."""
        self._db.close()

    def _newest_version(self, twin: TwinId) -> int:
        row = self._db.execute("SELECT MAX(version) FROM consent WHERE twin = ?", (twin,)).fetchone()
        return int(row[0] or 0)

    def _load(self, twin: TwinId) -> Consent:
        try:
            row = self._db.execute(
                "SELECT version, sealed FROM consent WHERE twin = ? ORDER BY version DESC LIMIT 1", (twin,)
            ).fetchone()
        except sqlite3.Error as error:
            raise Unavailable(f"the consent store cannot be read: {error}") from error
        if row is None:
            return NO_CONSENT
        try:
            opened = open_sealed(self._keys.audit_key(twin), row[1], _aad(twin, row[0]))
            return Consent.model_validate_json(opened)
        except NotFound:
            return NO_CONSENT  # shredded: nothing is allowed any more
        except (OpenError, ValidationError) as error:
            # Fail closed: an altered consent must not be read as "the patient said nothing".
            raise Unavailable("a consent does not open: it was altered or its key is gone") from error


def parse_provisions(raw: bytes) -> tuple[Provision, ...]:
    """Provisions from JSON (a list). Raises ``ConsentInvalid`` naming the field that is wrong."""
    try:
        return Consent.model_validate_json(b'{"version":0,"provisions":' + raw + b"}").provisions
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConsentInvalid(
            f"{where}: {first['msg']}" if where else "a consent is a JSON list of provisions, and this is not JSON",
            hint="see `twinward twin consent --help` for an example",
        ) from None


def _aad(twin: TwinId, version: int) -> bytes:
    return _AAD_LABEL + struct.pack(">I", len(twin)) + twin.encode() + struct.pack(">Q", version)
