"""The vault: sealing, writing, reading a whole twin, rotating keys. Taking imports in stands in ``ingest``."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Engine, create_engine, event
from sqlmodel import Field, Session, SQLModel

from tests.benchmarks import ingest
from tests.benchmarks.harness import Arm, Benchmark, Row, Scale, Target, race, versus
from tests.integration.vault.conftest import TENANT, House, build
from twinward.core.clock import FixedClock
from twinward.core.ids import new_twin_id
from twinward.core.vocabulary import Action, Category, TwinId
from twinward.vault.interfaces import Record
from twinward.vault.keys.wrapping_keys import TWINS_PER_WRAPPING_KEY
from twinward.vault.segments.compaction import Compactor
from twinward_crypto.envelope import open_sealed, seal
from twinward_crypto.record_context import RecordContext

KIB = os.urandom(1024)
NO_RIVALS = "aws-encryption-sdk and tink are not installed"


class PlainRow(SQLModel, table=True):
    """What a platform without encryption would store: the baseline of writes."""

    __tablename__ = "benchmark_plain_row"

    id: str = Field(default_factory=lambda: str(uuid.uuid4()), primary_key=True)
    twin: str = Field(index=True)
    record_type: str
    category: str
    version: int = 1
    content: bytes


def plain_database(path: Path) -> Engine:
    """SQLite as the vault has it: WAL, every commit on the disk."""
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def _durable(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    PlainRow.__table__.create(engine)  # type: ignore[attr-defined]
    return engine


def add_all(engine: Engine, rows: list[PlainRow]) -> None:
    """SQLModel's plain way."""
    with Session(engine) as session:
        session.add_all(rows)
        session.commit()


@contextmanager
def opened(folder: Path) -> Iterator[House]:
    """A vault on files."""
    house = build(folder, FixedClock())
    try:
        yield house
    finally:
        house.vault.close()


def records(twin: TwinId, count: int) -> list[Record]:
    """New laboratory records of 1 KiB."""
    return [Record(twin, "Observation", Category.LABS, KIB, (f"Observation/{uuid.uuid4()}",)) for _ in range(count)]


def sealing(scale: Scale) -> list[Row]:
    count, repetitions = scale.pick(2000, 500), scale.pick(15, 5)
    key, raw_key = os.urandom(32), AESGCM(os.urandom(32))
    fernet = Fernet(Fernet.generate_key())
    place = RecordContext("st-anna", str(uuid.uuid4()), "Observation", str(uuid.uuid4()), 1, b"", "labs", "record/1")
    context = place.encode()
    sealed, token, nonce = seal(key, KIB, context), fernet.encrypt(KIB), os.urandom(12)
    boxed = raw_key.encrypt(nonce, KIB, context)

    def many(one: Any, *arguments: Any) -> Any:
        return lambda: [one(*arguments) for _ in range(count)]

    timed = race(
        [
            Arm("TE1 seal", many(seal, key, KIB, context), count),
            Arm("Fernet encrypt", many(fernet.encrypt, KIB), count),
            Arm("AES-GCM, one key", many(lambda: raw_key.encrypt(os.urandom(12), KIB, context)), count),
            Arm("TE1 open", many(open_sealed, key, sealed, context), count),
            Arm("Fernet decrypt", many(fernet.decrypt, token), count),
            Arm("AES-GCM open, one key", many(raw_key.decrypt, nonce, boxed, context), count),
        ],
        repetitions,
    )
    wanted = Target("≥25× aws-encryption-sdk, ≥3× tink", short_of=NO_RIVALS)
    common: dict[str, Any] = {"clock": "cpu", "unit": "µs", "scale": 1e6}
    return [
        versus("seal 1 KiB", timed, "TE1 seal", "Fernet encrypt", target=wanted, **common),
        versus("seal 1 KiB", timed, "TE1 seal", "AES-GCM, one key", kind="times", **common),
        versus("open 1 KiB", timed, "TE1 open", "Fernet decrypt", **common),
        versus("open 1 KiB", timed, "TE1 open", "AES-GCM open, one key", kind="times", **common),
    ]


def writing(scale: Scale) -> list[Row]:
    count = scale.pick(1000, 200)
    engine = plain_database(scale.folder / "plain.db")
    with opened(scale.folder) as house:
        twin = house.twin()
        permit = house.permit(twin, Action.WRITE)

        def ours() -> object:
            return house.vault.write(permit, records(twin, count))

        def theirs() -> object:
            rows = [PlainRow(twin=twin, record_type="Observation", category="labs", content=KIB) for _ in range(count)]
            return add_all(engine, rows)

        timed = race(
            [Arm("Vault.write", ours, count), Arm("SQLModel add_all, plaintext", theirs, count)], scale.pick(9, 3)
        )
    engine.dispose()
    pair = ("Vault.write", "SQLModel add_all, plaintext")
    work = f"write {count} records of 1 KiB, one durable step, per record"
    return [
        versus(f"{work}, wall", timed, *pair, clock="wall", unit="µs", scale=1e6),
        versus(f"{work}, CPU", timed, *pair, clock="cpu", unit="µs", scale=1e6),
    ]


def reading(scale: Scale) -> list[Row]:
    with opened(scale.folder) as house:
        count = scale.pick(10, 4)
        rows, compacted = ([house.twin() for _ in range(count)] for _ in range(2))
        kept = {twin: house.write(*records(twin, 84)) for twin in (*rows, *compacted)}
        Compactor(house.store, house.keyring, house.clock, TENANT).run(compacted)
        permits = {twin: house.permit(twin) for twin in kept}

        def whole(twins: list[TwinId]) -> object:
            return [house.vault.read_twin(permits[twin]) for twin in twins]

        def row_by_row() -> object:
            return [house.vault.read(permits[twin], one.record_id) for twin in rows for one in kept[twin]]

        segments, single = "read_twin, segments", "read, row by row"
        arms = [
            Arm(segments, lambda: whole(compacted), count),
            Arm("read_twin, rows", lambda: whole(rows), count),
            Arm(single, row_by_row, count),
        ]
        timed = race(arms, scale.pick(11, 4))
    target = Target("≥4× row by row", "ratio", "least", 4)
    work = "read a whole twin of 84 records"
    common: dict[str, Any] = {"clock": "cpu", "unit": "ms", "scale": 1e3, "target": target}
    return [
        versus(f"{work}: segments", timed, segments, single, **common),
        versus(f"{work}: rows", timed, "read_twin, rows", single, **common),
    ]


def paging(scale: Scale) -> list[Row]:
    """The first 20 records of a twin, of few and of many, in rows and in segments; against opening all of the few."""
    few, many, page = scale.pick(1000, 200), scale.pick(10_000, 1000), 20
    with opened(scale.folder) as house:
        twins = {name: house.twin() for name in ("few rows", "many rows", "many, compacted")}
        for name, twin in twins.items():
            made = records(twin, few if name == "few rows" else many)
            for start in range(0, len(made), 500):
                house.write(*made[start : start + 500])
        Compactor(house.store, house.keyring, house.clock, TENANT).run([twins["many, compacted"]])
        permits = {name: house.permit(twin) for name, twin in twins.items()}

        def first_of(name: str) -> object:
            return list(islice(house.vault.walk_twin(permits[name], "Observation"), page))

        arms = [Arm(name, partial(first_of, name)) for name in twins]
        whole = Arm("all of the few", lambda: house.vault.read_twin(permits["few rows"], record_type="Observation"))
        timed = race([*arms, whole], scale.pick(11, 4))
    target = Target("≤ 10 ms", "value", "most", 10)
    common: dict[str, Any] = {"clock": "cpu", "unit": "ms", "scale": 1e3, "target": target}
    return [
        versus(f"the first {page} of {count} records ({name})", timed, name, "all of the few", **common)
        for name, count in zip(twins, (few, many, many), strict=True)
    ]


def rotating(scale: Scale) -> list[Row]:
    count = scale.pick(100_000, 4000)
    key, nonce = AESGCM(os.urandom(32)), os.urandom(12)
    wrapped = key.encrypt(nonce, os.urandom(32), b"place")
    with opened(scale.folder) as house:
        twins = [new_twin_id(house.clock.now_ms()) for _ in range(count)]
        house.keyring.create_all(twins)
        doomed = iter(twins[:: TWINS_PER_WRAPPING_KEY // 2])

        def in_memory(many: int) -> object:
            return [key.encrypt(os.urandom(12), key.decrypt(nonce, wrapped, b"place"), b"place") for _ in range(many)]

        each = "AES-GCM rewrap of each in memory"
        arms = [Arm("Keyring.rotate", house.keyring.rotate, count), Arm(each, partial(in_memory, count), count)]
        rotated = race(arms, scale.pick(5, 3))
        neighbours = partial(in_memory, TWINS_PER_WRAPPING_KEY)
        shredded = race(
            [Arm("Keyring.shred", lambda: house.keyring.shred(next(doomed))), Arm(each, neighbours)], scale.pick(9, 3)
        )
    whole = Target("1M twins ≤2 s a core (≤2 µs each)", "value", "most", 2, f"extrapolated from {count:,} keys")
    work = "KEK rotation, per twin key, no record rewritten"
    common: dict[str, Any] = {"clock": "cpu", "kind": "times"}
    few = f"a twin shredded among {count:,}: its wrapping key and {TWINS_PER_WRAPPING_KEY:,} neighbours' keys renewed"
    return [
        versus(work, rotated, "Keyring.rotate", each, unit="µs", scale=1e6, target=whole, **common),
        versus(few, shredded, "Keyring.shred", each, unit="ms", scale=1e3, **common),
    ]


BENCHMARKS = (
    Benchmark(
        "vault.seal", "1 KiB of random bytes under a ready-made context of eight parts; CPU of one call", sealing
    ),
    Benchmark(
        "vault.write",
        "Vault.write of new 1 KiB records with one reference each, key cached, against SQLModel add_all of the same"
        " bytes in plaintext; both SQLite in WAL with a synchronous commit",
        writing,
    ),
    Benchmark("vault.read", "84 records of 1 KiB a twin, keys cached, against 84 single reads; CPU", reading),
    Benchmark(
        "vault.page",
        "Vault.walk_twin for 20 records of 1 KiB, of 1,000 and of 10,000 in rows and of 10,000 in segments, against"
        " opening all of the 1,000; CPU",
        paging,
    ),
    Benchmark(
        "vault.rotate",
        "Keyring.rotate of all wrapping keys under a new KEK, and Keyring.shred of one twin, local key provider, SQLite"
        " commits included, against unwrapping and wrapping each twin's key in memory; CPU",
        rotating,
    ),
    *ingest.BENCHMARKS,
)

NOT_BUILT = (
    ("the vault on PostgreSQL", "it needs a server of its own; not part of this run"),
    ("seal against aws-encryption-sdk and tink", f"{NO_RIVALS}; Fernet and raw AES-GCM stand in"),
)
