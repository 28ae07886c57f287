"""``node serve`` as a process, and one vendor account that wants to end it."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import tenseal.sealapi as seal

from tests.adversarial.similarity.test_seal_bytes import HEADERS, forged
from tests.integration.cli.conftest import Hospital, make_hospital
from twinward.client import HospitalRefused, Mode, VendorClient
from twinward_crypto.homomorphic import _seal, parts, wire
from twinward_crypto.homomorphic.gated import encrypt_gated_query
from twinward_crypto.homomorphic.wire import Kind

pytestmark = pytest.mark.slow  # a node in a process of its own

ROOT = Path(__file__).resolve().parents[3]
VALUES = {"age": 50.0}


@dataclass
class Node:
    process: subprocess.Popen[str]
    url: str
    hospital: Hospital

    def vendor(self) -> VendorClient:
        return VendorClient(self.url, self.hospital.vendor_token)

    def send(self, bundle: bytes, epoch: int) -> httpx.Response:
        """A bundle made by hand."""
        body = {"epoch": epoch, "threshold_squared": 100, "bundle": base64.b64encode(bundle).decode()}
        return httpx.post(f"{self.url}/api/1/similarity/gated", json=body, headers=self.headers(), timeout=60)

    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.hospital.vendor_token}"}

    def workers(self) -> list[int]:
        """The processes that work on vendors' numbers: below the server that forks them."""
        return [pid for server in children(self.process.pid) for pid in children(server)]


def children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    hospital = make_hospital(tmp_path_factory.mktemp("attacked") / "node")
    command = [sys.executable, "-m", "twinward", "node", "serve", "--port", "0", "--home", str(hospital.home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
            assert found
            yield Node(process, found[0], hospital)
        finally:
            process.kill()


def answered(node: Node) -> int:
    with node.vendor() as vendor:
        return len(vendor.query_gated(VALUES, threshold=1.0).handles)


def test_queries_that_killed_the_node_are_refused_and_it_goes_on(node: Node) -> None:
    """Each nested header that ends SEAL, in the frame that carried it and in today's."""
    expected = answered(node)
    with node.vendor() as vendor:
        terms = vendor.schema()
        left = vendor.budget().remaining
    plan = next(mode for mode in terms.modes if mode.mode is Mode.GATED).plan(terms.feature_schema)
    reply = httpx.get(f"{node.url}/api/1/similarity/gate-key", headers=node.headers()).json()
    key = base64.b64decode(reply["bundle"])
    gate = wire.decode(key, kind=Kind.GATE_PUBLIC_KEY, plan=plan, binding=terms.binding())
    honest = encrypt_gated_query(gate, [0] * plan.dimension)
    form = parts.forms(Kind.GATED_QUERY, plan)[0]
    good = _seal.save(parts.ciphertext(plan, form, honest.parts[0]))
    assert _seal.load(seal.Ciphertext, plan, form, good)
    for one in HEADERS:
        deadly = forged(good, bytes.fromhex(one["hex"]), compressed=True)
        objects = [deadly] + [good] * (len(honest.parts) - 1)
        head = bytearray(honest.encode()[:80])
        head[4] = 1
        first = bytes(head) + b"".join(struct.pack("<I", len(part)) + part for part in objects)
        for bundle in (first, wire.Bundle(Kind.GATED_QUERY, plan, terms.binding(), tuple(objects)).encode()):
            answer = node.send(bundle, terms.epoch)
            assert answer.status_code == 400, answer.text
            assert "error" in json.loads(answer.text)
    assert node.process.poll() is None
    with node.vendor() as vendor:
        assert vendor.budget().remaining == left  # they did not even parse
    assert answered(node) == expected


def test_a_query_that_ends_its_process_is_refused_and_the_node_goes_on(node: Node) -> None:
    expected = answered(node)
    before = node.workers()
    assert before
    for pid in before:
        os.kill(pid, signal.SIGSTOP)
    statuses: list[int] = []

    def ask() -> None:
        try:
            answered(node)
        except HospitalRefused as refusal:
            statuses.append(refusal.status)

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(2)  # on its way to the process; should it come later, nobody is to blame and the test fails
    for pid in before:
        os.kill(pid, signal.SIGSEGV)
        os.kill(pid, signal.SIGCONT)
    asking.join(60)
    assert statuses == [400]
    assert httpx.get(f"{node.url}/health").text == "ok\n"
    assert answered(node) == expected
    assert not set(before) & set(node.workers())


def test_its_processes_end_with_it(node: Node) -> None:
    workers = [*children(node.process.pid), *node.workers()]
    assert len(workers) >= 3
    node.process.kill()
    node.process.wait()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(Path(f"/proc/{pid}").exists() for pid in workers):
        time.sleep(0.05)
    assert [pid for pid in workers if alive(pid)] == []


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
