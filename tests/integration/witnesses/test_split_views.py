"""A log with two histories, each shown to other witnesses: none of them can tell, whoever asks them all can."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner

from tests.command_line import PROGRAM
from tests.integration.witnesses.conftest import SIGNER
from tests.witness_processes import WitnessProcess, start_witness
from twinward.consortium.witness import split_views
from twinward.core.errors import Unavailable
from twinward_ledger.formats.cosignature import cosign
from twinward_ledger.formats.note import NoteSigner
from twinward_ledger.formats.policy import Group, PolicyWitness, QuorumPolicy
from twinward_ledger.log.log import Log
from twinward_ledger.log.static_files import LogFiles
from twinward_ledger.log.store import Entry
from twinward_ledger.stores.sqlite import SqliteLogStore
from twinward_ledger.witness import evidence
from twinward_ledger.witness.interfaces import Proposal

NAMES = ("mercy", "northgate", "lakeside")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@contextmanager
def static_server(folder: Path) -> Iterator[str]:
    """Any web server: the log's files need no more."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def witnesses(tmp_path: Path) -> Iterator[list[WitnessProcess]]:
    started = [start_witness(tmp_path / name, name, SIGNER.key) for name in NAMES]
    yield started
    for one in started:
        one.end()


@pytest.fixture
def history(tmp_path: Path) -> Iterator[Callable[..., Log]]:
    made: list[Log] = []

    def make(*entries: bytes) -> Log:
        log = Log(SqliteLogStore(tmp_path / f"log-{len(made)}.db"), SIGNER)
        log.append([Entry(entry, b"") for entry in entries])
        log.checkpoint()
        made.append(log)
        return log

    yield make
    for log in made:
        log.store.close()


def show(witness: WitnessProcess, log: Log) -> None:
    latest = log.latest()
    assert latest
    peer = witness.peer(SIGNER.key)
    peer.cosign(Proposal(latest[1].encode(), 0, (), 0, None))
    peer.hang_up()


def policy_file(folder: Path, witnesses: list[WitnessProcess]) -> Path:
    named = tuple(PolicyWitness(name, one.key, one.url) for name, one in zip(NAMES, witnesses, strict=True))
    policy = QuorumPolicy(((SIGNER.key, ""),), named, (Group("any-two", 2, NAMES),), "any-two")
    (folder / "policy").write_bytes(policy.encode())
    return folder / "policy"


def publish(log: Log, folder: Path) -> Path:
    """The files of a log, whoever cosigned it."""
    anybody = NoteSigner("anybody.example", b"\7" * 32)
    latest = log.latest()
    assert latest
    log.keep_cosignatures(latest[1].with_signatures(cosign(latest[1].text, 1, anybody)))
    for file in LogFiles(log, QuorumPolicy.k_of(SIGNER.key, [anybody.cosigner_key], 1)).all():
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
    return folder


def compare(policy: Path, url: str, out: Path, code: int) -> Any:
    command = ["witness", "compare", str(policy), "--log-url", url, "--out", str(out), "--json"]
    done = CliRunner().invoke(PROGRAM, command)
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


COMMON = [b"event %d" % number for number in range(300)]


def test_a_log_that_shows_each_witness_another_history_is_convicted(
    witnesses: list[WitnessProcess], history: Callable[..., Log], tmp_path: Path
) -> None:
    """Two sizes, two histories: each witness sees one that only grew. The log's own files give the proof."""
    true = history(*COMMON, b"access to Mrs Example")
    cleaned = history(*COMMON, b"nothing happened", *COMMON)
    show(witnesses[0], true)
    show(witnesses[1], cleaned)
    show(witnesses[2], cleaned)
    policy = policy_file(tmp_path, witnesses)
    with static_server(publish(cleaned, tmp_path / "site")) as url:
        found = compare(policy, url, tmp_path / "found", code=8)
    (file,) = found["split_views"]
    proven = evidence.verify(Path(file).read_bytes(), SIGNER.key)
    assert (proven.first.size, proven.second.size) == (301, 601)
    done = CliRunner().invoke(PROGRAM, ["witness", "evidence", file, "--log", str(SIGNER.key)])
    assert done.exit_code == 0
    assert "does not extend the tree of 301 it signed" in done.output


@pytest.mark.slow
def test_two_roots_for_one_size_need_nothing_but_the_witnesses(
    witnesses: list[WitnessProcess], history: Callable[..., Log], tmp_path: Path
) -> None:
    show(witnesses[0], history(b"a"))
    show(witnesses[1], history(b"b"))
    found = compare(policy_file(tmp_path, witnesses), "http://127.0.0.1:1", tmp_path / "found", code=8)
    assert list(found["silent"]) == ["lakeside"]
    assert evidence.verify(Path(found["split_views"][0]).read_bytes(), SIGNER.key).first.size == 1


@pytest.mark.slow
def test_witnesses_that_are_merely_behind_convict_nobody(
    witnesses: list[WitnessProcess], history: Callable[..., Log], tmp_path: Path
) -> None:
    log = history(*COMMON)
    show(witnesses[0], log)
    log.append([Entry(b"later", b"")] * 700)
    log.checkpoint()
    show(witnesses[1], log)
    with static_server(publish(log, tmp_path / "site")) as url:
        found = compare(policy_file(tmp_path, witnesses), url, tmp_path / "found", code=0)
    assert (found["seen"], found["split_views"], found["unexplained"]) == ({"mercy": 300, "northgate": 1000}, [], [])


def test_a_log_that_hides_its_files_is_not_convicted_but_named(
    witnesses: list[WitnessProcess], history: Callable[..., Log], tmp_path: Path
) -> None:
    show(witnesses[0], history(b"a"))
    show(witnesses[1], history(b"b", b"c"))
    found = compare(policy_file(tmp_path, witnesses), "http://127.0.0.1:1", tmp_path / "found", code=0)
    assert len(found["unexplained"]) == 1
    for one in witnesses:
        one.end()
    done = CliRunner().invoke(PROGRAM, ["witness", "compare", str(tmp_path / "policy")])
    assert done.exit_code == 7


class _Hostile(_Quiet):
    def do_GET(self) -> None:
        packed = self.path == "/packed"
        self.send_response(200)
        self.send_header("content-encoding", "gzip" if packed else "identity")
        self.end_headers()
        if packed:
            self.wfile.write(gzip.compress(b"a tile"))
            return
        with suppress(OSError):
            for _ in range(100):
                self.wfile.write(b".")
                time.sleep(0.05)


@pytest.mark.parametrize(("path", "why"), [("packed", "packed"), ("slow", "too slowly")])
def test_a_logs_files_are_read_as_they_are_and_in_time(path: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split_views, "TIMEOUT_S", 0.2)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hostile)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        with pytest.raises(Unavailable, match=why):
            split_views.fetch(f"http://127.0.0.1:{server.server_port}/{path}", most=1000)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
