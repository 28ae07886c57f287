"""What a coordinator must not forget of a study: what paid for it, what it asks just now, and the sums it has learnt.

One SQLite file, written before each step, so that a study goes on after the coordinator was killed. A question is
written down before it is sent: asked again, hospitals that answered it say the same, and the others answer it now.
Sealed answers are written down before any is opened: hospitals agree to open one attempt of a round, and no other
could be made in its place. It holds released, noisy sums and masked vectors; nothing of one hospital's alone but what
officers decided about it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import msgspec
import numpy as np
from sqlalchemy import MetaData, delete, insert, select, update
from sqlmodel import Field, SQLModel

from twinward.core.errors import Unavailable, store_unavailable
from twinward.federation.aggregation.contribution import Contribution
from twinward.federation.aggregation.secure_aggregation import SignedRoundKey
from twinward.federation.detectors.detector import Parameters
from twinward.federation.privacy.dp_sum import Integers
from twinward_ledger.storage import WITHOUT_ROWID, AsStored, Database, Long, Schema, table_of
from twinward_ledger.storage.sqlite import SqliteFile


class JournalBase(SQLModel):
    """Tables of the journal."""

    metadata: ClassVar[MetaData] = MetaData()


class Run(JournalBase, table=True):
    """A study that was begun."""

    __tablename__ = "runs"
    __table_args__ = WITHOUT_ROWID

    study: bytes = Field(sa_type=AsStored, primary_key=True)
    reservation: int
    account: str


class Asked(JournalBase, table=True):
    """What a study asks just now, and the sealed answers to it."""

    __tablename__ = "questions"
    __table_args__ = WITHOUT_ROWID

    study: bytes = Field(sa_type=AsStored, primary_key=True)
    question: bytes = Field(sa_type=AsStored)
    answers: bytes | None = Field(default=None, sa_type=AsStored)


class ReleasedSum(JournalBase, table=True):
    """A round's sum, as it was opened."""

    __tablename__ = "sums"
    __table_args__ = WITHOUT_ROWID

    study: bytes = Field(sa_type=AsStored, primary_key=True)
    round: int = Field(primary_key=True)
    attempt: int
    total: bytes = Field(sa_type=AsStored)


class ReleasedGroup(JournalBase, table=True):
    """A group's sum of a round, as it was opened."""

    __tablename__ = "group_sums"
    __table_args__ = WITHOUT_ROWID

    study: bytes = Field(sa_type=AsStored, primary_key=True)
    round: int = Field(primary_key=True)
    number: int = Field(primary_key=True)
    members: str
    """Names, between spaces."""
    total: bytes = Field(sa_type=AsStored)


class Reviewed(JournalBase, table=True):
    """What an officer decided about a hospital of a study."""

    __tablename__ = "reviews"
    __table_args__ = WITHOUT_ROWID

    study: bytes = Field(sa_type=AsStored, primary_key=True)
    hospital: str = Field(primary_key=True)
    quarantined: bool
    officer: str
    reason: str
    at_ms: int = Field(sa_type=Long)


JOURNAL: Final = Schema(
    name="study_journal",
    application_id=0x5457534A,  # "TWSJ"
    version=2,
    revisions=Path(__file__).parent / "migrations",
    models=lambda: JournalBase.metadata,
    unavailable=store_unavailable,
)
_runs, _questions, _sums = table_of(Run), table_of(Asked), table_of(ReleasedSum)
_groups, _reviews = table_of(ReleasedGroup), table_of(Reviewed)


@dataclass(frozen=True, slots=True)
class Question:
    """What all hospitals of an attempt are asked alike.

    Attributes:
        round_number, attempt: as in ``Site.contribute``.
        model: the parameters, little-endian float64.
        keys: of all who take part.
        groups: whose sums are opened apart; none where there is one sum of all.
    """

    round_number: int
    attempt: int
    model: bytes
    keys: tuple[SignedRoundKey, ...]
    groups: tuple[tuple[str, ...], ...] = ()

    @property
    def parameters(self) -> Parameters:
        """The model ``[p]``."""
        return np.frombuffer(self.model, "<f8").astype(np.float64)

    @property
    def members(self) -> tuple[str, ...]:
        """Who takes part."""
        return tuple(key.hospital for key in self.keys)

    def keys_for(self, hospital: str) -> tuple[SignedRoundKey, ...]:
        """What one hospital is given: the keys of its sum."""
        with_it = next((group for group in self.groups if hospital in group), self.members)
        return tuple(key for key in self.keys if key.hospital in with_it)


@dataclass(frozen=True, slots=True)
class Review:
    """What an officer decided about a hospital that a study's sums made suspect, or somebody else did.

    Attributes:
        hospital: whom.
        quarantined: whether it has no part in the study any more; else it was looked at and stays.
        officer: who decided.
        reason: in the officer's words.
        at_ms: when.
    """

    hospital: str
    quarantined: bool
    officer: str
    reason: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Begun:
    """A study that was begun: what pays for it, and in whose name it runs."""

    reservation: int
    account: str


class StudyJournal:
    """The journal of one study.

    Args:
        place: a file, shared by all studies of a home; ``:memory:`` is gone with this object.
        study: the fingerprint.

    Raises:
        Unavailable: the file cannot be opened, read or written.
    """

    def __init__(self, place: Path | Database, study: bytes) -> None:
        with _translated():
            self._database: Database = SqliteFile(place, JOURNAL) if isinstance(place, Path) else place
        self._study = study

    def begun(self) -> Begun | None:
        """What was begun."""
        with _translated(), self._database.reading() as db:
            row = db.execute(select(_runs.c.reservation, _runs.c.account).where(_runs.c.study == self._study)).first()
        return None if row is None else Begun(row.reservation, row.account)

    def begin(self, reservation: int, account: str) -> None:
        """A study begins that this reservation pays for; what may be left of an earlier one of its name is gone."""
        with _translated(), self._database.writing() as db:
            for table in (_runs, _questions, _sums, _groups, _reviews):
                db.execute(delete(table).where(table.c.study == self._study))
            db.execute(insert(_runs).values(study=self._study, reservation=reservation, account=account))

    def pending(self) -> tuple[Question, dict[str, Contribution] | None] | None:
        """What was asked and not learnt from yet, and the sealed answers if all were there."""
        wanted = select(_questions.c.question, _questions.c.answers).where(_questions.c.study == self._study)
        with _translated(), self._database.reading() as db:
            row = db.execute(wanted).first()
        if row is None:
            return None
        answers = None if row.answers is None else msgspec.msgpack.decode(row.answers, type=dict[str, Contribution])
        return msgspec.msgpack.decode(row.question, type=Question), answers

    def ask(self, question: Question) -> None:
        """Before it is sent. It takes the place of the question before, which is asked no more."""
        values = {"study": self._study, "question": msgspec.msgpack.encode(question), "answers": None}
        with _translated(), self._database.writing() as db:
            db.execute(delete(_questions).where(_questions.c.study == self._study))
            db.execute(insert(_questions).values(values))

    def collect(self, answers: Mapping[str, Contribution]) -> None:
        """All sealed answers, before any of them is opened."""
        content = msgspec.msgpack.encode(dict(answers))
        with _translated(), self._database.writing() as db:
            db.execute(update(_questions).where(_questions.c.study == self._study).values(answers=content))

    def learn(self, question: Question, total: Integers, groups: Sequence[Integers] = ()) -> None:
        """A round's sum, and those of its groups in their order, in place of the question that led to them."""
        values = {"round": question.round_number, "attempt": question.attempt, "total": _stored(total)}
        with _translated(), self._database.writing() as db:
            db.execute(delete(_questions).where(_questions.c.study == self._study))
            db.execute(insert(_sums).values(study=self._study, **values))
            for number, one in enumerate(groups):
                told = {"round": question.round_number, "number": number, "members": " ".join(question.groups[number])}
                db.execute(insert(_groups).values(study=self._study, total=_stored(one), **told))

    def group_sums(self) -> list[tuple[int, tuple[str, ...], Integers]]:
        """Round, members and sum of each group so far."""
        wanted = select(_groups).where(_groups.c.study == self._study).order_by(_groups.c.round, _groups.c.number)
        with _translated(), self._database.reading() as db:
            return [(row.round, tuple(row.members.split()), _read(row.total)) for row in db.execute(wanted)]

    def review(self, review: Review) -> None:
        """Keep a decision; a later one about the same hospital takes its place."""
        values = {
            "hospital": review.hospital,
            "quarantined": review.quarantined,
            "officer": review.officer,
            "reason": review.reason,
            "at_ms": review.at_ms,
        }
        with _translated(), self._database.writing() as db:
            about = (_reviews.c.study == self._study) & (_reviews.c.hospital == review.hospital)
            db.execute(delete(_reviews).where(about))
            db.execute(insert(_reviews).values(study=self._study, **values))

    def reviews(self) -> dict[str, Review]:
        """What was decided so far, by hospital."""
        wanted = select(_reviews).where(_reviews.c.study == self._study).order_by(_reviews.c.hospital)
        with _translated(), self._database.reading() as db:
            return {
                row.hospital: Review(row.hospital, row.quarantined, row.officer, row.reason, row.at_ms)
                for row in db.execute(wanted)
            }

    def quarantined(self) -> frozenset[str]:
        """Who has no part in the study any more."""
        return frozenset(name for name, one in self.reviews().items() if one.quarantined)

    def totals(self) -> Sequence[Integers]:
        """The sums so far, in the order of their rounds."""
        wanted = select(_sums.c.total).where(_sums.c.study == self._study).order_by(_sums.c.round)
        with _translated(), self._database.reading() as db:
            return [_read(row.total) for row in db.execute(wanted)]

    def next_attempt(self) -> int:
        """The number that comes after the attempts whose sums were learnt."""
        wanted = select(_sums.c.attempt).where(_sums.c.study == self._study).order_by(_sums.c.attempt.desc()).limit(1)
        with _translated(), self._database.reading() as db:
            row = db.execute(wanted).first()
        return 1 if row is None else row.attempt + 1

    def forget(self) -> None:
        """The study is over: its model holds what its sums told."""
        with _translated(), self._database.writing() as db:
            for table in (_runs, _questions, _sums, _groups, _reviews):
                db.execute(delete(table).where(table.c.study == self._study))

    def close(self) -> None:
        """Give the file back."""
        self._database.close()


def _stored(total: Integers) -> bytes:
    return total.astype("<i8").tobytes()


def _read(stored: bytes) -> Integers:
    return np.frombuffer(stored, "<i8").astype(np.int64)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except Unavailable as error:
        raise Unavailable(
            "the journal of studies cannot be used, so no study goes on",
            hint="see to the disk and the permissions of study-journal.db in the home",
        ) from error
