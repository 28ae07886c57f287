"""Gated queries formed by hand: a score of the attacker's choice for every row. The gate refuses them all alike.

Before the gate looked, twelve such queries read sixteen patients' exact age, and whether an answer was an error told
whether anybody lay inside a ball. Each attack runs over HTTP with what a vendor has, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
from fastapi.testclient import TestClient

from tests.adversarial.similarity.forger import Forger, Slots
from tests.integration.similarity.fixtures import EPOCH, VENDOR, House, app_of, schema_of
from twinward.core.vocabulary import Action
from twinward.protocol.terms import Mode
from twinward.similarity.scoring.engines import GatedEngine
from twinward.similarity.scoring.shards import Blinding, Scorer
from twinward_crypto.homomorphic.gated import EncryptedIndex, score_gated
from twinward_crypto.homomorphic.index_block import index_of_objects
from twinward_crypto.homomorphic.parameters import query_tolerance
from twinward_crypto.homomorphic.parts import query_scales
from twinward_crypto.homomorphic.wire import Bundle

SCHEMA = schema_of({"a": (0, 127), "b": (0, 127)})
ROWS = np.random.default_rng(31).integers(0, 128, (30, 2))
MAX = 2 * 2 * 127**2
A, B, W_A, W_B, OFFSET = range(5)
HONEST, WEIGHTS = [60, 70], [1, 2]


class Watched:
    """The real scorer, and what it was given."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self.seen: list[Bundle] = []

    def score(self, query: Bundle, blinding: Blinding | None = None) -> Bundle:
        self.seen.append(query)
        return self.scorer.score(query, blinding)

    def close(self) -> None:
        self.scorer.close()


@dataclass
class Scoring:
    """Scores an index as it is, damaged or not."""

    index: EncryptedIndex

    def score(self, query: Bundle, blinding: Blinding | None = None) -> Bundle:
        return score_gated(query, self.index)

    def close(self) -> None:
        """Nothing to give back."""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = House(tmp_path_factory.mktemp("forged"), SCHEMA, ROWS, modes=(Mode.GATED,), allowance=10**6)
    engine = made.service._gated
    assert isinstance(engine, GatedEngine)
    made.service._gated = replace(engine, scorer=Watched(engine.scorer))
    yield made
    engine.close()  # kept until here: an engine that nobody refers to gives back what scores


@pytest.fixture
def scored(house: House) -> list[Bundle]:
    """What reaches the scoring side during a test."""
    assert house.service._gated is not None
    watched = house.service._gated.scorer
    assert isinstance(watched, Watched)
    watched.seen.clear()
    return watched.seen


@pytest.fixture(scope="module")
def forger(house: House) -> Forger:
    return Forger(TestClient(app_of(house.answers)))


def chosen_rows(parts: list[Slots]) -> None:
    """Told are exactly the rows the vendor names: everybody else is put at the largest distance."""
    for part in parts:
        part[:] = 0
    parts[OFFSET][:] = MAX
    parts[OFFSET][:9] = 0


def one_row(parts: list[Slots]) -> None:
    parts[OFFSET][4] += 1


def padding(parts: list[Slots]) -> None:
    """Only slots that no row uses differ."""
    parts[OFFSET][len(ROWS) :] += 1


def bisection(parts: list[Slots]) -> None:
    """Row 7 is told if and only if its first feature is 64 or more (threshold 127): one bit of one patient."""
    chosen_rows(parts)
    parts[A][7], parts[OFFSET][7] = -1, 64 + 127


def ball(shift: int) -> Callable[[list[Slots]], None]:
    """Distances less ``shift``: below zero for whoever is nearer."""

    def forge(parts: list[Slots]) -> None:
        parts[OFFSET] -= shift

    return forge


def moved(part: int, by: complex) -> Callable[[list[Slots]], None]:
    def forge(parts: list[Slots]) -> None:
        parts[part] += by

    return forge


def put(**numbers: int) -> Callable[[list[Slots]], None]:
    def forge(parts: list[Slots]) -> None:
        for name, number in numbers.items():
            parts[int(name[1:])][:] = number

    return forge


def waves(parts: list[Slots]) -> None:
    """A monomial instead of a constant: of size one in every slot, in another direction in each."""
    slots = np.arange(len(parts[A]))
    parts[A] += np.exp(2j * np.pi * slots / 7)


FORGERIES: dict[str, Callable[[list[Slots]], None]] = {
    "chosen rows": chosen_rows,
    "one row": one_row,
    "rows that are none": padding,
    "a bit of one patient": bisection,
    "a smaller ball": ball(1),
    "a ball that reaches everybody": ball(MAX),
    "a larger offset": moved(OFFSET, 1),
    "half a unit": moved(OFFSET, 0.5),
    "a hundredth": moved(A, 0.01),
    "an imaginary part": moved(B, 1j),
    "waves": waves,
    "an odd product": moved(A, 1),
    "a level outside": put(_0=-2 * 128, _4=128**2 + 2 * 70**2),
    "a level below zero": put(_0=2, _4=1 + 2 * 70**2),
    "a weight of 3": put(_2=3, _4=3 * 20**2 + 2 * 70**2),
    "a negative weight": put(_0=120, _2=-1, _4=2 * 70**2 - 60**2),
    "a product without a weight": put(_2=0, _4=2 * 70**2),
    "weights per row": lambda parts: parts[W_B].__setitem__(slice(0, 5), 0),
    "features per row": lambda parts: parts[B].__setitem__(slice(5, None), 0),
    "beyond every number": moved(A, 1e9),
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES.keys())
def test_a_forged_query_is_refused_before_anything_is_scored(
    house: House, forger: Forger, scored: list[Bundle], forge: Callable[[list[Slots]], None]
) -> None:
    parts = forger.honest(HONEST, WEIGHTS)
    forge(parts)
    left, events = house.budget.remaining(VENDOR.id, EPOCH), len(house.trail.events)
    refusal = forger.send(forger.bundle(parts, weighted=True), 127)
    assert refusal.status_code == 400
    assert refusal.json()["error"]["message"] == "values that no well-formed query gives"
    assert scored == []
    assert [event.action for event in house.trail.events[events:]] == [Action.QUERY]
    assert house.budget.remaining(VENDOR.id, EPOCH) == left - 1  # a refusal tells a bit of the gate's key: it costs


def test_refusals_and_answers_are_the_same_wherever_the_rows_are(house: House, forger: Forger) -> None:
    """The probe that told "somebody is here": around a patient, next to one, and where nobody is far and wide."""
    seen = set()
    for centre in (ROWS[3], ROWS[11], np.clip(ROWS[3] + 1, 0, 127), np.array([0, 127])):
        for forge in (ball(1), ball(50), ball(MAX), one_row, bisection):
            parts = forger.honest(centre.tolist(), [1, 1])
            forge(parts)
            answer = forger.send(forger.bundle(parts, weighted=True))
            seen.add((answer.status_code, answer.text))
    assert len(seen) == 1


def test_without_weights_too(forger: Forger, scored: list[Bundle]) -> None:
    for number, by in ((0, 1), (1, 0.3), (2, -1)):
        parts = forger.honest(HONEST)
        parts[number][2] += by
        assert forger.send(forger.bundle(parts, weighted=False)).status_code == 400
    assert scored == []
    assert forger.send(forger.bundle(forger.honest(HONEST), weighted=False)).status_code == 200


def test_noise_a_vendor_shapes_reaches_no_row(house: House, forger: Forger, scored: list[Bundle]) -> None:
    """As much as the check lets through, a different amount in each slot: the gate scores what it encrypted itself."""
    rng = np.random.default_rng(1)
    clean = forger.bundle(forger.honest(HONEST, WEIGHTS), weighted=True)
    expected = sorted(forger.send(clean, 2_000).json()["handles"])
    parts = forger.honest(HONEST, WEIGHTS)
    for part, scale in zip(parts, query_scales(forger.plan, True), strict=True):
        part += 0.4 * query_tolerance(forger.plan, scale) * rng.choice([-1, 1], len(part))
    noisy = forger.bundle(parts, weighted=True)
    assert sorted(forger.send(noisy, 2_000).json()["handles"]) == expected != []
    assert len(scored) == 2
    for query in scored:
        assert house.service._gated is not None
        assert house.service._gated.gate.open_query(query).levels == tuple(HONEST)
        assert not any(part in clean or part in noisy for part in query.parts)


def test_a_damaged_index_is_no_match_and_no_error(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Should a row ever score what is no distance, the vendor is told nothing of it: as if nobody were there."""
    house = House(tmp_path_factory.mktemp("damaged"), SCHEMA, ROWS, modes=(Mode.GATED,))
    engine = house.service._gated
    assert engine is not None
    high, zero = (engine.gate.encrypt_index(np.full_like(ROWS, n), binding=engine.binding) for n in (127, 0))
    above, nought = (index_of_objects(one.plan, one.blocks[0]) for one in (high, zero))
    torn = replace(nought, features=above.features)  # squares of nought: distances below zero
    house.service._gated = replace(engine, scorer=Scoring(replace(zero, blocks=(torn,))))
    forger = Forger(TestClient(app_of(house.answers)))
    for nearest in (None, 5):
        answer = forger.send(forger.bundle(forger.honest(HONEST, WEIGHTS), weighted=True), MAX, nearest)
        assert answer.status_code == 200
        assert (answer.json()["count"], answer.json()["handles"]) == (None, [])
