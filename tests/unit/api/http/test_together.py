"""Requests that are answered together: each is told its own, whoever goes away, whatever takes long."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from twinward.api.http.together import MOST_AT_ONCE, MOST_THREADS, Together

WAIT_S = 30


class Doubling:
    """Doubles numbers; raises for those that are negative. May wait at the first batch until it is let go."""

    def __init__(self, *, waits: bool = False) -> None:
        self.batches: list[list[int]] = []
        self.begun, self.go = threading.Event(), threading.Event()
        if not waits:
            self.go.set()

    def __call__(self, asked: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(asked))
        self.begun.set()
        assert self.go.wait(WAIT_S)
        return [2 * one if one >= 0 else ValueError(str(one)) for one in asked]


class Fragile(Doubling):
    """Divides twelve by numbers, and fails altogether where one of them is zero."""

    def __call__(self, asked: Sequence[int]) -> list[int | Exception]:
        super().__call__(asked)
        return [12 // one for one in asked]


async def asked_behind_one(doubling: Doubling, together: Together[int, int], numbers: Sequence[int]) -> list[object]:
    """What each comes to, where all come while one that was first is being answered."""
    first = asyncio.create_task(together.ask(6))
    await asyncio.to_thread(doubling.begun.wait, WAIT_S)
    others = [asyncio.create_task(together.ask(one)) for one in numbers]
    await asyncio.sleep(0)
    doubling.go.set()
    assert await first in (2, 12)
    return list(await asyncio.gather(*others, return_exceptions=True))


def test_those_that_wait_are_answered_together_each_with_its_own() -> None:
    doubling = Doubling(waits=True)
    found = asyncio.run(asked_behind_one(doubling, Together(doubling), [1, 2, -3, 4]))
    assert [one if isinstance(one, int) else type(one) for one in found] == [2, 4, ValueError, 8]
    assert doubling.batches == [[6], [1, 2, -3, 4]]


def test_no_more_are_taken_together_than_may_wait_for_each_other() -> None:
    doubling, numbers = Doubling(waits=True), list(range(1, 2 * MOST_AT_ONCE + 2))
    found = asyncio.run(asked_behind_one(doubling, Together(doubling), numbers))
    assert found == [2 * one for one in numbers]
    assert [len(batch) for batch in doubling.batches] == [1, MOST_AT_ONCE, MOST_AT_ONCE, 1]


@pytest.mark.parametrize(
    ("repeatable", "told", "batches"),
    [
        (True, [4, ZeroDivisionError, 3], [[6], [3, 0, 4], [3], [0], [4]]),
        (False, [ZeroDivisionError] * 3, [[6], [3, 0, 4]]),
    ],
)
def test_what_nobody_expected_of_one_is_told_to_the_others_only_where_they_may_not_be_asked_again(
    repeatable: bool, told: list[object], batches: list[list[int]]
) -> None:
    fragile = Fragile(waits=True)
    found = asyncio.run(asked_behind_one(fragile, Together(fragile, repeatable=repeatable), [3, 0, 4]))
    assert [one if isinstance(one, int) else type(one) for one in found] == told
    assert fragile.batches == batches


def test_one_that_takes_long_does_not_hold_up_who_comes_later() -> None:
    go, begun = threading.Event(), threading.Semaphore(0)

    def slow_for_some(asked: Sequence[int]) -> list[int | Exception]:
        if asked[0] < MOST_THREADS - 1:
            begun.release()
            assert go.wait(WAIT_S)
        return list(asked)

    async def ask() -> None:
        together: Together[int, int] = Together(slow_for_some)
        slow = []
        for one in range(MOST_THREADS - 1):
            slow.append(asyncio.create_task(together.ask(one)))
            assert await asyncio.to_thread(begun.acquire, timeout=WAIT_S)
        quick = await asyncio.wait_for(together.ask(99), WAIT_S)
        assert (quick, any(one.done() for one in slow)) == (99, False)
        go.set()
        assert await asyncio.gather(*slow) == list(range(MOST_THREADS - 1))

    asyncio.run(ask())


def test_whoever_goes_away_is_answered_no_more_and_others_are() -> None:
    doubling = Doubling(waits=True)

    async def ask() -> list[object]:
        together = Together(doubling)
        gone = asyncio.create_task(together.ask(1))
        await asyncio.to_thread(doubling.begun.wait, WAIT_S)
        stays = asyncio.create_task(together.ask(2))
        await asyncio.sleep(0)
        gone.cancel()
        doubling.go.set()
        return list(await asyncio.gather(gone, stays, return_exceptions=True))

    gone, stays = asyncio.run(ask())
    assert (type(gone), stays) == (asyncio.CancelledError, 4)


def test_a_machine_without_threads_for_a_while_is_no_end_of_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def ask() -> list[object]:
        doubling = Doubling()
        together = Together(doubling)
        with monkeypatch.context() as full:
            full.setattr(threading.Thread, "start", no_thread)
            for _ in range(2 * MOST_THREADS):
                with pytest.raises(RuntimeError):
                    await asyncio.wait_for(together.ask(99), WAIT_S)
        assert not doubling.batches
        found: list[object] = [await asyncio.wait_for(together.ask(n), WAIT_S) for n in range(2 * MOST_THREADS)]
        assert doubling.batches == [[n] for n in range(2 * MOST_THREADS)], "what was refused is not done later"
        return found

    assert asyncio.run(ask()) == [2 * n for n in range(2 * MOST_THREADS)]


def test_a_loop_that_is_gone_holds_up_no_other() -> None:
    doubling = Doubling(waits=True)
    together = Together(doubling)

    async def leave() -> None:
        task = asyncio.create_task(together.ask(1))
        await asyncio.to_thread(doubling.begun.wait, WAIT_S)
        task.cancel()

    async def stay() -> int:
        asyncio.get_running_loop().call_later(0.01, doubling.go.set)
        return await asyncio.wait_for(together.ask(2), WAIT_S)

    asyncio.run(leave())
    assert asyncio.run(stay()) == 4


@pytest.mark.parametrize("threads", [2, 5])
def test_loops_of_several_threads_are_each_told_their_own(threads: int) -> None:
    together: Together[int, int] = Together(lambda asked: [2 * one for one in asked])
    found: dict[int, list[int]] = {}

    def one(number: int) -> None:
        async def ask() -> list[int]:
            return list(await asyncio.gather(*(together.ask(number * 100 + k) for k in range(20))))

        found[number] = asyncio.run(ask())

    running = [threading.Thread(target=one, args=(number,)) for number in range(threads)]
    for each in running:
        each.start()
    for each in running:
        each.join()
    assert found == {number: [2 * (number * 100 + k) for k in range(20)] for number in range(threads)}
