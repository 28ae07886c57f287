"""One HTTP connection from a hostile network: bounded in time while it waits, and in number.

What is bounded, and what happens at each bound (an HTTP body is bounded in time by its reader, ``api.http.guard``):

- a request's head takes ``head_s`` at most, from the connection on or from its first byte: 408, closed;
- an answer that nobody reads for ``answer_s``: the connection is dropped;
- a request that is answered before its body came whole: the answer says that the connection closes; what still comes is
  thrown away unread, ``linger_s`` at most (RFC 9112 section 9.6), for a client that is reset may lose the answer;
- more than ``connections`` at once: the one that has waited longest without asking anything makes room; where all are
  at work, the newest is told 503;
- Content-Length together with Transfer-Encoding, or Transfer-Encoding in HTTP/1.0: 400, closed (RFC 9112 section 6.3:
  a proxy and this server could read two different requests there); so are bodies in needlessly many chunks, each of
  which costs more than its bytes.
"""

from __future__ import annotations

import asyncio
import errno
import http
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import h11
import structlog
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from twinward.api.http.caller import CERTIFICATE

_FREE_CHUNKS, _LEAST_MEAN_CHUNK_BYTES = 4096, 64
_RESERVED_DESCRIPTORS = 64
"""Kept back from clients: for databases, pipes to processes that score, files of exports."""
_FEWEST_CONNECTIONS = 4
_SAY_AGAIN_S = 60.0
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

log = structlog.get_logger("twinward.server")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What connections may cost.

    ``accepted_at_once``: how many are taken from the system's queue in one turn. ``idle_s``: how long one is kept
    between two requests; it costs little, and makes room where there are too many.
    """

    connections: int = 512
    accepted_at_once: int = 64
    head_s: float = 15.0
    idle_s: int = 75
    answer_s: float = 60.0
    linger_s: float = 5.0

    def fitting(self) -> Bounds:
        """These, with no more connections than this process has file descriptors for."""
        allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if allowed == resource.RLIM_INFINITY:
            return self
        spare = allowed - sum(1 for _ in Path("/dev/fd").iterdir()) - _RESERVED_DESCRIPTORS
        # A whole turn may be accepted before the first of it is counted.
        at_once = max(1, min(self.accepted_at_once, spare // 4))
        connections = max(_FEWEST_CONNECTIONS, min(self.connections, spare - at_once))
        return replace(self, connections=connections, accepted_at_once=at_once)


class _OneFraming(h11.Connection):
    """Refuses requests whose length two readers could read differently, and bodies of tiny chunks.

    What it answers before a body came whole says that the connection closes: a client that thought it open would send
    its next request where nobody listens.
    """

    _chunks = 0
    _chunk_bytes = 0

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """The next event. Raises ``h11.RemoteProtocolError`` for what is refused."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._chunks = self._chunk_bytes = 0
            names = {name for name, _ in event.headers}
            if b"transfer-encoding" in names and (b"content-length" in names or event.http_version == b"1.0"):
                raise h11.RemoteProtocolError("two lengths for one body")
        elif isinstance(event, h11.Data):
            self._chunks += event.chunk_start
            self._chunk_bytes += len(event.data)
            # The newest chunk may have come in part.
            if self._chunks > _FREE_CHUNKS and self._chunk_bytes < (self._chunks - 1) * _LEAST_MEAN_CHUNK_BYTES:
                raise h11.RemoteProtocolError("a body in too many chunks")
        return event

    def send_with_data_passthrough(self, event: h11.Event) -> list[bytes] | None:
        """The bytes of an event; ``send`` joins them."""
        if isinstance(event, h11.Response) and self.their_state is h11.SEND_BODY:
            kept = [(name, value) for name, value in event.headers if name != b"connection"]
            headers = [*kept, (b"connection", b"close")]
            event = h11.Response(status_code=event.status_code, headers=headers, reason=event.reason)
        return super().send_with_data_passthrough(event)


class _Lingering:
    """A connection's transport as uvicorn has it: ``close`` waits for a client that still sends a body."""

    def __init__(self, transport: asyncio.Transport, connection: BoundedConnection) -> None:
        self._transport = transport
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Whether nothing more is answered here."""
        return self._connection.lingers or self._transport.is_closing()

    def close(self) -> None:
        """No more is to be said."""
        if self._connection.conn.their_state is h11.SEND_BODY and not self.is_closing():
            self._connection.linger()
        else:
            self._transport.close()


class BoundedConnection(H11Protocol):
    """uvicorn's connection, with ``Bounds``."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        bounds: Bounds,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.conn = _OneFraming(h11.SERVER)
        self.bounds = bounds
        self.idle_since: float | None = None
        """Since when it asks nothing; None while a request is under way."""
        self._waiting: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self.lingers = False
        """It was answered for the last time; what its client still sends is thrown away."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A client connected."""
        if certificate := _proven_certificate(transport):
            self.app_state = {**self.app_state, CERTIFICATE: certificate}  # each request's scope has it as its state
        super().connection_made(transport)
        self._socket = transport
        self.transport = cast("asyncio.Transport", _Lingering(transport, self))
        self.idle_since = self.loop.time()
        self._wait(self.bounds.head_s, self._head_is_late)
        if sum(one.is_open for one in self._others()) >= self.bounds.connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over, whoever ended it."""
        self._stop_waiting()
        self._may_write()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self.lingers:
            return
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
            self.idle_since = None
        elif self._waiting is None:
            self._wait(self.bounds.head_s, self._head_is_late)

    def on_response_complete(self) -> None:
        """An answer was sent; the next request may be there already."""
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.idle_since = self.loop.time()

    def send_400_response(self, msg: str) -> None:
        """What came is not HTTP, or not to be taken as such."""
        self._refuse(400, msg)

    def pause_writing(self) -> None:
        """The client reads more slowly than it is answered."""
        super().pause_writing()
        self._writing = self._writing or self.loop.call_later(self.bounds.answer_s, self.transport.abort)

    def resume_writing(self) -> None:
        """It reads again."""
        self._may_write()
        super().resume_writing()

    @property
    def is_open(self) -> bool:
        """Whether it takes one of the places."""
        return not self._socket.is_closing()

    def linger(self) -> None:
        """Say that no more is to come, and let the client read what was said before the connection goes."""
        self._unset_keepalive_if_required()
        self.lingers = True
        self.idle_since = self.loop.time()
        self.flow.resume_reading()
        self._wait(self.bounds.linger_s, self._socket.close)
        if self._socket.can_write_eof():
            self._socket.write_eof()

    def _others(self) -> Iterator[BoundedConnection]:
        return (one for one in self.connections if isinstance(one, BoundedConnection) and one is not self)

    def _make_room(self) -> None:
        idle = [(one.idle_since, id(one), one) for one in self._others() if one.idle_since is not None and one.is_open]
        if idle:
            min(idle)[2].transport.abort()
        else:
            self._refuse(503, "Too many connections.")

    def _head_is_late(self) -> None:
        if self.conn.trailing_data[0]:
            self._refuse(408, "The request's head took too long.")
        else:
            self.transport.close()

    def _refuse(self, status: int, message: str) -> None:
        """Say so in plain text, where nothing was said yet, and close."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # whoever works on the request is told that nobody listens any more
            self.cycle.message_event.set()
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()
            return
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
        reason = http.HTTPStatus(status).phrase.encode()
        for event in (
            h11.Response(status_code=status, headers=headers, reason=reason),
            h11.Data(data=message.encode()),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.linger()

    def _wait(self, seconds: float, then: Callable[[], None]) -> None:
        self._stop_waiting()
        self._waiting = self.loop.call_later(seconds, then)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _may_write(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None


def _proven_certificate(transport: asyncio.Transport) -> str:
    """The thumbprint of the certificate that the TLS handshake checked and whose key it saw; empty for none."""
    tls = transport.get_extra_info("ssl_object")
    der = tls.getpeercert(binary_form=True) if tls is not None else None
    if not der:
        return ""
    from twinward.access.client_certificates import thumbprint_of  # only where somebody brings one

    return thumbprint_of(der)


class LoopFaults:
    """An event loop's handler of what nobody caught: one line a minute of each kind, and never a traceback.

    asyncio's own prints the traceback for every connection that it cannot accept, thousands in a second once the
    process is out of file descriptors; and a traceback's text may hold data.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._said: dict[str, float] = {}

    def __call__(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log one fault, if its kind was not logged within a minute."""
        error = context.get("exception")
        kind = type(error).__name__ if error is not None else "unknown"
        exhausted = isinstance(error, OSError) and error.errno in _EXHAUSTED
        now = self._now()
        if now - self._said.get(kind, -_SAY_AGAIN_S) < _SAY_AGAIN_S:
            return
        self._said[kind] = now
        log.error("out_of_descriptors" if exhausted else "defect", kind=kind)
