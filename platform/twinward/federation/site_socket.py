"""A Unix socket between a hospital's daemon and whoever carries a coordinator's messages to it.

Each message is its length (4 bytes, big-endian, at most ``MAX_MESSAGE_BYTES``) and that many bytes; each is answered by
one. The socket is its owner's alone (0600), and whoever connects is asked of the kernel besides (SO_PEERCRED; on macOS
LOCAL_PEERCRED): only the daemon's own user and root are answered. Connections are few, and each must go on speaking: a
message that has begun and stalls ends its connection.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from twinward.core.errors import BadInput, Conflict
from twinward.federation.errors import RoundAborted, SiteUnreachable
from twinward.federation.site_envelope import MAX_MESSAGE_BYTES

MOST_CONNECTIONS: Final = 8
_LENGTH: Final = struct.Struct(">I")
_ROOT: Final = 0
_PROBE_S: Final = 2.0
_ASK_AGAIN_S: Final = 0.1
_STALLED_S: Final = 30.0
_IDLE_S: Final = 24 * 3600.0
_PASSING: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ECONNABORTED, errno.ENOBUFS, errno.ENOMEM})
"""Why nobody can be let in now, and can soon: no reason for a daemon to end."""
_MAX_PATH: Final = 103
"""Bytes of a socket's path: 107 on Linux, 103 on macOS."""


class SocketServer:
    """Answers on a Unix socket until it is closed.

    Args:
        path: where; a socket that nobody answers on any more is replaced.
        answer: what each message is answered. Called by one thread at a time.

    Raises:
        Conflict: another process answers there, or something that is no socket lies there.
        BadInput: the path is too long, or its folder cannot be written.
    """

    def __init__(self, path: Path, answer: Callable[[bytes], bytes]) -> None:
        self.path = path
        self._answer = answer
        self._turn = threading.Lock()
        self._room = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._connections: set[socket.socket] = set()
        self._listener = _listen(path)

    def serve(self) -> None:
        """Answer until ``close``."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError as error:
                if error.errno not in _PASSING:
                    return
                time.sleep(_ASK_AGAIN_S)
                continue
            if not self._room.acquire(blocking=False):
                connection.close()
                continue
            threading.Thread(target=self._converse, args=(connection,), daemon=True, name="site-connection").start()

    def stop(self) -> None:
        """Let nobody in any more, so that ``serve`` returns. Fit for a signal handler."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Answer no more, once what is being answered is."""
        self.stop()
        self._listener.close()
        with self._turn:
            with suppress(OSError):
                self.path.unlink()
            for connection in list(self._connections):
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _converse(self, connection: socket.socket) -> None:
        self._connections.add(connection)
        try:
            with connection:
                if not _is_own(connection):
                    return
                while (message := _receive(connection, first_s=_IDLE_S)) is not None:
                    with self._turn:
                        answered = self._answer(message)
                    _send(connection, answered)
        except (OSError, EOFError):
            return
        finally:
            self._connections.discard(connection)
            self._room.release()


class SocketChannel:
    """One conversation with a daemon, begun anew where the daemon was restarted in between.

    Args:
        path: the daemon's socket.
        timeout_s: how long an answer may take.
        patience_s: how long to try again where nobody answers, or somebody stopped: counted from then on, however long
            the answer was waited for before. A message that is sent again is answered the same.
    """

    def __init__(self, path: Path, timeout_s: float, patience_s: float = 0.0) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._connection: socket.socket | None = None
        self._closed = False

    def ask(self, message: bytes) -> bytes:
        """The answer to a message.

        Raises:
            SiteUnreachable: nobody answers at that socket.
            RoundAborted: it did not answer in time, or stopped in the middle.
        """
        if self._closed:
            raise RoundAborted(f"the conversation with the daemon at {self._path} is over")
        deadline: float | None = None
        while True:
            began_before = self._connection is not None
            try:
                return self._asked(message)
            except TimeoutError:
                self._end()
                raise RoundAborted(f"the daemon at {self._path} did not answer within {self._timeout_s:g} s") from None
            except (OSError, EOFError, SiteUnreachable) as error:
                self._end()
                now_s = time.monotonic()
                deadline = now_s + self._patience_s if deadline is None else deadline
                over = not began_before and now_s >= deadline
                if self._closed or over:
                    if isinstance(error, SiteUnreachable):
                        raise
                    raise RoundAborted(f"the daemon at {self._path} stopped: {type(error).__name__}") from error
            if not began_before:  # otherwise the daemon of an earlier message went, and the one there now is asked
                time.sleep(_ASK_AGAIN_S)

    def close(self) -> None:
        """End the conversation, also in the middle of a question: it then raises ``RoundAborted``."""
        self._closed = True
        if (connection := self._connection) is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._end()

    def _end(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _asked(self, message: bytes) -> bytes:
        if self._connection is None:
            self._connection = _connect(self._path, self._timeout_s)
        _send(self._connection, message)
        answered = _receive(self._connection, first_s=self._timeout_s)
        if answered is None:
            raise EOFError
        return answered


def is_answering(path: Path) -> bool:
    """Whether a daemon answers at a socket now."""
    try:
        _connect(path, _PROBE_S).close()
    except SiteUnreachable:
        return False
    return True


def _listen(path: Path) -> socket.socket:
    if len(os.fsencode(path)) > _MAX_PATH:
        raise BadInput(f"{path} is too long for a socket: at most {_MAX_PATH} bytes", hint="give a shorter --socket")
    _clear(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # so that it is nobody else's for no moment
    try:
        listener.bind(os.fspath(path))
    except OSError as error:
        listener.close()
        raise BadInput(f"{path} cannot be listened on: {error.strerror}") from None
    finally:
        os.umask(before)
    listener.listen(MOST_CONNECTIONS)
    return listener


def _clear(path: Path) -> None:
    """Take away a socket that a killed daemon left. Raises ``Conflict`` for anything else there."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise Conflict(f"{path} is there, and is no socket", hint="give another --socket")
    if is_answering(path):
        raise Conflict(f"another process answers at {path}", hint="stop it first")
    path.unlink(missing_ok=True)


def _connect(path: Path, timeout_s: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        connection.connect(os.fspath(path))
    except OSError as error:
        connection.close()
        raise SiteUnreachable(
            f"no daemon answers at {path}: {error.strerror or type(error).__name__}",
            hint="`twinward site serve` runs one, at its hospital",
        ) from None
    return connection


def _is_own(connection: socket.socket) -> bool:
    """Whether the kernel says that the other side is this user's process, or root's."""
    if sys.platform == "linux":
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        user = struct.unpack("3i", credentials)[1]
    else:  # <sys/un.h>: SOL_LOCAL 0, LOCAL_PEERCRED 1, struct xucred { u_int version; uid_t uid; ... }
        user = struct.unpack("II", connection.getsockopt(0, 1, 76)[:8])[1]
    return user in (os.geteuid(), _ROOT)


def _send(connection: socket.socket, message: bytes) -> None:
    connection.sendall(_LENGTH.pack(len(message)) + message)


def _receive(connection: socket.socket, *, first_s: float) -> bytes | None:
    """One message, None where the other side has gone before it began one. Raises ``EOFError``, ``OSError``."""
    connection.settimeout(first_s)
    first = connection.recv(1)
    if not first:
        return None
    connection.settimeout(_STALLED_S)
    (length,) = _LENGTH.unpack(first + _exactly(connection, _LENGTH.size - 1))
    if length > MAX_MESSAGE_BYTES:
        raise EOFError
    return _exactly(connection, length)


def _exactly(connection: socket.socket, length: int) -> bytes:
    """So many bytes; room is made as they come, not as they are promised."""
    received = bytearray()
    while len(received) < length:
        more = connection.recv(min(1 << 20, length - len(received)))
        if not more:
            raise EOFError
        received += more
    return bytes(received)
