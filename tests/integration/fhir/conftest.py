from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.integration.fhir.hospital import Hospital
from tests.integration.fhir.web import principal_of, streaming_of
from twinward.api.fhir import fhir_router


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Hospital]:
    house = Hospital(tmp_path)
    yield house
    house.close()


@pytest.fixture
def web(hospital: Hospital) -> TestClient:
    app = FastAPI()
    app.include_router(fhir_router(hospital.fhir, principal_of, streaming_of(hospital)))
    return TestClient(app, raise_server_exceptions=False)
