"""The anchors one log has made or is about to make.

An anchor is written here *before* it is sent and confirmed after, so a crash in between is found again: the next run
asks the chain whether it arrived. The note is kept beside it, because a proof bundle needs the very checkpoint that
was anchored. Why anchoring waits, and when the chain last took anchors back, is kept too, for whoever asks later.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Select, delete, select, update

from twinward_crypto.canonical import canonicalize
from twinward_ledger.formats.anchor_record import AnchorRecord
from twinward_ledger.storage import Database, table_of, upsert
from twinward_ledger.storage.sqlite import SqliteFile
from twinward_ledger.stores.tables import ANCHORS, AnchorRow, TroubleRow

_anchors, _trouble = table_of(AnchorRow), table_of(TroubleRow)
_WAITS, _TAKEN_BACK = "waits", "taken back"
_CLOCK_ACCEPTED, _TIME_ACCEPTED = "clock accepted", "time accepted"
_MAX_TEXT = 500
_ANCHORED: Final = select(_anchors.c.note, _anchors.c.record)

Anchored = tuple[bytes, AnchorRecord]
"""A whole signed checkpoint and its anchor."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that went wrong with the chain: what, in a sentence, and since when (milliseconds since the epoch)."""

    since_ms: int
    text: str


class AnchorJournal:
    """Durable record of one log's anchors. Safe to share between threads. Raises ``LogUnavailable``."""

    def __init__(self, place: Path | Database) -> None:
        """Open or create a file of its own, or use a database that is already open."""
        self._database: Database = SqliteFile(place, ANCHORS) if isinstance(place, Path) else place

    def prepare(self, note: bytes, record: AnchorRecord) -> None:
        """Keep an anchor that is about to be sent."""
        with self._database.writing() as db:
            size, data = record.statement.size, canonicalize(record.to_json())
            upsert(db, _anchors, size=size, note=note, record=data, confirmed=0)

    def confirm(self, record: AnchorRecord) -> None:
        """An anchor is on the chain."""
        confirmed = {"record": canonicalize(record.to_json()), "confirmed": 1}
        with self._database.writing() as db:
            db.execute(update(_anchors).where(_anchors.c.size == record.statement.size).values(confirmed))

    def drop(self, size: int) -> None:
        """An anchor never arrived and a larger one has overtaken it."""
        with self._database.writing() as db:
            db.execute(delete(_anchors).where(_anchors.c.size == size, _anchors.c.confirmed == 0))

    def retract(self, beyond: int, at_ms: int) -> int:
        """The chain no longer holds anchors of more than ``beyond`` entries: they wait again. Returns how many."""
        lost = update(_anchors).where(_anchors.c.confirmed == 1, _anchors.c.size > beyond).values(confirmed=0)
        text = f"the chain was reorganised: it kept {beyond} anchored entries; what it lost is anchored again"
        with self._database.writing() as db:
            count = db.execute(lost).rowcount
            if count:
                upsert(db, _trouble, kind=_TAKEN_BACK, since_ms=at_ms, text=text)
        return count

    def note_problem(self, problem: str, at_ms: int) -> None:
        """Keep why anchoring waits, and since its first failure; an empty text says that it no longer does."""
        with self._database.writing() as db:
            since_ms = db.execute(select(_trouble.c.since_ms).where(_trouble.c.kind == _WAITS)).scalar_one_or_none()
            if problem:
                first_ms = at_ms if since_ms is None else since_ms
                upsert(db, _trouble, kind=_WAITS, since_ms=first_ms, text=problem[:_MAX_TEXT])
            elif since_ms is not None:
                db.execute(delete(_trouble).where(_trouble.c.kind == _WAITS))

    def problem(self) -> Trouble | None:
        """Why anchoring waits; None where it does not."""
        return self._noted(_WAITS)

    def taken_back(self) -> Trouble | None:
        """The last time that the chain lost anchors it had confirmed; None if it never did."""
        return self._noted(_TAKEN_BACK)

    def accept_clock(self, clock_s: int, at_ms: int) -> None:
        """The operator says that the clock is right, however long the log has rested."""
        self._note(_CLOCK_ACCEPTED, at_ms, str(clock_s))

    def accept_time(self, anchored_s: int, at_ms: int) -> None:
        """The operator wants anchors dated as the last one, which is ahead of the clock, until that time has come."""
        self._note(_TIME_ACCEPTED, at_ms, str(anchored_s))

    def accepted_clock(self) -> int:
        """The newest clock that was accepted, Unix seconds; 0 if none was."""
        found = self._noted(_CLOCK_ACCEPTED)
        return int(found.text) if found else 0

    def accepted_time(self) -> int:
        """The time that anchors may be dated ahead, Unix seconds; 0 if none was accepted."""
        found = self._noted(_TIME_ACCEPTED)
        return int(found.text) if found else 0

    def unconfirmed(self) -> list[Anchored]:
        """Anchors that were or were not sent, smallest first."""
        return self._found(_ANCHORED.where(_anchors.c.confirmed == 0).order_by(_anchors.c.size))

    def newest(self) -> Anchored | None:
        """The largest confirmed anchor."""
        wanted = _ANCHORED.where(_anchors.c.confirmed == 1).order_by(_anchors.c.size.desc()).limit(1)
        return next(iter(self._found(wanted)), None)

    def largest(self) -> bytes | None:
        """The signed checkpoint of the largest anchor, sent or not."""
        with self._database.reading() as db:
            found = db.execute(select(_anchors.c.note).order_by(_anchors.c.size.desc()).limit(1)).scalar_one_or_none()
        return None if found is None else bytes(found)

    def notes(self) -> list[bytes]:
        """The signed checkpoints of all anchors, sent or not, smallest first."""
        with self._database.reading() as db:
            return [bytes(note) for note in db.execute(select(_anchors.c.note).order_by(_anchors.c.size)).scalars()]

    def covering(self, index: int) -> Anchored | None:
        """The first confirmed anchor whose tree holds an entry: its proof never changes again."""
        larger = _ANCHORED.where(_anchors.c.confirmed == 1, _anchors.c.size > index)
        return next(iter(self._found(larger.order_by(_anchors.c.size).limit(1))), None)

    def close(self) -> None:
        """Give back the database."""
        self._database.close()

    def _note(self, kind: str, at_ms: int, text: str) -> None:
        with self._database.writing() as db:
            upsert(db, _trouble, kind=kind, since_ms=at_ms, text=text)

    def _noted(self, kind: str) -> Trouble | None:
        wanted = select(_trouble.c.since_ms, _trouble.c.text).where(_trouble.c.kind == kind)
        with self._database.reading() as db:
            row = db.execute(wanted).first()
        return None if row is None else Trouble(row.since_ms, row.text)

    def _found(self, wanted: Select[Any]) -> list[Anchored]:
        with self._database.reading() as db:
            rows = db.execute(wanted).all()
        return [(bytes(note), AnchorRecord.from_json(json.loads(record))) for note, record in rows]
