"""Errors on the console's pages: a page that says what happened and what to do, never JSON.

A defect has a reference: the page shows it, the node's log says under it which kind of error it was. The error's text
is in neither: it may hold data.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

import structlog
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from twinward.access.errors import NotFresh, PasswordMustChange, SecondFactorMissing, SignInRefused
from twinward.console.sessions import PATH
from twinward.console.viewer import Viewer, message, viewed_by
from twinward.core.errors import TwinwardError, Unavailable
from twinward.core.field_faults import field_fault
from twinward.core.sentences import sentence
from twinward_crypto.errors import KeyProviderError

log = structlog.get_logger("twinward.console")

_CHANGE_IT = message("go back and change what you entered")
_HINTS = {400: _CHANGE_IT, 408: message("go back and send it again"), 413: message("go back and enter less")}
_SAID = {
    408: message("what you entered came too slowly"),
    413: message("what you entered is larger than can be taken here"),
}
"""Where the framework's own words, which are English, are for programs."""
_MAX_NAME_CHARS = 40
_Handler = Callable[[Request], Coroutine[Any, Any, Response]]
ShowProblem = Callable[[Request, int, str, str], Response]


def page_route(show: ShowProblem, viewer: Callable[[Request], Viewer]) -> type[APIRoute]:
    """A route class for pages. ``show`` renders (request, status, message, hint), for whom ``viewer`` says."""

    class PageRoute(APIRoute):
        """Whoever is not signed in is sent to sign in; every other error becomes a page."""

        def get_route_handler(self) -> _Handler:
            """FastAPI's hook around one route."""
            handle = super().get_route_handler()

            async def handled(request: Request) -> Response:
                with viewed_by(viewer(request)):
                    return await answered(request)

            async def answered(request: Request) -> Response:
                try:
                    with _key_service_told():
                        return await handle(request)
                except (PasswordMustChange, SecondFactorMissing):
                    return RedirectResponse(f"{PATH}/account", status_code=303)
                except NotFresh as error:
                    return RedirectResponse(f"{PATH}/confirm?{urlencode({'next': error.then})}", status_code=303)
                except SignInRefused:
                    return RedirectResponse(f"{PATH}/sign-in", status_code=303)
                except TwinwardError as error:
                    return show(request, error.http_status, *error.outside())
                except RequestValidationError as error:
                    return show(request, 400, _fault(error), _CHANGE_IT)
                except HTTPException as error:  # a form that is not read to its end, or is none
                    page = show(
                        request,
                        error.status_code,
                        _SAID.get(error.status_code, error.detail),
                        _HINTS.get(error.status_code, ""),
                    )
                    page.headers.update(error.headers or {})
                    return page
                except Exception as error:  # noqa: BLE001 - the last boundary: an officer gets a page, the log its kind
                    return show(request, 500, *_defect(request, error))

            return handled

    return PageRoute


def _fault(error: RequestValidationError) -> str:
    """What is wrong with a form or an address, in the page's language. What was entered is not said again."""
    first = error.errors()[0]
    return field_fault(str(first["loc"][-1])[:_MAX_NAME_CHARS], first)


@contextmanager
def _key_service_told() -> Iterator[None]:
    """A key service that does not answer is no defect: its operator has to know what is wrong with it."""
    try:
        yield
    except KeyProviderError as error:
        raise Unavailable(f"the key service cannot be used: {error}", hint=error.hint) from error


def _defect(request: Request, error: Exception) -> tuple[str, str]:
    """What a page says of an error that nobody expected, and the line in the node's log that it refers to."""
    reference = secrets.token_hex(4)
    log.error("defect", kind=type(error).__name__, method=request.method, reference=reference)
    return message("this page cannot be shown: something failed in the node"), sentence(
        "try again; if it happens again, tell whoever runs the node the reference {reference}: its log explains it",
        reference=reference,
    )
