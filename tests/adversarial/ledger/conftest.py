"""Exports are made once: their chain takes seconds."""

from __future__ import annotations

import pytest

from tests.adversarial.ledger.exports import Exports, make


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Exports:
    return make(tmp_path_factory.mktemp("exports"))
