"""A process for native code that works on strangers' numbers: it may die or hang, and one question alone fails.

* It **crashes** (a signal such as SIGSEGV or SIGABRT) or answers **too late**: ``QueryMalformed``, at once. The
  question did it, and asking again would do it again.
* It is **gone** for another reason (killed, out of memory): it is started again and asked again, ``ATTEMPTS`` times,
  then ``ScoringUnavailable``.

Whatever happened, the next question finds a new process. Down the line go our own objects; what comes up is bytes,
never a pickle: a process that was taken over gains nothing here but wrong bytes, which whoever asked must check.
"""

from __future__ import annotations

import multiprocessing
import resource
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from time import sleep
from typing import Protocol

import structlog

from twinward.core.child_processes import without_working_directory
from twinward.similarity.errors import QueryMalformed, ScoringUnavailable
from twinward_crypto.errors import CryptoError, MalformedBundle
from twinward_crypto.homomorphic.parameters import MAX_BUNDLE_BYTES

ATTEMPTS = 3
"""How often a process that dies through no fault of the question is asked it."""
PAUSE_S = 0.1
"""Before another attempt, longer each time: that the server which forks was killed shows a moment after."""
PATIENCE_S = 120.0
"""How long a question may wait for its turn, and then take: far more than any honest one."""
START_PATIENCE_S = 600.0
"""How long a process may take to load what it serves."""
CRASHES = frozenset(
    {signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV, signal.SIGSYS, signal.SIGTRAP}
)

_READY, _ANSWER, _REFUSAL = b"r", b"a", b"x"
_REFUSAL_MAX = 500
# A server that forks: it has loaded what scores and nothing that was given it, so a new process takes milliseconds, and
# inherits no secret.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["__main__", "twinward.similarity.scoring.preloaded"])
_STARTING = threading.Lock()
"""Starting a process polls every other child, which must not meet a thread that is waiting for one of them."""

log = structlog.get_logger("twinward.similarity")


class Worker(Protocol):
    """What a child runs."""

    def answer(self, *question: object) -> bytes:
        """The answer. Raises ``CryptoError`` for what is wrong with the question."""
        ...


class Child:
    """One process, started at once and again when it is gone; asked one question at a time.

    Args:
        make: makes the worker, in the process. It and its arguments are pickled.
        arguments: what ``make`` is given.
        patience_s: how long a question may take.
    """

    def __init__(self, make: Callable[..., Worker], *arguments: object, patience_s: float = PATIENCE_S) -> None:
        self._make, self._arguments, self._patience_s = make, arguments, patience_s
        self._asking = threading.Lock()
        self._process: BaseProcess | None = None
        self._line: Connection | None = None
        self._ready = False
        with suppress(OSError, EOFError):  # no process to be had: whoever asks tries again, and is told
            self._start()

    @property
    def pid(self) -> int | None:
        """The process; None where none runs."""
        process = self._process
        return process.pid if process else None

    def ask(self, *question: object) -> bytes:
        """The worker's answer: bytes to be checked.

        Raises:
            MalformedBundle: what the worker says is wrong with the question.
            QueryMalformed: it crashed over the question, or answered too late.
            ScoringUnavailable: it keeps dying, or too many wait.
        """
        if not self._asking.acquire(timeout=self._patience_s):
            raise ScoringUnavailable("too many queries wait to be scored", hint="ask again later")
        try:
            for attempt in range(ATTEMPTS):
                sleep(attempt * PAUSE_S)
                try:
                    return self._exchange(self._awaited(), question)
                except (EOFError, OSError):
                    self._judge(self._end())
            raise ScoringUnavailable("a process that scores keeps dying")
        finally:
            self._asking.release()

    def close(self) -> None:
        """End the process. Idempotent."""
        self._end()

    def _start(self) -> Connection:
        line, theirs = _PROCESSES.Pipe()
        process = _PROCESSES.Process(target=_serve, args=(theirs, self._make, self._arguments), daemon=True)
        try:
            with _STARTING, without_working_directory():
                process.start()
        except (OSError, EOFError):
            line.close()
            raise
        finally:
            theirs.close()
        self._line, self._process, self._ready = line, process, False
        return line

    def _awaited(self) -> Connection:
        """The line to a worker that has been made. A process that dies before it is asked is no question's fault."""
        if self._ready and self._line and self._line.poll():
            self._end()  # nothing was asked: the other end is gone
        line = self._line or self._start()
        if not self._ready:
            if not line.poll(START_PATIENCE_S) or line.recv_bytes(len(_READY)) != _READY:
                self._end()
                raise EOFError
            self._ready = True
        return line

    def _exchange(self, line: Connection, question: tuple[object, ...]) -> bytes:
        line.send(question)
        if not line.poll(self._patience_s):
            self._end()
            log.error("a query was given up: it took too long", patience_s=self._patience_s)
            raise QueryMalformed("scoring this query took longer than any may", hint=_HINT)
        answer = line.recv_bytes(MAX_BUNDLE_BYTES + 1)
        if answer[:1] == _ANSWER:
            return answer[1:]
        raise MalformedBundle(answer[1 : 1 + _REFUSAL_MAX].decode("ascii", "replace"))

    def _end(self) -> int | None:
        """How the process ended, which is made sure of. None where there was none, or it had not begun to work."""
        line, process, worked = self._line, self._process, self._ready
        self._line, self._process, self._ready = None, None, False
        if line is not None:
            line.close()
        if process is None:
            return None
        with _STARTING:
            process.join(1)  # one that crashed is on its way; one that lives has nothing to hold on to
            process.kill()
            process.join()
            code = process.exitcode
            process.close()
        return code if worked else None

    def _judge(self, code: int | None) -> None:
        if code is not None and -code in CRASHES:
            log.error("a query ended the process that scored it", signal=signal.Signals(-code).name)
            raise QueryMalformed("this query cannot be scored: it ended the process that tried", hint=_HINT)


_HINT = "make the query with the twinward client: it was charged"


def _serve(line: Connection, make: Callable[..., Worker], arguments: tuple[object, ...]) -> None:
    """The process: answer until the other end hangs up, or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever asks
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # what it holds goes into no core file
    try:
        worker = make(*arguments)
    except CryptoError:
        return  # what it should serve is gone or altered: whoever asks will find nobody there
    line.send_bytes(_READY)
    while True:
        try:
            question = line.recv()
        except (EOFError, OSError):
            return
        try:
            answer = _ANSWER + worker.answer(*question)
        except CryptoError as error:
            answer = _REFUSAL + str(error).encode("ascii", "replace")
        line.send_bytes(answer)
