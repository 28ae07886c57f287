"""Rotations and shreddings killed at random moments: nothing is lost, and what was begun is finished."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.vault.erasure_fixtures import ErasureHouse, restored
from tests.kills import kills
from tests.tools import ROOT
from twinward.core.vocabulary import Category, TwinId
from twinward.vault.errors import TwinShredded
from twinward.vault.keys import wrapping_keys

pytestmark = pytest.mark.slow

KILLS = kills(12, 30)
TWINS = 48
Kill = Callable[..., str]


@pytest.fixture(scope="module")
def kill() -> Iterator[Kill]:
    command = [sys.executable, "-m", "tests.integration.vault.fork_server"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def one(folder: Path, job: str, delay_s: float, *twins: TwinId) -> str:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(" ".join([str(folder), job, str(delay_s), *twins]) + "\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        yield one
        assert process.stdin is not None
        process.stdin.close()
        process.wait(20)


def test_a_killed_rotation_loses_no_key_and_goes_on(
    kill: Kill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wrapping_keys, "TWINS_PER_WRAPPING_KEY", 1)
    chance = random.Random(2026)
    house = ErasureHouse(tmp_path / "node")
    twins = [house.twin(Category.LABS) for _ in range(TWINS)]
    house.close()
    halves = 0
    for _ in range(KILLS):
        assert kill(house.folder, "rotate", chance.uniform(0, 0.12)) == "killed"
        house = ErasureHouse(house.folder)
        census = house.keyring.census()
        assert sum(census.wrapped.values()) == TWINS
        assert set(census.wrapped) <= set(census.keks)  # no key under a KEK that is gone
        halves += len(census.wrapped) > 1
        for twin in twins:
            assert house.contents(twin) == ["labs"]
        house.close()
    assert halves >= KILLS // 10, "hardly any rotation was caught half-way: make it longer"
    house = ErasureHouse(house.folder)
    target = house.keyring.rotate()
    house.keyring.retire()
    assert house.keyring.census().keks == (target,)
    house.close()


def test_a_killed_shredding_is_whole_or_not_begun_and_is_finished(
    kill: Kill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wrapping_keys, "TWINS_PER_WRAPPING_KEY", 8)
    chance = random.Random(2027)
    house = ErasureHouse(tmp_path / "node")
    survivors = [house.twin(Category.LABS) for _ in range(TWINS // 2)]
    longest, seen = _whole_length(house, kill, tmp_path), Counter[str]()
    for round_ in range(KILLS):
        house = ErasureHouse(house.folder)
        whole, part = house.twin(), house.twin()
        old = house.back_up(tmp_path / f"backup-{round_}")
        house.close()
        earliest = (0, 0.6)[round_ % 2]  # every other one where it is under way: ordering it takes most of the time
        said = kill(house.folder, "shred", chance.uniform(earliest, 1.1) * longest, whole, part)
        assert said in ("killed", "done")
        house = ErasureHouse(house.folder)
        left = len(house.keyring.unfinished())
        assert left in (0, 2)  # both or neither
        if not house.keyring.is_shredded(whole):
            seen["not begun"] += 1
            longest *= 1.1
            assert house.contents(whole) == house.contents(part) == ["labs", "labs", "labs", "psychiatry", "vitals"]
            house.erasures.order([house.request(whole), house.request(part, [Category.LABS])])
        elif left:
            seen["half-way"] += 1
        else:
            seen["over"] += 1
            longest *= 0.9  # it was measured beside something else
        with pytest.raises(TwinShredded):
            house.vault.read_twin(house.permit(whole))
        house.erasures.finish()
        assert house.keyring.unfinished() == []
        assert whole not in house.store.twins()
        assert house.contents(part) == ["psychiatry", "vitals"]
        assert all(house.contents(one) == ["labs"] for one in survivors)
        new = house.back_up(tmp_path / f"after-{round_}")
        thief = restored(house, (old, ("keyring.db", "records.db")))
        for one in (whole, part):
            with pytest.raises(TwinShredded):
                thief.vault.read_twin(thief.permit(one))
        restored(thief, (new, ("keyring.db", "records.db"))).close()
    assert seen["half-way"] >= KILLS // 10, seen


def _whole_length(house: ErasureHouse, kill: Kill, tmp_path: Path) -> float:
    """Seconds that an undisturbed shredding takes here, found by letting it live longer and longer."""
    delay_s = 0.05
    while True:
        whole, part = house.twin(), house.twin()
        house.close()
        started = time.monotonic()
        if kill(house.folder, "shred", delay_s, whole, part) == "done":
            return min(delay_s, time.monotonic() - started)
        house = ErasureHouse(house.folder)
        house.erasures.finish()
        delay_s *= 1.5
