"""The ledger: events made durable, signed, cosigned, anchored, and audited again."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from py_ecc.bls import G2ProofOfPossession

from tests.benchmarks.harness import (
    Arm,
    Benchmark,
    Figure,
    Ratio,
    Row,
    Samples,
    Scale,
    Target,
    percentile,
    race,
    raw_of,
    versus,
)
from tests.witness_processes import start_witness
from twinward.audit.interfaces import AccessEvent
from twinward.audit.service import Audit
from twinward.clock import FixedClock, SystemClock
from twinward.identifiers import new_twin_id
from twinward.vault.keyring import Keyring
from twinward.vocabulary import Action, Category, Purpose, Role, TwinId
from twinward_contracts.bindings import ConsentRegistry
from twinward_crypto import bls
from twinward_crypto.keys import TenantId
from twinward_crypto.testing.memory_provider import MemoryKeyProvider
from twinward_ledger import merkle
from twinward_ledger.chains.embedded import EmbeddedChain
from twinward_ledger.completeness import MapHead
from twinward_ledger.completeness_tree import MapTree
from twinward_ledger.cosigning import Cosigning
from twinward_ledger.fsck import fsck
from twinward_ledger.leaf import Leaf, LeafKind
from twinward_ledger.log import Log
from twinward_ledger.note import NoteSigner
from twinward_ledger.policy import QuorumPolicy
from twinward_ledger.store import Entry
from twinward_ledger.stores.completeness_memory import MemoryMap
from twinward_ledger.stores.completeness_sqlite import SqliteMapStore
from twinward_ledger.stores.sqlite import SqliteLogStore
from twinward_ledger.testing.consortium import Consortium, StillClock, open_consortium

TWINS = 100
BODY_BYTES = 800
"""About what a sealed event takes; the plain insert writes as much."""


def event(twin: TwinId) -> AccessEvent:
    """A clinician reads a twin."""
    return AccessEvent(
        at_ms=1_767_225_612_345,
        agent="dr-osei",
        role=Role.CLINICIAN,
        unit="ward 4",
        action=Action.READ,
        purpose=Purpose.TREATMENT,
        twin=twin,
        categories=(Category.LABS, Category.VITALS),
        decision="permit",
        reason="clinicians may read for treatment",
        policy_hash="ab" * 32,
        consent_version=3,
        detail=(("route", "fhir"),),
    )


def plain_log(path: Path) -> sqlite3.Connection:
    """A log that is a table: one row an event, WAL, every commit on the disk."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE log (idx INTEGER PRIMARY KEY, leaf BLOB NOT NULL, body BLOB NOT NULL)")
    return connection


def insert(connection: sqlite3.Connection, count: int) -> None:
    """Rows of an event's size in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    rows = [(b"l" * 38, b"b" * BODY_BYTES)] * count
    connection.executemany("INSERT INTO log (leaf, body) VALUES (?, ?)", rows)
    connection.execute("COMMIT")


@contextmanager
def trail(folder: Path) -> Iterator[tuple[Consortium, Audit, list[AccessEvent]]]:
    """The audit trail over a log with three witnesses, and an event about each of some twins."""
    consortium = open_consortium(folder)
    clock = FixedClock()
    keyring = Keyring(folder / "keyring.db", MemoryKeyProvider(), TenantId("st-anna"), clock)
    twins = [new_twin_id(clock.now_ms()) for _ in range(TWINS)]
    keyring.create_all(twins)
    audit = Audit(consortium.anchorer, keyring)
    events = [event(twin) for twin in twins]
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
                Arm("plain SQLite insert", theirs, size * calls),
            ]
            timed_arms = race(arms, scale.pick(7, 3))
            rows += _recorded(size, timed_arms)
    return rows


def _side_by_side(work: Callable[[], None]) -> None:
    """Two callers at once: one seals while the other's transaction is on its way to the disk."""
    other = threading.Thread(target=work)
    other.start()
    work()
    other.join()


def _recorded(size: int, samples: dict[str, Samples]) -> list[Row]:
    plain = "plain SQLite insert"
    target = Target("≥20k events/s (≤50 µs each)", "value", "most", 50) if size > 1 else None
    work = f"an event made durable, {size} a batch"
    common: dict[str, Any] = {"unit": "µs", "scale": 1e6, "kind": "times"}
    alone = "log append, sealed before"
    return [
        versus(f"{work}, wall", samples, "Audit.record", plain, clock="wall", target=target, **common),
        versus(f"{work}, CPU", samples, "Audit.record", plain, clock="cpu", **common),
        versus(
            f"{work}, two callers, wall",
            samples,
            "Audit.record, two callers",
            plain,
            clock="wall",
            target=target,
            **common,
        ),
        versus(f"{work}, the log alone, wall", samples, alone, plain, clock="wall", target=target, **common),
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
            Arm("plain SQLite insert", lambda: insert(plain, 1)),
        ]
        samples = race(arms, count, collect=False)
    target = Target("p99 ≤100 ms", "value", "most", 100)
    rows = []
    for arm in ("record and sign", "record, sign, three cosign"):
        for share, wanted in ((0.5, None), (0.99, target)):
            ours, base = (percentile(samples[name].wall_s, share) for name in (arm, "plain SQLite insert"))
            rows.append(
                Row(
                    f"event → {'signed' if arm == 'record and sign' else 'cosigned'} checkpoint, p{100 * share:.0f},"
                    f" {behind:,} events before it, n={count}",
                    Figure(ours * 1e3, "ms"),
                    Figure(base * 1e3, "ms"),
                    f"plain SQLite insert, p{100 * share:.0f}",
                    Ratio(ours / base, "times"),
                    wanted,
                    raw_of(samples[arm], samples["plain SQLite insert"]),
                )
            )
    return rows


def witnessing(scale: Scale) -> list[Row]:
    """Three witnesses, each a process of its own with its own durable state, asked over HTTP on this machine."""
    count, behind = scale.pick(500, 60), scale.pick(10_000, 1000)
    signer = NoteSigner("bench.example/access", bytes(range(32)))
    log = Log(SqliteLogStore(scale.folder / "log.db"), signer)
    processes = [start_witness(scale.folder / name, name, signer.key) for name in ("one", "two", "three")]
    policy = QuorumPolicy.k_of(signer.key, [one.key for one in processes], 2)
    asked = Cosigning(log, [one.peer(signer.key) for one in processes], policy, SystemClock())
    leaf = Leaf.at(0, LeafKind.ACCESS, bytes(32)).encode()
    body = os.urandom(BODY_BYTES)

    def over_http() -> None:
        log.append([Entry(leaf, body)])
        gathered = asked.gather(*log.checkpoint(), None)
        log.keep_cosignatures(gathered.note)
        if len(gathered.cosigned) < 2:
            raise RuntimeError(f"no quorum: {gathered.refusals}")

    try:
        log.append([Entry(leaf, body)] * behind)
        with closing(plain_log(scale.folder / "plain.db")) as plain:
            arms = [Arm("over HTTP", over_http), Arm("plain SQLite insert", lambda: insert(plain, 1))]
            samples = race(arms, count, collect=False)
    finally:
        asked.close()
        log.store.close()
        for one in processes:
            one.end()
    rows = []
    for share, wanted in ((0.5, None), (0.99, Target("p99 ≤100 ms", "value", "most", 100))):
        ours, base = (percentile(samples[name].wall_s, share) for name in ("over HTTP", "plain SQLite insert"))
        rows.append(
            Row(
                f"entry → checkpoint cosigned by three witness processes over HTTP, p{100 * share:.0f},"
                f" {behind:,} entries before it, n={count}",
                Figure(ours * 1e3, "ms"),
                Figure(base * 1e3, "ms"),
                f"plain SQLite insert, p{100 * share:.0f}",
                Ratio(ours / base, "times"),
                wanted,
                raw_of(samples["over HTTP"], samples["plain SQLite insert"]),
            )
        )
    return rows


def _grow(consortium: Consortium, count: int) -> None:
    leaves = [Leaf.at(0, LeafKind.ACCESS, hashlib.sha256(b"%d" % number).digest()) for number in range(count)]
    consortium.log.append([Entry(leaf.encode(), b"sealed") for leaf in leaves])


def anchoring(scale: Scale) -> list[Row]:
    """Gas is no time: the same count in any run, so one anchor after the first tells."""
    per_anchor = 10_000
    chain = EmbeddedChain(scale.folder / "chain.db", now_s=lambda: StillClock().now_ms() // 1000)
    with closing(chain):
        consortium = open_consortium(scale.folder, chain=chain)
        gas, wall = [], []
        for _ in range(scale.pick(4, 2)):
            _grow(consortium, per_anchor)
            started = time.perf_counter()
            outcome = consortium.anchorer.advance()
            wall.append(time.perf_counter() - started)
            if outcome.anchor is None or outcome.pending or outcome.anchor.block_number is None:
                raise RuntimeError(f"the checkpoint was not anchored: {outcome.problem}")
            gas.append(chain.gas_used(outcome.anchor.block_number))
        registry = ConsentRegistry.deploy(chain)
        alone = [registry.grant(os.urandom(32)).gas_used for _ in range(3)]
        consortium.close()
    later = [used / per_anchor for used in gas[1:]]  # the first anchor proves no consistency
    target = Target("≤30 gas an event", "value", "most", 30)
    return [
        Row(
            f"gas an event, {per_anchor:,} events an anchor, consistency proof and BLS quorum of 3 on chain",
            Figure.of(later, "gas"),
            Figure.of(alone, "gas"),
            "one transaction and slot an event (ConsentRegistry.grant, same chain)",
            Ratio(Figure.of(alone, "gas").value / Figure.of(later, "gas").value, "fewer"),
            target,
            {"gas_per_anchor": gas, "gas_per_grant": alone, "advance_wall_s": wall},
        )
    ]


def cosigning(scale: Scale) -> list[Row]:
    message = b"checkpoint" * 20
    secrets = [bls.secret_key_from_seed(bytes([number + 1]) * 32) for number in range(3)]
    keys = [bls.public_key(secret) for secret in secrets]
    signatures = [bls.sign(secret, message) for secret in secrets]
    together = bls.aggregate(signatures)
    integers = [int.from_bytes(secret, "big") for secret in secrets]
    if not G2ProofOfPossession.FastAggregateVerify(keys, message, together):
        raise RuntimeError("py_ecc refuses what this library signed")
    ours, theirs = scale.pick(20, 10), 1

    def many(one: Callable[..., object], *arguments: object, count: int) -> Callable[[], object]:
        return lambda: [one(*arguments) for _ in range(count)]

    reference = G2ProofOfPossession.FastAggregateVerify
    arms = [
        Arm("fast_aggregate_verify(3)", many(bls.fast_aggregate_verify, keys, message, together, count=ours), ours),
        Arm("py_ecc verify", many(reference, keys, message, together, count=theirs), theirs),
        Arm("sign", many(bls.sign, secrets[0], message, count=ours), ours),
        Arm("py_ecc sign", many(G2ProofOfPossession.Sign, integers[0], message, count=theirs), theirs),
    ]
    samples = race(arms, scale.pick(7, 2), warm_up=not scale.quick)
    target = Target("≥75× py_ecc", "ratio", "least", 75)
    common: dict[str, Any] = {"clock": "cpu", "unit": "ms", "scale": 1e3, "target": target}
    return [
        versus("BLS: verify an aggregate of 3", samples, "fast_aggregate_verify(3)", "py_ecc verify", **common),
        versus("BLS: cosign", samples, "sign", "py_ecc sign", **common),
    ]


def auditing(scale: Scale) -> list[Row]:
    count, patients = scale.pick(100_000, 20_000), scale.pick(10_000, 2000)
    consortium = open_consortium(scale.folder)
    log, store = consortium.log, consortium.log.store
    labels = [hashlib.sha256(b"label %d" % number).digest() for number in range(patients)]
    tree, covered = MapTree(MemoryMap()), 0
    for _ in range(count // 10_000):
        covered = _grow_mapped(log, tree, labels, covered)
        log.checkpoint()
    size, tags = store.size(), {label[:16]: label for label in labels}
    leaves = list(store.leaves(0, size))

    def hashing() -> bytes:
        level = [hashlib.sha256(b"\0" + leaf).digest() for leaf in leaves]
        while len(level) > 1:
            odd = level[-1:] if len(level) % 2 else []
            pairs = zip(level[::2], level[1::2], strict=False)
            level = [hashlib.sha256(b"\1" + left + right).digest() for left, right in pairs] + odd
        return level[0]

    report = fsck(store, log.key, tags=tags)
    if report.root != hashing() or report.map_heads != count // 10_000:
        raise RuntimeError("fsck and plain hashing disagree")
    whole = "fsck, completeness maps too"
    arms = [
        Arm("fsck", lambda: fsck(store, log.key), size),
        Arm(whole, lambda: fsck(store, log.key, tags=tags), size),
        Arm("hashing alone", hashing, size),
    ]
    samples = race(arms, scale.pick(7, 3))
    consortium.close()
    target = Target("1M events ≤10 s", "value", "most", 10, f"extrapolated from {count:,} leaves")
    work = f"re-audit of 1M stored events, extrapolated from {count:,} (linear)"
    common: dict[str, Any] = {"unit": "s", "scale": 1e6, "kind": "times", "target": target, "clock": "wall"}
    mapped = f"{work}, every completeness map of {patients:,} patients built again, one each 10,000"
    return [
        versus(work, samples, "fsck", "hashing alone", **common),
        versus(mapped, samples, whole, "hashing alone", **common),
    ]


def _grow_mapped(log: Log, tree: MapTree, labels: list[bytes], covered: int) -> int:
    """10,000 accesses to patients in turn, and the completeness map's root over them; gives what it covers."""
    entries, rows = [], []
    for index in range(covered, covered + 10_000):
        label = labels[(index * 7919) % len(labels)]
        leaf = Leaf.at(0, LeafKind.ACCESS, hashlib.sha256(b"%d" % index).digest()).encode()
        entries.append(Entry(leaf, b"sealed", (label[:16],)))
        rows.append((label, index, merkle.leaf_hash(leaf)))
    log.append(entries)
    root = tree.extend(rows)
    head = MapHead(covered + 10_000, root.total, root.hash, bytes(32))
    log.append([Entry(head.leaf(0).encode(), head.encode())])
    return covered + 10_001


def publishing(scale: Scale) -> list[Row]:
    """What a checkpoint pays for the completeness map: nothing of it lies on the way of an access."""
    patients, rows = scale.pick(100_000, 10_000), []
    labels = [hashlib.sha256(b"label %d" % number).digest() for number in range(patients)]
    store = SqliteMapStore(scale.folder / "map.db")

    def update(touched: int) -> None:
        with store.transaction() as view:
            MapTree(view).extend((label, index, label) for index, label in enumerate(labels[:touched]))

    def levels(touched: int) -> None:
        for label in labels[:touched]:
            node = label
            for _ in range(256):
                node = hashlib.sha256(b"\3" + node + node).digest()

    update(patients)
    for touched in (1, 1000):
        turns = scale.pick(20, 5) if touched == 1 else 1
        arms = [
            Arm("map", lambda touched=touched, turns=turns: [update(touched) for _ in range(turns)], turns),  # type: ignore[misc]
            Arm("256 levels", lambda touched=touched, turns=turns: [levels(touched) for _ in range(turns)], turns),  # type: ignore[misc]
        ]
        samples = race(arms, scale.pick(7, 3))
        work = f"completeness map of {patients:,} patients brought up to {touched:,} who were touched, durably"
        rows.append(versus(work, samples, "map", "256 levels", clock="cpu", unit="ms", scale=1e3, kind="times"))
    store.close()
    return rows


BENCHMARKS = (
    Benchmark(
        "ledger.record",
        f"Audit.record of events about {TWINS} twins (canonical form, seal, commitment, blind tags, tree, one"
        f" synchronous commit a batch) against inserting rows of 38 and {BODY_BYTES} bytes in SQLite, as"
        " durably",
        recording,
    ),
    Benchmark(
        "ledger.checkpoint",
        "one event recorded and the log signed (and cosigned by three in-process witnesses, each with its own durable"
        " state), no chain, against one durable SQLite insert; wall time of single calls",
        signing,
    ),
    Benchmark(
        "ledger.witnesses",
        "one entry appended, signed, cosigned by three witness processes over HTTP (c2sp.org/tlog-witness, keep-alive,"
        " each with its own fsync; quorum 2, all three waited for), against one durable SQLite insert; wall time of"
        " single calls",
        witnessing,
    ),
    Benchmark(
        "ledger.gas", "anchors of a growing log by three witnesses on the embedded chain; gas of the block", anchoring
    ),
    Benchmark(
        "ledger.bls", "an aggregate of three over 200 bytes, against py_ecc's G2ProofOfPossession; CPU", cosigning
    ),
    Benchmark(
        "ledger.fsck",
        "fsck of a SQLite log with a checkpoint (and a completeness map) every 10,000 leaves, against an RFC 6962"
        " tree over the same leaves"
        " already in memory; wall",
        auditing,
    ),
    Benchmark(
        "ledger.completeness",
        "the completeness map on SQLite updated in one durable transaction, against the hashing alone that an"
        " uncompacted sparse Merkle tree of 256 levels would take; CPU",
        publishing,
    ),
)

NOT_BUILT = (
    ("durable events/s on PostgreSQL", "it needs a server of its own; not part of this run"),
    ("durable events/s against Tessera, Fabric, Besu", "not installed; a plain durable insert stands in"),
    ("1,000 random kill -9 under load", "a test, not a benchmark; no timing to print"),
)
