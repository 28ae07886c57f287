"""Python's cycle collector rests while a server starts, and works again whatever becomes of it."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from twinward.core import collector


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_nothing_is_collected_until_the_server_is_ready() -> None:
    with collector.at_rest():
        assert not gc.isenabled()
        collector.back_at_work()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 1000
    assert gc.isenabled()


def test_a_start_that_fails_leaves_the_collector_at_work() -> None:
    with pytest.raises(RuntimeError), collector.at_rest():
        raise RuntimeError
    assert gc.isenabled()
