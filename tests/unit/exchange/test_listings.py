"""Whoever offers hundreds hides nobody else's: what is shown of the newest listings."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest

from twinward.exchange import service
from twinward.exchange.service import Exchange


@dataclass
class Listings:
    """A contract's listings, of whose reading alone this is: on a chain thousands would take minutes."""

    hospitals: list[str]

    def listing_count(self) -> int:
        return len(self.hospitals)

    def listing(self, number: int) -> Any:
        return SimpleNamespace(number=number, hospital=self.hospitals[number - 1])


def test_one_members_flood_leaves_the_others_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Exchange, "_listing_view", lambda _, found: found)
    exchange = Exchange.__new__(Exchange)
    exchange._contract = cast(Any, lambda: Listings(["north", "lake"] * 30 + ["flood"] * 700))
    found = exchange.listings()
    assert [one.number for one in found] == [*range(1, 61), *range(661, 761)]
    monkeypatch.setattr(service, "LOOKED_AT", 10)
    assert len(exchange.listings()) == 10
