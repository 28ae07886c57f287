"""What stands before every route: a bound on bodies, security headers, a request log.

A client that hangs up in the middle of its request is no defect of the node: it is logged with status 499, as web
servers do, and nobody is answered.
"""

from __future__ import annotations

import structlog
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from twinward.api.http.body import USUAL_BYTES, Body, HeldBytes
from twinward.core.clock import Clock

HUNG_UP = 499
HSTS = "max-age=31536000"
"""A year, RFC 6797; for this host alone: others of its domain may speak HTTP."""

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


class Guard:
    """ASGI middleware around the whole app."""

    def __init__(
        self, app: ASGIApp, *, clock: Clock, most_body_bytes: int = USUAL_BYTES, held: HeldBytes | None = None
    ) -> None:
        self._app = app
        self._clock = clock
        self._most_body_bytes = most_body_bytes
        self._held = HeldBytes() if held is None else held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_ms = self._clock.now_ms()
        status = 500
        body = Body(scope, receive, self._most_body_bytes, self._held)

        async def guarded_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if scope["scheme"] == "https":
                    headers["strict-transport-security"] = HSTS
            await send(message)

        try:
            await self._app(scope, body, guarded_send)
        except ClientDisconnect:
            status = HUNG_UP
        finally:
            body.let_go()
            # The route's template, not the path: paths carry ids of twins and patients.
            matched = scope.get("route")
            route = getattr(matched, "path_format", None) or getattr(matched, "path", "unknown")
            said = HUNG_UP if body.cut_off else status
            log.info("request", method=scope["method"], route=route, status=said, ms=self._clock.now_ms() - started_ms)
