"""Whatever goes wrong on a page is answered by a page that says what to do, and never by the error's own text."""

from __future__ import annotations

import re

import pytest
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.testclient import TestClient
from structlog.testing import capture_logs

from twinward.console.errors import page_route
from twinward.console.viewer import Viewer
from twinward.core.errors import NotFound
from twinward_crypto.errors import InvalidSignature, ProviderLocked
from twinward_ledger.errors import LedgerError

SECRET = "Mrs Miller, HIV positive"


def show(_: Request, status: int, message: str, hint: str) -> Response:
    return HTMLResponse(f"<h1>{message}</h1><p>{hint}</p>", status_code=status)


def answered(error: Exception) -> Response:
    router = APIRouter(route_class=page_route(show, lambda _: Viewer()))

    @router.get("/")
    def page() -> Response:
        raise error

    app = FastAPI()
    app.include_router(router)
    return TestClient(app).get("/")


@pytest.mark.parametrize(
    "error", [RuntimeError(SECRET), InvalidSignature(SECRET), LedgerError(SECRET)], ids=lambda one: type(one).__name__
)
def test_a_defect_is_a_page_with_a_reference_that_the_log_explains(error: Exception) -> None:
    with capture_logs() as logged:
        answer = answered(error)
    assert answer.status_code == 500
    assert answer.headers["content-type"].startswith("text/html")
    reference = re.search(r"the reference ([0-9a-f]{8})", answer.text)
    assert reference is not None
    assert [(line["event"], line["kind"], line["reference"]) for line in logged] == [
        ("defect", type(error).__name__, reference[1])
    ]
    assert SECRET not in answer.text + str(logged)


def test_a_key_service_that_is_down_is_said_without_its_address() -> None:
    answer = answered(ProviderLocked("https://kms.internal does not answer"))
    assert answer.status_code == 503
    assert "does not answer" in answer.text
    assert "kms.internal" not in answer.text


def test_what_is_expected_keeps_its_words() -> None:
    answer = answered(NotFound("there is no such page", hint="use the navigation above"))
    assert (answer.status_code, "there is no such page" in answer.text) == (404, True)
