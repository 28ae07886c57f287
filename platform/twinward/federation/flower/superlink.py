"""The coordinator's side of Flower as processes: a SuperLink with TLS and SuperNode authentication, and its relay.

By Flower's own commands: ``flower-superlink``, ``flwr supernode register``, ``flwr run``. State is in a database, so
that a SuperLink which was killed knows its nodes again; the relay is a run, started anew with it. Nothing that a
study depends on is in either.
"""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from twinward.core.errors import BadInput, Unavailable
from twinward.federation.flower.runner import QUIET

_APP: Final = Path(__file__).parent / "app"
TOLD: Final = "told.log"
"""In a SuperLink's folder: what its relay has to say to whoever coordinates, a sentence a line."""
_CONNECTION: Final = "twinward"
_ANY: Final = ("0.0.0.0", "::")  # noqa: S104 - compared with
_STARTED_WITHIN_S: Final = 120.0
_LOOK_AGAIN_S: Final = 0.1
_COMMAND_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class SuperLink:
    """How a SuperLink is run.

    Attributes:
        folder: its database, its sockets and Flower's own home; the coordinator's alone.
        host, port: where SuperNodes reach it.
        certificate, certificate_key, root_certificates: its TLS certificate, that one's key, and who signed it; PEM.
    """

    folder: Path
    host: str
    port: int
    certificate: Path
    certificate_key: Path
    root_certificates: Path

    @property
    def sockets(self) -> Path:
        """Where the relay answers, ``HOSPITAL.sock`` for each hospital."""
        return self.folder / "sockets"

    @property
    def own_address(self) -> str:
        """Where its own commands reach it: the certificate has to name this host."""
        return f"{'127.0.0.1' if self.host in _ANY else self.host}:{self.port}"

    def environment(self) -> dict[str, str]:
        """Of its processes."""
        own = {"FLWR_HOME": str(self.folder / "flwr")}
        beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return {**os.environ, **QUIET, **own, "PATH": beside}


@contextmanager
def running(link: SuperLink) -> Iterator[subprocess.Popen[bytes]]:
    """A SuperLink, as long as this lasts. Raises ``Unavailable`` where it does not start."""
    _lay_out(link)
    command = [_program("flower-superlink"), "--host", link.host, "--port", str(link.port)]
    command += ["--ssl-certfile", str(link.certificate), "--ssl-keyfile", str(link.certificate_key)]
    command += ["--ssl-ca-certfile", str(link.root_certificates), "--database", str(link.folder / "superlink.db")]
    command += ["--enable-supernode-auth", "--disable-runtime-dependency-installation"]
    process = subprocess.Popen(command, env=link.environment(), start_new_session=True)  # noqa: S603 - Flower's own
    try:
        _await_answer(link, process)
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()


def admit(link: SuperLink, key: Path) -> None:
    """Let a SuperNode in by its public key (an SSH file). One that was admitted stays so. Raises ``BadInput``."""
    done = _flwr(link, "supernode", "register", str(key.absolute()), _CONNECTION)
    if done.returncode and "already" not in done.stdout + done.stderr:
        raise BadInput(f"{key} is no public key that the SuperLink takes: {_last_line(done)}")


def start_relay(link: SuperLink, invitation: Path) -> None:
    """Submit the relay for an invitation's hospitals. Raises ``Unavailable``."""
    app = link.folder / "app"
    shutil.rmtree(app, ignore_errors=True)
    shutil.copytree(_APP, app, ignore=shutil.ignore_patterns("__pycache__"))
    values = f'invitation="{invitation.absolute()}" sockets="{link.sockets.absolute()}"'
    done = _flwr(link, "run", str(app), _CONNECTION, "--run-config", values)
    if done.returncode:
        raise Unavailable(f"the relay could not be started: {_last_line(done)}")


def keep_running(
    link: SuperLink, keys: Sequence[Path], invitation: Path, done: Callable[[], bool], told: Callable[[str], None]
) -> None:
    """A SuperLink and its relay until ``done``; one that dies is started again, and knows its nodes.

    Args:
        link: how it is run.
        keys: public keys of the SuperNodes that are let in.
        invitation: whose hospitals the relay answers for.
        done: asked again and again.
        told: what happened, in a sentence.

    Raises:
        BadInput, Unavailable: it cannot be started the first time.
    """
    started = False
    (link.folder / TOLD).unlink(missing_ok=True)
    said = 0
    while not done():
        try:
            with running(link) as process:
                for key in keys if not started else ():
                    admit(link, key)
                start_relay(link, invitation)
                told(f"SuperLink {process.pid} at {link.host}:{link.port}, the relay's sockets in {link.sockets}")
                started = True
                while not done() and process.poll() is None:
                    said = _tell_on(link, said, told)
                    time.sleep(_LOOK_AGAIN_S)
        except Unavailable as error:
            if not started:
                raise
            told(f"{error}; once more")


def _tell_on(link: SuperLink, said: int, told: Callable[[str], None]) -> int:
    """What the relay told since so many characters; how many there are now."""
    with suppress(OSError):
        text = (link.folder / TOLD).read_text(encoding="utf-8")
        for sentence in text[said : text.rfind("\n") + 1].splitlines():
            told(sentence)
        return text.rfind("\n") + 1
    return said


def _lay_out(link: SuperLink) -> None:
    for folder in (link.folder, link.sockets, link.folder / "flwr"):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lines = (
        "[superlink]",
        f'default = "{_CONNECTION}"',
        f"[superlink.{_CONNECTION}]",
        f'address = "{link.own_address}"',
        f'root-certificates = "{link.root_certificates.absolute()}"',
    )
    (link.folder / "flwr" / "config.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _await_answer(link: SuperLink, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _STARTED_WITHIN_S
    context = ssl.create_default_context(cafile=str(link.root_certificates))
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(httpx.HTTPError):
            httpx.get(f"https://{link.own_address}/", verify=context, timeout=2)
            return
        time.sleep(_LOOK_AGAIN_S)
    raise Unavailable("the SuperLink did not start", hint="what it printed says why")


def _flwr(link: SuperLink, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [_program("flwr"), *arguments]
    return subprocess.run(  # noqa: S603 - Flower's own command
        command, env=link.environment(), capture_output=True, text=True, timeout=_COMMAND_S, check=False
    )


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines[-1][:200] if lines else f"exit code {done.returncode}"


def _program(name: str) -> str:
    """A command of Flower's that is installed beside this Python."""
    return str(Path(sys.executable).with_name(name))
