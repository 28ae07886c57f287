"""Jobs of many threads done together: each once, whoever fails, and nobody is left waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from twinward.live.intake.together import Together


def test_each_job_is_done_once_and_many_share_a_turn() -> None:
    done: list[int] = []
    sizes: list[int] = []

    def do(jobs: Sequence[int]) -> None:
        time.sleep(0.001)
        done.extend(jobs)
        sizes.append(len(jobs))

    together = Together(do, 8)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(together.done, range(200)))
    assert sorted(done) == list(range(200))
    assert 1 <= max(sizes) <= 8
    assert len(sizes) < 150, "turns are shared"
    together.done(200)  # and who is alone is done alone
    assert (done[-1], sizes[-1]) == (200, 1)


def test_what_one_turn_raises_its_caller_gets_and_the_others_are_done() -> None:
    gate, done, tries = threading.Event(), list[int](), list[int]()

    def do(jobs: Sequence[int]) -> None:
        gate.wait(5)
        tries.append(len(jobs))
        if len(tries) == 2:
            raise OSError("the disk")
        done.extend(jobs)

    together = Together(do, 8)
    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(together.done, 0)]
        while not together._is_led:
            time.sleep(0.001)
        found += [pool.submit(together.done, number) for number in (1, 2, 3)]
        while len(together._waiting) < 3:
            time.sleep(0.001)
        gate.set()
        failed = [one for one in found if isinstance(one.exception(5), OSError)]
    assert (len(failed), sorted(done)) == (1, sorted({0, 1, 2, 3} - {found.index(failed[0])}))


def test_who_gives_up_hands_on_and_the_next_turn_is_taken() -> None:
    together = Together[int](lambda _: (_ for _ in ()).throw(KeyboardInterrupt), 8)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            together.done(1)
