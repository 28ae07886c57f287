"""Whom a log waits for when it gathers cosignatures: the quorum, and whoever was in time the last time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from twinward_ledger.formats.cosignature import AnchorDomain
from twinward_ledger.formats.note import NoteSigner
from twinward_ledger.formats.policy import QuorumPolicy
from twinward_ledger.log.log import Log
from twinward_ledger.log.store import Entry
from twinward_ledger.stores.sqlite import SqliteLogStore
from twinward_ledger.stores.witness_state import WitnessState
from twinward_ledger.testing.consortium import StillClock, seeded
from twinward_ledger.witness.cosign_request import AnchorRequest
from twinward_ledger.witness.cosigning import Cosigning, Gathered
from twinward_ledger.witness.interfaces import Cosignature, Proposal
from twinward_ledger.witness.witness import Witness

SIGNER = NoteSigner("st-anna.example/access", bytes(range(32)))
DOMAIN = AnchorDomain(31337, bytes(range(20)), 2)
NAMES = [f"witness-{number}.example" for number in range(3)]
LONG_S, SOON_S = 60.0, 10.0


class Doorkept:
    """A real witness that answers once its door is open."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self.key = witness.key
        self.door = threading.Event()
        self.door.set()

    def last_size(self, origin: str) -> int:
        return self._witness.last_size(origin)

    def cosign(self, proposal: Proposal) -> Cosignature:
        assert self.door.wait(LONG_S)
        return self._witness.cosign(proposal)


class Round:
    """A log and three witnesses."""

    def __init__(self, folder: Path) -> None:
        self.log = Log(SqliteLogStore(folder / "log.db"), SIGNER)
        self._clock, self._keys = StillClock(), [seeded(name) for name in NAMES]
        self._states = [WitnessState(folder / f"{name}.db") for name in NAMES]
        self.peers = [
            Doorkept(Witness(one, [SIGNER.key], state, self._clock, chain_id=31337, contract=DOMAIN.contract))
            for one, state in zip(self._keys, self._states, strict=True)
        ]
        self.last = self.peers[-1]
        self.cosigning = self.of_quorum(2)

    def of_quorum(self, quorum: int, **more: Any) -> Cosigning:
        policy = QuorumPolicy.k_of(SIGNER.key, [peer.key for peer in self.peers], quorum)
        self.cosigning = Cosigning(self.log, self.peers, policy, self._clock, **more)
        return self.cosigning

    def gather(self, anchored_by: int = 0) -> Gathered:
        self.log.append([Entry(b"leaf %d" % self.log.store.size(), b"")])
        keys = tuple(one.bls_public_key for one in self._keys)
        now_s = self._clock.now_ms() // 1000
        anchor = AnchorRequest(DOMAIN, now_s, keys, anchored_by) if anchored_by else None
        gathered = self.cosigning.gather(*self.log.checkpoint(), anchor)
        self.log.keep_cosignatures(gathered.note)
        return gathered

    def wait_for_all(self) -> None:
        """Until all have signed the newest checkpoint."""
        until = time.monotonic() + SOON_S
        while (latest := self.log.latest()) and len(latest[1].signatures) < 1 + len(NAMES):
            assert time.monotonic() < until
            time.sleep(0.005)

    def close(self) -> None:
        for peer in self.peers:
            peer.door.set()
        self.cosigning.close()
        self.log.store.close()
        for state in self._states:
            state.close()


@pytest.fixture
def round_(tmp_path: Path) -> Iterator[Round]:
    made = Round(tmp_path)
    yield made
    made.close()


def test_an_anchor_waits_for_its_own_quorum_and_for_nobody_beyond_it(round_: Round) -> None:
    round_.of_quorum(1, grace_s=0.0)
    round_.last.door.clear()
    with ThreadPoolExecutor(1) as pool:
        gathered = pool.submit(round_.gather, 2).result(SOON_S)  # past the quorum it would wait for 15 s
        assert (gathered.cosigned, len(gathered.bls)) == (NAMES[:2], 2)
        assert gathered.refusals == [(NAMES[2], "has not answered yet")]
    round_.last.door.set()
    round_.wait_for_all()
    for peer in round_.peers[:2]:
        peer.door.clear()
    threading.Timer(0.05, round_.peers[0].door.set).start()
    gathered = round_.gather(2)  # one is the policy's quorum and not the anchor's
    assert len(gathered.bls) >= 2


def test_who_answers_within_the_grace_is_waited_for_again_and_who_answers_after_it_is_not(round_: Round) -> None:
    round_.of_quorum(2, grace_s=0.0)
    for grace_s, waited_for in ((0.0, False), (LONG_S, True)):
        round_.cosigning._grace_s = 0.0
        round_.last.door.clear()
        assert round_.gather().refusals == [(NAMES[2], "has not answered yet")]  # late, from now on
        round_.cosigning._grace_s = grace_s
        round_.last.door.set()
        round_.wait_for_all()
        round_.cosigning._grace_s = LONG_S
        round_.last.door.clear()
        threading.Timer(0.05, round_.last.door.set).start()
        gathered = round_.gather()
        assert (NAMES[2] in gathered.cosigned) is waited_for
        if not waited_for:
            round_.wait_for_all()
