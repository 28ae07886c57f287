"""Listening, and stopping when told: what every served thing shares."""

from __future__ import annotations

import asyncio
import functools
import signal
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, cast

import uvicorn

from twinward.cli.connections import BoundedConnection, Bounds, LoopFaults
from twinward.core.errors import BadInput, Conflict
from twinward.core.tls_settings import TlsSettings

STOP_TIMEOUT_S = 10
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class _Server(uvicorn.Server):
    """uvicorn's, with a word and no traceback for what goes wrong in the event loop itself."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(LoopFaults())
        await super().startup(sockets)


def server_of(
    app: Any,
    *,
    trusted_proxies: Sequence[str] = (),
    bounds: Bounds | None = None,
    tls: ssl.SSLContext | None = None,
) -> uvicorn.Server:
    """A server for an ASGI application. It says nothing on its own, in headers or in logs.

    Where a client is comes from its socket. Only a proxy at one of ``trusted_proxies`` (addresses, networks) may say
    otherwise in X-Forwarded-For and X-Forwarded-Proto: anybody else could write there what they like. ``bounds``:
    what connections may cost; fewer where this process has too few file descriptors. ``tls``: by which it speaks TLS.
    """
    fitting = (bounds or Bounds()).fitting()
    config = uvicorn.Config(
        app,
        http=cast("type[asyncio.Protocol]", functools.partial(BoundedConnection, bounds=fitting)),
        backlog=fitting.accepted_at_once,
        timeout_keep_alive=fitting.idle_s,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies),
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=STOP_TIMEOUT_S,
        ssl_context_factory=None if tls is None else lambda _config, _default: tls,
    )
    return _Server(config)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ``Conflict`` if the port is taken, ``BadInput`` if it cannot be had at all."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError):
        raise BadInput(f"{host!r} is no address of this machine", hint="give --host 127.0.0.1") from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except PermissionError:
        listener.close()
        raise BadInput(f"this user may not listen on port {port}", hint="give a --port above 1023") from None
    except OSError as error:
        listener.close()
        hint = "give another --port, or stop what listens there"
        raise Conflict(f"cannot listen on {host}, port {port}: {error.strerror}", hint=hint) from None
    return listener


def tls_of(settings: TlsSettings) -> ssl.SSLContext | None:
    """What a node speaks TLS by, 1.3 alone; None where its settings name no certificate. Raises ``BadInput``."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # a session that is resumed is one whose certificate nobody looks at again
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key, lambda: "")
    except (OSError, ssl.SSLError, ValueError):
        raise BadInput(
            "the node's certificate and key cannot be used",
            hint="tls_cert is the certificate with those above it, tls_key its private key: both PEM, not encrypted",
        ) from None
    if settings.tls_client_ca is not None:
        try:
            context.load_verify_locations(settings.tls_client_ca)
        except (OSError, ssl.SSLError):
            raise BadInput("the issuer of clients' certificates cannot be read", hint="tls_client_ca is PEM") from None
        context.verify_mode = ssl.CERT_OPTIONAL
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    return context


@contextmanager
def stopped_by_signals(server: uvicorn.Server) -> Iterator[None]:
    """A signal ends the server, not the process: uvicorn raises it again once it has stopped, and it lands here."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
