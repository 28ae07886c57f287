"""A hospital that groups features is asked and answers over HTTP as any other: fewer bytes up, the same distances."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.integration.similarity.fixtures import House, schema_of
from twinward.protocol.terms import Mode

LEVELS = np.random.default_rng(8).integers(0, 128, (40, 6))


@pytest.mark.parametrize("grouping", [1, 2, 4, 8])
def test_distances_are_those_of_brute_force(grouping: int, tmp_path: Path) -> None:
    names = dict.fromkeys("abcdef", (0.0, 127.0))
    house = House(tmp_path, schema_of(names), LEVELS, modes=(Mode.VENDOR_KEY,), vendor_key_grouping=grouping)
    asked = LEVELS[3]
    with house.vendor() as vendor:
        got = vendor.query_vendor_key(dict(zip(names, asked.astype(float).tolist(), strict=True)), threshold=1.0)
    expected = {
        house.service.secrets.handle("acme", twin): int(distance)
        for twin, distance in zip(house.twins, ((LEVELS - asked) ** 2).sum(axis=1), strict=True)
    }
    assert dict(zip(got.handles, got.distances, strict=True)) == expected
