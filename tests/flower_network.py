"""Flower's network in real processes, from an environment of its own: SuperLink, relay, and a SuperNode a hospital."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.flower_certificates import make_certificates
from tests.tools import ROOT, require

ENVIRONMENT = ROOT / ".venv-flower"
_STARTED_S = 180


def python() -> str:
    """The Python of Flower's environment; skips, or fails where all is required, when there is none."""
    require("flower-superlink", install="make flower", beside=ENVIRONMENT / "bin")
    return str(ENVIRONMENT / "bin" / "python")


class Network:
    """SuperLink, relay, SuperNodes and runners, each killed by name when asked."""

    def __init__(self, folder: Path, invitation: Path, daemons: dict[str, Path]) -> None:
        self.folder = folder
        self.python = python()
        make_certificates(folder, len(daemons))
        self.port = _free_port()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        keys = [word for number in range(len(daemons)) for word in ("--node-key", str(folder / f"node{number}.pub"))]
        tls = ["--certificate", str(folder / "link.pem"), "--certificate-key", str(folder / "link.key")]
        tls += ["--root-certificates", str(folder / "ca.pem")]
        self.link = ["study", "flower", str(invitation), *keys, *tls, "--folder", str(folder / "f")]
        self.link += ["--port", str(self.port)]
        self.nodes = {
            name: [
                *("site", "flower", "--superlink", f"127.0.0.1:{self.port}"),
                *("--root-certificates", str(folder / "ca.pem"), "--key", str(folder / f"node{number}")),
                *("--socket", str(place), "--port", str(_free_port())),
            ]
            for number, (name, place) in enumerate(daemons.items())
        }

    def socket_of(self, hospital: str) -> Path:
        return self.folder / "f" / "sockets" / f"{hospital}.sock"

    def start(self) -> None:
        self._start("link", self.link)
        self.await_said("link", "the relay's sockets in")
        for name in self.nodes:
            self.start_node(name)

    def start_node(self, name: str) -> None:
        self._start(name, self.nodes[name])

    def said(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def await_said(self, name: str, words: str, times: int = 1) -> None:
        for _ in range(_STARTED_S * 10):
            if self.said(name).count(words) >= times:
                return
            assert self.processes[name].poll() is None, self.said(name)[-2000:]
            time.sleep(0.1)
        pytest.fail(f"{name} never said {words!r}:\n{self.said(name)[-3000:]}")

    def superlink(self) -> int:
        """The process number of the SuperLink that runs now."""
        return int(re.findall(r"SuperLink (\d+) at", self.said("link"))[-1])

    def supernode(self, name: str) -> int:
        """The process number of a hospital's SuperNode that runs now."""
        return int(re.findall(r"SuperNode (\d+) for", self.said(name))[-1])

    def kill_runner(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait()

    def memory_mib(self, name: str) -> float:
        """What a runner's own process holds."""
        status = Path(f"/proc/{self.processes[name].pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) / 1024

    def end(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, name: str, arguments: Sequence[str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            environment = {key: value for key, value in os.environ.items() if not key.startswith("TWINWARD_")}
            self.processes[name] = subprocess.Popen(
                [self.python, "-u", "-m", "twinward", *arguments], stdout=log, stderr=subprocess.STDOUT, env=environment
            )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
