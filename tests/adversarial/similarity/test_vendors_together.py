"""Vendors who pool their answers: neither handles nor the places of rows tell them which patients they share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tests.integration.similarity.fixtures import EPOCH, VENDOR, House, schema_of
from twinward.access.interfaces import Principal
from twinward.core.vocabulary import Role, TwinId
from twinward.protocol.messages import GatedQuery, MatrixSearch, VendorKeyQuery
from twinward.protocol.terms import Mode
from twinward_crypto.homomorphic.gated import encrypt_gated_query
from twinward_crypto.homomorphic.query import QueryKey

OTHER = Principal("globex", Role.VENDOR)
ROWS = 40
IDS = ("1" * 32, "2" * 32)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    levels = np.random.default_rng(3).integers(0, 128, (ROWS, 3))
    made = House(
        tmp_path_factory.mktemp("together"),
        schema_of(dict.fromkeys("abc", (0, 127))),
        levels,
        modes=(Mode.GATED, Mode.VENDOR_KEY, Mode.MATRIX),
    )
    return made


@pytest.fixture(autouse=True)
def _three_queries_each(house: House) -> None:
    house.budget.left |= {VENDOR.id: 3, OTHER.id: 3}  # type: ignore[attr-defined]


def placed(house: House, who: Principal, handles: tuple[str, ...]) -> list[TwinId]:
    names = {house.service.secrets.handle(who.id, twin): twin for twin in house.twins}
    return [names[handle] for handle in handles]


def asked(house: House, who: Principal) -> tuple[str, ...]:
    """The handles of a vendor-key answer, in the order of its places."""
    engine = house.service._vendor_key
    assert engine is not None
    key = QueryKey.generate(engine.plan)
    bundle = key.encrypt_query([64, 64, 64], binding=engine.binding).bundle.encode()
    return house.answers.answer_vendor_key(who, VendorKeyQuery.model_construct(epoch=EPOCH, bundle=bundle)).handles


def agreeing(one: Sequence[str], other: Sequence[str]) -> int:
    """How many places two orders have in common."""
    return sum(a == b for a, b in zip(one, other, strict=True))


def test_places_of_rows_are_drawn_anew_for_each_vendor_and_query(house: House) -> None:
    orders = [placed(house, who, asked(house, who)) for who in (VENDOR, OTHER, VENDOR)]
    assert all(set(order) == set(house.twins) for order in orders)
    cohort = list(house.service.cohort.twins)
    for first, second in ((orders[0], orders[1]), (orders[0], orders[2]), (orders[0], cohort), (orders[1], cohort)):
        assert agreeing(first, second) < ROWS // 4, "one place in 40 agrees by chance; 10 do once in 10 million"


def test_gated_handles_come_in_an_order_drawn_anew_for_each_vendor_and_answer(house: House) -> None:
    """Places tell nothing: not of rows or distances, nor of another vendor's answer, nor of the handles themselves."""
    engine = house.service._gated
    assert engine is not None
    told = []
    for who in (VENDOR, OTHER, VENDOR):
        query = encrypt_gated_query(engine.gate.public_bundle(binding=engine.binding), [64] * 3).encode()
        message = GatedQuery.model_construct(epoch=EPOCH, threshold_squared=3 * 127**2, bundle=query)
        handles = house.answers.answer_gated(who, message).handles
        assert agreeing(handles, sorted(handles)) < ROWS // 4
        told.append(placed(house, who, handles))
    assert all(set(one) == set(house.twins) for one in told)
    for one, other in ((told[0], told[1]), (told[0], told[2]), (told[0], list(house.service.cohort.twins))):
        assert agreeing(one, other) < ROWS // 4


def test_matrix_handles_come_in_an_order_drawn_anew_and_the_same_for_a_query_sent_again(house: House) -> None:
    asked = [MatrixSearch(epoch=EPOCH, levels=(64,) * 3, threshold_squared=3 * 127**2, query_id=one) for one in IDS]
    first, other, again = (house.answers.search_matrix(VENDOR, one) for one in (*asked, asked[0]))
    assert again.model_dump_json() == first.model_dump_json()
    assert set(first.handles) == set(other.handles)
    assert len(first.handles) == ROWS
    for order in (other.handles, sorted(first.handles)):
        assert agreeing(first.handles, order) < ROWS // 4
