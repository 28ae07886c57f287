from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.fhir.hospital import Hospital


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Hospital]:
    house = Hospital(tmp_path)
    yield house
    house.close()
