"""The whole log, checked again and again while a node is served, and what came of it last.

A page shows the newest events, and holds those against their leaves. Whoever alters an older one is found here: every
leaf is hashed again and held against everything that was signed, every event is opened and held against its leaf, and
the small stores are held against what the log recorded of them. What is known is kept in memory: a file that says that
all is well could be written by whoever altered the log.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from twinward.audit.errors import LogTampered
from twinward.audit.interfaces import Head
from twinward.audit.proofs.verification import VerifyReport
from twinward.core.clock import Clock
from twinward.core.errors import StoreAltered, TwinwardError
from twinward_crypto.errors import CryptoError
from twinward_ledger.errors import LedgerError

BREATH_EVERY = 64
BREATH_S = 0.002
"""A check in the background lets requests go first: it rests this long after so many events."""


@dataclass(frozen=True, slots=True)
class LastCheck:
    """What is known of the whole log.

    Attributes:
        size: how many events the last whole check covered; 0 before the first.
        at_ms: when it began.
        fault: what is not as it was signed or recorded; empty where all is. It stays until a later check finds none.
        trouble: why the check after that could not be made; empty where it could.
    """

    size: int = 0
    at_ms: int = 0
    fault: str = ""
    trouble: str = ""


class _Verifiable(Protocol):
    def verify(self, *, deep: bool, going_on: Callable[[], bool]) -> VerifyReport: ...


class LogCheck:
    """Checks one node's log. Safe to share between threads; one check at a time.

    Args:
        audit: the trail.
        verify_stores: holds the small stores against the heads that the log recorded of them.
        clock: the node's.
    """

    def __init__(self, audit: _Verifiable, verify_stores: Callable[[Mapping[str, Head]], object], clock: Clock) -> None:
        self._audit = audit
        self._verify_stores = verify_stores
        self._clock = clock
        self._running = threading.Lock()
        self._last = LastCheck()

    @property
    def last(self) -> LastCheck:
        """What came of it last."""
        return self._last

    def run(self, going_on: Callable[[], bool] = lambda: True) -> LastCheck:
        """Check everything. Whatever it finds is in what it returns; it does not raise for that.

        Args:
            going_on: asked now and then; False gives the check up.
        """
        with self._running:
            at_ms = self._clock.now_ms()
            try:
                report = self._audit.verify(deep=True, going_on=_breathing(going_on))
                self._verify_stores(report.heads)
            except (LogTampered, StoreAltered) as error:
                self._last = LastCheck(self._last.size, at_ms, fault=str(error))
            except (TwinwardError, LedgerError, CryptoError) as error:
                self._last = replace(self._last, trouble=str(error))
            else:
                self._last = LastCheck(report.size, at_ms)
            return self._last

    def note(self, error: LogTampered) -> None:
        """Keep what another look at the log found."""
        with self._running:
            self._last = replace(self._last, fault=str(error))


def _breathing(going_on: Callable[[], bool]) -> Callable[[], bool]:
    asked = 0

    def ask() -> bool:
        nonlocal asked
        asked += 1
        if asked % BREATH_EVERY == 0:
            time.sleep(BREATH_S)
        return going_on()

    return ask
