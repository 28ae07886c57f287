"""The ledger: events made durable, and signed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.access_events import read_by_a_clinician
from tests.benchmarks.harness import Arm, Benchmark, Row, Samples, Scale, Target, race, versus
from tests.benchmarks.plain_log import BODY_BYTES, PLAIN, insert, plain_log, single_calls
from tests.first_kek import with_first_kek
from twinward.audit.events import codec
from twinward.audit.events.sealer import seal_event
from twinward.audit.models import AccessEvent
from twinward.audit.service import Audit
from twinward.core.clock import FixedClock
from twinward.core.ids import new_twin_id
from twinward.vault.keys.keyring import Keyring
from twinward_crypto.keys import TenantId
from twinward_crypto.testing.memory_provider import MemoryKeyProvider
from twinward_ledger.log.store import Entry
from twinward_ledger.testing.consortium import Consortium, open_consortium

TWINS = 100


@contextmanager
def trail(folder: Path) -> Iterator[tuple[Consortium, Audit, list[AccessEvent]]]:
    """The audit trail over a log with three witnesses, and an event about each of some twins."""
    consortium = open_consortium(folder)
    clock = FixedClock()
    keyring = Keyring(folder / "keyring.db", with_first_kek(MemoryKeyProvider()), TenantId("st-anna"), clock)
    twins = [new_twin_id(clock.now_ms()) for _ in range(TWINS)]
    keyring.create_all(twins)
    audit = Audit.through(consortium.anchorer, keyring)
    events = [read_by_a_clinician(twin) for twin in twins]
    audit.record(events)  # every twin's key is cached now, as on a node that is up
    yield consortium, audit, events
    keyring.close()
    consortium.close()


def recording(scale: Scale) -> list[Row]:
    sizes = [1, 1000] if scale.quick else [1, 1000, 10_000]
    rows: list[Row] = []
    with trail(scale.folder) as (_, audit, events), closing(plain_log(scale.folder / "plain.db")) as plain:
        for size in sizes:
            batch = [events[number % TWINS] for number in range(size)]
            calls = scale.pick(200, 50) if size == 1 else 1

            def ours(batch: list[AccessEvent] = batch, calls: int = calls) -> None:
                for _ in range(calls):
                    audit.record(batch)

            def theirs(size: int = size, calls: int = calls) -> None:
                for _ in range(calls):
                    insert(plain, size)

            sealed = audit.sealer.seal(batch)

            def bare(sealed: list[Entry] = sealed, calls: int = calls) -> None:
                for _ in range(calls):
                    audit.log.append(sealed)

            arms = [
                Arm("Audit.record", ours, size * calls),
                Arm("Audit.record, two callers", lambda ours=ours: _side_by_side(ours), 2 * size * calls),
                Arm("log append, sealed before", bare, size * calls),
                Arm(PLAIN, theirs, size * calls),
            ]
            timed_arms = race(arms, scale.pick(7, 3))
            rows += _recorded(size, timed_arms)
    return rows


def sealing(scale: Scale) -> list[Row]:
    """Events sealed straight on, against one by one with the plain functions: the same bytes but for the randomness."""
    size = scale.pick(2000, 300)
    with trail(scale.folder) as (_, audit, events):
        batch = [events[number % TWINS] for number in range(size)]
        keys = audit.sealer._keys_for(events)
        origin = audit.log.origin

        def one_by_one() -> object:
            return [
                seal_event(
                    codec.encode(event, origin),
                    event.at_ms,
                    event.twin,
                    key=keys[event.twin],
                    tenant_key=keys[None],
                    origin=origin,
                )
                for event in batch
            ]

        ours, theirs = "in one pass, tags too", "one by one, no tags"
        arms = [Arm(ours, lambda: audit.sealer.seal(batch), size), Arm(theirs, one_by_one, size)]
        samples = race(arms, scale.pick(15, 3))
    work = f"an access sealed for the log, {size:,} a batch"
    return [versus(work, samples, ours, theirs, clock="cpu", unit="µs", scale=1e6)]


def _side_by_side(work: Callable[[], None]) -> None:
    """Two callers at once: one seals while the other's transaction is on its way to the disk."""
    other = threading.Thread(target=work)
    other.start()
    work()
    other.join()


def _recorded(size: int, samples: dict[str, Samples]) -> list[Row]:
    target = Target("≥20k events/s (≤50 µs each)", "value", "most", 50) if size > 1 else None
    work = f"an event made durable, {size} a batch"
    common: dict[str, Any] = {"unit": "µs", "scale": 1e6, "kind": "times"}
    alone = "log append, sealed before"
    return [
        versus(f"{work}, wall", samples, "Audit.record", PLAIN, clock="wall", target=target, **common),
        versus(f"{work}, CPU", samples, "Audit.record", PLAIN, clock="cpu", **common),
        versus(
            f"{work}, two callers, wall",
            samples,
            "Audit.record, two callers",
            PLAIN,
            clock="wall",
            target=target,
            **common,
        ),
        versus(f"{work}, the log alone, wall", samples, alone, PLAIN, clock="wall", target=target, **common),
    ]


def signing(scale: Scale) -> list[Row]:
    count, behind = scale.pick(500, 60), scale.pick(10_000, 1000)
    with trail(scale.folder) as (consortium, audit, events), closing(plain_log(scale.folder / "plain.db")) as plain:
        audit.record([events[number % TWINS] for number in range(behind)])

        def signed() -> None:
            audit.record(events[:1])
            consortium.log.checkpoint()

        def cosigned() -> None:
            audit.record(events[:1])
            audit.checkpoint_and_anchor()

        arms = [
            Arm("record and sign", signed),
            Arm("record, sign, three cosign", cosigned),
            Arm(PLAIN, lambda: insert(plain, 1)),
        ]
        samples = race(arms, count, collect=False)
    note = f"{behind:,} events before it, n={count}"
    return [
        *single_calls("event → signed checkpoint", samples, "record and sign", note=note),
        *single_calls("event → cosigned checkpoint", samples, "record, sign, three cosign", note=note),
    ]


BENCHMARKS = (
    Benchmark(
        "ledger.record",
        f"Audit.record of events about {TWINS} twins (canonical form, seal, commitment, blind tags, tree, one"
        f" synchronous commit a batch) against inserting rows of 38 and {BODY_BYTES} bytes in SQLite, as"
        " durably",
        recording,
    ),
    Benchmark(
        "ledger.seal",
        f"EventSealer.seal of events about {TWINS} twins whose keys are at hand, against encode and seal_event; CPU",
        sealing,
    ),
    Benchmark(
        "ledger.checkpoint",
        "one event recorded and the log signed (and cosigned by three in-process witnesses, each with its own durable"
        " state), no chain, against one durable SQLite insert; wall time of single calls",
        signing,
    ),
)

NOT_BUILT = (
    ("durable events/s on PostgreSQL", "it needs a server of its own; not part of this run"),
    ("durable events/s against Tessera, Fabric, Besu", "not installed; a plain durable insert stands in"),
    ("1,000 random kill -9 under load", "a test, not a benchmark; no timing to print"),
)
