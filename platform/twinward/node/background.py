"""What a served node does by itself: sign its log now and then, and be heard from however quiet it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

import structlog

LEAD = 0.9
"""Heartbeats come a tenth earlier than promised, so that a slow disk breaks no promise."""

REST_FACTOR = 20
"""A check rests this many times as long as it took."""

log = structlog.get_logger("twinward.node.background")


class _Status(Protocol):
    @property
    def pending(self) -> int: ...

    @property
    def cosigned(self) -> int: ...

    @property
    def witnesses(self) -> int: ...


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


THREADS = "background "
"""How the names of its threads begin: what they do is nobody's request."""


class _Regular:
    """A thread that beats at an interval until it is left."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=THREADS + type(self).__name__.lower(), daemon=True)

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
        raise NotImplementedError


class Pulse(_Regular):
    """Signs, has cosigned and anchors. Survives every failure: the next beat tries again, the log keeps what is to do.

    Args:
        audit: what is kept going.
        interval_s: seconds between beats.
    """

    def __init__(self, audit: Beating, interval_s: float) -> None:
        super().__init__(interval_s)
        self._audit = audit

    def beat(self) -> None:
        """One beat. Never raises."""
        try:
            status = self._audit.status()
            if status.pending == 0 and status.cosigned >= status.witnesses:
                return  # otherwise a witness that was down is asked again
            outcome = self._audit.checkpoint_and_anchor()
        except Exception as error:  # noqa: BLE001 - the heart goes on
            log.error("checkpoint_failed", kind=type(error).__name__)  # noqa: TRY400 - its text may hold data
            return
        if outcome.problem:
            log.warning("anchor_waits", pending=outcome.pending)
        else:
            log.info("anchored")


class Summaries(_Regular):
    """Has it said, at an interval, what was only counted: so that a flood that stops is in the log all the same.

    Args:
        say: writes what there is to say; never raises.
        interval_s: seconds between two.
    """

    def __init__(self, say: Callable[[], None], interval_s: float) -> None:
        super().__init__(interval_s)
        self._say = say

    def beat(self) -> None:
        """One beat."""
        self._say()


class Following(_Regular):
    """Follows, at an interval, what other processes did.

    Args:
        follow: looks and does what is due.
        interval_s: seconds between two looks.
    """

    def __init__(self, follow: Callable[[], None], interval_s: float) -> None:
        super().__init__(interval_s)
        self._follow = follow

    def beat(self) -> None:
        """One look. Never raises."""
        try:
            self._follow()
        except Exception as error:  # noqa: BLE001 - the heart goes on
            log.error("following_failed", kind=type(error).__name__)  # noqa: TRY400 - its text may hold data


class Checks(_Regular):
    """Checks everything there is: at once, and again after a rest that is long beside the check.

    Args:
        check: does it; asks now and then whether to go on.
        interval_s: the least rest between two, in seconds.
    """

    def __init__(self, check: Callable[[Callable[[], bool]], object], interval_s: float) -> None:
        super().__init__(interval_s)
        self._check = check

    def _run(self) -> None:
        rest_s = 0.0
        while not self._stopping.wait(rest_s):
            began = time.monotonic()
            self.beat()
            rest_s = max(self._interval_s, REST_FACTOR * (time.monotonic() - began))

    def beat(self) -> None:
        """One check. Never raises."""
        try:
            self._check(lambda: not self._stopping.is_set())
        except Exception as error:  # noqa: BLE001 - the heart goes on
            log.error("log_check_failed", kind=type(error).__name__)  # noqa: TRY400 - its text may hold data


class Indexing(_Regular):
    """Takes the log into the index of events, the older ones too: at once, and again after a failure.

    Args:
        deepen: takes in as long as it may; asks now and then whether to go on.
        interval_s: the rest before it is tried again.
    """

    def __init__(self, deepen: Callable[[Callable[[], bool]], object], interval_s: float) -> None:
        super().__init__(interval_s)
        self._deepen = deepen

    def _run(self) -> None:
        rest_s = 0.0
        while not self._stopping.wait(rest_s):
            self.beat()
            rest_s = self._interval_s

    def beat(self) -> None:
        """Take in what is missing. Never raises."""
        try:
            self._deepen(lambda: not self._stopping.is_set())
        except Exception as error:  # noqa: BLE001 - the heart goes on
            log.error("indexing_failed", kind=type(error).__name__)  # noqa: TRY400 - its text may hold data


class FollowUps(_Regular):
    """Follows something up: at once, at an interval, and whenever it is woken because something has begun.

    Args:
        follow_up: does what is due; never raises.
        interval_s: seconds between two looks.
    """

    def __init__(self, follow_up: Callable[[], object], interval_s: float) -> None:
        super().__init__(interval_s)
        self._follow_up = follow_up
        self._woken = threading.Event()
        self._woken.set()

    def wake(self) -> None:
        """Look now."""
        self._woken.set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; returns once a look that has begun is over."""
        self._stopping.set()
        self._woken.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._woken.wait(self._interval_s)
            self._woken.clear()
            if not self._stopping.is_set():
                self.beat()

    def beat(self) -> None:
        """One look. Never raises."""
        try:
            self._follow_up()
        except Exception as error:  # noqa: BLE001 - the heart goes on
            log.error("follow_up_failed", kind=type(error).__name__)  # noqa: TRY400 - its text may hold data


class Heartbeats(_Regular):
    """Writes a heartbeat into the log at once and then at an interval, so that a silence shows.

    Args:
        write: appends one heartbeat.
        interval_s: seconds between heartbeats, as each of them promises.
    """

    def __init__(self, write: Callable[[], None], interval_s: float) -> None:
        super().__init__(interval_s * LEAD)
        self._write = write

    def __enter__(self) -> Self:
        self.beat()
        return super().__enter__()

    def beat(self) -> None:
        """One heartbeat. Never raises: a log that cannot be written refuses accesses by itself."""
        try:
            self._write()
        except Exception as error:  # noqa: BLE001 - the heart goes on
            log.error("heartbeat_failed", kind=type(error).__name__)  # noqa: TRY400 - its text may hold data
