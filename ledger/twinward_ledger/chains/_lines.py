"""One JSON-RPC endpoint's connection: over HTTP or a websocket, one request at a time, its answer bounded.

No message holds more of a URL than scheme, host and port: the rest may hold a password or an API key.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final, Protocol

import requests
import websockets.exceptions
from requests.adapters import HTTPAdapter
from websockets.sync.client import ClientConnection, connect

from twinward_ledger.deadline import Connections
from twinward_ledger.errors import ChainUnavailable

MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
MAX_WAIT_S: Final = 10.0
"""The longest that an endpoint may make its caller wait before it is asked again."""

TRIES_SILENT: Final = 3
TRIES_BUSY: Final = 5
_CHUNK_BYTES: Final = 1 << 16
_AGAIN: Final = frozenset({408, 425, 429})


class NoAnswer(ChainUnavailable):
    """An endpoint gave no answer that counts.

    Attributes:
        tries: how often it is asked in all before it is given up; 1 where asking again is no use.
        wait_s: how long it asks to be left alone; None where it does not say.
    """

    def __init__(self, message: str, *, tries: int = 1, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.tries = tries
        self.wait_s = wait_s


class Line(Protocol):
    """One endpoint's connection."""

    def ask(self, request: bytes) -> bytes:
        """Send a request; its answer. Raises ``NoAnswer``."""
        ...

    def hang_up(self) -> None:
        """Leave the connection; the next request makes a new one."""
        ...


class _Noting(HTTPAdapter):
    """Connections as requests makes them, each of which is noted."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self._note_those_of(self.poolmanager)

    def proxy_manager_for(self, *arguments: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*arguments, **options)
        self._note_those_of(manager)
        return manager

    def _note_those_of(self, manager: Any) -> None:
        pools = manager.pool_classes_by_scheme
        manager.pool_classes_by_scheme = {scheme: self._noting(pool) for scheme, pool in pools.items()}

    def _noting(self, pool: Any) -> Any:
        base, note = pool.ConnectionCls, self._connections.note
        if hasattr(base, "is_noted"):  # the manager of a proxy is kept, and asked for again
            return pool

        def connect(connection: Any) -> None:
            base.connect(connection)
            note(connection.sock)

        noted = type(base.__name__, (base,), {"connect": connect, "is_noted": True})
        return type(pool.__name__, (pool,), {"ConnectionCls": noted})


class HttpLine:
    """HTTP POST, one kept connection."""

    def __init__(self, url: str, name: str, timeout_s: float) -> None:
        self._url = url
        self._name = name
        self._timeout_s = timeout_s
        self._session = requests.Session()
        self._connections = Connections()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _Noting(self._connections))

    def ask(self, request: bytes) -> bytes:
        answer, until = bytearray(), time.monotonic() + self._timeout_s
        late = NoAnswer(f"{self._name} did not answer within {self._timeout_s:g} s", tries=TRIES_SILENT)
        headers = {"content-type": "application/json", "user-agent": "twinward"}
        try:
            with (
                self._connections.cut_after(self._timeout_s),
                self._session.post(
                    self._url, request, headers=headers, timeout=self._timeout_s, allow_redirects=False, stream=True
                ) as response,
            ):
                if response.status_code != HTTPStatus.OK:
                    raise said_no(self._name, response.status_code, response.headers)
                for chunk in response.iter_content(_CHUNK_BYTES):
                    answer += chunk
                    if len(answer) > MAX_ANSWER_BYTES:
                        raise NoAnswer(f"{self._name} answered with more than {MAX_ANSWER_BYTES} bytes")
        except requests.Timeout:
            raise late from None
        except (requests.RequestException, OSError, ValueError) as error:
            if time.monotonic() >= until:
                raise late from None
            # Neither chained nor quoted: their messages hold the URL, which may hold a password.
            raise NoAnswer(
                f"{self._name} does not answer as a chain: {type(error).__name__}", tries=TRIES_SILENT
            ) from None
        if time.monotonic() >= until:  # an answer without a length ends where it was cut off
            raise late
        return bytes(answer)

    def hang_up(self) -> None:
        self._session.close()


class SocketLine:
    """A websocket, opened with the first request and again after a failure. No proxy of the environment is used."""

    def __init__(self, url: str, name: str, timeout_s: float) -> None:
        self._url = url
        self._name = name
        self._timeout_s = timeout_s
        self._open: ClientConnection | None = None
        self._closing = ExitStack()

    def ask(self, request: bytes) -> bytes:
        try:
            if self._open is None:
                self._open = self._closing.enter_context(
                    connect(
                        self._url,
                        open_timeout=self._timeout_s,
                        close_timeout=1,
                        max_size=MAX_ANSWER_BYTES,
                        proxy=None,
                        user_agent_header="twinward",
                    )
                )
            self._open.send(request.decode())
            answer = self._open.recv(self._timeout_s)
        except websockets.exceptions.InvalidStatus as error:
            raise said_no(self._name, error.response.status_code, error.response.headers) from None
        except TimeoutError:
            raise NoAnswer(f"{self._name} did not answer within {self._timeout_s:g} s", tries=TRIES_SILENT) from None
        except (websockets.exceptions.WebSocketException, OSError, ValueError) as error:
            raise NoAnswer(
                f"{self._name} does not answer as a chain: {type(error).__name__}", tries=TRIES_SILENT
            ) from None
        return answer.encode() if isinstance(answer, str) else answer

    def hang_up(self) -> None:
        self._open = None
        with suppress(websockets.exceptions.WebSocketException, OSError):
            self._closing.close()


def said_no(name: str, status: int, headers: Mapping[str, str]) -> NoAnswer:
    """What a status other than 200 means."""
    try:
        phrase = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = str(status)
    again = status in _AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    wait_s = _retry_after(headers) if again else None
    asks = f", and asks to be left alone for {wait_s:g} s" if wait_s and wait_s > MAX_WAIT_S else ""
    return NoAnswer(f"{name} answered {phrase}{asks}", tries=TRIES_BUSY if again else 1, wait_s=wait_s)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that an endpoint asks to be left alone (RFC 9110, 10.2.3); None where it does not say, or not legibly.

    A moment is counted from the answer's own Date, so that the endpoint's clock is held against itself alone.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    with suppress(TypeError, ValueError, OverflowError):
        until, now = parsedate_to_datetime(text), parsedate_to_datetime(headers.get("date", ""))
        return max(0.0, (until - now).total_seconds())
    return None
