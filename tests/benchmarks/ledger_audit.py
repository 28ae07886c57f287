"""The ledger audited: every leaf hashed again, the completeness map kept and built again."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from tests.benchmarks.harness import Arm, Benchmark, Row, Scale, Target, race, versus
from tests.integration.audit.test_audit_trail import ANNA, BERT, EVENT
from tests.integration.audit.test_audit_trail import open_house as open_audited
from tests.integration.audit.test_completeness import open_house
from twinward.audit.exports import ExportFormat, render
from twinward.audit.exports.csv_table import event_cells
from twinward.audit.queries import AccessQuery, Sort
from twinward.audit.rows import row_of
from twinward.audit.search import AccessSearch
from twinward_crypto.testing.memory_provider import MemoryKeyProvider
from twinward_ledger import merkle
from twinward_ledger.completeness.map import MapHead
from twinward_ledger.completeness.memory import MemoryMap
from twinward_ledger.completeness.tree import MapTree
from twinward_ledger.formats.leaf import Leaf, LeafKind
from twinward_ledger.log.fsck import fsck
from twinward_ledger.log.log import Log
from twinward_ledger.log.store import Entry
from twinward_ledger.stores.completeness_sqlite import SqliteMapStore
from twinward_ledger.testing.consortium import open_consortium


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

    report = fsck(store, log.key, tags=tags)
    if report.root != _plain_root(leaves) or report.map_heads != count // 10_000:
        raise RuntimeError("fsck and plain hashing disagree")
    whole, again = "fsck, completeness maps too", "fsck again, maps checked before passed over"
    step_by_step = "maps alone, by MapTree"
    arms = [
        Arm("fsck", lambda: fsck(store, log.key), size),
        Arm(whole, lambda: fsck(store, log.key, tags=tags), size),
        Arm(again, lambda: fsck(store, log.key, tags=tags, known=report.map_checked), size),
        Arm(step_by_step, lambda: _rebuilt_on_storage(leaves, labels), size),
        Arm("hashing alone", lambda: _plain_root(leaves), size),
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
        versus(f"{mapped}, CPU", samples, whole, step_by_step, **common | {"clock": "cpu"}),
        versus(
            f"{work}, all checked once before by the same process, CPU",
            samples,
            again,
            whole,
            **common | {"clock": "cpu", "target": Target("1M events ≤8 s", "value", "most", 8, f"of {count:,} leaves")},
        ),
    ]


def _rebuilt_on_storage(leaves: list[bytes], labels: list[bytes]) -> None:
    """The maps alone, as a node's storage grows them: what a check did before it had a structure of its own."""
    tree, rows = MapTree(MemoryMap()), []
    for index, leaf in enumerate(leaves):
        if leaf[1] == LeafKind.ACCESS:
            rows.append((labels[(index * 7919) % len(labels)], index, merkle.leaf_hash(leaf)))
        else:
            tree.extend(rows)
            rows = []


def _plain_root(leaves: list[bytes]) -> bytes:
    """An RFC 6962 tree hashed level by level, nothing checked."""
    level = [hashlib.sha256(b"\0" + leaf).digest() for leaf in leaves]
    while len(level) > 1:
        odd = level[-1:] if len(level) % 2 else []
        pairs = zip(level[::2], level[1::2], strict=False)
        level = [hashlib.sha256(b"\1" + left + right).digest() for left, right in pairs] + odd
    return level[0]


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


def exporting(scale: Scale) -> list[Row]:
    """All of one patient's accesses, proven and checked as an auditor does; against opening and proving each alone."""
    count = scale.pick(10_000, 500)
    with open_house(scale.folder, MemoryKeyProvider()) as house:
        for _ in range(count // 500):  # the patient is one in five of the log
            house.access(*([ANNA] * 500), *([BERT] * 2000))
        house.audit.checkpoint_and_anchor()
        log, sealer = house.consortium.log, house.audit.sealer
        found = log.store.find(sealer.tag("twin", ANNA), limit=count)
        size = log.store.size()

        def one_by_one() -> None:
            for index in found:
                sealer.open(index, log.store.entry(index))
                log.prove_inclusion(index, size)

        whole, alone, printed = "report, checked and encoded", "each row opened and proven alone", "the same as PDF"
        arms = [
            Arm(whole, lambda: house.document(ANNA).report.encode(), count),
            Arm(alone, one_by_one, count),
            Arm(printed, lambda: render(house.document(ANNA), ExportFormat.PDF), count),
        ]
        samples = race(arms, scale.pick(5, 2))
    of = f"of {count:,} rows in a log of {size:,}"
    work = f"one patient's 10,000 accesses with every proof, of {count:,} (linear)"
    common: dict[str, Any] = {"unit": "s", "scale": 1e4, "kind": "times", "clock": "cpu"}
    return [
        versus(work, samples, whole, alone, target=Target("10,000 rows ≤3 s", "value", "most", 3, of), **common),
        versus(
            f"{work}, printed on A4 pages",
            samples,
            printed,
            whole,
            target=Target("10,000 rows ≤10 s", "value", "most", 10, of),
            **common,
        ),
    ]


def listing(scale: Scale) -> list[Row]:
    """A list of all accesses taken out as CSV; against a table of which each row is read and opened alone."""
    count = scale.pick(20_000, 1000)
    with open_audited(scale.folder, None) as house:
        said = [replace(EVENT, detail=(("reference", f"Observation/{number}"),)) for number in range(count)]
        for start in range(0, count, 1000):
            house.audit.record(said[start : start + 1000])
        search, store, sealer = (
            AccessSearch(house.audit, house.authority),
            house.consortium.log.store,
            house.audit.sealer,
        )
        origin, query = house.consortium.log.origin, AccessQuery(sort=Sort.OLDEST)
        house.audit.event_index.deepen()

        def together() -> list[list[str]]:
            return [event_cells(row) for row in search.stream(house.permit(), query)[1]]

        def alone() -> list[list[str]]:
            return [event_cells(row_of(sealer, origin, index, store.entry(index))) for index in range(count)]

        if together() != alone():
            raise RuntimeError("a list says something else than its rows")
        arms = [Arm("list as CSV", together, count), Arm("each row read and opened alone", alone, count)]
        samples = race(arms, scale.pick(5, 2))
    work = f"a row of a list of accesses taken out as CSV, of {count:,}, a reference in each"
    return [versus(work, samples, *(arm.name for arm in arms), clock="cpu", unit="µs", scale=1e6, kind="faster")]


BENCHMARKS = (
    Benchmark(
        "ledger.fsck",
        "fsck of a SQLite log with a checkpoint (and a completeness map) every 10,000 leaves, against an RFC 6962"
        " tree over the same leaves"
        " already in memory; wall",
        auditing,
    ),
    Benchmark(
        "ledger.report",
        "an access report of one patient: rows opened, proven, checked as an auditor does and encoded, against opening"
        " each row and proving it by itself; and printed; CPU",
        exporting,
    ),
    Benchmark(
        "ledger.list",
        "a list of accesses as cells of CSV, against reading and opening each row alone; CPU",
        listing,
    ),
    Benchmark(
        "ledger.completeness",
        "the completeness map on SQLite updated in one durable transaction, against the hashing alone that an"
        " uncompacted sparse Merkle tree of 256 levels would take; CPU",
        publishing,
    ),
)
