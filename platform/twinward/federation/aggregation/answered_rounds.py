"""Which rounds of which studies a hospital answered, in one SQLite file: so that none is answered twice, whatever ends
the process or whoever asks.

An answer is written here, with the whole of what will be sent, *before* it is sent, in one transaction that is on disk
when it returns. Killed before, nothing had left and the round may be computed anew, with fresh noise; killed after,
the very bytes are there to be sent again. Of two processes that compute one round, one writes it and the other's
answer is thrown away. Only the newest answer of a study keeps its bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from sqlalchemy import MetaData, insert, select, update
from sqlmodel import Field, SQLModel

from twinward.core.errors import Unavailable
from twinward.federation.errors import RoundRefused
from twinward_ledger.storage import AsStored, Database, Schema, table_of
from twinward_ledger.storage.sqlite import SqliteFile


class AnswersBase(SQLModel):
    """Tables of the answered rounds."""

    metadata: ClassVar[MetaData] = MetaData()


class Answer(AnswersBase, table=True):
    """A round of a study (its fingerprint) that was answered; only the newest one keeps what was sent."""

    __tablename__ = "answers"
    __table_args__: ClassVar[dict[str, bool]] = {"sqlite_with_rowid": False}

    study: bytes = Field(sa_type=AsStored, primary_key=True)
    round: int = Field(primary_key=True)
    request: bytes = Field(sa_type=AsStored)
    masked: bytes | None = Field(default=None, sa_type=AsStored)


def _unavailable(message: str, hint: str) -> Unavailable:
    return Unavailable(message, hint=hint)


ANSWERS: Final = Schema(
    name="answers",
    application_id=0x54574152,  # "TWAR"
    version=1,
    revisions=Path(__file__).parent / "migrations",
    models=lambda: AnswersBase.metadata,
    unnumbered=1,
    unavailable=_unavailable,
)
_answers = table_of(Answer)


@dataclass(frozen=True, slots=True)
class AnsweredRound:
    """The newest round that was answered in a study.

    Attributes:
        number: from 1.
        request: SHA-256 of what was asked: model, keys and round.
        masked: the answer, as it was sent or was about to be.
    """

    number: int
    request: bytes
    masked: bytes


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
        """The newest round answered in the study of this fingerprint, None where there was none."""
        wanted = select(_answers.c.round, _answers.c.request, _answers.c.masked).where(_answers.c.study == study)
        with _translated(), self._database.reading() as db:
            row = db.execute(wanted.order_by(_answers.c.round.desc()).limit(1)).first()
        return None if row is None else AnsweredRound(row.round, row.request, row.masked)

    def keep(self, study: bytes, answer: AnsweredRound) -> None:
        """Write an answer down, on disk when this returns.

        Raises:
            RoundRefused: this round, or a later one, was answered before, by whatever process.
        """
        of_study = _answers.c.study == study
        newer = select(_answers.c.round).where(of_study, _answers.c.round >= answer.number).limit(1)
        row = {"study": study, "round": answer.number, "request": answer.request, "masked": answer.masked}
        with _translated(), self._database.writing() as db:
            if db.execute(newer).first():
                raise RoundRefused(
                    f"round {answer.number} of this study was answered before", hint="a round is answered once"
                )
            db.execute(update(_answers).where(of_study).values(masked=None))
            db.execute(insert(_answers).values(row))

    def close(self) -> None:
        """Give the database back."""
        self._database.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except Unavailable as error:
        raise Unavailable(
            "this hospital's memory of answered rounds cannot be used, so nothing is answered",
            hint="see to the disk and the permissions of studies.db in the hospital's home",
        ) from error
