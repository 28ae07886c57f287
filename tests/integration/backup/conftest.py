from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.backup.site import Site, build


@pytest.fixture(scope="session")
def _built(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return build(tmp_path_factory.mktemp("backup") / "node")


@pytest.fixture
def site(_built: Site, tmp_path: Path) -> Site:
    """A node of the test's own, closed."""
    return _built.copied_to(tmp_path / "node")
