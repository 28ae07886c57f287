"""The FHIR routes, made once for many tests: that takes longer than most of them do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.integration.fhir.hospital import Hospital
from tests.integration.fhir.web import principal_of, streaming_of
from twinward.api.fhir import fhir_router
from twinward.api.fhir.subscriptions import Streaming


def routes_of(hospital: Hospital) -> TestClient:
    """Routes that lead to one hospital."""
    return _client(hospital.fhir, streaming_of(hospital))


class Door:
    """Routes that lead to whichever hospital was last named, by way of its own services; they keep nothing of it."""

    def __init__(self) -> None:
        self._hospital: Hospital | None = None
        self._streaming: Streaming | None = None
        self._app: FastAPI | None = None

    def open_to(self, hospital: Hospital) -> TestClient:
        """A client whose requests reach this hospital."""
        self._hospital, self._streaming = hospital, streaming_of(hospital)
        if self._app is None:
            service = _Now(lambda: self._hospital.fhir, "twins", "clock")  # type: ignore[union-attr]
            self._app = _app(service, _Now(lambda: self._streaming, "subscriptions", "streams"))
        return TestClient(self._app, raise_server_exceptions=False)


class _Now:
    """Whatever it stands for just now; so do the parts of it that are named."""

    def __init__(self, what: Callable[[], Any], *parts: str) -> None:
        self._what, self._parts = what, parts

    def __getattr__(self, name: str) -> Any:
        if name in self._parts:
            return _Now(lambda: getattr(self._what(), name))
        return getattr(self._what(), name)


def _app(service: Any, streaming: Any) -> FastAPI:
    app = FastAPI()
    app.include_router(fhir_router(service, principal_of, streaming))
    return app


def _client(service: Any, streaming: Any) -> TestClient:
    return TestClient(_app(service, streaming), raise_server_exceptions=False)
