"""No altered bundle ends its reader or raises what is not in the error tree: some hundreds; 20,000 when slow."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.adversarial.similarity.fuzzing import Outcome, Target, run, targets

MUTATIONS = 22_000
SOME = 700


def fuzzed(count: int, *, first: int = 0) -> dict[str, Outcome]:
    """About so many mutations, spread over all targets by their shares."""
    weight = sum(target.share for target in targets())
    return {
        target.name: run(target, range(first, first + 1 + int(count * target.share / weight))) for target in targets()
    }


def test_the_honest_bytes_are_taken() -> None:
    """Otherwise nothing below would show anything."""
    for target in targets():
        reached: list[int] = []
        target.use(target.honest, lambda reached=reached: reached.append(1))
        assert reached, target.name


def test_some_altered_bundles_of_every_kind_end_nobody() -> None:
    outcomes = fuzzed(SOME, first=1_000_000)
    assert sum((one.wrong for one in outcomes.values()), ()) == ()
    assert sum(one.ran for one in outcomes.values()) >= SOME


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_thousand_altered_bundles_end_nobody() -> None:
    outcomes = fuzzed(MUTATIONS)
    ran, reached = (sum(getattr(one, what) for one in outcomes.values()) for what in ("ran", "reached"))
    assert sum((one.wrong for one in outcomes.values()), ()) == ()
    assert ran >= 20_000
    assert reached >= 1_000
    assert all(one.reached for one in outcomes.values()), {name for name, one in outcomes.items() if not one.reached}


def test_the_fuzzer_notices() -> None:
    """A reader that dies and one that raises what nobody documented: named by target and seed; the rest still run."""

    def reading(data: bytes, reached: Callable[[], None]) -> object:
        reached()
        if data[0] == 3:
            os.kill(os.getpid(), signal.SIGSEGV)
        return 1 // (data[0] - 5)

    class Counting(Target):
        def altered(self, seed: int) -> bytes:
            return bytes([seed])

    outcome = run(Counting("counting", b"\0", (b"\0",), reading), range(10))
    assert outcome.ran == 10
    assert len(outcome.wrong) == 2
    assert outcome.wrong[0] == "counting, seed 3: SIGSEGV"
    assert "ZeroDivisionError" in outcome.wrong[1]
    assert outcome.wrong[1].startswith("counting, seed 5")
