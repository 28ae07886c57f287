"""One count, made by processes of this machine and by actors of a Ray cluster: equal answers, also when one dies."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from twinward.similarity.errors import QueryMalformed
from twinward.similarity.feasibility.engine import FeasibilityEngine
from twinward.similarity.feasibility.ray_counters import RayCounting
from twinward_crypto.feasibility.answer import Layout
from twinward_crypto.feasibility.noise import GeometricNoise
from twinward_crypto.feasibility.query import Answer, FeasibilityKey

pytestmark = pytest.mark.slow  # Ray starts in seconds

LEVELS, BINDING, ROWS = (4, 3, 4), b"\5" * 32, np.random.default_rng(8).integers(0, 3, (70, 3))
TABLE = ((0, 0, 1, 1), (0, 1, 0), (0, 0, 0, 1))
TRUTH = int((np.array(TABLE[0])[ROWS[:, 0]] + np.array(TABLE[1])[ROWS[:, 1]] == 0).sum())
NOISE = GeometricNoise.of(1000)


@pytest.fixture(params=[None, ""], ids=["processes", "ray"])
def engine(request: pytest.FixtureRequest) -> Iterator[FeasibilityEngine]:
    made = FeasibilityEngine(LEVELS, BINDING, 80, 2, request.param)
    yield made
    made.close()


def test_every_engine_counts_the_same_and_survives_the_death_of_a_worker(
    engine: FeasibilityEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GeometricNoise, "draw", lambda *_: 0)
    key = FeasibilityKey()
    asked = engine.check(key.query(TABLE, binding=BINDING).encode())

    def counted() -> int:
        data = engine.count(ROWS, asked, NOISE)
        answer = Answer.decode(data, binding=BINDING, slots=engine.slots(1, NOISE))
        return key.matches(answer) - NOISE.bound

    assert counted() == TRUTH
    for child in engine._children:
        if isinstance(child, RayCounting):
            child._ray.kill(child._actor, no_restart=False)
        else:
            child.close()
    assert counted() == TRUTH


def test_what_no_client_sends_is_refused_by_every_engine(engine: FeasibilityEngine) -> None:
    data = FeasibilityKey().query(TABLE, binding=BINDING).encode()
    with pytest.raises(QueryMalformed):
        engine.check(data[:40] + b"\xff" * 32 + data[72:])


def test_an_actor_takes_no_indices_that_were_altered_or_are_anothers() -> None:
    from twinward.similarity.feasibility.ray_counters import RayCounter, about  # no cluster is needed
    from twinward_crypto.errors import MalformedBundle

    actor, layout = RayCounter(bytes(32)), Layout.plan(LEVELS, 1, 10)
    told = actor.answer(b"query", BINDING, layout, bytes(12), b"\0" * 40)
    assert isinstance(told, MalformedBundle)
    assert about(b"query", BINDING, layout) != about(b"other", BINDING, layout)
