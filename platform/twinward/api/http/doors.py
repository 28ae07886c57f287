"""Addresses whose routes are made when somebody first comes there.

To make a route, FastAPI reads what its functions take, for a millisecond; the modules it stands in, and what those
stand on, take several. Most of a node's routes are asked for rarely: pages, accounts, vendors' queries. So they stand
behind doors, and a node that starts makes what everybody waits for: FHIR, tokens, and whether it is ready.

A door is opened once, whole or not at all, by whoever comes first: in a thread, so that nobody else waits for it
(``Opening``). From then on its routes are tried where it stands, as FastAPI's router tries its own: which of them fits,
what is said of a wrong method, and where a slash is missing are the same. The OpenAPI document opens all, and is made
there as well: any stranger may ask for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import ASGIApp, Receive, Scope, Send

_BEHIND = "twinward.behind"


class Door(BaseRoute):
    """Routes under some prefixes.

    Args:
        prefixes: of every address behind it, without a slash at the end. No other route of the app has them.
        fill: adds the routes; what it raises, the request is answered with, and the next one tries again.
    """

    def __init__(self, prefixes: Sequence[str], fill: Callable[[APIRouter], None]) -> None:
        self._prefixes = frozenset(prefixes)
        self._starts = tuple(f"{one}/" for one in prefixes)
        self._fill = fill
        self._opening = threading.Lock()
        self._behind: APIRouter | None = None

    def leads_to(self, path: str) -> bool:
        """Whether an address is behind it."""
        return path in self._prefixes or path.startswith(self._starts)

    @property
    def is_open(self) -> bool:
        """Whether somebody was here."""
        return self._behind is not None

    @property
    def original_router(self) -> APIRouter:
        """What is behind it, made now if it was not. FastAPI's name for a router that was included."""
        with self._opening:
            if self._behind is None:
                made = APIRouter()
                self._fill(made)
                self._behind = made
            return self._behind

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As of the first route behind it that takes the request; else of the first that has its path."""
        if scope["type"] != "http" or not self.leads_to(scope["path"]):
            return Match.NONE, {}
        partial: tuple[Match, Scope] = Match.NONE, {}
        for route in self.original_router.routes:
            match, found = route.matches(scope)
            if match is Match.FULL:
                return match, {**found, _BEHIND: route}
            if match is Match.PARTIAL and partial[0] is Match.NONE:
                partial = match, {**found, _BEHIND: route}
        return partial

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the route that ``matches`` found answer."""
        route: BaseRoute = scope[_BEHIND]
        await route.handle(scope, receive, send)

    def url_path_for(self, name: str, /, **path_params: Any) -> Any:
        """Nobody asks: addresses are written where they are linked."""
        raise NoMatchFound(name, path_params)


class Opening:
    """ASGI middleware: opens a request's door before its route is looked for, in a thread.

    One at a time, so that those who come to one door together hold one thread, and not all that others are served by.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._one = CapacityLimiter(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            app = scope["app"]
            if scope["path"] == app.openapi_url:
                await to_thread.run_sync(app.openapi, limiter=self._one)
            for route in app.router.routes:
                if isinstance(route, Door) and not route.is_open and route.leads_to(scope["path"]):
                    await to_thread.run_sync(getattr, route, "original_router", limiter=self._one)
        await self._app(scope, receive, send)


def open_all(routes: list[BaseRoute]) -> None:
    """Put what is behind each door into its place: for who looks at every route."""
    for route in [one for one in routes if isinstance(one, Door)]:
        place = routes.index(route)
        routes[place : place + 1] = route.original_router.routes
