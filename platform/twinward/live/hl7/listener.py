"""The MLLP server: connections in, one answer for each message in its order. Bounded in number, size and time.

MLLP has no sign-in. Who connects is trusted because of where they are (this machine's own address), or because of a
client certificate of an authority that the operator named: nothing else is listened to.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from twinward.core.errors import BadInput, Unavailable
from twinward.live.hl7.framing import FrameReader, FrameTooLarge, framed

MOST_CONNECTIONS: Final = 64
HANDSHAKE_S: Final = 10
MOST_OF_ADDRESS: Final = 16
"""Connections of one address: no one sender takes all there are."""
WITHIN_MESSAGE_S: Final = 30
"""How long a message may take to come."""
IDLE_S: Final = 15 * 60
"""How long a connection rests between messages; whoever has one to send connects again."""
_CHUNK: Final = 64 * 1024
_LOOK_S: Final = 0.5
_DRAIN_S: Final = 2


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files of a listener with TLS: its own certificate and key, and who signs its senders'."""

    certificate: Path
    key: Path
    senders: Path

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 or later, client certificates required. Raises ``BadInput`` for files that are none."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made.verify_mode = ssl.CERT_REQUIRED
        try:
            made.load_cert_chain(self.certificate, self.key)
            made.load_verify_locations(self.senders)
        except (OSError, ssl.SSLError):
            raise BadInput(
                "no certificate, key or authority in these files", hint="PEM files that this user may read"
            ) from None
        return made


class Desk(Protocol):
    """What answers."""

    def answer(self, raw: bytes) -> bytes:
        """One message. Raises nothing that a message can cause."""
        ...

    def refuse(self, text: str) -> bytes:
        """One that was not read."""
        ...


class MllpListener:
    """Listens until closed.

    Args:
        host, port: where; port 0 takes a free one.
        desk: what answers messages; called from many threads.
        certificates: TLS; None on this machine's own address only.
        idle_s: how long a connection may rest.

    Raises:
        BadInput: an address others reach, without TLS.
        Unavailable: it is taken, or not this machine's.
    """

    def __init__(
        self, host: str, port: int, desk: Desk, certificates: Certificates | None = None, *, idle_s: float = IDLE_S
    ) -> None:
        if certificates is None and not _is_own(host):
            raise BadInput(
                "MLLP has no sign-in: on an address that others reach it wants TLS and client certificates",
                hint="give --cert, --key and --ca, or listen on 127.0.0.1",
            )
        self._tls = certificates.context() if certificates else None
        self._desk = desk
        self._idle_s = idle_s
        self._addresses: dict[socket.socket, str] = {}
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, threading.Thread] = {}
        try:
            self._socket = socket.create_server((host, port), family=_family(host), backlog=MOST_CONNECTIONS)
        except OSError as error:
            raise Unavailable(f"cannot listen there: {error.strerror}", hint="another port, or what holds it") from None
        self._socket.settimeout(_LOOK_S)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._socket.getsockname()[1])

    def serve(self, is_stopped: Callable[[], bool]) -> None:
        """Accept connections until told to stop; then let each end the message it is at."""
        while not is_stopped():
            try:
                connection, (address, *_) = self._socket.accept()
            except TimeoutError:
                continue
            except OSError:  # who connected hung up at once, or there is no descriptor left
                time.sleep(_LOOK_S)
                continue
            with self._lock:
                of_address = sum(one == address for one in self._addresses.values())
                if len(self._connections) >= MOST_CONNECTIONS or of_address >= MOST_OF_ADDRESS:
                    connection.close()
                    continue
                self._addresses[connection] = address
                thread = threading.Thread(target=self._converse, args=(connection,), daemon=True)
                self._connections[connection] = thread
            thread.start()
        self.close()

    def close(self) -> None:
        """Listen no more, and end what is open."""
        self._closing.set()
        self._socket.close()
        with self._lock:
            threads = list(self._connections.values())
        for one in threads:
            one.join(WITHIN_MESSAGE_S)

    def _converse(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(HANDSHAKE_S)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            spoken = self._tls.wrap_socket(connection, server_side=True) if self._tls else connection
            with contextlib.closing(spoken):
                self._answer_each(spoken)
        except OSError:  # it hung up, or is nobody we know: what it was not answered it still has
            pass
        finally:
            connection.close()
            with self._lock:
                self._connections.pop(connection, None)
                self._addresses.pop(connection, None)

    def _answer_each(self, spoken: socket.socket) -> None:
        reader, began_s, heard_s = FrameReader(), 0.0, time.monotonic()
        spoken.settimeout(_LOOK_S)
        while not self._closing.is_set():
            try:
                some = spoken.recv(_CHUNK)
            except TimeoutError:
                some = None
            if some == b"" or (reader.is_within and time.monotonic() - began_s > WITHIN_MESSAGE_S):
                return
            if some is None:
                if time.monotonic() - heard_s > self._idle_s:
                    return
                continue
            heard_s = time.monotonic()
            if not reader.is_within:
                began_s = time.monotonic()
            try:
                messages = reader.feed(some)
            except FrameTooLarge as error:
                spoken.settimeout(WITHIN_MESSAGE_S)
                spoken.sendall(framed(self._desk.refuse(str(error))))
                _drain(spoken)
                return
            if messages:
                began_s = time.monotonic()
            for one in messages:
                spoken.settimeout(WITHIN_MESSAGE_S)
                spoken.sendall(framed(self._desk.answer(one)))
                spoken.settimeout(_LOOK_S)
            heard_s = time.monotonic()  # what was spent on its answers is no rest of its


def _drain(spoken: socket.socket) -> None:
    """Read on for a moment: closed at once, what was just answered would be lost to a reset."""
    until_s = time.monotonic() + _DRAIN_S
    with contextlib.suppress(OSError):
        spoken.settimeout(_LOOK_S)
        while time.monotonic() < until_s and spoken.recv(_CHUNK):
            pass


def _is_own(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
