"""Small stores that are authentic and monotone, in every process of a home.

A row that decides who may do what (a consent, an account) must be this node's own, and the newest there is. So every
change of such a store is written into a chain beside the rows, in the same transaction:

======  =======  ==================================================================================================
column  bytes    content
======  =======  ==================================================================================================
seq     integer  1, 2, 3 … without a gap
subject text     whom the change is about (a twin, an account): opaque here
digest  32 or 0  SHA-256 of the subject's row as it is now; empty where the row was deleted
mac     32       HMAC-SHA256 (FIPS 198-1) over mac of ``seq - 1``, seq, subject, digest, each after its length
======  =======  ==================================================================================================

The key is derived from the tenant's own in the key service. The newest (seq, mac) is the store's *head*; the access log
records each (``StoreHeads``), so a store that lacks what the log recorded last was turned back, and is refused.

To use it:

    store = VouchedStore(database, "consents", ConsentChange, keys, heads, adopt=rows_of_older_homes)
    with store.reading() as reader:                # verifies whatever changed since; microseconds where nothing did
        row = reader.db.execute(...)
        reader.require(subject, digest_of(row))    # StoreAltered unless this is the subject's newest row
    with store.writing() as writer:                # alone in writing, over all processes; durable on leaving
        writer.db.execute(...)
        writer.note(subject, digest_of(new_row))   # b"" for a row that was deleted

Invariants:

* Nothing a storage operator does is taken for a change of this node: an altered, deleted, added, older or
  swapped store gives ``StoreAltered``. What this process has seen stays in its memory, and is never gone back behind.
* A change counts from its commit. The log records the head after it; a crash in between leaves the store ahead of the
  log, never behind, and whoever opens the store next lets the log catch up.
* A log that does not answer stops nobody here: all but emergencies wait for the log anyway.

What cannot show here: a store turned back together with the *index* of the log that says where heads stand. ``twinward
audit verify --deep`` finds heads by opening every entry, and names it.
"""

from __future__ import annotations

import hmac
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from sqlalchemy import Connection, Table, insert, select
from sqlmodel import SQLModel

from twinward.audit.errors import LogTampered
from twinward.audit.interfaces import EventKeys, HeadTrail
from twinward.audit.models import Head
from twinward.core.errors import StoreAltered, Unavailable
from twinward.core.one_look import has_looked, looked
from twinward.core.sentences import sentence
from twinward_crypto.kdf import derive, length_prefixed
from twinward_ledger.storage import Database

_KEY_LABEL = b"twinward/vouched-store/1"
_NOTHING = Head(0, b"")
DELETED = b""
"""The digest of a row that was deleted."""

Row = tuple[str, bytes]
"""A subject and the digest of its row."""


@dataclass(frozen=True, slots=True)
class Reader:
    """The store at one moment, verified."""

    db: Connection
    _store: VouchedStore
    _newest: Mapping[str, bytes]

    def newest(self, subject: str) -> bytes | None:
        """The digest of a subject's row; None where there never was one, ``DELETED`` where there is none any more."""
        return self._newest.get(subject)

    def require(self, subject: str, digest: bytes | None) -> None:
        """Raise ``StoreAltered`` unless this is the digest of the subject's row; None stands for no row."""
        if (self.newest(subject) or None) != digest:
            raise self._store.altered(sentence("a row is not the one that was written last"))


@dataclass(slots=True)
class Writer:
    """The store while this process alone writes to it."""

    db: Connection
    head: Head
    _chain: Table
    _key: bytes
    _known: Mapping[str, bytes]
    pending: dict[str, bytes] = field(default_factory=dict)

    def newest(self, subject: str) -> bytes | None:
        """As of ``Reader``, with what was noted since."""
        return self.pending.get(subject, self._known.get(subject))

    def note(self, subject: str, digest: bytes) -> None:
        """Vouch for a subject's row as it is now; ``DELETED`` for one that is gone."""
        self.head = Head(self.head.changes + 1, _mac(self._key, self.head, subject, digest))
        change = {"seq": self.head.changes, "subject": subject, "digest": digest, "mac": self.head.mac}
        self.db.execute(insert(self._chain).values(change))
        self.pending[subject] = digest


class VouchedStore:
    """One database. Safe to share between threads and processes.

    Args:
        database: where the rows and their chain are; closed with the store.
        name: of the store, in the log and in messages.
        chain: the model of the chain's table.
        keys: whose tenant key the chain is MACed under.
        heads: the log's record of heads; None records and compares none.
        adopt: rows that an older Twinward wrote without a chain, in the order of their making.
        adopts: whether there may be such rows; else a file with rows and no chain is refused.

    Attributes:
        state: another number whenever the file may have changed.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        chain: type[SQLModel],
        keys: EventKeys,
        heads: HeadTrail | None = None,
        *,
        adopt: Callable[[Connection], Iterable[Row]] | None = None,
        adopts: bool = True,
    ) -> None:
        self.name = name
        self.state = 0
        self._database, self._keys, self._heads, self._adopt = database, keys, heads, adopt
        self._chain = database.table(chain)
        self._adopts = adopts
        self._lock = threading.RLock()
        self._mac_key: bytes | None = None
        self._head, self._newest = _NOTHING, dict[str, bytes]()
        self._seen: tuple[object, object] | None = None  # what the watch said when the chain was followed last
        self._wrote = False  # since then
        self._held = heads is None  # whether that was held against the log
        self._announced = True  # whether the log has recorded the head, as far as is known
        database.lay_missing()
        self._watch = database.watch()

    def newest(self, subject: str) -> bytes | None:
        """As of ``Reader``, now. Microseconds where no process changed anything. Raises as ``reading``.

        Within ``one_look`` the file is looked at once.
        """
        if has_looked(self):
            return self._newest.get(subject)
        with self._lock:
            if not self._held or not self._announced or self._watch.version() != self._seen:
                self._catch_up()
            looked(self)
            return self._newest.get(subject)

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """The store as it is now, whichever process changed it.

        Raises:
            StoreAltered: it is not what this node wrote, or older.
            Unavailable: it cannot be read.
        """
        with self._lock:
            self._catch_up()
            with self._database.reading() as db:
                self._follow(db)
                yield Reader(db, self, self._newest)

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """A durable transaction, all or none. Raises as ``reading``."""
        with self._lock:
            self._catch_up()
            with self._database.writing() as db:
                self._follow(db)  # what another process committed just before this one was alone
                writer = Writer(db, self._head, self._chain, self._key(), self._newest)
                yield writer
            self.state += 1
            self._wrote = True
            self._head = writer.head
            self._newest.update(writer.pending)
            self._announced = self._heads is None or not writer.pending
            self._announce()

    def verify(self, recorded: Head | None = None) -> list[Row]:
        """Follow the whole chain anew, from the file. Returns what it vouches for: every change, in order.

        Args:
            recorded: a head that the log is known to hold, beside the one that its index names.

        Raises:
            StoreAltered: it is not what this node wrote, or older than what the log recorded.
        """
        with self._lock:
            self._catch_up()
            with self._database.reading() as db:
                self._follow(db)
                changes = list(self._changes_behind(db, _NOTHING))
                if recorded is not None:
                    self._require_holds(db, recorded)
            if changes and changes[-1][0] != self._head:
                raise self.altered(sentence("it is another chain than this process has followed"))
            return [row for _, row in changes]

    def altered(self, what: str) -> StoreAltered:
        """The error to raise: for who finds rows that do not fit."""
        hint = sentence(
            "put the newest {name}.db back, or restore the node from its newest backup; keep this one as evidence",
            name=self.name,
        )
        said = sentence(
            "the {name} store was altered, it is not what this node wrote: {what}", name=self.name, what=what
        )
        return StoreAltered(said, hint=hint)

    def has_chain(self) -> bool:
        """Whether any change was written: an earlier release wrote rows without."""
        with self._database.reading() as db:
            return self._has_chain(db)

    def moment(self) -> tuple[object, ...]:
        """Another one whenever a change was made, in whatever process; in a file, also whenever it was touched.

        Raises as ``reading``.
        """
        with self._lock:
            self._catch_up()
            return (self._head.changes, self.state) if self._database.is_own else (self._head.changes,)

    def close(self) -> None:
        """Give back the database."""
        self._database.close()

    # --- following the chain -----------------------------------------------------------------------------------------
    def _catch_up(self) -> None:
        """Follow what was committed since, and hold it against the log."""
        version = self._watch.version()
        if version != self._seen:
            if self._adopt is not None and (self._seen is None or self._seen[0] != version[0]):
                self._adopt_rows(self._adopt)
            with self._database.reading() as db:
                grew = self._follow(db)
            if grew or not self._wrote:  # what this process has written itself, the log was told of
                self._held = self._heads is None
            self._seen, self._wrote = version, False
            self.state += 1
        if not self._held:
            self._hold_against_log()
        if not self._announced:
            self._announce()

    def _follow(self, db: Connection) -> bool:
        """Verify the changes behind the head and move it on. Returns whether there were any."""
        changes = list(self._changes_behind(db, self._head))
        if changes:
            self._head = changes[-1][0]
            self._newest.update(row for _, row in changes)
        return bool(changes)

    def _changes_behind(self, db: Connection, head: Head) -> Iterator[tuple[Head, Row]]:
        """The changes after a head, each verified. Raises ``StoreAltered``."""
        key = self._key()
        chain = self._chain.c
        wanted = select(chain.seq, chain.subject, chain.digest, chain.mac)
        rows = iter(db.execute(wanted.where(chain.seq >= head.changes).order_by(chain.seq)))
        if head.changes and next(rows, (0,) * 4)[0::3] != (head.changes, head.mac):
            raise self.altered(sentence("what was written is gone"))
        for seq, subject, digest, mac in rows:
            whole = isinstance(subject, str) and isinstance(digest, bytes) and isinstance(mac, bytes)
            expected = _mac(key, head, subject, digest) if whole else b""
            if not whole or seq != head.changes + 1 or not hmac.compare_digest(expected, mac):
                raise self.altered(sentence("change {number} of it is missing or forged", number=head.changes + 1))
            head = Head(seq, expected)
            yield head, (subject, digest)

    def _adopt_rows(self, rows_of: Callable[[Connection], Iterable[Row]]) -> None:
        """Begin the chain over the rows of an older Twinward, unless the log knows of a chain already.

        This once the log's index is not believed: whoever could empty it would have rows of their own vouched for.
        """
        with self._database.reading() as db:
            if self._has_chain(db) or next(iter(rows_of(db)), None) is None:
                return
        if self._head.changes or not self._adopts:  # this process has followed its chain, or it had one from the first
            raise self.altered(sentence("its chain is gone"))
        if self._heads is not None:
            try:
                recorded = self._heads.newest(self.name) or self._heads.furthest(self.name)
            except LogTampered as error:
                raise self.altered(
                    sentence("it has no chain, and the log that would say why was altered too")
                ) from error
            if recorded is not None:
                raise self.altered(sentence("its chain is gone"))
        with self._database.writing() as db:
            if not self._has_chain(db):
                writer = Writer(db, _NOTHING, self._chain, self._key(), {})
                for subject, digest in list(rows_of(db)):
                    writer.note(subject, digest)
        self._announced = self._heads is None

    # --- the log -----------------------------------------------------------------------------------------------------
    def _hold_against_log(self) -> None:
        if self._heads is None:
            self._held = True
            return
        try:
            recorded = self._heads.newest(self.name)
        except Unavailable:
            return  # asked again at the next look; until it answers, emergencies alone are permitted anything
        if recorded is not None:
            with self._database.reading() as db:
                self._require_holds(db, recorded)
        self._held = True
        if self._head != (recorded or _NOTHING):
            self._announced = False

    def _require_holds(self, db: Connection, recorded: Head) -> None:
        """Raise ``StoreAltered`` unless the chain goes through a head that the log recorded."""
        mac = db.execute(select(self._chain.c.mac).where(self._chain.c.seq == recorded.changes)).scalar_one_or_none()
        if mac is None:
            raise self.altered(
                sentence(
                    "the log recorded {recorded} changes, it holds {held}: it is an older copy",
                    recorded=recorded.changes,
                    held=self._head.changes,
                )
            )
        if not isinstance(mac, bytes) or not hmac.compare_digest(mac, recorded.mac):
            raise self.altered(
                sentence("change {number} is another one than the log recorded", number=recorded.changes)
            )

    def _announce(self) -> None:
        """Let the log record the head. A log that is down is told at the next look: the change is in force already."""
        if self._announced or self._heads is None:
            return
        with suppress(Unavailable):
            self._heads.record(self.name, self._head)
            self._announced = True

    def _has_chain(self, db: Connection) -> bool:
        return db.execute(select(self._chain.c.seq).limit(1)).first() is not None

    def _key(self) -> bytes:
        if self._mac_key is None:
            self._mac_key = derive(self._keys.audit_key(None), _KEY_LABEL, self.name.encode())
        return self._mac_key


def _mac(key: bytes, head: Head, subject: str, digest: bytes) -> bytes:
    seq = (head.changes + 1).to_bytes(8, "big")
    return hmac.digest(key, length_prefixed(head.mac, seq, subject.encode(), digest), "sha256")
