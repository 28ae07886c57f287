"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

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
