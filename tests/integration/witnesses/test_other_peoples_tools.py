"""Somebody else's witness cosigns our log, somebody else's log client asks our witness, somebody else's reader reads.

`aics-tlog` and `aics-witness` (PyPI, Python 3.12 or later) are independent implementations of the same specifications.
Where they are not installed, the clients written in this folder from the specifications are the check.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.witnesses.conftest import SIGNER
from tests.integration.witnesses.test_split_views import static_server
from tests.witness_processes import start_witness
from twinward.core.clock import SystemClock
from twinward_ledger.formats.note import VerifierKey
from twinward_ledger.formats.policy import QuorumPolicy
from twinward_ledger.log.log import Log
from twinward_ledger.log.static_files import LogFiles
from twinward_ledger.log.store import Entry
from twinward_ledger.stores.sqlite import SqliteLogStore
from twinward_ledger.witness.client import HttpWitness
from twinward_ledger.witness.cosigning import Cosigning

aics_tlog = pytest.importorskip("aics_tlog", reason="aics-tlog is not installed (pip install aics-tlog aics-witness)")
feeder = pytest.importorskip("aics_witness.feeder", reason="aics-witness is not installed")
pytestmark = pytest.mark.slow


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = Log(SqliteLogStore(tmp_path / "log.db"), SIGNER)
    yield log
    log.store.close()


def grow(log: Log, count: int) -> None:
    log.append([Entry(b"entry %d" % number, b"") for number in range(count)])


def test_their_client_gets_cosignatures_from_our_witness(log: Log, tmp_path: Path) -> None:
    witness = start_witness(tmp_path / "w", "mercy", SIGNER.key)
    try:
        with feeder.WitnessClient(witness.url, str(witness.key)) as client:
            for count in (3, 700, 1):
                grow(log, count)
                _, note = log.checkpoint()
                prove = lambda old, new: log.prove_consistency(old, new) if old else []  # noqa: E731
                assert client.submit(note.encode(), prove).startswith(f"— {witness.key.name} ")
    finally:
        witness.end()


def test_their_witness_cosigns_our_log(log: Log, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "aics_witness"]
    at = ["--config", str(tmp_path / "w.json")]
    named = ["--name", "w.example/theirs", "--listen", f"127.0.0.1:{port}"]
    made = subprocess.run([*command, "init", *at, *named], capture_output=True, text=True, check=True)
    key = VerifierKey.parse(next(line for line in made.stdout.split() if line.startswith("w.example/theirs+")))
    told = ["--origin", SIGNER.key.name, "--vkey", str(SIGNER.key)]
    subprocess.run([*command, "add-log", *at, *told], capture_output=True, check=True)
    process = subprocess.Popen([*command, "serve", *at], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peer = HttpWitness(key, f"http://127.0.0.1:{port}", SIGNER.key)
    cosigning = Cosigning(log, [peer], QuorumPolicy.k_of(SIGNER.key, [key], 1), SystemClock())
    try:
        _wait_for(port)
        for count in (3, 700, 1):
            grow(log, count)
            gathered = cosigning.gather(*log.checkpoint(), None)
            assert gathered.cosigned == [key.name], gathered.refusals
    finally:
        process.terminate()
        process.wait(20)
        cosigning.close()


def test_their_reader_reads_our_files(log: Log, tmp_path: Path) -> None:
    witness = start_witness(tmp_path / "w", "mercy", SIGNER.key)
    policy = QuorumPolicy.k_of(SIGNER.key, [witness.key], 1)
    cosigning = Cosigning(log, [witness.peer(SIGNER.key)], policy, SystemClock())
    try:
        grow(log, 66_000)
        log.keep_cosignatures(cosigning.gather(*log.checkpoint(), None).note)
    finally:
        cosigning.close()
        witness.end()
    for file in LogFiles(log, policy).all():
        path = tmp_path / "site" / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
    with static_server(tmp_path / "site") as url:
        reader = aics_tlog.HttpTileReader(url)
        note = aics_tlog.parse_note(reader.read_checkpoint())
        keys = [aics_tlog.parse_vkey(str(key)) for key in (SIGNER.key, witness.key)]
        result = aics_tlog.verify_checkpoint(note, keys[0], [keys[1]], 1)
        checkpoint = aics_tlog.parse_checkpoint(note.text)
        report = aics_tlog.audit_tiles(reader, checkpoint.size, log.store.root())
    assert not result.error, result
    assert (report.size, report.bundles) == (66_000, 258)
    assert json.dumps(report.tiles)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
