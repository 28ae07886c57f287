"""What a log remembers of its witnesses: how far each got, and what it last did wrong.

The size matters for safety: a witness that holds less than it has cosigned was restored from a backup, and only
somebody else's memory can tell. The rest is for people: who is down, behind or lying, and since when.

With a ``Voucher`` the file is authentic and monotone. One MAC stands over all its rows and the number of their changes;
the log records that number and MAC (the *head*) at every alarm, else once in an hour of changes. A file that was
altered, is older than the head or gone is not believed: memory begins anew, and the log says so. Checkpoints go on, for
nothing is lost that cannot be learnt again: a witness says itself how far it is, and an alarm is an entry of the log.
What storage can turn back unseen is an hour without alarms: a witness that was restored from a backup meanwhile, and is
behind what it cosigned in that hour, then counts. Only the holder of the log's own key could show it another history.
"""

from __future__ import annotations

import hmac
import json
import threading
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, delete, select

from twinward_ledger.errors import LogUnavailable
from twinward_ledger.storage import Database, table_of, upsert
from twinward_ledger.storage.sqlite import SqliteFile
from twinward_ledger.stores.tables import WITNESS_MEMORY, VouchedRow, WitnessRow

_witnesses, _vouched = table_of(WitnessRow), table_of(VouchedRow)
RECORD_AFTER_MS = 3_600_000
"""How long changes without an alarm wait for the log to record them."""


class Standing(StrEnum):
    """What a witness did when it was last asked."""

    UNKNOWN = "not asked yet"
    GOOD = "good"
    DOWN = "down"
    SLOW = "slow"
    REFUSES = "refuses"
    LYING = "lying"
    ROLLED_BACK = "rolled back"
    SPLIT_VIEW = "split view"


@dataclass(frozen=True, slots=True)
class WitnessRecord:
    """One witness as this log knows it.

    Attributes:
        size: the largest size it cosigned; 0 for none.
        standing: what it did when last asked.
        reason: what it said, or why its answer was refused; empty where it is good.
        since_ms: since when it stands like that.
        at_ms: when it was last asked.
    """

    size: int = 0
    standing: Standing = Standing.UNKNOWN
    reason: str = ""
    since_ms: int = 0
    at_ms: int = 0


ALARMING = frozenset({Standing.LYING, Standing.ROLLED_BACK, Standing.SPLIT_VIEW})
"""What is not an outage but a breach of trust: somebody has to look."""

Records = dict[str, WitnessRecord]
"""By verifier key."""


class Voucher(Protocol):
    """What makes a memory authentic and monotone: a key of the node's, and its log."""

    def mac(self, content: bytes) -> bytes:
        """A MAC under a key that storage does not hold, 32 bytes."""
        ...

    def newest(self) -> tuple[int, bytes] | None:
        """The changes and the MAC that the log recorded last; None if none. Raises ``LogUnavailable``."""
        ...

    def record(self, changes: int, mac: bytes) -> None:
        """Let the log record them. Raises ``LogUnavailable``."""
        ...

    def say(self, what: str) -> None:
        """Let the log say something in a sentence. Raises ``LogUnavailable``."""
        ...


@dataclass(frozen=True, slots=True)
class _State:
    """``since_ms``: of the first change that the log was not told of; 0 for none."""

    changes: int = 0
    since_ms: int = 0
    mac: bytes = b""


class WitnessMemory:
    """The records of all witnesses of one log. Safe to share between threads and processes."""

    def __init__(self, place: Path | Database) -> None:
        """Open or create a file of its own, or use a database that is already open. Raises ``LogUnavailable``."""
        self._lock = threading.RLock()
        self._voucher: Voucher | None = None
        self._recorded: tuple[int, bytes] | None = None
        self._asked_log, self._owed, self._seen = False, False, 0
        self._database: Database = SqliteFile(place, WITNESS_MEMORY) if isinstance(place, Path) else place
        self._database.lay_missing()

    def vouched_by(self, voucher: Voucher) -> None:
        """Believe only what this vouches for, from now on; rows of an older Twinward are taken as they are, once."""
        self._voucher = voucher

    def of(self, key: str) -> WitnessRecord:
        """The record of the witness with this verifier key. Raises as ``all``."""
        return self.all().get(key, WitnessRecord())

    def all(self) -> Records:
        """Every record, by verifier key. What cannot be believed is gone. Raises ``LogUnavailable``."""
        with self._lock, self._database.reading() as db:
            records, state = _read(db)
        if self._fault(records, state):
            with self._lock, self._database.writing() as db:
                records, state = self._believed(db)
        return records

    def note(self, key: str, standing: Standing, *, at_ms: int, size: int = 0, reason: str = "") -> None:
        """Write down what a witness did. Its size never shrinks. An alarm is in the log on return, if that answers."""
        with self._lock:
            with self._database.writing() as db:
                records, state = self._believed(db)
                old = records.get(key, WitnessRecord())
                since = old.since_ms if old.standing is standing and old.at_ms else at_ms
                records[key] = WitnessRecord(max(old.size, size), standing, reason, since, at_ms)
                _write_row(db, key, records[key])
                alarm = standing in ALARMING and old.standing is not standing
                waits = at_ms - state.since_ms >= RECORD_AFTER_MS if state.since_ms else False
                due = alarm or waits or self._owed
                state = self._vouch(db, records, state.changes, 0 if due else state.since_ms or at_ms)
            if due:
                self._tell(state, f"the witness {key.partition('+')[0]} is {standing}: {reason}" if alarm else "")

    def close(self) -> None:
        """Give back the database; closing twice is harmless."""
        self._database.close()

    def _believed(self, db: Connection) -> tuple[Records, _State]:
        """What stands in the file, or a memory begun anew. Within a transaction that writes."""
        records, state = _read(db)
        fault = self._fault(records, state)
        if not fault:
            return records, state or _State()
        db.execute(delete(_witnesses))
        past = max(self._seen, state.changes if state else 0, self._recorded[0] if self._recorded else 0)
        begun = self._vouch(db, {}, past, 0)
        self._tell(begun, f"what was remembered of the witnesses is not believed and begins anew: {fault}")
        return {}, begun

    def _fault(self, records: Records, state: _State | None) -> str:
        """Why it cannot be believed; empty where it can."""
        if self._voucher is None:
            return ""
        if not self._asked_log:
            self._recorded = self._voucher.newest()
            self._asked_log = True
        recorded = self._recorded or (0, b"")
        least = max(self._seen, recorded[0])
        if state is None:
            return f"{least} changes were recorded, and it holds none" if least else ""
        if not hmac.compare_digest(self._voucher.mac(_content(records, state.changes, state.since_ms)), state.mac):
            return "it was altered"
        if state.changes < least:
            return f"it holds {state.changes} changes and {least} were recorded: it is an older copy"
        if state.changes == recorded[0] and not hmac.compare_digest(state.mac, recorded[1]):
            return f"change {state.changes} is another one than was recorded"
        self._seen = state.changes
        return ""

    def _vouch(self, db: Connection, records: Records, changes: int, since_ms: int) -> _State:
        if self._voucher is None:
            return _State()
        mac = self._voucher.mac(_content(records, changes + 1, since_ms))
        state = _State(changes + 1, since_ms, mac)
        upsert(db, _vouched, one=1, changes=state.changes, since_ms=state.since_ms, mac=state.mac)
        return state

    def _tell(self, state: _State, what: str) -> None:
        """Let the log record where the memory stands. A log that does not answer is told at the next change."""
        if self._voucher is None:
            return
        try:
            if what:
                self._voucher.say(what)
            self._voucher.record(state.changes, state.mac)
            self._recorded, self._owed = (state.changes, state.mac), False
        except LogUnavailable:
            self._owed = True


def _read(db: Connection) -> tuple[Records, _State | None]:
    rows = [tuple(row) for row in db.execute(select(_witnesses).order_by(_witnesses.c.key))]
    found = db.execute(select(_vouched.c.changes, _vouched.c.since_ms, _vouched.c.mac)).first()
    state = None if found is None else _State(*found)
    whole = all(map(_fits, rows)) and (state is None or isinstance(state.mac, bytes))
    if not whole:
        return {}, _State()  # nobody wrote this: its MAC fits nothing
    return {key: WitnessRecord(size, Standing(what), *others) for key, size, what, *others in rows}, state


def _write_row(db: Connection, key: str, record: WitnessRecord) -> None:
    values = {"size": record.size, "standing": record.standing.value, "reason": record.reason}
    upsert(db, _witnesses, key=key, **values, since_ms=record.since_ms, at_ms=record.at_ms)


def _fits(row: Sequence[object]) -> bool:
    kinds = (str, int, str, str, int, int)
    return all(map(isinstance, row, kinds)) and row[2] in set(Standing)


def _content(records: Records, changes: int, since_ms: int) -> bytes:
    rows = [[key, *astuple(record)] for key, record in sorted(records.items())]
    return json.dumps([changes, since_ms, rows], separators=(",", ":")).encode()
