"""The demo's three witnesses, each a process of its own that is asked over HTTP, as at three hospitals."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from twinward.consortium.witness.home import LOGS_FILE, SETTINGS_FILE, WitnessSettings
from twinward.core.errors import Unavailable
from twinward.core.private_files import write_private
from twinward.node import Node
from twinward.node.home import home_of
from twinward_ledger.anchoring.anchorer import Anchorer
from twinward_ledger.anchoring.contract import ChainAnchor
from twinward_ledger.witness.client import HttpWitness

TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0
_URL = re.compile(r"http://127\.0\.0\.1:\d+")


class Witnesses:
    """Three processes that were started and are asked once they answer."""

    def __init__(self, node: Node, processes: dict[str, subprocess.Popen[str]]) -> None:
        self._node = node
        self._processes = processes

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Until this is left, the node's log asks them and not the witnesses in its own process.

        Raises:
            Unavailable: one of them did not start.
        """
        node = self._node
        peers = [
            HttpWitness(witness.key, _url_of(process), node.log.key, timeout_s=TIMEOUT_S)
            for witness, process in zip(node.witnesses, self._processes.values(), strict=True)
        ]
        inside = node.audit.anchorer
        chain = ChainAnchor(node.consortium.chain, node.consortium.addresses.access_anchor)
        outside = Anchorer(node.log, peers, node.settings.quorum, inside.journal, node.clock, chain, grace_s=TIMEOUT_S)
        node.audit.anchorer = outside
        try:
            yield
        finally:
            node.audit.anchorer = inside
            outside.close()


@contextmanager
def witnesses_started(node: Node) -> Iterator[Witnesses]:
    """Start a witness for each hospital of an embedded consortium, over the keys and the memory it has in its home.

    Returns at once: they get ready while the demo goes on.
    """
    contract = node.consortium.addresses
    told = f"log {node.log.key}\nanchor {contract.chain_id} {contract.access_anchor}\n".encode()
    with ExitStack() as stack:
        processes: dict[str, subprocess.Popen[str]] = {}
        for name in node.settings.witnesses:
            home, own = home_of(node.settings, name), name == node.settings.tenant
            settings = WitnessSettings(name=name, keys=node.settings.keys_uri if own else "", listen_port=0)
            write_private(home / SETTINGS_FILE, settings.to_toml().encode())
            write_private(home / LOGS_FILE, told)
            processes[name] = _start(home, node.settings.passphrase_file if own else None)
            stack.callback(_reap, processes[name])
        yield Witnesses(node, processes)
        for process in processes.values():
            process.terminate()  # all at once; each is then waited for


def _start(home: Path, passphrase_file: Path | None) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TWINWARD_")}
    if passphrase_file is not None:
        environment["TWINWARD_PASSPHRASE_FILE"] = str(passphrase_file)
    command = [sys.executable, "-m", "twinward", "witness", "serve", "--home", str(home.absolute()), "--port", "0"]
    return subprocess.Popen(  # noqa: S603 - this very program
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )


def _url_of(process: subprocess.Popen[str]) -> str:
    found = _URL.search(process.stdout.readline() if process.stdout else "")
    if found is None:
        raise Unavailable("a witness's process did not start", hint="try `twinward witness serve` on its home")
    return found[0]


def _reap(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.communicate(timeout=STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
