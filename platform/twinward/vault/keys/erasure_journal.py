"""What was shredded and is not done with: the keyring remembers until old KEKs are gone and the log says so.

A row is written in the transaction that destroys the keys, so whatever the process dies of afterwards, what is left to
do is known. Rows of finished erasures stay, without who asked: they number the changes that caches look for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, insert, select, update

from twinward.core.vocabulary import Category, TwinId
from twinward.vault.storage.tables import Erasure
from twinward_crypto.blind_index import TAG_BYTES
from twinward_ledger.storage import table_of

_erasure = table_of(Erasure)


@dataclass(frozen=True, slots=True)
class PendingShred:
    """What is to be shredded.

    Attributes:
        twin: whose.
        categories: which; none for the whole twin.
        sealed: who asked and why, for whoever finishes it; opaque here.
    """

    twin: TwinId
    categories: frozenset[Category] = frozenset()
    sealed: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class UnfinishedErasure:
    """Keys that were destroyed in the keyring, while old backups may still open them.

    Attributes:
        number: names it.
        twin: whose.
        category_tags: under which the shredded categories' rows stood; none for the whole twin.
        kek_version: it is final once this version and all older ones are destroyed.
        sealed: as in ``PendingShred``.
    """

    number: int
    twin: TwinId
    category_tags: tuple[bytes, ...]
    kek_version: int
    sealed: bytes = field(repr=False)


class ErasureJournal:
    """The table ``erasure``, within its caller's transactions."""

    def add(
        self, connection: Connection, number: int, doomed: PendingShred, tags: Sequence[bytes], kek_version: int
    ) -> None:
        """Write down what was just shredded, under the next number."""
        row = {"number": number, "twin": doomed.twin, "category_tags": b"".join(tags)}
        connection.execute(insert(_erasure).values(**row, kek_version=kek_version, sealed=doomed.sealed))

    def twins_after(self, connection: Connection, number: int) -> frozenset[TwinId]:
        """The twins of erasures that are newer than this one, of the whole twin or of a category."""
        rows = connection.execute(select(_erasure.c.twin).where(_erasure.c.number > number)).scalars()
        return frozenset(map(TwinId, rows))

    def unfinished(self, connection: Connection) -> list[UnfinishedErasure]:
        """What is not done with, the oldest first."""
        rows = connection.execute(
            select(_erasure).where(_erasure.c.done_at_index.is_(None)).order_by(_erasure.c.number)
        )
        return [
            UnfinishedErasure(row.number, TwinId(row.twin), _tags(row.category_tags), row.kek_version, row.sealed)
            for row in rows
        ]

    def finish(self, connection: Connection, done: Mapping[int, int]) -> None:
        """Note the events that say so."""
        for number, index in done.items():
            connection.execute(
                update(_erasure).where(_erasure.c.number == number).values(done_at_index=index, sealed=b"")
            )


def _tags(joined: bytes) -> tuple[bytes, ...]:
    return tuple(joined[start : start + TAG_BYTES] for start in range(0, len(joined), TAG_BYTES))
