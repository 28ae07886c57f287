"""The chains that contracts stand on, the same for every test: the embedded one, and a real anvil with Prague's rules.

A test takes the fixture ``ground`` (or ``chain``, its client) and so runs on both; on anvil only in ``make test-all``.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.anvil import FUNDED_KEY, Anvil, running_anvil
from twinward_ledger.chains.embedded import EmbeddedChain
from twinward_ledger.chains.interfaces import ChainClient
from twinward_ledger.chains.rpc import RpcChain

NOW_S = 1_767_225_600
"""2026-01-01T00:00:00Z: when a ground's time begins."""


@dataclass
class Ground:
    """A chain that can be opened any number of times, and whose time can be moved on."""

    name: str
    open_client: Callable[[], ChainClient]
    advance: Callable[[int], object]
    _opened: list[ChainClient] = field(default_factory=list)

    def open(self) -> ChainClient:
        """A client of this chain, closed when the test is over."""
        self._opened.append(self.open_client())
        return self._opened[-1]

    def close(self) -> None:
        """Close every client."""
        for client in self._opened:
            client.close()


@contextmanager
def ground(kind: str, folder: Path) -> Iterator[Ground]:
    """A new chain of a kind, ``embedded`` or ``anvil``."""
    with embedded_ground(folder) if kind == "embedded" else anvil_ground() as made:
        try:
            yield made
        finally:
            made.close()


@contextmanager
def embedded_ground(folder: Path) -> Iterator[Ground]:
    """A file; its clock stands still until it is advanced."""
    now_s = [NOW_S]

    def advance(seconds: int) -> None:
        now_s[0] += seconds

    yield Ground("embedded", lambda: EmbeddedChain(folder / "chain.db", now_s=lambda: now_s[0]), advance)


@contextmanager
def anvil_ground() -> Iterator[Ground]:
    """A process; its clock runs."""
    with running_anvil(timestamp=NOW_S) as node:

        def advance(seconds: int) -> None:
            rpc(node, "evm_increaseTime", seconds)
            rpc(node, "evm_mine")

        yield Ground("anvil", lambda: RpcChain(node.url, FUNDED_KEY, node.chain_id), advance)


def rpc(node: Anvil, method: str, *parameters: Any) -> Any:
    """Ask anvil itself, past any client."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}).encode()
    request = urllib.request.Request(node.url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        said = json.loads(answer.read())
    if "error" in said:
        raise AssertionError(f"{method}: {said['error']}")
    return said["result"]
