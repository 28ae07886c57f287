"""A consortium of three hospitals, on each chain there is."""

from __future__ import annotations

import pytest

from tests.chains import Ground
from tests.integration.chains.consortium import Consortium
from twinward_ledger.chains.interfaces import ChainClient


@pytest.fixture
def chain(ground: Ground) -> ChainClient:
    return ground.open()


@pytest.fixture
def consortium(chain: ChainClient) -> Consortium:
    return Consortium.on(chain, hospitals=3, quorum=2)
