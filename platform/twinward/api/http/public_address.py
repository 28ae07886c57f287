"""Under which address a node is reached: links carry that one, and a request for another is not answered.

With ``public_url`` links carry the setting's address, whatever a request says. Taken are requests for that name, for
the one that is listened on, for this machine (``localhost``), and for a number (a probe, a proxy's target): nobody
else's page can have a number point here. Any other name is refused: whoever sends it is misled, by a cache, a
proxy, or a page whose own name points here (DNS rebinding).

Without one the node does not know its name. It answers whatever it is called, but links carry only what it can be sure
of: a name of the above, else the address that the connection came to.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from twinward.api.http.problems import problem

_AUTHORITY = re.compile(r"[\w.%-]+(:\d*)?|\[[0-9A-Fa-f:.%]+\](:\d*)?", re.ASCII)
"""A name or address and perhaps a port: nothing that a URL would read as a user, a path or more."""


class PublicAddress:
    """ASGI middleware. ``public_url``: scheme and host, or empty; ``listens``: the host that is listened on."""

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


def _host(sent: str) -> str:
    """A Host header without its port, in lower case; empty where it is malformed."""
    try:
        parts = urlsplit(f"//{sent}")
        _ = parts.port  # raises for what is no number
    except ValueError:
        return ""
    return (parts.hostname or "").rstrip(".").lower() if _AUTHORITY.fullmatch(sent) else ""


def _is_number(host: str) -> bool:
    """Whether it is an IP address: nobody can have one point elsewhere."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
