"""Three hospitals, each a uvicorn server in a process of its own; one is killed, another one stops answering."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from click.testing import CliRunner

from tests.command_line import PROGRAM
from tests.integration.similarity.serve_fixtures import FEATURES
from twinward.client import (
    AsyncVendorClient,
    HospitalUnreachable,
    Mode,
    Question,
    Threshold,
    VendorClient,
    ask_hospitals,
    ask_hospitals_async,
)
from twinward.core.errors import BadInput

pytestmark = pytest.mark.slow  # three servers in processes of their own, one killed

ROOT = Path(__file__).resolve().parents[3]
QUERY = (60, 70, 50)
VALUES = dict(zip(FEATURES, map(float, QUERY), strict=True))
RADIUS = 40**2
START_TIMEOUT_S = 60.0
PATIENCE_S = 1.5


@dataclass
class Served:
    process: subprocess.Popen[bytes]
    url: str
    levels: np.ndarray
    handles: list[str]

    def within(self, squared: int, weights: tuple[int, ...] = (1, 1, 1)) -> set[str]:
        """Brute force."""
        near = self.distances(weights) <= squared
        return {handle for handle, inside in zip(self.handles, near, strict=True) if inside}

    def distances(self, weights: tuple[int, ...] = (1, 1, 1)) -> np.ndarray:
        found: np.ndarray = ((self.levels - np.array(QUERY)) ** 2 * np.array(weights)).sum(axis=1)
        return found


def start(seed: int, folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.integration.similarity.serve_fixtures", str(seed), str(folder)]
    return subprocess.Popen(command, cwd=ROOT)


def awaited(process: subprocess.Popen[bytes], folder: Path) -> Served:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not (folder / "ready.json").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    ready = json.loads((folder / "ready.json").read_text())
    url = f"http://127.0.0.1:{ready['port']}"
    while True:
        try:
            httpx.get(f"{url}/nothing")
        except httpx.ConnectError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return Served(process, url, np.array(ready["levels"]), ready["handles"])


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Served]]:
    folders = [tmp_path_factory.mktemp(f"hospital-{seed}") for seed in range(3)]
    processes = [start(seed, folder) for seed, folder in enumerate(folders)]
    try:
        yield [awaited(process, folder) for process, folder in zip(processes, folders, strict=True)]
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.fixture
def clients(hospitals: list[Served]) -> Iterator[list[VendorClient]]:
    with ExitStack() as stack:
        yield [stack.enter_context(VendorClient(one.url, "token", timeout_s=PATIENCE_S * 8)) for one in hospitals]


@pytest.mark.parametrize("mode", Mode)
def test_a_range_over_three_hospitals(hospitals: list[Served], clients: list[VendorClient], mode: Mode) -> None:
    answers = ask_hospitals(clients, Question(VALUES, mode, Threshold.squared_levels(RADIUS)))
    assert answers.complete
    for one in hospitals:
        assert set(answers.matches[one.url].handles) == one.within(RADIUS)
    assert {(found.hospital, found.handle) for found in answers.found} == {
        (one.url, handle) for one in hospitals for handle in one.within(RADIUS)
    }


def test_the_nearest_of_all_where_distances_are_known(hospitals: list[Served], clients: list[VendorClient]) -> None:
    answers = ask_hospitals(clients, Question(VALUES, Mode.VENDOR_KEY, nearest=5))
    everybody = sorted(
        (int(distance), one.url, handle)
        for one in hospitals
        for distance, handle in zip(one.distances(), one.handles, strict=True)
    )
    expected = [each for each in everybody if each[0] <= everybody[4][0]]
    assert [(found.distance, found.hospital, found.handle) for found in answers.found] == expected


@pytest.mark.parametrize("mode", [Mode.GATED, Mode.MATRIX])
def test_the_nearest_of_each_where_nobody_tells_distances(
    hospitals: list[Served], clients: list[VendorClient], mode: Mode
) -> None:
    """The same question in an epoch gets the same answer, so modes agree."""
    answers = ask_hospitals(clients, Question(VALUES, mode, nearest=30, weights={"a": 2}))
    for one in hospitals:
        limit = int(np.sort(one.distances((2, 1, 1)))[29])
        told = set(answers.matches[one.url].handles)
        assert len(told) >= 27  # whole groups: two earlier answers of this epoch bind this one
        assert len(told ^ one.within(limit, (2, 1, 1))) <= 6
    assert all(found.distance is None for found in answers.found)


def test_asyncio_gets_the_same(hospitals: list[Served]) -> None:
    async def ask() -> dict[str, set[str]]:
        clients = [AsyncVendorClient(one.url, "token") for one in hospitals]
        try:
            question = Question(VALUES, Mode.GATED, Threshold.squared_levels(RADIUS))
            answers = await ask_hospitals_async(clients, question)
            left = await asyncio.gather(*(client.budget() for client in clients))
            assert all(one.remaining > 0 for one in left)
            return {name: set(one.handles) for name, one in answers.matches.items()}
        finally:
            for client in clients:
                await client.aclose()

    assert asyncio.run(ask()) == {one.url: one.within(RADIUS) for one in hospitals}


def test_the_same_hospital_twice_is_a_mistake(clients: list[VendorClient]) -> None:
    for wrong in ([], [clients[0], clients[0]]):
        with pytest.raises(BadInput, match="each once"):
            ask_hospitals(wrong, Question(VALUES))


def test_one_killed_and_one_that_hangs_do_not_hold_the_third_up(hospitals: list[Served]) -> None:
    """Last in this file: the module's servers do not come back."""
    first, second, third = hospitals
    second.process.send_signal(signal.SIGSTOP)
    third.process.kill()
    third.process.wait()
    question = Question(VALUES, Mode.GATED, Threshold.squared_levels(RADIUS))
    try:
        with ExitStack() as stack:
            clients = [stack.enter_context(VendorClient(one.url, "t", timeout_s=PATIENCE_S)) for one in hospitals]
            answers = ask_hospitals(clients, question)
            assert set(answers.matches) == {first.url}
            assert set(answers.matches[first.url].handles) == first.within(RADIUS)
            assert {failure.hospital for failure in answers.failures} == {second.url, third.url}
            assert all(isinstance(failure.error, HospitalUnreachable) for failure in answers.failures)
            with pytest.raises(HospitalUnreachable):
                ask_hospitals(clients[1:], question)
    finally:
        second.process.send_signal(signal.SIGCONT)
    command = ["vendor", "query", first.url, third.url, "--mode", "gated", "--feature", "a=60", "--threshold", "0.3"]
    done = CliRunner(env={"TWINWARD_TOKEN": "t", "COLUMNS": "200"}).invoke(
        PROGRAM, [*command, "--same-token", "--yes", "--json"]
    )
    assert done.exit_code == 0, done.output
    shown = json.loads(done.stdout)
    assert set(shown["answers"]) == {first.url}
    assert set(shown["failures"]) == {third.url}
    assert shown["found"]
    assert f"({first.url}) in gated mode: " in done.stderr
    alone = CliRunner(env={"TWINWARD_TOKEN": "t"}).invoke(
        PROGRAM, ["vendor", "query", third.url, *command[4:], "--yes"]
    )
    assert alone.exit_code == 7, alone.output
