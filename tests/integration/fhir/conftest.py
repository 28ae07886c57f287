from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.integration.fhir.door import Door, routes_of
from tests.integration.fhir.hospital import Hospital


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Hospital]:
    house = Hospital(tmp_path)
    yield house
    house.close()


@pytest.fixture(scope="session")
def door() -> Door:
    return Door()


@pytest.fixture
def web(hospital: Hospital, door: Door) -> TestClient:
    """The routes of every test, which lead to this one's hospital."""
    return door.open_to(hospital)


@pytest.fixture
def own_web(hospital: Hospital) -> TestClient:
    """Routes of this test's own: for what goes on in them when a request has been answered."""
    return routes_of(hospital)
