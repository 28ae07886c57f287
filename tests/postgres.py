"""A real PostgreSQL server for tests: its own data folder, a free port, fsync on, gone when the tests end."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.tools import require

DEBIAN_BIN = Path("/usr/lib/postgresql/15/bin")
START_S = 60
GUARDED = "guarded"
"""A user whom the server asks for a password when he comes over TCP. A test makes him."""


@dataclass
class Postgres:
    """One server. Tests ask for a ``database`` of their own."""

    programs: Path
    folder: Path
    port: int
    fsync: str = "on"
    process: subprocess.Popen[bytes] | None = None
    _names: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def uri(self, database: str) -> str:
        host = str(self.folder).replace("/", "%2F")
        return f"postgresql://twinward@{host}:{self.port}/{database}"

    def guarded_uri(self, database: str) -> str:
        """Over TCP, as a user whom the server asks for a password."""
        return f"postgresql://{GUARDED}@127.0.0.1:{self.port}/{database}"

    def database(self) -> str:
        """The URI of a new, empty database."""
        name = f"test_{next(self._names)}"
        with psycopg.connect(self.uri("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
        return self.uri(name)

    def start(self) -> None:
        command = [
            *(str(self.programs / "postgres"), "-D", str(self.data), "-k", str(self.folder), "-p", str(self.port)),
            *("-c", "listen_addresses=127.0.0.1", "-c", f"fsync={self.fsync}", "-c", "max_connections=60"),
        ]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", **_account())
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                pytest.fail(f"postgres ended at once: {(self.folder / 'log').read_text()[-2000:]}")
            try:
                psycopg.connect(self.uri("postgres")).close()
                return
            except psycopg.OperationalError:
                time.sleep(0.05)
        pytest.fail(f"postgres did not answer within {START_S} s")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: fast shutdown; SIGQUIT: at once, without a checkpoint; SIGKILL: every process dies."""
        assert self.process is not None
        children = _children(self.process.pid)
        self.process.send_signal(how)
        if how is signal.SIGKILL:  # as a power cut would: everything at once
            for child in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(child), how)
        self.process.wait(60)
        self.process = None
        # A new postmaster does not start beside what is left of the old one.
        deadline = time.monotonic() + 30
        while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < deadline:
            time.sleep(0.02)


@contextmanager
def running_postgres(*, fsync: str = "on") -> Iterator[Postgres]:
    programs = Path(require("postgres", install="Debian package postgresql", beside=DEBIAN_BIN)).parent
    account = _account()
    folder = Path(tempfile.mkdtemp(prefix="twpg-"))
    try:
        if account:
            os.chown(folder, account["user"], account["group"])
        initdb = [str(programs / "initdb"), "-D", str(folder / "data"), "-U", "twinward", "--auth=trust"]
        options = ["--encoding=UTF8", "--locale=C.UTF-8"]
        subprocess.run([*initdb, *options], check=True, stdout=subprocess.DEVNULL, cwd="/", **account)
        rules = folder / "data" / "pg_hba.conf"
        rules.write_text(f"host all {GUARDED} 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
        server = Postgres(programs, folder, _free_port(), fsync)
        server.start()
        try:
            yield server
        finally:
            if server.process is not None:
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _account() -> dict[str, Any]:
    """Who runs the server: PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        except KeyError:
            continue
    pytest.fail("root cannot run postgres, and there is no account postgres or nobody")


def _children(parent: int) -> list[str]:
    return Path(f"/proc/{parent}/task/{parent}/children").read_text().split()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
