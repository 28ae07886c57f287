"""What a witness has cosigned: it must survive a power cut, or the witness could be made to forget.

Every checkpoint is kept whole, so that a later contradiction of *any* of them is provable with both signed notes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Select, select

from twinward_ledger.storage import Database, table_of, upsert
from twinward_ledger.storage.sqlite import SqliteFile
from twinward_ledger.stores.tables import WITNESS_STATE, AcceptedTimeRow, SeenRow

_seen, _accepted = table_of(SeenRow), table_of(AcceptedTimeRow)
_KEPT: Final = select(_seen.c.size, _seen.c.note)

Seen = tuple[int, bytes]
"""A size and the whole signed checkpoint of that size."""


class WitnessState:
    """The checkpoints one witness has cosigned. Safe to share between threads and processes."""

    def __init__(self, place: Path | Database) -> None:
        """Open or create a file of its own, or use a database that is already open. Raises ``LogUnavailable``."""
        self._database: Database = SqliteFile(place, WITNESS_STATE) if isinstance(place, Path) else place

    def newest(self, origin: str) -> Seen | None:
        """The largest checkpoint of a log."""
        return self._one(_KEPT.where(_seen.c.origin == origin).order_by(_seen.c.size.desc()).limit(1))

    def at(self, origin: str, size: int) -> Seen | None:
        """The checkpoint of a log at one size, if that very size was ever cosigned."""
        return self._one(_KEPT.where(_seen.c.origin == origin, _seen.c.size == size))

    def advance(self, origin: str, size: int, note: bytes, check: Callable[[], None]) -> None:
        """Run ``check`` (which reads this state and may refuse by raising) and keep the checkpoint, as one atomic step.

        Durable on return. Without the atomicity two requests could pass their checks side by side and the smaller one
        roll the larger one back (c2sp.org/tlog-witness, "add-checkpoint").
        """
        with self._database.writing() as db:  # alone in writing, over all processes: what ``check`` reads stays so
            check()
            upsert(db, _seen, origin=origin, size=size, note=note)

    def accept_time(self, chain_id: int, contract: bytes, time_s: int, at_ms: int) -> None:
        """Keep that the operator had anchors of a contract dated ``time_s``, ahead of the clock, and when. Durable."""
        with self._database.writing() as db:
            upsert(db, _accepted, chain_id=str(chain_id), contract=contract, time_s=time_s, at_ms=at_ms)

    def accepted_time(self, chain_id: int, contract: bytes) -> int:
        """The time ahead of the clock that anchors of a contract may bear, Unix seconds; 0 if none was accepted."""
        of = (_accepted.c.chain_id == str(chain_id), _accepted.c.contract == contract)
        with self._database.reading() as db:
            return int(db.execute(select(_accepted.c.time_s).where(*of)).scalar_one_or_none() or 0)

    def close(self) -> None:
        """Give back the database."""
        self._database.close()

    def _one(self, wanted: Select[Any]) -> Seen | None:
        with self._database.reading() as db:
            row = db.execute(wanted).first()
        return (int(row.size), bytes(row.note)) if row else None
