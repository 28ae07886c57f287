"""Errors on the console's pages: a page that says what happened and what to do, never JSON."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from twinward.access.errors import PasswordMustChange, SignInRefused
from twinward.api.http.problems import first_fault
from twinward.console.cookies import PATH
from twinward.core.errors import TwinwardError

_CHANGE_IT = "go back and change what you entered"
_HINTS = {400: _CHANGE_IT, 408: "go back and send it again", 413: "go back and enter less"}
_Handler = Callable[[Request], Coroutine[Any, Any, Response]]
ShowProblem = Callable[[Request, int, str, str], Response]


def page_route(show: ShowProblem) -> type[APIRoute]:
    """A route class for pages. ``show`` renders (request, status, message, hint)."""

    class PageRoute(APIRoute):
        """Whoever is not signed in is sent to sign in; every other error becomes a page."""

        def get_route_handler(self) -> _Handler:
            """FastAPI's hook around one route."""
            handle = super().get_route_handler()

            async def handled(request: Request) -> Response:
                try:
                    return await handle(request)
                except PasswordMustChange:
                    return RedirectResponse(f"{PATH}/account", status_code=303)
                except SignInRefused:
                    return RedirectResponse(f"{PATH}/sign-in", status_code=303)
                except TwinwardError as error:
                    return show(request, error.http_status, *error.outside())
                except RequestValidationError as error:
                    return show(request, 400, first_fault(error), _CHANGE_IT)
                except HTTPException as error:  # a form that is not read to its end, or is none
                    page = show(request, error.status_code, str(error.detail), _HINTS.get(error.status_code, ""))
                    page.headers.update(error.headers or {})
                    return page

            return handled

    return PageRoute
