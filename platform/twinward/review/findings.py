"""What officers found and asked so far, read off the log as it grows: whole for reviews, as counts for every page.

Kept nowhere but in the log, so every process knows the same; reading on costs one look at what carries the action's
tag since the last time. Opens no care data and names no patient.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Protocol

from twinward.audit.errors import LogTampered
from twinward.audit.models import Noted
from twinward.core.errors import Unavailable
from twinward.review.models import ReviewCase
from twinward.review.register import ReviewRegister


class ReviewLog(Protocol):
    """Where findings are read back."""

    def size(self) -> int:
        """How many entries the log has. Raises ``Unavailable``."""
        ...

    def between(self, start: int, stop: int) -> list[Noted]:
        """Those of ``start <= index < stop``, oldest first. Raises ``Unavailable``, ``LogTampered``."""
        ...


class Findings:
    """The findings of one node. Safe to share between threads."""

    def __init__(self, log: ReviewLog) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._register, self._next = ReviewRegister(), 0

    def cases(self) -> dict[int, ReviewCase]:
        """All of them, by the visit's first event. Raises ``Unavailable``, ``LogTampered``."""
        with self._lock:
            self._follow()
            return dict(self._register.cases)

    def asked_of(self, account: str) -> int:
        """How many questions wait for this account's answer; as of last time where the log does not answer."""
        with self._lock:
            self._followed()
            return len(self._register.asked.get(account, ()))

    def answered(self) -> list[ReviewCase]:
        """Cases that were answered and that no officer has closed since, the oldest answer first; as ``asked_of``."""
        with self._lock:
            self._followed()
            return [self._register.cases[index] for index in self._register.answered]

    def _followed(self) -> None:
        with suppress(Unavailable, LogTampered):  # a number beside other things is no reason to show nothing of these
            self._follow()

    def _follow(self) -> None:
        size = self._log.size()
        if size < self._next:  # another log than before: a backup was restored
            self._register, self._next = ReviewRegister(), 0
        if size > self._next:
            for noted in self._log.between(self._next, size):
                self._register.note(noted)
            self._next = size
