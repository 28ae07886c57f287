from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.integration.console.fixtures import House, build
from twinward.core.clock import FixedClock


@pytest.fixture(scope="session")
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture(scope="session")
def console_house(tmp_path_factory: pytest.TempPathFactory, clock: FixedClock) -> Iterator[House]:
    built = build(tmp_path_factory.mktemp("console") / "home", patients=3, clock=clock)
    yield built
    built.node.close()


@pytest.fixture(scope="session")
def console_app(console_house: House) -> FastAPI:
    return console_house.app


@pytest.fixture
def web(console_app: FastAPI, clock: FixedClock) -> Iterator[TestClient]:
    """A new browser's cookies; a minute has passed, so that no earlier sign-in counts."""
    clock.advance(60_001)
    with TestClient(console_app, raise_server_exceptions=False, follow_redirects=False) as client:
        yield client
