"""Whether a node can answer now: each store it needs is asked for something that is not there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import structlog

from twinward.core.clock import Clock
from twinward.core.errors import TwinwardError, Unavailable
from twinward.core.vocabulary import RecordId, TwinId
from twinward.node.errors import translated
from twinward.node.node import Node

KEPT_MS = 1000
_NOBODY = "00000000-0000-7000-8000-000000000000"

log = structlog.get_logger("twinward.node")


class Readiness:
    """Asks at most once in ``KEPT_MS``, and never twice at the same time: anybody may call, and a dead store is slow.

    Args:
        probes: by the name of what each asks; one raises ``TwinwardError`` where that does not answer.
        clock: the node's.
    """

    def __init__(self, probes: Mapping[str, Callable[[], object]], clock: Clock) -> None:
        self._probes = probes
        self._clock = clock
        self._asking = threading.Lock()
        self._asked_ms: int | None = None
        self._silent = ""

    def require(self) -> None:
        """Raises ``Unavailable`` where a store does not answer; which one is in the node's log and told to nobody."""
        if self._asking.acquire(blocking=False):
            try:
                self._ask()
            finally:
                self._asking.release()
        if self._asked_ms is None or self._silent:
            raise Unavailable("this node is not ready")

    def _ask(self) -> None:
        now_ms = self._clock.now_ms()
        if self._asked_ms is not None and 0 <= now_ms - self._asked_ms < KEPT_MS:
            return
        silent = next((name for name, probe in self._probes.items() if not _answers(probe)), "")
        if silent != self._silent:
            log.warning("readiness", ready=not silent, silent=silent)
        self._silent, self._asked_ms = silent, now_ms


def readiness_of(node: Node) -> Readiness:
    """What a node needs to answer anybody: records, their keys, the log, accounts. Key services are not asked."""
    probes = {
        "records": lambda: node.store.latest(RecordId("none")),
        "keyring": lambda: node.keyring.is_shredded(TwinId(_NOBODY)),
        "log": node.log.latest,
        "accounts": lambda: node.accounts.role_of("none"),
    }
    return Readiness(probes, node.clock)


def _answers(probe: Callable[[], object]) -> bool:
    try:
        with translated():
            probe()
    except TwinwardError:
        return False
    return True
