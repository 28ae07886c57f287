"""The way of a request, top to bottom: what it passes before a route's own work, in which order, and why.

1.  ``Guard`` bounds its body and time, gives the answer its security headers and logs both: whatever happens later.
2.  ``PublicAddress`` refuses what was sent to another name (421), and settles the name that links will carry.
3.  ``FairShare`` has it wait where its sender has as many under way as leave threads to others.
4.  ``Methods`` answers OPTIONS, asks for HEAD as for GET, and says in a 405 which methods there are.
5.  ``Representation`` knows the tags of packed answers, and labels and packs the answer on its way out.
6.  The router finds the route: FHIR's by one look (``direct``), others and what is not there by FastAPI's. From here on
    the stages are the route's dependencies, in this order.
7.  The caller (``caller``): a bearer token's account, else 401. Strangers learn no more than that.
8.  Its form (``representation``): what the route answers with, the caller takes, else 406.
9.  Its conditions (``conditions``): one that the route does not look at is refused, as it must not look as if it held.
10. The reason (``caller``): purpose of use and justification, with the caller one ``AccessContext``.
11. Leave, where the route reads a body: a policy's refusal is logged before a byte of the body is read.
12. The body (``read_body``, ``json_body``): bounded, unpacked and checked in this order.
13. The service, which decides, logs and only then opens anything.

Whatever is raised on the way becomes one shape (``problems``; FHIR's routes say it as an OperationOutcome).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from twinward.access.accounts import Accounts
from twinward.access.client_tokens import ClientTokens
from twinward.access.fresh_proofs import FreshProofs
from twinward.access.networks import Networks
from twinward.api.http import problems
from twinward.api.http.caller import bearer_principal
from twinward.api.http.codings import CODINGS
from twinward.api.http.doors import Opening
from twinward.api.http.fair_share import FairShare
from twinward.api.http.guard import Guard
from twinward.api.http.problems import problem
from twinward.api.http.representation import Representation, form_checked
from twinward.core.clock import Clock

_AUTHORITY = re.compile(r"[\w.%-]+(:\d*)?|\[[0-9A-Fa-f:.%]+\](:\d*)?", re.ASCII)
"""A name or address and perhaps a port: nothing that a URL would read as a user, a path or more."""

_ROUTED = ("DELETE", "GET", "PATCH", "POST", "PUT")
_WITH_BODY = frozenset({"PATCH", "POST", "PUT"})
_WHOLE_SERVER = "*"


def install(
    app: FastAPI,
    clock: Clock,
    *,
    public_url: str = "",
    listens: str = "",
    count: Callable[[str, str, int, int], None] | None = None,
) -> None:
    """Put the stages before the router, and the shape of refusals, onto an app whose routes are there.

    Args:
        app: the application.
        clock: of the request log.
        public_url: under which address the node is reached; empty where it does not know.
        listens: the host that is listened on, a name the node may be called by.
        count: is told of each request that ended: method, route, status, milliseconds.
    """
    problems.install(app)
    # Each is put around those before it: the last one is passed first.
    app.add_middleware(Representation)
    app.add_middleware(Methods)
    app.add_middleware(FairShare)
    app.add_middleware(Opening)
    app.add_middleware(PublicAddress, public_url=public_url, listens=listens)
    app.add_middleware(Guard, clock=clock, count=count)


def caller_of(
    accounts: Accounts,
    access_tokens: ClientTokens | None = None,
    proofs: FreshProofs | None = None,
    networks: Networks | None = None,
) -> Callable[..., Any]:
    """The dependency that is every route's first: who asks, once the caller takes what the route answers with."""
    return form_checked(bearer_principal(accounts, access_tokens, proofs, networks))


class PublicAddress:
    """Under which address the node is reached: links carry that one, and a request for another is not answered.

    With ``public_url`` (scheme and host) links carry the setting's address, whatever a request says. Taken are requests
    for that name, for the one that is listened on (``listens``), for this machine (``localhost``), and for a number (a
    probe, a proxy's target): nobody else's page can have a number point here. Any other name is refused: whoever sends
    it is misled, by a cache, a proxy, or a page whose own name points here (DNS rebinding).

    Without one the node does not know its name. It answers whatever it is called, but links carry only what it can be
    sure of: a name of the above, else the address that the connection came to.
    """

    def __init__(self, app: ASGIApp, *, public_url: str = "", listens: str = "") -> None:
        self._app = app
        self._public = urlsplit(public_url)
        self._names = {"localhost", listens.lower(), (self._public.hostname or "").lower()} - {""}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
        host = _host(sent)
        known = host in self._names or _is_number(host)
        if not host or (self._public.netloc and not known):
            hint = "ask under the node's own address; its operator sets public_url"
            await problem(421, "Misdirected", "this node is not reached under that name", hint)(scope, receive, send)
            return
        if self._public.netloc:
            _call(scope, self._public.netloc)
            scope["scheme"] = self._public.scheme
        elif not known:
            _call(scope, _own(scope))
        await self._app(scope, receive, send)


def address_called(scope: Scope, public_url: str) -> str:
    """Under which address the node is called, whatever a request says: the setting, else where the connection came to.

    For what is compared with what somebody signed: a number in a Host header is harmless in links, and not here.
    """
    return public_url.rstrip("/") or f"{scope['scheme']}://{_own(scope)}"


def is_loopback(host: str) -> bool:
    """Whether a host is this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _call(scope: Scope, name: str) -> None:
    """Have a request say that it was sent to a name."""
    others = [(header, value) for header, value in scope["headers"] if header != b"host"]
    scope["headers"] = [*others, (b"host", name.encode())]


def _own(scope: Scope) -> str:
    """The address that the connection came to."""
    host, port = scope.get("server") or ("localhost", None)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}" if port else host


@lru_cache(maxsize=256)
def _host(sent: str) -> str:
    """A Host header without its port, in lower case; empty where it is malformed."""
    try:
        parts = urlsplit(f"//{sent}")
        _ = parts.port  # raises for what is no number
    except ValueError:
        return ""
    return (parts.hostname or "").rstrip(".").lower() if _AUTHORITY.fullmatch(sent) else ""


@lru_cache(maxsize=256)
def _is_number(host: str) -> bool:
    """Whether it is an IP address: nobody can have one point elsewhere."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class Methods:
    """HEAD and OPTIONS of every route, and which methods a path has (RFC 9110, sections 9.3.2, 9.3.7 and 10.2.1).

    HEAD is GET whose body is not sent: the same route, the same decision, the same event in the log, the same headers.
    It tells that something is there, of which version and how long it is, and so is as much of an access as the bytes
    are. Of an answer that streams, only its beginning is made: what is not sent is nobody's access.

    OPTIONS says which methods a path has, to anybody, and looks nothing up: the paths are in the OpenAPI document. It
    says nothing of other origins, so no browser lets a foreign page send what needs leave first.
    """

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
            await self._app(scope, receive, _naming_methods(scope, send))

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
            await self._app(asked, receive, _naming_methods(scope, headers_only))
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


def _naming_methods(scope: Scope, send: Send) -> Send:
    """``send``, with what a 405 has to name: every method of the path."""

    async def named(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 405:
            MutableHeaders(scope=message)["allow"] = ", ".join(allowed(scope))
        await send(message)

    return named
