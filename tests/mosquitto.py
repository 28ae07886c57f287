"""A real MQTT broker, started by the tests: Debian's mosquitto, as `deploy/mosquitto.conf` has it but for its files."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.tools import ROOT, require

_OWN_FILES = (
    "listener",
    "cafile",
    "certfile",
    "keyfile",
    "require_",
    "use_identity",
    "acl_file",
    "persistence_location",
)
_WAIT_S = 20


@dataclass(slots=True)
class Mosquitto:
    """One broker on a port of its own, which can be killed and started again with what it kept.

    Attributes:
        folder: its own.
        lines: of its configuration beside what is shipped.
    """

    folder: Path
    lines: Sequence[str] = ("allow_anonymous true",)
    port: int = field(default=0, init=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start it, or start it again; returns once it answers."""
        if not self.port:
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.port = free.getsockname()[1]
        (self.folder / "kept").mkdir(exist_ok=True)
        shipped = (ROOT / "deploy/mosquitto.conf").read_text().splitlines()
        own = [f"listener {self.port} 127.0.0.1", *self.lines, f"persistence_location {self.folder}/kept/", "user root"]
        configuration = self.folder / "mosquitto.conf"
        configuration.write_text("\n".join([one for one in shipped if not one.startswith(_OWN_FILES)] + own) + "\n")
        program = require("mosquitto", install="apt install mosquitto", beside=Path("/usr/sbin"))
        with (self.folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen([program, "-c", str(configuration)], stdout=log, stderr=log)
        deadline = time.monotonic() + _WAIT_S
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise AssertionError((self.folder / "broker.log").read_text())

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Let it write what it keeps, and end; or kill it."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(_WAIT_S)
            self._process = None


@contextmanager
def brokering(folder: Path, *lines: str) -> Iterator[Mosquitto]:
    """A broker while a test runs."""
    broker = Mosquitto(folder, lines) if lines else Mosquitto(folder)
    broker.start()
    try:
        yield broker
    finally:
        broker.end()
