"""A hospital's side of Flower: a SuperNode, and the runner that carries its messages to the hospital's daemon.

The runner sees signed requests and signed answers, and believes neither. It holds no key of a study, no record and no
model; the SuperNode's own key lets it into the SuperLink, and nothing else.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from twinward.core.errors import Unavailable
from twinward.federation.site_socket import SocketChannel

QUIET: Final = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
"""Flower tells nobody that it runs, and asks nobody for a newer one."""

_REPLY_S: Final = 600.0
_AGAIN_S: Final = 1.0
_LISTENING_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Link:
    """How a hospital reaches a SuperLink.

    Attributes:
        superlink: host:port.
        root_certificates: PEM of the authority that signed the SuperLink's TLS certificate.
        key: PEM or SSH file of the SuperNode's ECDSA private key, whose public part the SuperLink was told.
        port: of the SuperNode's runtime API on this machine.
    """

    superlink: str
    root_certificates: Path
    key: Path
    port: int

    @property
    def runtime(self) -> str:
        """Where the SuperNode's runtime API answers."""
        return f"127.0.0.1:{self.port}"


def relay(link: Link, daemon: Path, done: Callable[[], bool], told: Callable[[str], None]) -> None:
    """Carry messages until ``done``; a SuperNode or a SuperLink that goes away is waited for.

    Args:
        link: how the SuperLink is reached.
        daemon: the socket of the hospital's ``twinward site serve``.
        done: asked again and again.
        told: what happened, in a sentence.
    """
    from twinward.federation.flower.private_runner import run_tasks

    channel = SocketChannel(daemon, _REPLY_S)
    secret = secrets.token_bytes(32)

    def answer(message: bytes) -> bytes:
        try:
            return channel.ask(message)
        except Unavailable as error:
            told(f"the daemon does not answer: {error}")
            return b""

    with tempfile.TemporaryDirectory(prefix="twinward-flower-") as folder:
        file = Path(folder) / "secret"
        file.touch(mode=0o600)
        file.write_bytes(secret)
        while not done():
            with supernode(link, file) as process:
                told(f"SuperNode {process.pid} for {link.superlink}")
                _await_listening(link, process)
                try:
                    run_tasks(link.runtime, secret, answer, lambda: done() or process.poll() is not None)
                except Exception as error:  # noqa: BLE001 - whatever it is, a new SuperNode is the answer
                    told(f"the SuperNode does not answer: {type(error).__name__}")
            if not done():
                time.sleep(_AGAIN_S)
    channel.close()


def _await_listening(link: Link, process: subprocess.Popen[bytes]) -> None:
    """Wait for the SuperNode's port: asked before, Flower's client waits longer and longer between its tries."""
    while process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", link.port), timeout=1):
            return
        time.sleep(_LISTENING_S)


@contextmanager
def supernode(link: Link, secret: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A SuperNode in process isolation: it runs no code that a SuperLink sends, and installs none."""
    command = [sys.executable, "-P", "-m", "twinward.federation.flower.private_waits", str(os.getpid())]
    command += ["--superlink", link.superlink, "--root-certificates", str(link.root_certificates)]
    command += ["--auth-supernode-private-key", str(link.key), "--isolation", "process"]
    command += ["--host", "127.0.0.1", "--port", str(link.port), "--superexec-auth-secret-file", str(secret)]
    process = subprocess.Popen(command, env={**os.environ, **QUIET})  # noqa: S603 - this interpreter, our module
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()
