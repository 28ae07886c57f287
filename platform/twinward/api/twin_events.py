"""Twins' changes as server-sent events (the WHATWG HTML standard, section 9.2).

``id`` is where to resume (``Last-Event-ID``); ``event: twin`` carries the twin as the subscriber may see it; ``event:
end`` says why nothing more will come. Comments are heartbeats. A client that is slow to read slows nobody but itself:
changes are looked up when it is ready for them, never queued.
"""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Protocol

import anyio
from anyio import to_thread
from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from twinward.errors import BadInput, TwinwardError, Unavailable
from twinward.twins.following import Told
from twinward.twins.state import TwinState

MEDIA_TYPE = "text/event-stream"
POLL_S = 0.5
POLLS_PER_BEAT = 30
"""A heartbeat every 15 seconds of silence."""
RETRY_MS = 2000
MOST_STREAMS = 64
_LAST_EVENT = "last-event-id"


class Following(Protocol):
    """One subscription; see ``twinward.twins.following``."""

    @property
    def resume(self) -> int:
        """Where to resume after what was told."""
        ...

    def poll(self) -> Sequence[Told]:
        """What happened since."""
        ...


class EventStreams:
    """Serves subscriptions, so many at once."""

    def __init__(self, *, most: int = MOST_STREAMS) -> None:
        self._most = most
        self._open = 0
        self._lock = threading.Lock()

    @property
    def open(self) -> int:
        """How many there are now."""
        return self._open

    def serve(
        self,
        begin: Callable[[], Following],
        still_signed_in: Callable[[], None],
        shown: Callable[[TwinState], Mapping[str, Any]],
    ) -> StreamingResponse:
        """A response that streams until the client goes or leave is withdrawn.

        Args:
            begin: starts the subscription; a refusal is raised from here, as any route's.
            still_signed_in: raises once the caller's token is no longer good.
            shown: a twin's state as JSON.

        Raises:
            Unavailable: as many streams are open as this node serves.
        """
        with self._lock:
            if self._open >= self._most:
                raise Unavailable(
                    f"{self._most} event streams are open, the most this node serves", hint="close one, or try later"
                )
            self._open += 1
        try:
            return _Stream(_frames(begin(), still_signed_in, shown), self._close)
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        with self._lock:
            self._open -= 1


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
    """Whether ``Accept`` asks for events."""
    accepted = request.headers.get("accept", "").lower().split(",")
    return any(one.partition(";")[0].strip() == MEDIA_TYPE for one in accepted)


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
        try:
            told = await to_thread.run_sync(_poll, following, still_signed_in)
        except TwinwardError as error:
            # Headers are sent long since: the end is said within the stream, in the words of any refusal.
            said = {"kind": type(error).__name__, "message": str(error), "hint": error.hint}
            yield _frame("end", {"error": said}, None)
            return
        for one in told:
            yield _frame("twin", shown(one.state), one.resume)
        silent = 0 if told else silent + 1
        if silent >= POLLS_PER_BEAT:
            yield b": still here\n\n"
            silent = 0
        await anyio.sleep(POLL_S)


def _poll(following: Following, still_signed_in: Callable[[], None]) -> Sequence[Told]:
    still_signed_in()
    return following.poll()


def _frame(event: str, data: Mapping[str, Any], resume: int | None) -> bytes:
    where = "" if resume is None else f"id: {resume}\n"
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return f"{where}event: {event}\ndata: {text}\n\n".encode()
