"""Deriving the whole log again for the page Verify: at once where that is quick, else beside the page, which says how
far it is.

What came of it is kept in this process's memory until somebody has it done once more; another process derives for
itself. A restart forgets it, and the page begins anew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

import structlog

from twinward.audit.errors import LogTampered
from twinward.audit.status import VerifyReport
from twinward.console.viewer import message
from twinward.core.clock import Clock
from twinward.core.errors import TwinwardError

AT_ONCE: Final = 2_000
"""Entries that are derived while the page is waited for: some hundredths of a second."""

log = structlog.get_logger("twinward.console")


class Verify(Protocol):
    """What derives a log; ``Audit.verify`` is one."""

    def __call__(self, *, told: Callable[[int, int], None]) -> VerifyReport:
        """Raises ``LogTampered``, ``Unavailable``."""
        ...


@dataclass(frozen=True, slots=True)
class Derived:
    """How it stands.

    Attributes:
        running: whether it goes on; ``done`` of ``of`` leaves are hashed.
        at_ms: when what came of it last was begun; 0 where nothing has.
        report: what came of it: the log is what was signed.
        fault: or it is not.
        trouble: or it could not be done.
    """

    running: bool = False
    done: int = 0
    of: int = 0
    at_ms: int = 0
    report: VerifyReport | None = None
    fault: LogTampered | None = None
    trouble: str = ""


class Derivation:
    """Derives one log, one time at a time. ``told`` hears of a log that is not what was signed."""

    def __init__(self, verify: Verify, clock: Clock, told: Callable[[LogTampered], None]) -> None:
        self._verify, self._clock, self._told = verify, clock, told
        self._mutex = threading.Lock()
        self._now = Derived()

    @property
    def now(self) -> Derived:
        """How it stands."""
        return self._now

    def at_once(self) -> Derived:
        """Derive it and wait. Raises ``Unavailable``."""
        return self._derived(lambda _done, _of: None)

    def begin(self, size: int) -> None:
        """Have it done beside, if it is not under way."""
        with self._mutex:
            if self._now.running:
                return
            self._now = replace(self._now, running=True, done=0, of=size)
        threading.Thread(target=self._run, name="derivation", daemon=True).start()

    def _run(self) -> None:
        failed = Derived(at_ms=self._clock.now_ms(), trouble=message("something failed in the node"))
        try:
            self._now = self._derived(self._further)
        except TwinwardError as error:
            self._now = replace(failed, trouble=error.outside()[0])
        except Exception as error:  # noqa: BLE001 - a boundary: the page says that it failed, the node's log its kind
            log.error("defect", kind=type(error).__name__)  # noqa: TRY400 - its text may hold data
            self._now = failed

    def _derived(self, told: Callable[[int, int], None]) -> Derived:
        begun = Derived(at_ms=self._clock.now_ms())
        try:
            return replace(begun, report=self._verify(told=told))
        except LogTampered as error:
            self._told(error)
            return replace(begun, fault=error)

    def _further(self, done: int, of: int) -> None:
        self._now = replace(self._now, done=done, of=of)
