"""Witnesses that are down, slow, lying, rolled back or shown a split view: each a process of its own, over HTTP."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from tests.command_line import PROGRAM
from tests.dripping import DRIPS, FOR_S, dripping
from tests.integration.witnesses.conftest import SIGNER, Network, forged
from tests.kills import kills
from tests.witness_processes import WitnessProcess, start_witness
from twinward_ledger.errors import SplitView, StaleProof, WitnessDown, WitnessSlow
from twinward_ledger.formats.checkpoint import open_checkpoint
from twinward_ledger.log.log import Log
from twinward_ledger.log.store import Entry
from twinward_ledger.stores.sqlite import SqliteLogStore
from twinward_ledger.stores.witness_memory import Standing
from twinward_ledger.witness import evidence
from twinward_ledger.witness.client import HttpWitness
from twinward_ledger.witness.interfaces import Proposal

KILLS = kills(10, 30)
Make = Callable[..., Network]
ALL = {f"twinward.example/{name}/witness" for name in ("mercy", "northgate", "lakeside")}


def eventually(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not what():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.02)


def test_a_growing_log_is_cosigned_by_all(make_network: Make) -> None:
    network = make_network()
    for count in (1, 3, 300, 1):
        network.grow(count)
        assert set(network.round().cosigned) == ALL
    assert network.standings() == [Standing.GOOD] * 3
    assert network.round().refusals == []  # nothing new: nobody is asked, everybody is on it
    assert network.cosigned() == ALL


@pytest.mark.slow
def test_one_that_is_down_does_not_hold_the_others_up_and_catches_up(make_network: Make) -> None:
    network = make_network()
    network.grow()
    network.round()
    network.witnesses[1].kill()
    network.grow(5)
    gathered = network.round()
    assert len(gathered.cosigned) == 2
    assert gathered.refusals[0][0] == network.witnesses[1].key.name
    assert network.standings() == [Standing.GOOD, Standing.DOWN, Standing.GOOD]
    network.grow(5)
    network.round()
    network.witnesses[1].restart()
    assert set(network.round().cosigned) == ALL  # the same checkpoint: only the one that was missing is asked
    assert network.cosigned() == ALL
    assert network.standings() == [Standing.GOOD] * 3


@pytest.mark.parametrize("begin", DRIPS.values(), ids=DRIPS)
def test_one_that_drips_is_slow(begin: bytes) -> None:
    with dripping(begin) as port:
        peer = HttpWitness(SIGNER.key, f"http://127.0.0.1:{port}", SIGNER.key, timeout_s=0.2)
        began = time.monotonic()
        for _ in range(2):
            with pytest.raises(WitnessSlow, match=r"did not answer within 0\.2 s"):
                peer.newest("some/log")
        assert time.monotonic() - began < FOR_S / 2
        peer.hang_up()


@pytest.mark.slow
def test_one_that_hangs_is_not_waited_for_and_its_word_is_kept_when_it_comes(make_network: Make) -> None:
    """It answers only after the round is over: that the round came back at all is the proof."""
    network = make_network(grace_s=0.05, timeout_s=60.0)
    network.grow()
    network.witnesses[2].stop()
    gathered = network.round()
    late = network.witnesses[2].key.name
    assert set(gathered.cosigned) == ALL - {late}
    assert network.standings()[2] is Standing.SLOW
    network.grow()
    again = network.round()
    assert dict(again.refusals) == {late: "has not answered an earlier request yet"}
    network.witnesses[2].go_on()
    eventually(lambda: network.standings()[2] is Standing.GOOD)
    network.grow()
    network.round()
    eventually(lambda: network.cosigned() == ALL)


@pytest.mark.slow
def test_one_that_was_late_is_given_no_time_until_it_is_in_time_again(make_network: Make) -> None:
    network = make_network(grace_s=0.05, timeout_s=60.0)
    network.grow()
    network.witnesses[2].stop()
    network.round()
    time.sleep(0.1)  # beyond its time
    network.witnesses[2].go_on()
    eventually(lambda: network.standings()[2] is Standing.GOOD)
    network.cosigning._grace_s = 60.0  # whoever was in time would be waited for now
    network.witnesses[2].stop()
    network.grow()
    wake = threading.Timer(10.0, network.witnesses[2].go_on)
    wake.start()
    assert network.witnesses[2].key.name not in network.round().cosigned
    wake.cancel()
    network.witnesses[2].go_on()
    eventually(lambda: network.cosigned() == ALL)


@pytest.mark.slow
def test_what_comes_too_late_is_added_to_the_checkpoint(make_network: Make) -> None:
    network = make_network(grace_s=0.05, timeout_s=60.0)
    network.grow()
    network.witnesses[0].stop()
    assert len(network.round().cosigned) == 2
    network.witnesses[0].go_on()
    eventually(lambda: network.cosigned() == ALL)


@pytest.mark.slow
def test_without_a_quorum_nothing_counts_and_the_next_round_finishes_it(make_network: Make) -> None:
    network = make_network()
    network.grow(4)
    for one in network.witnesses[:2]:
        one.kill()
    gathered = network.round()
    assert not network.cosigning.policy.satisfied_by([network.witnesses[2].key])
    assert len(gathered.cosigned) == 1
    network.witnesses[0].restart()
    assert len(network.round().cosigned) == 2


@pytest.mark.parametrize(
    ("mode", "standing"),
    [
        ("bad signature", Standing.LYING),
        ("garbage", Standing.LYING),
        ("server error", Standing.DOWN),
        ("redirect", Standing.REFUSES),
        *(
            pytest.param(mode, Standing.LYING, marks=pytest.mark.slow)
            for mode in (
                *("another root", "another key", "unknown key only", "far future", "nothing", "too much", "packed"),
                *("no size", "same size", "made-up split view"),
            )
        ),
    ],
)
def test_a_liar_is_refused_and_named(make_network: Make, mode: str, standing: Standing) -> None:
    network = make_network(mode, honest=1, quorum=1)
    network.grow(3)
    gathered = network.round()
    assert gathered.cosigned == [network.witnesses[0].key.name]
    ((name, reason),) = gathered.refusals
    assert name == "liar-0"
    assert reason.isprintable()
    assert network.standings() == [Standing.GOOD, standing]
    assert network.splits == []
    assert network.cosigned() == {network.witnesses[0].key.name}


@pytest.mark.slow
def test_one_restored_from_a_backup_is_noticed_until_it_is_repaired(make_network: Make, tmp_path: Path) -> None:
    network = make_network()
    patient = network.witnesses[1]
    network.grow(5)
    network.round()
    patient.kill()
    shutil.copytree(patient.home, tmp_path / "backup")
    patient.restart()
    network.grow(5)
    network.round()
    patient.kill()
    shutil.rmtree(patient.home)
    shutil.copytree(tmp_path / "backup", patient.home)
    patient.restart()

    network.grow(5)
    gathered = network.round()
    assert patient.key.name not in gathered.cosigned
    assert "rolled back" in dict(gathered.refusals)[patient.key.name]
    assert network.standings() == [Standing.GOOD, Standing.ROLLED_BACK, Standing.GOOD]

    known = network.log.store.checkpoints()[-2][1]  # size 10, with its own cosignature: it notices by itself
    shown = patient.peer(SIGNER.key)
    with pytest.raises(WitnessDown, match="restored"):
        shown.cosign(Proposal(known, 5, tuple(network.log.prove_consistency(5, 10)), 0, None))
    shown.hang_up()

    (tmp_path / "checkpoint").write_bytes(known)
    done = CliRunner().invoke(
        PROGRAM, ["witness", "remember", str(tmp_path / "checkpoint"), "--home", str(patient.home)]
    )
    assert done.exit_code == 0, done.output
    assert set(network.round().cosigned) == ALL
    assert network.standings() == [Standing.GOOD] * 3


def test_a_stranger_s_checkpoint_is_not_remembered(make_network: Make, tmp_path: Path) -> None:
    network = make_network(honest=1, quorum=1)
    (tmp_path / "checkpoint").write_bytes(forged(5))
    home = str(network.witnesses[0].home)
    done = CliRunner().invoke(PROGRAM, ["witness", "remember", str(tmp_path / "checkpoint"), "--home", home])
    assert done.exit_code == 2
    assert "own cosignature" in done.output


def test_a_split_view_is_evidence_for_anybody(make_network: Make, tmp_path: Path) -> None:
    """The log signs another root for a size that is cosigned: the witness keeps both notes, and so does the log."""
    network = make_network()
    network.grow(5)
    network.round()
    witness = network.witnesses[0]
    peer = witness.peer(SIGNER.key)
    with pytest.raises(SplitView) as caught:
        peer.cosign(Proposal(forged(5), 5, (), 0, None))
    with pytest.raises(StaleProof):  # the size is owed to whoever starts elsewhere; the evidence is kept all the same
        peer.cosign(Proposal(forged(5, b"\2" * 32), 0, (), 0, None))
    peer.hang_up()
    (file,) = (witness.home / "evidence").glob("*.split-view")
    assert (
        evidence.SplitViewEvidence.of(caught.value.seen, caught.value.offered, SIGNER.key).encoded == file.read_bytes()
    )
    run = CliRunner().invoke
    done = run(PROGRAM, ["witness", "evidence", str(file), "--log", str(SIGNER.key)])
    assert done.exit_code == 0, done.output
    assert "signed two roots for size 5" in done.output
    assert run(PROGRAM, ["witness", "status", "--home", str(witness.home)]).exit_code == 8
    broken = tmp_path / "broken"
    broken.write_bytes(file.read_bytes().replace(b"\n5\n", b"\n6\n", 1))
    assert run(PROGRAM, ["witness", "evidence", str(broken)]).exit_code == 2
    other = [*["witness", "evidence", str(file), "--log"], "x+4c8ac5bd+AaAmUVIWwhXw5rL9ySb2EHsU2kUMjEGWJzH9ulvLKYBi"]
    assert run(PROGRAM, other).exit_code == 2


def test_evidence_is_checked_with_the_ledger_alone(tmp_path: Path) -> None:
    found = evidence.SplitViewEvidence.of(forged(5), forged(5, b"\2" * 32), SIGNER.key)
    program = (
        "import sys; from twinward_ledger.witness.evidence import verify\n"
        "print(verify(sys.stdin.buffer.read()).statement)\n"
        "assert not [name for name in sys.modules if name == 'twinward' or name.startswith('twinward.')]\n"
        "assert not {'httpx', 'sqlite3', 'web3', 'socket'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], input=found.encoded, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert b"signed two roots for size 5" in done.stdout


@pytest.mark.slow
def test_a_log_that_split_stops_and_keeps_the_evidence(make_network: Make) -> None:
    """The log itself goes on differently from a size that is cosigned: its witnesses stop it, and it learns why."""
    network = make_network()
    network.grow(5)
    network.round()
    with pytest.raises(SplitView):
        network.cosigning.gather(*open_checkpoint(forged(5), SIGNER.key), None)
    assert network.splits
    assert Standing.SPLIT_VIEW in network.standings()


@pytest.mark.slow
def test_no_kill_makes_a_witness_forget_what_it_signed(tmp_path: Path) -> None:
    """kill -9 at any moment: what it once answered, it never contradicts."""
    chance = random.Random(7)
    witness = start_witness(tmp_path / "witness", "mercy", SIGNER.key)
    log = Log(SqliteLogStore(tmp_path / "log.db"), SIGNER)
    signed = 0
    try:
        for _ in range(KILLS):
            killer = threading.Timer(chance.uniform(0.0, 0.08), witness.kill)
            signed = max(signed, cosign_until_it_dies(witness, log, killer))
            killer.join()
            witness.restart()
            peer = witness.peer(SIGNER.key)
            with pytest.raises((SplitView, StaleProof)):
                peer.cosign(Proposal(forged(signed), signed, (), 0, None))
            peer.hang_up()
        assert signed >= KILLS
    finally:
        witness.end()
        log.store.close()


def cosign_until_it_dies(witness: WitnessProcess, log: Log, killer: threading.Timer) -> int:
    """The largest size it was heard to cosign. It is killed some time after its first word."""
    peer, signed, old = witness.peer(SIGNER.key), 0, 0
    try:
        while True:
            log.append([Entry(b"x", b"")])
            checkpoint, note = log.checkpoint()
            try:
                proof = tuple(log.prove_consistency(old, checkpoint.size)) if old else ()
                peer.cosign(Proposal(note.encode(), old, proof, 0, None))
                if not signed:
                    killer.start()
                signed = old = checkpoint.size
            except StaleProof as stale:  # from the start, or signed and killed before it could say so
                old = stale.size
    except WitnessDown:
        return signed
    finally:
        peer.hang_up()


def test_serve_is_a_command_that_stops_when_told(tmp_path: Path) -> None:
    home = str(tmp_path / "witness")
    command = [sys.executable, "-m", "twinward", "witness"]
    done = subprocess.run([*command, "create", "--name", "mercy", "--home", home], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    process = subprocess.Popen([*command, "serve", "--home", home, "--port", "0"], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    url = process.stdout.readline().split()[-1]
    assert httpx.get(f"{url}/health", trust_env=False).text == "ok\n"
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 0
