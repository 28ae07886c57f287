"""What stands before every route: a bound on bodies, security headers, a brake on sign-in attempts, a request log."""

from __future__ import annotations

import threading
from collections import OrderedDict

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from twinward.api.problems import problem
from twinward.clock import Clock

MAX_BODY_BYTES = 64 * 1024 * 1024
SIGN_INS_PER_MINUTE = 10
_MAX_TRACKED_CLIENTS = 10_000

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}

log = structlog.get_logger("twinward.api")


class _TooLarge(Exception):
    """Raised inside ``receive`` when a body without a length outgrows the bound."""


class Guard:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, *, clock: Clock, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._clock = clock
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_ms = self._clock.now_ms()
        status = 500
        headers_sent = False

        async def guarded_send(message: Message) -> None:
            nonlocal status, headers_sent
            if message["type"] == "http.response.start":
                status, headers_sent = message["status"], True
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, self._bounded(scope, receive), guarded_send)
        except _TooLarge:
            if not headers_sent:
                refusal = problem(413, "TooLarge", f"a body may have {self._max_body_bytes} bytes at most")
                await refusal(scope, receive, guarded_send)
        finally:
            # The route's template, not the path: paths carry ids of twins and patients.
            matched = scope.get("route")
            route = getattr(matched, "path_format", None) or getattr(matched, "path", "unknown")
            log.info(
                "request", method=scope["method"], route=route, status=status, ms=self._clock.now_ms() - started_ms
            )

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        over = not declared.isdigit() or int(declared) > self._max_body_bytes
        seen = 0

        async def bounded() -> Message:
            nonlocal seen
            if over:
                raise _TooLarge
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > self._max_body_bytes:
                    raise _TooLarge
            return message

        return bounded


class SignInBrake:
    """Allows a client so many sign-in attempts a minute."""

    def __init__(self, clock: Clock, per_minute: int = SIGN_INS_PER_MINUTE) -> None:
        self._clock = clock
        self._per_minute = per_minute
        self._lock = threading.Lock()
        self._attempts: OrderedDict[str, list[int]] = OrderedDict()

    def admit(self, client: str) -> bool:
        """Whether this attempt may go on; counts it."""
        now_ms = self._clock.now_ms()
        with self._lock:
            recent = [at for at in self._attempts.pop(client, []) if now_ms - at < 60_000]
            admitted = len(recent) < self._per_minute
            if admitted:
                recent.append(now_ms)
            self._attempts[client] = recent
            while len(self._attempts) > _MAX_TRACKED_CLIENTS:
                self._attempts.popitem(last=False)
        return admitted
