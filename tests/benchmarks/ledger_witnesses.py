"""The ledger among others: checkpoints cosigned by witnesses, anchored on the chain."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

from py_ecc.bls import G2ProofOfPossession

from tests.benchmarks.harness import Arm, Benchmark, Figure, Ratio, Row, Scale, Target, race, versus
from tests.benchmarks.plain_log import BODY_BYTES, PLAIN, insert, plain_log, single_calls
from tests.witness_processes import start_witness
from twinward.core.clock import SystemClock
from twinward_contracts.bindings import BreakGlass, WitnessSet
from twinward_crypto import bls
from twinward_ledger.chains.embedded import EmbeddedChain
from twinward_ledger.formats.leaf import Leaf, LeafKind
from twinward_ledger.formats.note import NoteSigner
from twinward_ledger.formats.policy import QuorumPolicy
from twinward_ledger.log.log import Log
from twinward_ledger.log.store import Entry
from twinward_ledger.stores.sqlite import SqliteLogStore
from twinward_ledger.testing.consortium import Consortium, StillClock, open_consortium
from twinward_ledger.witness.cosigning import Cosigning


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
            arms = [Arm("over HTTP", over_http), Arm(PLAIN, lambda: insert(plain, 1))]
            samples = race(arms, count, collect=False)
    finally:
        asked.close()
        log.store.close()
        for one in processes:
            one.end()
    work, note = "entry → checkpoint cosigned by three witness processes over HTTP", f"{behind:,} entries before it"
    return single_calls(work, samples, "over HTTP", note=f"{note}, n={count}")


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
        registry = BreakGlass.deploy(chain, WitnessSet.deploy(chain).address)
        alone = [registry.declare(os.urandom(32)).gas_used for _ in range(3)]
        consortium.close()
    later = [used / per_anchor for used in gas[1:]]  # the first anchor proves no consistency
    target = Target("≤30 gas an event", "value", "most", 30)
    return [
        Row(
            f"gas an event, {per_anchor:,} events an anchor, consistency proof and BLS quorum of 3 on chain",
            Figure.of(later, "gas"),
            Figure.of(alone, "gas"),
            "one transaction an event (BreakGlass.declare, same chain)",
            Ratio(Figure.of(alone, "gas").value / Figure.of(later, "gas").value, "fewer"),
            target,
            {"gas_per_anchor": gas, "gas_per_declare": alone, "advance_wall_s": wall},
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


BENCHMARKS = (
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
)
