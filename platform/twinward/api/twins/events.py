"""Changes as server-sent events (the WHATWG HTML standard, section 9.2): twins', and what else is told.

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
from starlette.types import Message, Receive, Scope, Send

from twinward.api.http.representation import JSON, accept_of
from twinward.core.errors import BadInput, Busy, TwinwardError
from twinward.core.media_types import preferred
from twinward.core.one_look import one_look
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


class Telling(Protocol):
    """What a stream sends, frame by frame. ``timeout_s`` is within which a frame must be taken; 0 for any time."""

    @property
    def timeout_s(self) -> int:
        """Within which a frame must be taken."""
        ...

    def begin(self) -> bytes:
        """The first frame."""
        ...

    def poll(self) -> Iterator[bytes]:
        """What happened since, each looked up, and decided, when it is asked for."""
        ...

    def end(self, error: TwinwardError) -> bytes:
        """The last frame: why nothing more will come."""
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
        """A response that tells of twins. ``shown`` is a twin's state as JSON; the rest is as of ``tell``."""
        return self.tell(account, lambda: _Twins(begin(), shown), still_signed_in)

    def tell(
        self, account: str, begin: Callable[[], Telling], still_signed_in: Callable[[], None]
    ) -> StreamingResponse:
        """A response that streams until the client goes or leave is withdrawn.

        Args:
            account: whose it is.
            begin: starts what is told; a refusal is raised from here, as any route's.
            still_signed_in: raises once the caller's token is no longer good.

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
            telling = begin()
            return _Stream(_frames(telling, still_signed_in), lambda: self._close(account), telling.timeout_s)
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

    def __init__(self, frames: AsyncIterator[bytes], on_close: Callable[[], None], timeout_s: int) -> None:
        super().__init__(frames, media_type=MEDIA_TYPE, headers={"x-accel-buffering": "no"})
        self._on_close = on_close
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve it, for as long as the client takes what is sent."""

        late = False

        async def in_time(message: Message) -> None:
            nonlocal late
            try:
                with anyio.fail_after(self._timeout_s or None):
                    await send(message)
            except TimeoutError:
                late = True
                raise

        try:
            await super().__call__(scope, receive, in_time)
        except Exception:
            if not late:  # the server closes what was not sent to its end
                raise
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


class _Twins:
    """Twins' changes as frames."""

    timeout_s = 0

    def __init__(self, following: Following, shown: Callable[[TwinState], Mapping[str, Any]]) -> None:
        self._following = following
        self._shown = shown

    def begin(self) -> bytes:
        return frame("ready", "{}", self._following.resume)

    def poll(self) -> Iterator[bytes]:
        for one in self._following.poll():
            yield frame("twin", _json(self._shown(one.state)), one.resume)

    def end(self, error: TwinwardError) -> bytes:
        message, hint = error.outside()
        return frame("end", _json({"error": {"kind": type(error).__name__, "message": message, "hint": hint}}))


async def _frames(telling: Telling, still_signed_in: Callable[[], None]) -> AsyncIterator[bytes]:
    yield f"retry: {RETRY_MS}\n".encode() + telling.begin()
    silent = 0
    while True:
        told = telling.poll()
        silent += 1
        try:
            while (one := await to_thread.run_sync(_next, told, still_signed_in)) is not None:
                yield one
                silent = 0
        except TwinwardError as error:
            # Headers are sent long since: the end is said within the stream, in the words of any refusal.
            yield telling.end(error)
            return
        if silent >= POLLS_PER_BEAT:
            yield b": still here\n\n"
            silent = 0
        await anyio.sleep(POLL_S)


def _next(told: Iterator[bytes], still_signed_in: Callable[[], None]) -> bytes | None:
    with one_look():
        still_signed_in()
        return next(told, None)


def frame(event: str, data: str, resume: int | None = None) -> bytes:
    """One event of a stream: its name, its data on one line, and where to resume after it."""
    where = "" if resume is None else f"id: {resume}\n"
    return f"{where}event: {event}\ndata: {data}\n\n".encode()


def _json(data: Mapping[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
