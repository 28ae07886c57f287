"""Works that go on beside whoever waits for them: one after another in a thread, and how far each is.

All of it is in memory: a process that is killed forgets what it was at. What must not be forgotten is written down
where it lasts, the log say, before it is begun here, and begun again by whoever finds it undone.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from twinward.core.errors import TwinwardError
from twinward.core.sentences import sentence

Told = Callable[[int, int], None]
"""Hears how much is done, and of how much; it does not return where the process ends."""
_REMEMBERED: Final = 100
_ENDING_S: Final = 10.0
MOST_AT_ONCE: Final = 32
OF_ONE_ACCOUNT: Final = 4
"""Works that wait or are under way, of people: of all, and of one."""
MOMENT_S: Final = 0.1
"""How long a page waits for what may be quick."""

log = structlog.get_logger("twinward.beside")


class _EndingError(Exception):
    """The process ends: what is under way is left."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a work stands.

    Attributes:
        running: it is under way, or waits for its turn; ``done`` of ``of`` is done.
        trouble: why it could not be done, or not begun; empty where it was, or was never asked for.
        may_begin: whoever looks may have it begun: nothing went wrong with it itself.
    """

    running: bool = False
    done: int = 0
    of: int = 0
    trouble: str = ""
    may_begin: bool = True


class Beside:
    """Does works, one at a time, each under a name of its own.

    So many wait or are under way at most, and so many of them of one account; the node's own are not counted.
    """

    def __init__(self, *, most: int = MOST_AT_ONCE, of_one: int = OF_ONE_ACCOUNT) -> None:
        self._most, self._of_one = most, of_one
        self._asked: Counter[str] = Counter()
        self._mutex = threading.Condition()
        self._queue: deque[tuple[str, str, Callable[[Told], object]]] = deque()
        self._standings: OrderedDict[str, Standing] = OrderedDict()
        self._thread: threading.Thread | None = None
        self._ending = False

    def standing(self, name: str, wait_s: float = 0.0) -> Standing:
        """How a work stands, once it is done or so long has passed: a quick one is not told of as long work."""
        if wait_s:
            with self._mutex:
                self._mutex.wait_for(lambda: not self.standing(name).running, wait_s)
        return self._standings.get(name, Standing())

    def begin(self, name: str, of: int, work: Callable[[Told], object], *, by: str = "") -> None:
        """Have a work done, unless one of its name is under way. What it returns is nobody's: it keeps that itself.

        ``by``: the account that asks, empty for the node. Where it has asked for as many as it may, or all together
        have, nothing is begun, and the work's standing says so until somebody asks again.
        """
        with self._mutex:
            if self._ending or self.standing(name).running:
                return
            if by and (refusal := self._refusal(by)):
                self._stands(name, Standing(trouble=refusal))
                return
            self._stands(name, Standing(running=True, of=of))
            self._asked[by] += 1
            self._queue.append((name, by, work))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="beside", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Leave what is under way, at the next that is told of it; begin nothing more."""
        with self._mutex:
            self._ending = True
            self._queue.clear()
            running = self._thread
        if running is not None:
            running.join(_ENDING_S)

    def _refusal(self, account: str) -> str:
        if self._asked[account] >= self._of_one:
            return sentence("{count} works of this account wait already; look again in a minute", count=self._of_one)
        if self._asked.total() - self._asked[""] >= self._most:
            return sentence("as many works wait as this node takes; look again in a minute")
        return ""

    def _run(self) -> None:
        while (found := self._next()) is not None:
            name, by, work = found
            trouble = self._trouble_of(name, work)
            with self._mutex:
                self._stands(name, Standing(trouble=trouble, may_begin=not trouble))
                self._asked[by] -= 1
                if not self._asked[by]:
                    del self._asked[by]
                self._mutex.notify_all()

    def _next(self) -> tuple[str, str, Callable[[Told], object]] | None:
        with self._mutex:
            if self._queue:
                return self._queue.popleft()
            self._thread = None
            return None

    def _trouble_of(self, name: str, work: Callable[[Told], object]) -> str:
        def told(done: int, of: int) -> None:
            if self._ending:
                raise _EndingError
            self._standings[name] = Standing(running=True, done=done, of=of)

        try:
            work(told)
        except _EndingError:
            return ""
        except TwinwardError as error:
            return error.outside()[0]
        except Exception as error:  # noqa: BLE001 - a boundary: the page says that it failed, the node's log its kind
            log.error("defect", kind=type(error).__name__)  # noqa: TRY400 - its text may hold data
            return sentence("something failed in the node")
        return ""

    def _stands(self, name: str, standing: Standing) -> None:
        self._standings[name] = standing
        self._standings.move_to_end(name)
        ended = [one for one, its in self._standings.items() if not its.running]
        for old in ended[: max(0, len(self._standings) - _REMEMBERED)]:
            del self._standings[old]
