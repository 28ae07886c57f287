from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.things.hospital import Equipped


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Equipped]:
    made = Equipped(tmp_path)
    yield made
    made.close()
