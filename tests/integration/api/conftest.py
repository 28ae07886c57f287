from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from tests.integration.console.fixtures import House, build


@pytest.fixture(scope="session")
def api_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One node for the whole session: tests compare the log's size before and after, never its absolute size."""
    built = build(tmp_path_factory.mktemp("api") / "home")
    yield built
    built.node.close()


@pytest.fixture(scope="session")
def web(api_house: House) -> Iterator[TestClient]:
    with TestClient(api_house.app, raise_server_exceptions=False, follow_redirects=False) as client:
        yield client
