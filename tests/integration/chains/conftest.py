"""A consortium of three hospitals on an embedded chain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.chains.consortium import NOW_S, Consortium
from twinward_ledger.chains.embedded import EmbeddedChain


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[EmbeddedChain]:
    opened = EmbeddedChain(tmp_path / "chain.db", now_s=lambda: NOW_S)
    yield opened
    opened.close()


@pytest.fixture
def consortium(chain: EmbeddedChain) -> Consortium:
    return Consortium.on(chain, hospitals=3, quorum=2)
