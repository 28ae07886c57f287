"""A real Ethereum node for tests: anvil with the rules of Prague, on a free port, gone when the test is."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.tools import require

FUNDED_KEY = bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
"""The first of the accounts that anvil publishes and endows. Worth nothing anywhere."""


@dataclass(frozen=True, slots=True)
class Anvil:
    url: str
    chain_id: int


@contextmanager
def running_anvil(
    *,
    chain_id: int = 31_337,
    hardfork: str = "prague",
    timestamp: int | None = None,
    port: int = 0,
    options: tuple[str, ...] = (),
) -> Iterator[Anvil]:
    program = require("anvil", install="cd contracts && npm ci")
    port = port or free_port()
    command = [program, "--port", str(port), "--chain-id", str(chain_id), "--hardfork", hardfork, "--silent", *options]
    command += ["--timestamp", str(timestamp)] if timestamp is not None else []
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            node = Anvil(f"http://127.0.0.1:{port}", chain_id)
            _wait(node, process)
            yield node
        finally:
            process.terminate()
            process.wait(10)


def free_port() -> int:
    """A port nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(node: Anvil, process: subprocess.Popen[bytes]) -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}'
    request = urllib.request.Request(node.url, body, {"Content-Type": "application/json"})
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"anvil ended at once with code {process.returncode}")
        try:
            with urllib.request.urlopen(request, timeout=2) as answer:
                answer.read()
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    pytest.fail("anvil did not answer within 30 s")
