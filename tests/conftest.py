"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.grounds import Ground, ground
from tests.postgres import Postgres, running_postgres

settings.register_profile("twinward", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("twinward")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real inputs beside the repository; not part of it, so a bare clone skips what needs them."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no ../shared/data beside the repository: real patient bundles and conformance vectors are absent")
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL server, shared by the tests that ask for a database of it."""
    with running_postgres() as server:
        yield server


@pytest.fixture(name="ground", params=["embedded", pytest.param("anvil", marks=pytest.mark.slow)])
def ground_fixture(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    """A new chain: the embedded one, and in ``make test-all`` a real anvil too."""
    with ground(request.param, tmp_path) as made:
        yield made
