"""Where the console stands on a node's app. Its pages, and all they stand on, are loaded once somebody looks at one."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, FastAPI
from fastapi.responses import RedirectResponse, Response

from twinward.api.http.doors import Door
from twinward.console.address import PATH
from twinward.node import Node


def mount(app: FastAPI, node: Node, *, secure: bool = False) -> None:
    """Put the console onto a node's app, under ``/console``. ``secure``: its cookies travel over TLS only."""

    @app.get("/", include_in_schema=False)
    def root() -> Response:
        return RedirectResponse(PATH, status_code=303)

    secure = secure or node.settings.secure_cookies
    app.router.routes.append(Door([PATH], partial(_add, node=node, secure=secure)))


def _add(router: APIRouter, *, node: Node, secure: bool) -> None:
    from twinward.console.routes import add_console

    add_console(router, node, secure=secure)
