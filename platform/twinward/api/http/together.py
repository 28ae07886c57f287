"""Requests that wait are answered together, by one thread.

A thread for each request costs more than what most of them ask for: whoever wants the interpreter waits for whoever
has it, several times a request. So requests queue, and one thread answers all that wait, again and again, and hands
over all answers at once; while it waits for the disk, the event loop goes on. Who is alone is answered at once.

One that takes long holds up those that were taken along with it. Whoever else has waited for ``PATIENCE_S`` has another
thread come, up to ``MOST_THREADS``.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

Asked = TypeVar("Asked")
Given = TypeVar("Given")

MOST_AT_ONCE: Final = 16
"""Requests that are answered in one go: nobody waits for more than these."""
MOST_THREADS: Final = 8
PATIENCE_S: Final = 0.05
"""Much longer than answers usually take, so that one thread answers all while they do."""


@dataclass(eq=False, slots=True)
class _Ticket(Generic[Asked, Given]):
    """One request that waits, and for whom."""

    asked: Asked
    loop: asyncio.AbstractEventLoop
    given: asyncio.Future[Given]
    since_s: float = field(default_factory=time.monotonic)
    outcome: Given | Exception | None = None


class Together(Generic[Asked, Given]):
    """The queue in front of something that answers many requests at once. May be asked from any event loop.

    Args:
        answer: gives for each request, in their order, what it comes to, or what is raised to whoever asked.
        repeatable: whether answering again does no harm: where ``answer`` itself raises what nobody expected, perhaps
            for one of them, each is then asked by itself. Else all are told.
    """

    def __init__(
        self, answer: Callable[[Sequence[Asked]], Sequence[Given | Exception]], *, repeatable: bool = False
    ) -> None:
        self._answer = answer
        self._repeatable = repeatable
        self._waiting: deque[_Ticket[Asked, Given]] = deque()
        self._lock = threading.Lock()
        self._at_work = 0
        self._look_at_s = 0.0
        self._threads = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="together")

    async def ask(self, asked: Asked) -> Given:
        """What a request comes to. Raises what it comes to."""
        loop = asyncio.get_running_loop()
        ticket: _Ticket[Asked, Given] = _Ticket(asked, loop, loop.create_future())
        with self._lock:
            self._waiting.append(ticket)
            idle = not self._at_work
            self._at_work += idle
        if idle:
            try:
                self._have_somebody_come()
            except RuntimeError:
                if self._withdrawn(ticket):
                    raise
        elif ticket.since_s >= self._look_at_s:
            self._look_later(loop)
        return await ticket.given

    def _have_somebody_come(self) -> None:
        try:
            self._threads.submit(self._work)
        except RuntimeError:  # the machine has no thread to give: whoever asks next tries again
            with self._lock:
                self._at_work -= 1
            raise

    def _withdrawn(self, ticket: _Ticket[Asked, Given]) -> bool:
        """Take back what nobody has taken yet, so that it is not done behind its asker's back; whether that was so."""
        with self._lock:
            waits = ticket in self._waiting
            if waits:
                self._waiting.remove(ticket)
            return waits

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._look_at_s = time.monotonic() + PATIENCE_S
        loop.call_later(PATIENCE_S, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have another thread come where somebody has waited for long."""
        with self._lock:
            waits = bool(self._waiting)
            late = waits and time.monotonic() - self._waiting[0].since_s >= PATIENCE_S
            more = late and self._at_work < MOST_THREADS
            self._at_work += more
        if more:
            self._have_somebody_come()
        if waits:
            self._look_later(loop)

    def _work(self) -> None:
        """Answer until nobody waits."""
        while some := self._taken():
            for ticket, outcome in zip(some, self._answered([ticket.asked for ticket in some]), strict=True):
                ticket.outcome = outcome
            _hand_over(some)

    def _taken(self) -> Sequence[_Ticket[Asked, Given]]:
        """Those that wait longest; none where this thread is to leave."""
        with self._lock:
            some = [self._waiting.popleft() for _ in range(min(MOST_AT_ONCE, len(self._waiting)))]
            self._at_work = max(0, self._at_work - (not some))  # one that was given up may come after all
            return some

    def _answered(self, asked: Sequence[Asked]) -> Sequence[Given | Exception]:
        try:
            given = self._answer(asked)
        except Exception as error:  # noqa: BLE001 - raised to whoever asked
            if len(asked) == 1 or not self._repeatable:
                return [error] * len(asked)
            return [outcome for one in asked for outcome in self._answered([one])]
        if len(given) != len(asked):
            return [RuntimeError("not as many answers as requests")] * len(asked)
        return given


def _hand_over(some: Sequence[_Ticket[Asked, Given]]) -> None:
    for loop in {ticket.loop for ticket in some}:
        try:
            loop.call_soon_threadsafe(_give, [ticket for ticket in some if ticket.loop is loop])
        except RuntimeError:  # it is closed: nobody waits there any more
            continue


def _give(some: Sequence[_Ticket[Asked, Given]]) -> None:
    for ticket in some:
        if ticket.given.done():  # whoever asked went away
            continue
        if isinstance(ticket.outcome, Exception):
            ticket.given.set_exception(ticket.outcome)
        else:
            assert ticket.outcome is not None  # noqa: S101 - narrows the type: it was answered
            ticket.given.set_result(ticket.outcome)
