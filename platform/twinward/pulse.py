"""The node's heartbeat: now and then the log is signed, cosigned and anchored, if anything new is in it."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Protocol, Self

import structlog

log = structlog.get_logger("twinward.pulse")


class _Status(Protocol):
    @property
    def pending(self) -> int: ...


class _Outcome(Protocol):
    @property
    def pending(self) -> int: ...

    @property
    def problem(self) -> str: ...


class Beating(Protocol):
    """What is kept going; ``twinward.audit.service.Audit`` is one."""

    def status(self) -> _Status:
        """How far the log is anchored."""
        ...

    def checkpoint_and_anchor(self) -> _Outcome:
        """Sign, have cosigned, anchor."""
        ...


class Pulse:
    """A thread that survives every failure: the next beat tries again, and the log keeps what is still to be done.

    Args:
        audit: what is kept going.
        interval_s: seconds between beats.
    """

    def __init__(self, audit: Beating, interval_s: float) -> None:
        self._audit = audit
        self._interval_s = interval_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; returns once a beat that has begun is over, so that its files may be closed."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_s):
            self.beat()

    def beat(self) -> None:
        """One beat. Never raises."""
        try:
            if self._audit.status().pending == 0:
                return
            outcome = self._audit.checkpoint_and_anchor()
        except Exception as error:  # noqa: BLE001 - the heart goes on
            log.error("checkpoint_failed", kind=type(error).__name__)  # noqa: TRY400 - its text may hold data
            return
        if outcome.problem:
            log.warning("anchor_waits", pending=outcome.pending)
        else:
            log.info("anchored")
