"""Twins' changes as server-sent events (the WHATWG HTML standard, section 9.2).

``id`` is where to resume (``Last-Event-ID``); ``event: twin`` carries the twin as the subscriber may see it; ``event:
end`` says why nothing more will come. Comments are heartbeats. A client that is slow to read slows nobody but itself:
changes are looked up when it is ready for them, never queued.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Protocol

import anyio
from anyio import to_thread
from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from twinward.api.http.representation import JSON, accept_of
from twinward.core.errors import BadInput, Busy, TwinwardError
from twinward.core.media_types import preferred
from twinward.twins.state.states import TwinState
from twinward.twins.state.subscriptions import TwinChange

MEDIA_TYPE = "text/event-stream"
POLL_S = 0.5
POLLS_PER_BEAT = 30
"""A heartbeat every 15 seconds of silence."""
RETRY_MS = 2000
MOST_STREAMS, OF_ONE_ACCOUNT = 64, 16
_LAST_EVENT = "last-event-id"


class Following(Protocol):
    """One subscription; see ``twinward.twins.state.subscriptions``."""

    @property
    def resume(self) -> int:
        """Where to resume after what was told."""
        ...

    def poll(self) -> Iterator[TwinChange]:
        """What happened since, each looked up, and decided, when it is asked for."""
        ...


class EventStreams:
    """Serves subscriptions, so many at once; so many of one account, that none takes all places."""

    def __init__(self, *, most: int = MOST_STREAMS, of_one: int = OF_ONE_ACCOUNT) -> None:
        self._most = most
        self._of_one = of_one
        self._open: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def open(self) -> int:
        """How many there are now."""
        return self._open.total()

    def serve(
        self,
        account: str,
        begin: Callable[[], Following],
        still_signed_in: Callable[[], None],
        shown: Callable[[TwinState], Mapping[str, Any]],
    ) -> StreamingResponse:
        """A response that streams until the client goes or leave is withdrawn.

        Args:
            account: whose it is.
            begin: starts the subscription; a refusal is raised from here, as any route's.
            still_signed_in: raises once the caller's token is no longer good.
            shown: a twin's state as JSON.

        Raises:
            Busy: as many streams are open as this node serves, or serves one account.
        """
        with self._lock:
            if self.open >= self._most:
                raise Busy(
                    f"{self._most} event streams are open, the most this node serves", hint="close one, or try later"
                )
            if self._open[account] >= self._of_one:
                raise Busy(f"{self._of_one} event streams of this account are open, the most it may", hint="close one")
            self._open[account] += 1
        try:
            return _Stream(_frames(begin(), still_signed_in, shown), lambda: self._close(account))
        except BaseException:
            self._close(account)
            raise

    def _close(self, account: str) -> None:
        with self._lock:
            self._open[account] -= 1
            if not self._open[account]:
                del self._open[account]


class _Stream(StreamingResponse):
    """Gives its place back however it ends, even before its first byte."""

    def __init__(self, frames: AsyncIterator[bytes], on_close: Callable[[], None]) -> None:
        super().__init__(frames, media_type=MEDIA_TYPE, headers={"x-accel-buffering": "no"})
        self._on_close = on_close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._on_close()


def wants_events(request: Request) -> bool:
    """Whether ``Accept`` would rather have events than the state."""
    chosen = preferred(accept_of(request), (JSON, MEDIA_TYPE))
    return chosen is not None and chosen.name == MEDIA_TYPE


def last_event(request: Request) -> int | None:
    """What ``Last-Event-ID`` says; None without one. Raises ``BadInput``."""
    text = request.headers.get(_LAST_EVENT, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise BadInput("Last-Event-ID is not an id of this stream", hint="leave it out to follow from now")
    return int(text)


async def _frames(
    following: Following, still_signed_in: Callable[[], None], shown: Callable[[TwinState], Mapping[str, Any]]
) -> AsyncIterator[bytes]:
    yield f"retry: {RETRY_MS}\n".encode() + _frame("ready", {}, following.resume)
    silent = 0
    while True:
        told = following.poll()
        silent += 1
        try:
            while (one := await to_thread.run_sync(_next, told, still_signed_in)) is not None:
                yield _frame("twin", shown(one.state), one.resume)
                silent = 0
        except TwinwardError as error:
            # Headers are sent long since: the end is said within the stream, in the words of any refusal.
            message, hint = error.outside()
            said = {"kind": type(error).__name__, "message": message, "hint": hint}
            yield _frame("end", {"error": said}, None)
            return
        if silent >= POLLS_PER_BEAT:
            yield b": still here\n\n"
            silent = 0
        await anyio.sleep(POLL_S)


def _next(told: Iterator[TwinChange], still_signed_in: Callable[[], None]) -> TwinChange | None:
    still_signed_in()
    return next(told, None)


def _frame(event: str, data: Mapping[str, Any], resume: int | None) -> bytes:
    where = "" if resume is None else f"id: {resume}\n"
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return f"{where}event: {event}\ndata: {text}\n\n".encode()
