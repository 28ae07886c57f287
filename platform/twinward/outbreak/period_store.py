"""``outbreak.db``: which periods this hospital agreed on, what it counted of them, and whom: sealed.

Four tables of sealed rows (``core.sealed_rows``), found by a period's fingerprint, and there by the day or by a blind
tag of the patient; the fourth has the sums of all hospitals, where this one added up. How many days were counted, and
how many patients, shows in the number of rows; nothing else does.
Rows are not held against the log: what was *answered* is in ``studies.db`` besides, which is in no backup (ADR 67), and
a store that lacks what that has releases nothing (``releases``). The newest day says how many cases were counted in
all, so a patient whom storage made the hospital forget, to count them twice, is missed.

When a period's last day is released, who was counted in it, and the exact counts, are forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import msgspec
from sqlalchemy import Connection, MetaData, Row, delete, func, select
from sqlmodel import Field, SQLModel

from twinward.core.errors import BadInput, StoreAltered, store_unavailable
from twinward.core.row_seal import RowKeys
from twinward.core.sealed_rows import SealedRows
from twinward.core.vocabulary import TwinId
from twinward_crypto.errors import OpenError
from twinward_crypto.padding import pad, unpad
from twinward_ledger.storage import WITHOUT_ROWID, AsStored, Database, Schema, table_of

_ALTERED: Final = (
    "outbreak.db holds a row that this node did not write",
    "restore the newest backup; a period that was released from since then is not released from again",
)


class _Base(SQLModel):
    metadata: ClassVar[MetaData] = MetaData()


class PeriodRow(_Base, table=True):
    """A period that was agreed on."""

    __tablename__ = "outbreak_period"
    __table_args__ = WITHOUT_ROWID

    period: bytes = Field(sa_type=AsStored, primary_key=True)
    sealed: bytes = Field(sa_type=AsStored)


class DayRow(_Base, table=True):
    """A day that was counted."""

    __tablename__ = "outbreak_day"
    __table_args__ = WITHOUT_ROWID

    period: bytes = Field(sa_type=AsStored, primary_key=True)
    day: int = Field(primary_key=True)
    sealed: bytes = Field(sa_type=AsStored)


class CountedRow(_Base, table=True):
    """A patient who was counted."""

    __tablename__ = "outbreak_counted"
    __table_args__ = WITHOUT_ROWID

    period: bytes = Field(sa_type=AsStored, primary_key=True)
    patient: bytes = Field(sa_type=AsStored, primary_key=True)
    sealed: bytes = Field(sa_type=AsStored)


class SumRow(_Base, table=True):
    """What all hospitals' shares of a period came to."""

    __tablename__ = "outbreak_sum"
    __table_args__ = WITHOUT_ROWID

    period: bytes = Field(sa_type=AsStored, primary_key=True)
    sealed: bytes = Field(sa_type=AsStored)


OUTBREAK_PERIODS: Final = Schema(
    name="outbreak",
    application_id=0x54574F50,  # "TWOP"
    version=2,
    revisions=Path(__file__).parent / "migrations",
    models=lambda: _Base.metadata,
    unavailable=store_unavailable,
    malformed=BadInput,
)
S = TypeVar("S", bound=msgspec.Struct)
_periods, _days, _counted = table_of(PeriodRow), table_of(DayRow), table_of(CountedRow)
_sums = table_of(SumRow)


class KeptPeriod(msgspec.Struct, frozen=True):
    """A period as this hospital's officer approved it: the invitation's very bytes, who, when."""

    invitation: bytes
    officer: str
    at_ms: int


class CountedDay(msgspec.Struct, frozen=True):
    """A day as it was counted: once, for good.

    Attributes:
        keys: ``AgreedPeriod.keys_digest`` that it is masked for.
        masked: its numbers with noise, masked: little-endian 64-bit words. Drawn once.
        counts: exact, in the order of the terms' syndromes; empty once the period is over.
        cases: patients times syndromes that are remembered as counted up to this day.
    """

    keys: bytes
    masked: bytes
    counts: tuple[int, ...] = ()
    cases: int = 0

    def __repr__(self) -> str:
        return "CountedDay()"


class CountedPatient(msgspec.Struct, frozen=True):
    """A patient's day of each syndrome that they were counted for."""

    twin: TwinId
    days: dict[str, int]

    def __repr__(self) -> str:
        return "CountedPatient()"


class KeptSum(msgspec.Struct, frozen=True):
    """A period's sums as they were opened.

    Attributes:
        days: how many are summed.
        content: the file of ``SummedDays``.
    """

    days: int
    content: bytes


class _Rows(SealedRows):
    schema = OUTBREAK_PERIODS
    key_label = b"twinward/outbreak-store/1"
    owner_label = "outbreak-counted"
    altered = _ALTERED

    def put(self, db: Connection, value: msgspec.Struct, **columns: object) -> None:
        """A row, which is padded: its length tells no count."""
        self._insert(db, pad(msgspec.msgpack.encode(value)), **columns)

    def read(self, kind: type[S], row: Row[Any]) -> S:
        """What a row says. Raises ``StoreAltered``."""
        try:
            return msgspec.msgpack.decode(unpad(self._opened(row)), type=kind)
        except (OpenError, msgspec.MsgspecError):
            raise self._alteration() from None

    def missed(self) -> StoreAltered:
        """The error for rows that are not there any more."""
        return self._alteration()


class _Periods(_Rows):
    row, bound, row_label = PeriodRow, ("period",), b"twinward/outbreak-period/1\x00"


class _Days(_Rows):
    row, bound, row_label = DayRow, ("period", "day"), b"twinward/outbreak-day/1\x00"


class _Counted(_Rows):
    row, bound, row_label = CountedRow, ("period", "patient"), b"twinward/outbreak-counted/1\x00"

    def tag(self, period: bytes, twin: TwinId) -> bytes:
        """By which a patient is found: another one in each period."""
        return self.owner(f"{period.hex()} {twin}")


class _Sums(_Rows):
    row, bound, row_label = SumRow, ("period",), b"twinward/outbreak-sum/1\x00"


class PeriodStore:
    """The store. Safe to share between threads and processes.

    Args:
        database: of ``OUTBREAK_PERIODS``.
        keys: the tenant's.

    Raises:
        StoreAltered: a row that this node did not write, or that is gone; from every method that reads.
        Unavailable: the database cannot be used; from every method.
    """

    def __init__(self, database: Database, keys: RowKeys) -> None:
        self._database = database
        self._periods, self._days = _Periods(database, keys), _Days(database, keys)
        self._counted, self._sums = _Counted(database, keys), _Sums(database, keys)

    def keep(self, period: bytes, kept: KeptPeriod) -> None:
        """Keep what was approved, durably; what stands there of this period is replaced."""
        with self._database.writing() as db:
            db.execute(delete(_periods).where(_periods.c.period == period))
            self._periods.put(db, kept, period=period)

    def period(self, period: bytes) -> KeptPeriod | None:
        """What was approved of a fingerprint."""
        with self._database.reading() as db:
            row = db.execute(select(_periods).where(_periods.c.period == period)).first()
        return None if row is None else self._periods.read(KeptPeriod, row)

    def periods(self) -> list[tuple[bytes, KeptPeriod, int]]:
        """Every period, the newest approved first: fingerprint, what was approved, how many days were counted."""
        with self._database.reading() as db:
            rows = db.execute(select(_periods)).all()
            counted = select(_days.c.period, func.count().label("days")).group_by(_days.c.period)
            days = {one.period: one.days for one in db.execute(counted)}
        found = [(row.period, self._periods.read(KeptPeriod, row)) for row in rows]
        return [(key, one, days.get(key, 0)) for key, one in sorted(found, key=lambda pair: -pair[1].at_ms)]

    def days(self, period: bytes) -> list[CountedDay]:
        """The days that were counted, from the first on."""
        with self._database.reading() as db:
            return self._days_of(db, period)

    def patients(self, period: bytes) -> Callable[[TwinId], Mapping[str, int]]:
        """Which syndromes a patient was counted for in a period, each with the day: as it stands now."""
        with self._database.reading() as db:
            found = self._patients_of(db, period)

        def counted(twin: TwinId) -> Mapping[str, int]:
            return found.get(self._counted.tag(period, twin), {})

        return counted

    def count(self, period: bytes, before: int, days: Sequence[CountedDay], patients: Sequence[CountedPatient]) -> bool:
        """Write days and who was counted on them, all or nothing, durable when this returns.

        Args:
            period: which.
            before: how many days were counted when these were begun.
            days: the next ones; how many cases there are by then is filled in here.
            patients: who is new, or has a syndrome more.

        Returns:
            Whether they were written; not so where another process counted meanwhile.
        """
        with self._database.writing() as db:
            if len(self._days_of(db, period)) != before:
                return False
            known = self._patients_of(db, period)
            for one in patients:
                tag = self._counted.tag(period, one.twin)
                whole = CountedPatient(one.twin, {**known.get(tag, {}), **one.days})
                known[tag] = whole.days
                db.execute(delete(_counted).where((_counted.c.period == period) & (_counted.c.patient == tag)))
                self._counted.put(db, whole, period=period, patient=tag)
            cases = _cases(known)
            for number, day in enumerate(days, before + 1):
                self._days.put(db, msgspec.structs.replace(day, cases=cases), period=period, day=number)
        return True

    def finish(self, period: bytes) -> None:
        """A period is over: forget who was counted, and exact counts. What was released stays, to be said again."""
        with self._database.writing() as db:
            days = self._days_of(db, period)
            if not any(one.counts for one in days):
                return
            db.execute(delete(_counted).where(_counted.c.period == period))
            for number, one in enumerate(days, 1):
                self._replace(db, period, number, msgspec.structs.replace(one, counts=(), cases=0))
        self._database.forget_deleted()

    def forget_erased(self, is_erased: Callable[[TwinId], bool]) -> int:
        """Forget that patients were counted whose keys are gone; how many rows named one."""
        with self._database.writing() as db:
            rows = db.execute(select(_counted)).all()
            gone = [row for row in rows if is_erased(self._counted.read(CountedPatient, row).twin)]
            for row in gone:
                here = (_counted.c.period == row.period) & (_counted.c.patient == row.patient)
                db.execute(delete(_counted).where(here))
            for period in {row.period for row in gone}:
                left = db.execute(select(_counted).where(_counted.c.period == period)).all()
                cases = _cases({row.patient: self._counted.read(CountedPatient, row).days for row in left})
                days = self._days_of(db, period)
                self._replace(db, period, len(days), msgspec.structs.replace(days[-1], cases=cases))
        if gone:
            self._database.forget_deleted()
        return len(gone)

    def keep_sum(self, period: bytes, kept: KeptSum) -> None:
        """Keep what a period's sums are, durably, unless as many days are kept of it: shares open to the same sums."""
        with self._database.writing() as db:
            row = db.execute(select(_sums).where(_sums.c.period == period)).first()
            if row is not None and self._sums.read(KeptSum, row).days >= kept.days:
                return
            db.execute(delete(_sums).where(_sums.c.period == period))
            self._sums.put(db, kept, period=period)

    def sums(self) -> list[bytes]:
        """Each period's sums, as files, of those that were added up here; in no order."""
        with self._database.reading() as db:
            rows = db.execute(select(_sums)).all()
        return [self._sums.read(KeptSum, row).content for row in rows]

    def close(self) -> None:
        """Give back the database."""
        self._database.close()

    def _replace(self, db: Connection, period: bytes, day: int, instead: CountedDay) -> None:
        db.execute(delete(_days).where((_days.c.period == period) & (_days.c.day == day)))
        self._days.put(db, instead, period=period, day=day)

    def _days_of(self, db: Connection, period: bytes) -> list[CountedDay]:
        rows = db.execute(select(_days).where(_days.c.period == period).order_by(_days.c.day)).all()
        if [row.day for row in rows] != list(range(1, len(rows) + 1)):
            raise self._days.missed()
        return [self._days.read(CountedDay, row) for row in rows]

    def _patients_of(self, db: Connection, period: bytes) -> dict[bytes, Mapping[str, int]]:
        """By tag. Raises ``StoreAltered`` where they are not as many as the newest day says."""
        rows = db.execute(select(_counted).where(_counted.c.period == period)).all()
        found: dict[bytes, Mapping[str, int]] = {
            row.patient: self._counted.read(CountedPatient, row).days for row in rows
        }
        days = self._days_of(db, period)
        if _cases(found) != (days[-1].cases if days else 0):
            raise self._counted.missed()
        return found


def _cases(patients: Mapping[bytes, Mapping[str, int]]) -> int:
    return sum(len(days) for days in patients.values())
