"""Parts: made once, when first asked for, by whatever thread; given back in reverse."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from twinward.core.errors import Unavailable
from twinward.node.parts import Parts, part
from twinward_ledger.errors import LogUnavailable


@dataclass(frozen=True)
class File:
    """Says when it is closed."""

    name: str
    closed: list[str]

    def close(self) -> None:
        self.closed.append(self.name)


class House(Parts):
    """A roof stands on walls."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[str] = []
        self.closed: list[str] = []
        self.flooded = True

    @part
    def roof(self) -> File:
        """Needs walls."""
        assert self.walls
        return self._file("roof")

    @part
    def walls(self) -> File:
        """Need nothing."""
        time.sleep(0.01)
        return self._file("walls")

    @part
    def cellar(self) -> File:
        """Under water at first."""
        if self.flooded:
            raise LogUnavailable("water")
        return self._file("cellar")

    def _file(self, name: str) -> File:
        self.made.append(name)
        made = File(name, self.closed)
        self.keep(made)
        return made


def test_a_part_is_made_when_it_is_asked_for_and_once() -> None:
    house = House()
    assert house.made == []
    assert house.roof is house.roof
    assert house.made == ["walls", "roof"]


def test_threads_that_ask_at_once_get_the_same_part() -> None:
    house, start = House(), threading.Barrier(8)

    def ask(_: int) -> File:
        start.wait()
        return house.roof

    with ThreadPoolExecutor(8) as pool:
        assert len({id(one) for one in pool.map(ask, range(8))}) == 1
    assert house.made == ["walls", "roof"]


def test_what_was_made_is_given_back_in_reverse_and_nothing_is_made_afterwards() -> None:
    house = House()
    assert house.roof
    house.close()
    assert house.closed == ["roof", "walls"]
    house.close()
    assert house.closed == ["roof", "walls"]
    house.flooded = False
    with pytest.raises(RuntimeError, match="cellar"):
        assert house.cellar


def test_a_part_that_cannot_be_made_is_refused_as_the_platforms_own_and_tried_again() -> None:
    house = House()
    with pytest.raises(Unavailable, match="water"):
        house.open_all()
    house.flooded = False
    house.open_all()
    assert house.made == ["walls", "roof", "cellar"]
