"""The hospital's policy in versions, and changes that are proposed: vouched for, and one truth in every process.

Before anybody changed it, the policy is the settings' own (a file, or the one that ships). From the first approved
change on it is the store's newest version. A row is JSON under a subject:

=================  =========================================================================================
``in-force``       the number of the version that is in force
``version:N``      a version: its text, who proposed and who approved it, when and why
``proposal:NAME``  a change that waits for a second officer; deleted once it is approved or withdrawn
=================  =========================================================================================

Each is vouched for under the hospital's key, and the log records how far the store has come (``vouched_store``): who
can write to the database changes no rule, and brings no older one back.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, delete, select

from twinward.access.policy import Policy
from twinward.access.tables import POLICIES, PolicyChange, PolicyRow
from twinward.access.vouched_store import DELETED, VouchedStore, Writer
from twinward.audit.interfaces import EventKeys, HeadTrail
from twinward.audit.models import Head
from twinward.core.errors import Conflict, NotFound
from twinward.core.sentences import sentence
from twinward_crypto.kdf import length_prefixed
from twinward_ledger.storage import Database, table_of, upsert
from twinward_ledger.storage.sqlite import SqliteFile

STORE: Final = POLICIES.name
MOST_PROPOSALS: Final = 20
_rows = table_of(PolicyRow)
_IN_FORCE, _VERSION, _PROPOSAL = "in-force", "version:", "proposal:"


class PolicyVersion(BaseModel):
    """A version that is or was in force. Version 0 is the settings' own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    text: str
    at_ms: int
    proposed_by: str
    approved_by: str
    reason: str
    restores: int | None = None
    """The version that it brings back."""

    @property
    def sha256(self) -> str:
        """By which every event names the policy that decided."""
        return hashlib.sha256(self.text.encode()).hexdigest()


class Proposal(BaseModel):
    """A change that waits for a second officer. ``base`` is the SHA-256 of the policy it was made against."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    text: str
    at_ms: int
    proposed_by: str
    reason: str
    base: str
    restores: int | None = None


class _InForce(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int


_Record = TypeVar("_Record", PolicyVersion, Proposal, _InForce)


class PolicyStore:
    """Implements ``PolicySource``. Safe to share between threads and processes.

    Args:
        place: a file of their own, or a database that is already open.
        keys: whose tenant key vouches for the rows.
        base: the settings' own policy.
        heads: the log's record of how far the store has come; None keeps none.
    """

    def __init__(self, place: Path | Database, keys: EventKeys, base: Policy, heads: HeadTrail | None = None) -> None:
        database: Database = SqliteFile(place, POLICIES) if isinstance(place, Path) else place
        self.base = base
        self._store = VouchedStore(database, STORE, PolicyChange, keys, heads)
        self._lock = threading.Lock()
        self._known: tuple[bytes | None, Policy] = (None, base)

    def current(self) -> Policy:
        """The policy in force. Microseconds where nothing changed. Raises ``StoreAltered``, ``Unavailable``."""
        digest = self._store.newest(_IN_FORCE)
        known = self._known
        if known[0] == digest:
            return known[1]
        with self._lock:
            newest = self.newest()
            policy = known[1] if newest.sha256 == known[1].hash else Policy(newest.text)
            self._known = digest, policy
        return policy

    def newest(self) -> PolicyVersion:
        """The version in force. Raises as ``current``."""
        with self._store.reading() as reader:
            return self._newest(reader.db, reader.newest)

    def version(self, number: int) -> PolicyVersion:
        """One version. Raises ``NotFound``, and as ``current``."""
        if number == 0:
            return self._shipped()
        with self._store.reading() as reader:
            return self._at(reader.db, reader.newest, f"{_VERSION}{number}", PolicyVersion)

    def versions(self) -> list[PolicyVersion]:
        """All there were, newest first, the settings' own last. Raises as ``current``."""
        with self._store.reading() as reader:
            newest = self._newest(reader.db, reader.newest).version
            found = [
                self._at(reader.db, reader.newest, f"{_VERSION}{number}", PolicyVersion)
                for number in range(newest, 0, -1)
            ]
        return [*found, self._shipped()]

    def text_of(self, sha256: str) -> str | None:
        """The text of the version that an event names; None where it was none of this node's. Raises as ``current``."""
        if sha256 == self.current().hash:
            return self.current().text
        return next((one.text for one in self.versions() if one.sha256 == sha256), None)

    def proposals(self) -> list[Proposal]:
        """What waits for a second officer, oldest first. Raises as ``current``."""
        with self._store.reading() as reader:
            subjects = [subject for subject, _ in _all(reader.db) if subject.startswith(_PROPOSAL)]
            found = [self._at(reader.db, reader.newest, one, Proposal) for one in subjects]
        return sorted(found, key=lambda one: (one.at_ms, one.name))

    def propose(self, proposal: Proposal, announce: Callable[[], None]) -> None:
        """Keep a proposal once ``announce`` has returned. Raises ``Conflict`` where too many wait."""
        with self._store.writing() as writer:
            if sum(subject.startswith(_PROPOSAL) for subject, _ in _all(writer.db)) >= MOST_PROPOSALS:
                raise Conflict(
                    sentence("{most} changes wait already", most=MOST_PROPOSALS), hint="approve or withdraw one first"
                )
            announce()
            _put(writer, f"{_PROPOSAL}{proposal.name}", proposal)

    def settle(
        self,
        name: str,
        settled: Callable[[Proposal, PolicyVersion], PolicyVersion | None],
        announce: Callable[[], None],
    ) -> PolicyVersion | None:
        """Approve or withdraw a proposal, while nobody else changes anything.

        Args:
            name: the proposal's.
            settled: gets it and the version in force; gives the next version, None withdraws. Raises where it may not.
            announce: the change is made once this has returned.

        Raises:
            NotFound: there is no such proposal.
        """
        with self._store.writing() as writer:
            subject = f"{_PROPOSAL}{name}"
            proposal = self._at(writer.db, writer.newest, subject, Proposal)
            version = settled(proposal, self._newest(writer.db, writer.newest))
            announce()
            writer.db.execute(delete(_rows).where(_rows.c.subject == subject))
            writer.note(subject, DELETED)
            if version is not None:
                _put(writer, f"{_VERSION}{version.version}", version)
                _put(writer, _IN_FORCE, _InForce(version=version.version))
        return version

    def verify(self, recorded: Head | None = None) -> int:
        """Hold every row against the chain, and the chain against the log. Returns how many changes there were.

        Raises:
            StoreAltered: a row or a change was altered, added, taken away or turned back.
        """
        changes = self._store.verify(recorded)
        kept = {subject: digest for subject, digest in dict(changes).items() if digest != DELETED}
        with self._store.reading() as reader:
            found = {subject: _digest(subject, record) for subject, record in _all(reader.db)}
        if found != kept:
            raise self._store.altered(sentence("rows are missing, altered or were added"))
        return len(changes)

    def close(self) -> None:
        """Give back the database."""
        self._store.close()

    def _newest(self, db: Connection, newest: Callable[[str], bytes | None]) -> PolicyVersion:
        if not newest(_IN_FORCE):
            return self._shipped()
        number = self._at(db, newest, _IN_FORCE, _InForce).version
        return self._at(db, newest, f"{_VERSION}{number}", PolicyVersion)

    def _at(self, db: Connection, newest: Callable[[str], bytes | None], subject: str, model: type[_Record]) -> _Record:
        """A row that is vouched for. Raises ``NotFound``, ``StoreAltered``."""
        digest = newest(subject)
        if not digest:
            raise NotFound("there is no such version or proposal", hint="`twinward policy history` names them")
        text = db.execute(select(_rows.c.record).where(_rows.c.subject == subject)).scalar_one_or_none()
        if not isinstance(text, str) or _digest(subject, text) != digest:
            raise self._store.altered(sentence("a row is not the one that was written last"))
        return model.model_validate_json(text)

    def _shipped(self) -> PolicyVersion:
        return PolicyVersion(
            version=0, text=self.base.text, at_ms=0, proposed_by="", approved_by="", reason="the settings' own"
        )


def _all(db: Connection) -> Iterator[tuple[str, str]]:
    yield from ((str(one[0]), str(one[1])) for one in db.execute(select(_rows.c.subject, _rows.c.record)).all())


def _put(writer: Writer, subject: str, record: BaseModel) -> None:
    text = record.model_dump_json()
    upsert(writer.db, _rows, subject=subject, record=text)
    writer.note(subject, _digest(subject, text))


def _digest(subject: str, record: str) -> bytes:
    return hashlib.sha256(length_prefixed(subject.encode(), record.encode())).digest()
