"""What a hospital answered in which studies, and what it goes on with, in one SQLite file: so that nothing is answered
twice, and a study goes on, whatever ends the process or whoever asks.

An answer is written here, with the whole of what will be sent, *before* it is sent, in one transaction that is on disk
when it returns: it also forgets the key that masked the answer and takes up the next one. Killed before, nothing had
left and the attempt may be computed anew, with fresh noise; killed after, the very bytes are there to be sent again.
Of two processes that compute one attempt, one writes it and the other's answer is thrown away. Only the newest answer
of a study keeps its bytes, and what would open it (``Sealed``); an older one can never be opened.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

from sqlalchemy import MetaData, Row, Select, delete, insert, select, update
from sqlmodel import Field, SQLModel

from twinward.core.errors import Unavailable, store_unavailable
from twinward.federation.errors import RoundRefused
from twinward_ledger.storage import WITHOUT_ROWID, AsStored, Database, Schema, table_of
from twinward_ledger.storage.sqlite import SqliteFile


class AnswersBase(SQLModel):
    """Tables of the answered rounds."""

    metadata: ClassVar[MetaData] = MetaData()


class Answer(AnswersBase, table=True):
    """An attempt (``round``, of releases that knew no others) that was answered; the newest keeps what was sent."""

    __tablename__ = "answers"
    __table_args__ = WITHOUT_ROWID

    study: bytes = Field(sa_type=AsStored, primary_key=True)
    round: int = Field(primary_key=True)
    request: bytes = Field(sa_type=AsStored)
    masked: bytes | None = Field(default=None, sa_type=AsStored)


class RoundKey(AnswersBase, table=True):
    """The private key of the next attempt that will be answered in a study; gone once it was used."""

    __tablename__ = "round_keys"
    __table_args__ = WITHOUT_ROWID

    study: bytes = Field(sa_type=AsStored, primary_key=True)
    attempt: int
    private: bytes = Field(sa_type=AsStored)


class Seal(AnswersBase, table=True):
    """What opens the newest answer of a study, and whether this hospital agreed to that."""

    __tablename__ = "seals"
    __table_args__ = WITHOUT_ROWID

    study: bytes = Field(sa_type=AsStored, primary_key=True)
    attempt: int
    round: int
    secret: bytes | None = Field(default=None, sa_type=AsStored)
    opened: bool


class SignedRequest(AnswersBase, table=True):
    """A request under which this hospital signed to have its privacy reserved for a study."""

    __tablename__ = "signed_requests"
    __table_args__ = WITHOUT_ROWID

    study: bytes = Field(sa_type=AsStored, primary_key=True)
    request: bytes = Field(sa_type=AsStored, primary_key=True)


class LogRoom(AnswersBase, table=True):
    """By how many events the hospital's log grows, at least, when patients are read for a study in this way."""

    __tablename__ = "log_rooms"
    __table_args__ = WITHOUT_ROWID

    kind: str = Field(primary_key=True)
    room: int


class OpenReading(AnswersBase, table=True):
    """A reading of patients for a study that was begun, and whose room is not known to be full yet."""

    __tablename__ = "open_readings"
    __table_args__ = WITHOUT_ROWID

    kind: str = Field(primary_key=True)
    study: str
    log_size: int


ANSWERS: Final = Schema(
    name="answers",
    application_id=0x54574152,  # "TWAR"
    version=5,
    revisions=Path(__file__).parent / "migrations",
    models=lambda: AnswersBase.metadata,
    unnumbered=1,
    unavailable=store_unavailable,
)
_answers, _keys, _seals = table_of(Answer), table_of(RoundKey), table_of(Seal)
_requests, _rooms, _readings = table_of(SignedRequest), table_of(LogRoom), table_of(OpenReading)


@dataclass(frozen=True, slots=True)
class AnsweredRound:
    """The newest attempt that was answered in a study.

    Attributes:
        number: the attempt's, from 1.
        request: SHA-256 of what was asked: model, keys, round and attempt.
        masked: the answer, as it was sent or was about to be.
    """

    number: int
    request: bytes
    masked: bytes


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a hospital must know to let its newest answer be opened.

    Attributes:
        attempt: which answer.
        round_number: of the protocol.
        secret: as ``sealing`` writes it; None once it can be of no more use.
        opened: whether the hospital agreed to open it. It is then open for good, and nothing else of its round.
    """

    attempt: int
    round_number: int
    secret: bytes | None = field(repr=False)
    opened: bool = False


@dataclass(frozen=True, slots=True)
class NextKey:
    """The key that a hospital keeps for an attempt to come."""

    attempt: int
    private: bytes = field(repr=False)


class AnsweredRounds:
    """One hospital's memory of its answers. Safe to share between threads, and the file between processes.

    Raises:
        Unavailable: the file cannot be opened, read or written. Nothing is answered then.
    """

    def __init__(self, place: Path | Database) -> None:
        """Open or create a file of its own, or use a database that is already open."""
        with _translated():
            self._database: Database = SqliteFile(place, ANSWERS) if isinstance(place, Path) else place

    def newest(self, study: bytes) -> AnsweredRound | None:
        """The newest attempt answered in the study of this fingerprint, None where there was none."""
        wanted = select(_answers.c.round, _answers.c.request, _answers.c.masked).where(_answers.c.study == study)
        with _translated(), self._database.reading() as db:
            row = db.execute(wanted.order_by(_answers.c.round.desc()).limit(1)).first()
        return None if row is None else AnsweredRound(row.round, row.request, row.masked)

    def next_key(self, study: bytes) -> NextKey | None:
        """The key kept for the next attempt."""
        with _translated(), self._database.reading() as db:
            row = db.execute(select(_keys.c.attempt, _keys.c.private).where(_keys.c.study == study)).first()
        return None if row is None else NextKey(row.attempt, row.private)

    def sealed(self, study: bytes) -> Sealed | None:
        """What opens the newest answer."""
        wanted = select(_seals.c.attempt, _seals.c.round, _seals.c.secret, _seals.c.opened)
        with _translated(), self._database.reading() as db:
            row = db.execute(wanted.where(_seals.c.study == study)).first()
        return None if row is None else Sealed(row.attempt, row.round, row.secret, bool(row.opened))

    def key_for(self, study: bytes, attempt: int, fresh: bytes) -> NextKey:
        """The key for an attempt, or for a later one: the one that is kept, or else the fresh one, kept from now on.

        Raises:
            RoundRefused: this attempt, or a later one, was answered before.
        """
        with _translated(), self._database.writing() as db:
            row = db.execute(select(_keys.c.attempt, _keys.c.private).where(_keys.c.study == study)).first()
            if row is not None and row.attempt >= attempt:
                return NextKey(row.attempt, row.private)
            if db.execute(_answered_from(study, attempt)).first():
                raise _answered_before(attempt)
            db.execute(delete(_keys).where(_keys.c.study == study))
            db.execute(insert(_keys).values(study=study, attempt=attempt, private=fresh))
        return NextKey(attempt, fresh)

    def log_room(self, kind: str, events: int, drawn: Callable[[int], int]) -> int:
        """How many events a reading of this kind shows in the log: what is kept, or, where there are more, a new one.

        Args:
            kind: of reading.
            events: how many there were now.
            drawn: makes a room out of a number of events.
        """
        with _translated(), self._database.writing() as db:
            kept = db.execute(select(_rooms.c.room).where(_rooms.c.kind == kind)).scalar()
            if kept is not None and kept >= events:
                return int(kept)
            room = drawn(events)
            db.execute(delete(_rooms).where(_rooms.c.kind == kind))
            db.execute(insert(_rooms).values(kind=kind, room=room))
        return room

    def begin_reading(self, kind: str, study: str, log_size: int) -> None:
        """Note, on disk when this returns, that patients are about to be read; the log has so many entries."""
        with _translated(), self._database.writing() as db:
            db.execute(delete(_readings).where(_readings.c.kind == kind))
            db.execute(insert(_readings).values(kind=kind, study=study, log_size=log_size))

    def end_reading(self, kind: str) -> None:
        """The log grew by all of its room."""
        with _translated(), self._database.writing() as db:
            db.execute(delete(_readings).where(_readings.c.kind == kind))

    def open_readings(self) -> list[tuple[str, str, int]]:
        """Kind, study and size of the log at the beginning, of readings that were begun and not ended."""
        with _translated(), self._database.reading() as db:
            rows = db.execute(select(_readings.c.kind, _readings.c.study, _readings.c.log_size))
            return [(str(kind), str(study), int(size)) for kind, study, size in rows]

    def keep(
        self, study: bytes, answer: AnsweredRound, *, next_key: bytes | None = None, sealed: Sealed | None = None
    ) -> None:
        """Write an answer down, on disk when this returns; its key is forgotten, the next attempt's is kept.

        Raises:
            RoundRefused: this attempt, or a later one, was answered before, or its round was opened; by whatever
                process.
        """
        row = {"study": study, "round": answer.number, "request": answer.request, "masked": answer.masked}
        with _translated(), self._database.writing() as db:
            if db.execute(_answered_from(study, answer.number)).first():
                raise _answered_before(answer.number)
            if sealed is not None:
                _require_unopened(db.execute(select(_seals).where(_seals.c.study == study)).first(), sealed)
            db.execute(update(_answers).where(_answers.c.study == study).values(masked=None))
            db.execute(insert(_answers).values(row))
            db.execute(delete(_keys).where(_keys.c.study == study))
            if next_key is not None:
                db.execute(insert(_keys).values(study=study, attempt=answer.number + 1, private=next_key))
            if sealed is not None:
                values = {"attempt": sealed.attempt, "round": sealed.round_number, "secret": sealed.secret}
                db.execute(delete(_seals).where(_seals.c.study == study))
                db.execute(insert(_seals).values(study=study, opened=False, **values))

    def agree_to_open(self, study: bytes, attempt: int) -> Sealed:
        """Write down that an answer may be opened, and give what opens it. On disk when this returns.

        Raises:
            RoundRefused: it is not the newest answer, which alone may be opened.
        """
        with _translated(), self._database.writing() as db:
            row = db.execute(select(_seals).where(_seals.c.study == study)).first()
            if row is None or row.attempt != attempt:
                raise RoundRefused(
                    f"attempt {attempt} is not the newest that this hospital answered: it is never opened",
                    hint="of the attempts at a round one is opened",
                )
            db.execute(update(_seals).where(_seals.c.study == study).values(opened=True))
        return Sealed(row.attempt, row.round, row.secret, opened=True)

    def signed_requests(self, study: bytes) -> tuple[bytes, ...]:
        """Under which requests this hospital signed to have its privacy reserved for a study."""
        with _translated(), self._database.reading() as db:
            rows = db.execute(select(_requests.c.request).where(_requests.c.study == study)).all()
        return tuple(row.request for row in rows)

    def keep_request(self, study: bytes, request: bytes, taken: Collection[bytes]) -> None:
        """Write down a request before it is signed, on disk when this returns. The same one may be kept again.

        Args:
            study, request: which.
            taken: of those kept before, the ones that a stranger's reservation used up: they can serve no more.

        Raises:
            RoundRefused: another was kept, by whatever process, which may still be used or was.
        """
        with _translated(), self._database.writing() as db:
            rows = db.execute(select(_requests.c.request).where(_requests.c.study == study)).all()
            kept = {row.request for row in rows}
            if request in kept:
                return
            if kept - set(taken):
                raise RoundRefused(
                    "this hospital signed another reservation of this study before",
                    hint="a study's privacy is reserved once",
                )
            db.execute(insert(_requests).values(study=study, request=request))

    def close(self) -> None:
        """Give the database back."""
        self._database.close()


def _answered_from(study: bytes, attempt: int) -> Select[tuple[int]]:
    """Whether this attempt or a later one was answered."""
    return select(_answers.c.round).where(_answers.c.study == study, _answers.c.round >= attempt).limit(1)


def _answered_before(attempt: int) -> RoundRefused:
    return RoundRefused(f"attempt {attempt} of this study was answered before", hint="an attempt is answered once")


def _require_unopened(row: Row[Any] | None, sealed: Sealed) -> None:
    if row is not None and row.opened and row.round >= sealed.round_number:
        raise RoundRefused(
            f"round {sealed.round_number} was opened before: attempt {row.attempt} stands",
            hint="of the attempts at a round one is opened",
        )


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except Unavailable as error:
        raise Unavailable(
            "this hospital's memory of answered rounds cannot be used, so nothing is answered",
            hint="see to the disk and the permissions of studies.db in the hospital's home",
        ) from error
