"""Threads that write to one file take turns, and whoever is at work never waits for one of them."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from twinward_ledger.errors import LogUnavailable
from twinward_ledger.storage.sqlite import SqliteFile
from twinward_ledger.stores.tables import WITNESS_STATE
from twinward_ledger.stores.witness_state import WitnessState

ORIGIN = "st-anna.example/access"


def test_a_witness_keeps_its_word_to_as_many_as_ask_at_once(tmp_path: Path) -> None:
    state = WitnessState(tmp_path / "witness.db")
    crowd = 24
    together = threading.Barrier(crowd)

    def keep(number: int) -> None:
        def check() -> None:
            assert state.at(f"{ORIGIN}/{number}", 1) is None  # read while this thread alone may write

        together.wait()
        state.advance(f"{ORIGIN}/{number}", 1, b"note", check)

    began = time.monotonic()
    with ThreadPoolExecutor(crowd) as threads:
        list(threads.map(keep, range(crowd)))
    assert time.monotonic() - began < 5
    assert all(state.newest(f"{ORIGIN}/{number}") == (1, b"note") for number in range(crowd))
    state.close()


def test_who_would_not_wait_is_told_at_once(tmp_path: Path) -> None:
    file = SqliteFile(tmp_path / "witness.db", WITNESS_STATE)

    def write() -> None:
        with file.writing(wait=False):
            pass

    with file.writing(), ThreadPoolExecutor(1) as other, pytest.raises(LogUnavailable):
        other.submit(write).result()
    write()
    file.close()
