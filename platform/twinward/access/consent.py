"""What a patient allows, shaped after FHIR R4 Consent.provision, and what that says about one request.

A consent is a list of provisions. For a request, a matching ``deny`` wins; else every category asked for must be
covered by a ``permit``; else there is no consent, and policy decides what that means (for vendors and studies: no).

A no is read widely, a yes narrowly:

* A ``deny`` of a purpose denies every kind of it (v3 ActReason: no research is no CLINTRCH); a deny of a category
  denies what is made of it (no labs is no feature vector); a deny of vendors keeps the patient out of their cohort.
* A ``permit`` covers what it names and nothing else: leave to use one thing is never leave to use another by kinship.

Consents are kept sealed under each patient's own key, vouched for by the hospital's. A twin's are never overwritten:
the newest version is the one in force, in every process of the home at its next decision. Storage can neither take a
version away nor bring an older one back: see ``vouched_store``. Nothing is taken from a cache that another process's
change would not empty.
"""

from __future__ import annotations

import hashlib
import struct
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import Connection, delete, func, insert, select

from twinward.access.interfaces import AccessRequest
from twinward.access.tables import CONSENTS, ConsentChange, ConsentRow
from twinward.access.vouched_store import DELETED, VouchedStore
from twinward.audit.interfaces import EventKeys, HeadTrail
from twinward.audit.models import Head
from twinward.core.clock import Clock
from twinward.core.errors import NotFound
from twinward.core.sentences import sentence
from twinward.core.vocabulary import Action, Category, Purpose, Role, TwinId, is_a, with_sources
from twinward_crypto.envelope import open_sealed, seal
from twinward_crypto.errors import OpenError
from twinward_ledger.storage import Database, table_of
from twinward_ledger.storage.sqlite import SqliteFile

Instant = Annotated[int, Field(strict=True)]
"""Milliseconds since the Unix epoch."""


_ROLES_MEANT = {role: frozenset({role}) for role in Role} | {Role.NODE: frozenset({Role.NODE, Role.SYSTEM})}
"""The roles of a provision that concern a principal of this one. The node's own jobs ran as ``system`` before they had
a role of their own, and patients' consents name them so."""


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
    valid_from_ms: Instant = 0
    valid_until_ms: Instant | None = None

    def permits(self, request: AccessRequest, at_ms: int) -> bool:
        """Whether this is a permit for the request's actor, purpose and time; its categories are looked at apart."""
        right_role = not self.roles or bool(_ROLES_MEANT[request.principal.role].intersection(self.roles))
        right_purpose = not self.purposes or request.purpose in self.purposes
        return self.effect == "permit" and right_role and right_purpose and self._right_now(request, at_ms)

    def denies(self, request: AccessRequest, at_ms: int) -> bool:
        """Whether this is a deny for the request's actor, purpose and time; its categories are looked at apart."""
        right_role = not self.roles or bool(_roles_denied(request).intersection(self.roles))
        right_purpose = not self.purposes or any(is_a(request.purpose, named) for named in self.purposes)
        return self.effect == "deny" and right_role and right_purpose and self._right_now(request, at_ms)

    def covers(self, category: Category) -> bool:
        """Whether a category falls under this provision."""
        return not self.categories or category in self.categories

    def _right_now(self, request: AccessRequest, at_ms: int) -> bool:
        in_period = self.valid_from_ms <= at_ms and (self.valid_until_ms is None or at_ms < self.valid_until_ms)
        return in_period and (not self.actors or request.principal.id in self.actors)


class Consent(BaseModel):
    """One version of a patient's consent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    provisions: tuple[Provision, ...]

    def outcome(self, request: AccessRequest, at_ms: int) -> ConsentOutcome:
        """What this consent says about a request at a moment."""
        asked = request.categories or frozenset(Category)
        touched = asked if _keeps_up(request) else with_sources(asked)
        if any(p.covers(category) for p in self.provisions if p.denies(request, at_ms) for category in touched):
            return ConsentOutcome.DENY
        permits = [p for p in self.provisions if p.permits(request, at_ms)]
        if permits and all(any(p.covers(category) for p in permits) for category in asked):
            return ConsentOutcome.PERMIT
        return ConsentOutcome.NONE

    def next_change(self, at_ms: int) -> int | None:
        """When the period of one of the provisions begins or ends next; None where none will."""
        bounds = (bound for one in self.provisions for bound in (one.valid_from_ms, one.valid_until_ms))
        return min((bound for bound in bounds if bound is not None and bound > at_ms), default=None)


@dataclass(frozen=True, slots=True)
class KeptConsent:
    """A version of a consent, and when it was recorded."""

    at_ms: int
    consent: Consent


NO_CONSENT = Consent(version=0, provisions=())
"""What stands where a patient has said nothing."""

ALL_DENIED = Consent(version=0, provisions=(Provision(effect="deny"),))
"""What stands where it is not known what a patient has said."""


def _keeps_up(request: AccessRequest) -> bool:
    """Whether this brings derived data up to date: nobody sees it, so what it is derived from need not be asked for."""
    by_the_node = request.principal.role is Role.NODE and request.action is Action.READ
    return by_the_node or request.action is Action.WRITE


def _roles_denied(request: AccessRequest) -> frozenset[Role]:
    """On whose behalf, too: a cohort is taken by the node, for vendors."""
    meant = _ROLES_MEANT[request.principal.role]
    return meant | {Role.VENDOR} if request.action is Action.COHORT else meant


STORE: Final = CONSENTS.name
_AAD_LABEL = b"twinward/consent/v1"
_consents = table_of(ConsentRow)
_CACHED = 100_000
_AT_ONCE = 500
"""Twins in one statement."""


class ConsentStore:
    """Versioned consents. Rows hold a twin's opaque id, a version and sealed bytes.

    Args:
        place: a file of their own, or a database that is already open.
        keys: patients' own, to seal under, and the tenant's, to vouch with.
        clock: the node's time.
        heads: the log's record of how far the store has come; None keeps none.
    """

    def __init__(self, place: Path | Database, keys: EventKeys, clock: Clock, heads: HeadTrail | None = None) -> None:
        self._keys = keys
        self._clock = clock
        self._lock = threading.Lock()
        self._opened: dict[TwinId, tuple[bytes | int, Consent]] = {}
        database: Database = SqliteFile(place, CONSENTS) if isinstance(place, Path) else place
        self._store = VouchedStore(database, STORE, ConsentChange, keys, heads, adopt=_rows)

    def current(self, twin: TwinId) -> Consent:
        """The consent in force; ``NO_CONSENT`` where there is none or the twin was shredded.

        Raises:
            StoreAltered: the store is not what this node wrote, or older: nobody may be permitted anything by it.
            Unavailable: it cannot be read.
        """
        known = self._known(twin)
        return self._load(twin) if known is None else known

    def fetch(self, twins: Collection[TwinId]) -> None:
        """Find in one look which of many twins have said nothing: bulk only. Raises as ``current``."""
        wanted = {twin for twin in twins if self._known(twin) is None}
        if not wanted:
            return
        ordered = sorted(wanted)
        with self._store.reading() as reader:
            for start in range(0, len(ordered), _AT_ONCE):
                some = _consents.c.twin.in_(ordered[start : start + _AT_ONCE])
                wanted.difference_update(map(TwinId, reader.db.execute(select(_consents.c.twin).where(some)).scalars()))
            for twin in wanted:
                reader.require(twin, None)
            state = self._store.state
        for twin in wanted:
            self._keep(twin, state, NO_CONSENT)

    def kept(self, twin: TwinId) -> list[KeptConsent]:
        """A twin's versions, newest first; none once it is shredded. Raises as ``current``.

        Each is sealed under the patient's own key and bound to its place; which is the newest, the chain says.
        """
        self.current(twin)
        with self._store.reading() as reader:
            wanted = select(_consents.c.version, _consents.c.at_ms, _consents.c.sealed).where(_consents.c.twin == twin)
            rows = reader.db.execute(wanted.order_by(_consents.c.version.desc())).all()
        try:
            key = self._keys.audit_key(twin)
            return [
                KeptConsent(int(at_ms), Consent.model_validate_json(open_sealed(key, sealed, _aad(twin, version))))
                for version, at_ms, sealed in rows
            ]
        except NotFound:
            return []
        except (OpenError, ValidationError) as error:
            raise self._store.altered(sentence("a consent does not open")) from error

    def put(self, twin: TwinId, provisions: tuple[Provision, ...]) -> Consent:
        """Store the next version durably. Takes effect at the next decision."""
        return self.put_many([(twin, provisions)])[0]

    def put_many(self, consents: list[tuple[TwinId, tuple[Provision, ...]]]) -> list[Consent]:
        """Store many next versions in one durable transaction, all or none. Raises as ``current``."""
        stored: list[Consent] = []
        with self._store.writing() as writer:
            for twin, provisions in consents:
                newest = select(func.max(_consents.c.version)).where(_consents.c.twin == twin)
                version = int(writer.db.execute(newest).scalar_one() or 0) + 1
                consent = Consent(version=version, provisions=provisions)
                aad = _aad(twin, consent.version)
                sealed = seal(self._keys.audit_key(twin), consent.model_dump_json().encode(), aad)
                at_ms = self._clock.now_ms()
                row = {"twin": twin, "version": version, "at_ms": at_ms, "sealed": sealed}
                writer.db.execute(insert(_consents).values(row))
                writer.note(twin, _digest(consent.version, sealed))
                stored.append(consent)
        return stored

    def forget(self, twin: TwinId) -> None:
        """Drop every version of a twin's consent, for erasure. That something was dropped stays in the chain."""
        with self._store.writing() as writer:
            writer.db.execute(delete(_consents).where(_consents.c.twin == twin))
            if writer.newest(twin):
                writer.note(twin, DELETED)
        with self._lock:
            self._opened.pop(twin, None)

    def verify(self, recorded: Head | None = None) -> int:
        """Hold every row against the chain, and the chain against the log. Returns how many changes there were.

        Args:
            recorded: a head that is known to stand in the log.

        Raises:
            StoreAltered: a row or a change was altered, added, taken away or turned back.
        """
        changes = self._store.verify(recorded)
        kept: dict[str, list[bytes]] = {}
        for twin, digest in changes:
            if digest == DELETED:
                kept.pop(twin, None)
            else:
                kept.setdefault(twin, []).append(digest)
        found: dict[str, list[bytes]] = {}
        with self._store.reading() as reader:
            for twin, digest in _rows(reader.db):
                found.setdefault(twin, []).append(digest)
        if found != kept:
            raise self._store.altered(sentence("rows are missing, altered or were added"))
        return len(changes)

    def moment(self) -> tuple[object, ...]:
        """Another one whenever anything was decided, in whatever process. Raises as ``current``."""
        return self._store.moment()

    def close(self) -> None:
        """Give back the file."""
        self._store.close()

    def _known(self, twin: TwinId) -> Consent | None:
        digest, state = self._store.newest(twin), self._store.state
        with self._lock:
            known = self._opened.get(twin)
        # Where nothing is vouched for there must be no row: so the file is asked again whenever it changed.
        valid = known is not None and (known[0] == digest if digest else known[0] == state)
        return known[1] if known is not None and valid else None

    def _load(self, twin: TwinId) -> Consent:
        with self._store.reading() as reader:
            wanted = select(_consents.c.version, _consents.c.sealed).where(_consents.c.twin == twin)
            row = reader.db.execute(wanted.order_by(_consents.c.version.desc()).limit(1)).first()
            digest = None if row is None else _digest(*row)
            reader.require(twin, digest)
            state = self._store.state
        if row is None or digest is None:
            self._keep(twin, state, NO_CONSENT)
            return NO_CONSENT
        try:
            opened = open_sealed(self._keys.audit_key(twin), row[1], _aad(twin, row[0]))
            consent = Consent.model_validate_json(opened)
        except NotFound:
            return NO_CONSENT  # shredded: nothing is allowed any more
        except (OpenError, ValidationError) as error:
            # Fail closed: a consent that cannot be read must not count as "the patient said nothing".
            raise self._store.altered(sentence("a consent does not open")) from error
        self._keep(twin, digest, consent)
        return consent

    def _keep(self, twin: TwinId, valid: bytes | int, consent: Consent) -> None:
        with self._lock:
            if len(self._opened) >= _CACHED:
                self._opened.clear()
            self._opened[twin] = (valid, consent)


def _rows(db: Connection) -> Iterator[tuple[str, bytes]]:
    """Every twin with the digest of each of its versions, oldest first."""
    wanted = select(_consents.c.twin, _consents.c.version, _consents.c.sealed)
    for twin, version, sealed in db.execute(wanted.order_by(_consents.c.twin, _consents.c.version)):
        yield str(twin), _digest(version, sealed)


def _digest(version: object, sealed: object) -> bytes:
    """Of one row, whatever SQLite gives: a planted value of another type has a digest that nothing vouches for."""
    content = sealed if isinstance(sealed, bytes) else repr(sealed).encode()
    return hashlib.sha256(f"{type(sealed).__name__}:{version!r}:".encode() + content).digest()


def _aad(twin: TwinId, version: int) -> bytes:
    return _AAD_LABEL + struct.pack(">I", len(twin)) + twin.encode() + struct.pack(">Q", version)
