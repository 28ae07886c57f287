"""A file that is made while whoever waits for it is told how far it is: one answer, of lines and then the file.

    {"step": "proven", "done": 4200, "of": 10000}        any number of these
    {"name": "accesses-….pdf", "type": "…", "size": 123}  the last line, then so many bytes
    {"error": "…"}                                        or this as the last line, in the viewer's language

The answer is written in the event loop: however many wait for files, none of the threads that others are served by is
held.

Nothing of it is kept: no job, no file on disk that an erasure would have to find. Whichever process is asked makes it,
a restart or a reader who leaves ends it, and asking again is another access in the log (ADR 119).
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from contextvars import copy_context
from typing import Any, Final

import structlog
from starlette.requests import Request
from starlette.responses import StreamingResponse

from twinward.api.audit import MadeFile
from twinward.console.viewer import gettext
from twinward.core.errors import TwinwardError

KIND: Final = "application/vnd.twinward.file-in-progress"
"""What a script of the console asks for by ``Accept``; nobody else is given it."""
TOLD_EVERY_S: Final = 0.2
Told = Callable[[str, int, int], None]
"""Hears which step it is, how much of it is done, and of how much."""

log = structlog.get_logger("twinward.console")


def wants_progress(request: Request) -> bool:
    """Whether the script asks, which shows how far it is."""
    return request.headers.get("accept", "") == KIND


def streamed(make: Callable[[Told], MadeFile], said: Callable[[TwinwardError], str]) -> StreamingResponse:
    """The answer that carries a file in the making. ``said``: an error in the words of a page."""
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}  # nginx would keep the lines back otherwise
    return StreamingResponse(FileInTheMaking(make, said).lines(), media_type=KIND, headers=headers)


class _LeftAloneError(Exception):
    """Nobody waits for the file any more."""


class FileInTheMaking:
    """One file, in a thread of its own, and what is to be told of it."""

    def __init__(self, make: Callable[[Told], MadeFile], said: Callable[[TwinwardError], str]) -> None:
        self._make, self._said = make, said
        self._news: dict[str, Any] = {}
        self._left = False
        self._wake: Callable[[], object] = lambda: None
        self._file: MadeFile | None = None
        self._error = ""
        context = copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._work,), name="export", daemon=True)

    async def lines(self) -> AsyncIterator[bytes]:
        """The whole answer, begun when it is first asked for; whoever closes it before its end ends the work."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(ended.set)
        self._thread.start()
        try:
            shown: dict[str, Any] = {}
            while not ended.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), TOLD_EVERY_S)
                if not ended.is_set() and self._news != shown:
                    shown = self._news
                    yield _line(shown)
            if self._file is None:
                yield _line({"error": self._error})
                return
            file = self._file
            yield _line({"name": file.name, "type": file.media_type, "size": len(file.content)})
            yield file.content
        finally:
            self._left = True

    def _work(self) -> None:
        try:
            self._file = self._make(self._told)
        except _LeftAloneError:
            pass
        except TwinwardError as error:
            self._error = self._said(error)
        except Exception as error:  # noqa: BLE001 - a boundary: the page says that it failed, the node's log its kind
            log.error("defect", kind=type(error).__name__, method="GET")  # noqa: TRY400 - its text may hold data
            self._error = gettext("The file could not be made: something failed in the node. Nothing was handed out.")
        finally:
            with suppress(RuntimeError):  # the loop ended: nobody waits any more
                self._wake()

    def _told(self, step: str, done: int, of: int) -> None:
        if self._left:
            raise _LeftAloneError
        self._news = {"step": step, "done": done, "of": of}


def _line(said: dict[str, Any]) -> bytes:
    return json.dumps(said, ensure_ascii=False).encode() + b"\n"
