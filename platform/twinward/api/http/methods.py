"""HEAD and OPTIONS of every route, and which methods a path has (RFC 9110, sections 9.3.2, 9.3.7 and 10.2.1).

HEAD is GET whose body is not sent: the same route, the same decision, the same event in the log, the same headers. It
tells that something is there, of which version and how long it is, and so is as much of an access as the bytes are.
Of an answer that streams, only its beginning is made: what is not sent is nobody's access.

OPTIONS says which methods a path has, to anybody, and looks nothing up: the paths are in the OpenAPI document. It says
nothing of other origins, so no browser lets a foreign page send what needs leave first.
"""

from __future__ import annotations

from typing import Any

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from twinward.api.http.codings import CODINGS

_ROUTED = ("DELETE", "GET", "PATCH", "POST", "PUT")
_WITH_BODY = frozenset({"PATCH", "POST", "PUT"})
_WHOLE_SERVER = "*"


class Methods:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        method = scope["method"] if scope["type"] == "http" else ""
        if method == "OPTIONS":
            await self._options(scope, receive, send)
        elif method == "HEAD":
            await self._head(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _options(self, scope: Scope, receive: Receive, send: Send) -> None:
        allow = [*_ROUTED, "HEAD", "OPTIONS"] if scope["path"] == _WHOLE_SERVER else allowed(scope)
        if not allow:
            await self._app(scope, receive, send)  # there is no such path
            return
        headers = {"allow": ", ".join(allow)}
        if _WITH_BODY & set(allow):
            headers["accept-encoding"] = ", ".join(CODINGS)  # RFC 7694 section 3
        await Response(status_code=204, headers=headers)(scope, receive, send)

    async def _head(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def headers_only(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                await send(message)
            elif message.get("more_body", False):
                raise _Enough
            else:
                await send({**message, "body": b""})

        asked = dict(scope, method="GET")
        try:
            await self._app(asked, receive, headers_only)
        except (_Enough, ClientDisconnect):
            if not begun:
                raise
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            scope.update({name: asked[name] for name in ("route", "endpoint") if name in asked})  # for the request log


class _Enough(OSError):
    """The headers are known. As an ``OSError`` it is to a response what a client is that went away."""


def allowed(scope: Scope) -> list[str]:
    """Every method that some route has for this path; the router itself names only those of the first that fits."""
    routes: list[Any] = scope["app"].routes
    found = [
        method
        for method in _ROUTED
        if any(route.matches(dict(scope, method=method))[0] is Match.FULL for route in routes)
    ]
    return sorted([*found, *(["HEAD"] if "GET" in found else []), "OPTIONS"]) if found else []


def allow_header(request: Request) -> str:
    """What ``Allow`` says of a request's path."""
    return ", ".join(allowed(request.scope))
