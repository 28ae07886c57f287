"""Kernels that a node lacks are compiled while it serves, in a process of their own: no request waits for them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from twinward_crypto.kernels.place import versions
from twinward_crypto.kernels.store import prepare, unusable

log = structlog.get_logger("twinward.node.kernels")


@contextmanager
def compiled_beside() -> Iterator[None]:
    """Within it a process compiles what is missing; it ends with it. What is prepared afterwards is scored by them."""
    if not (unusable() and versions()):
        yield
        return
    command = [sys.executable, "-P", "-m", prepare.__module__.rpartition(".")[0]]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:  # noqa: S603 - ours
        log.info("kernels are being compiled: until then encrypted queries are scored by plain code", why=unusable())
        try:
            yield
        finally:
            process.kill()
