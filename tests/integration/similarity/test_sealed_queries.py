"""Gated queries sealed to the gate: their size, what binds them, what a hostile one gets; counts without handles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.integration.similarity.fixtures import VENDOR, House, schema_of
from twinward.client import HospitalRefused, Question, VendorKeys
from twinward.core.errors import NotFound
from twinward.protocol.messages import GatedQuery
from twinward.protocol.sealed_query import open_query, seal_query
from twinward.protocol.terms import Mode
from twinward.similarity.errors import QueryMalformed
from twinward_crypto.disclosure import derive_recipient_key, open_from, seal_to
from twinward_crypto.errors import OpenError, ParameterError

SCHEMA = schema_of({"a": (0, 127), "b": (0, 127)})
BINDING = bytes(32)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    levels = np.random.default_rng(9).integers(0, 128, (40, 2))
    modes = (Mode.GATED, Mode.MATRIX)
    return House(tmp_path_factory.mktemp("house"), SCHEMA, levels, modes=modes, allowance=1000)


def message(house: House, **changes: object) -> GatedQuery:
    rest = {"epoch": house.service.cohort.epoch, "threshold_squared": 500, "sealed": b"", "query_id": "ab" * 16}
    return GatedQuery.model_validate(rest | changes)


def sealed(house: House, levels: list[int], weights: list[int] | None = None, **changes: object) -> GatedQuery:
    key, binding = house.service.query_key(), house.service.cohort.binding
    return seal_query(key, message(house, **changes), levels, weights, binding=binding)


def test_a_query_has_one_small_size_and_finds_what_brute_force_finds(house: House) -> None:
    client = house.vendor()
    plain = client.prepare(Question({"a": 60.0, "b": 60.0}, threshold=0.2))
    weighted = client.prepare(Question({"a": 60.0, "b": 60.0}, threshold=0.2, weights={"a": 2}))
    assert plain.upload_bytes == weighted.upload_bytes < 1500
    told = client.query_gated({"a": 60.0}, nearest=5)
    assert tuple(sorted(told.handles)) == house.handles_within([60, 0], 1 << 30, [1, 0], nearest=5)


@pytest.mark.parametrize(
    "forge",
    [
        lambda house: sealed(house, [1, 2], query_id="cd" * 16).model_copy(update={"threshold_squared": 501}),
        lambda house: sealed(house, [1, 2], query_id="ce" * 16).model_copy(update={"nearest": 5}),
        lambda house: sealed(house, [1, 2], query_id="cf" * 16).model_copy(update={"tell": "count"}),
        lambda house: sealed(house, [1, 2]).model_copy(update={"query_id": "d0" * 16}),
        lambda house: sealed(house, [1, 128], query_id="d1" * 16),
        lambda house: sealed(house, [1, 2], [1, 3], query_id="d2" * 16),
        lambda house: sealed(house, [1, 2, 3], query_id="d4" * 16),
        lambda house: message(house, sealed=bytes(1200), query_id="d5" * 16),
        lambda house: sealed(house, [1, 2], epoch=house.service.cohort.epoch, query_id="d6" * 16).model_copy(
            update={"sealed": seal_to(house.service.query_key(), b"\x01\x00" + bytes(8))}
        ),
    ],
)
def test_what_no_honest_client_seals_is_refused_in_one_sentence_and_charged(
    house: House, forge: Callable[[House], GatedQuery]
) -> None:
    left = house.answers.budget(VENDOR).remaining
    with pytest.raises(QueryMalformed, match=r"^values that no well-formed query gives$"):
        house.answers.answer_gated(VENDOR, forge(house))
    assert house.answers.budget(VENDOR).remaining == left - 1


def test_a_query_opens_in_its_own_message_alone() -> None:
    key, other = derive_recipient_key(bytes(32)), derive_recipient_key(b"\x01" * 32)
    asked = GatedQuery(epoch=3, threshold_squared=7, sealed=b"", query_id="ab" * 16)
    sent = seal_query(key.public, asked, [5, 0], None, binding=BINDING)
    assert open_query(key.private, sent, 2, binding=BINDING) == ((5, 0), None)
    for private, binding in ((other.private, BINDING), (key.private, b"\x01" * 32)):
        with pytest.raises(OpenError):
            open_query(private, sent, 2, binding=binding)
    with pytest.raises(ValueError, match="so many features"):
        open_query(key.private, sent, 3, binding=BINDING)


def test_a_derived_key_pair_is_the_same_each_time_and_needs_a_secret() -> None:
    one, again = derive_recipient_key(b"s" * 32), derive_recipient_key(b"s" * 32)
    assert (one.public, one.private) == (again.public, again.private)
    assert open_from(one.private, seal_to(one.public, b"x")) == b"x"
    with pytest.raises(ParameterError):
        derive_recipient_key(b"s" * 31)


@pytest.mark.slow  # a house of its own, with its processes
@pytest.mark.parametrize("mode", [Mode.GATED, Mode.MATRIX])
def test_a_count_alone_is_the_number_of_handles_and_opens_no_record(house: House, tmp_path: Path, mode: Mode) -> None:
    levels = np.random.default_rng(9).integers(0, 128, (40, 2))
    both = [House(tmp_path / name, SCHEMA, levels, modes=(mode,), allowance=50) for name in ("with", "without")]
    values = {"a": 60.0, "b": 64.0}
    whole = both[0].vendor().ask(Question(values, mode, threshold=0.3))
    client = both[1].vendor()
    number = client.ask(Question(values, mode, threshold=0.3, count_only=True))
    assert (number.count, number.handles, number.expires_at_s) == (whole.count, (), None)
    (again,) = client.results(number.query_id)
    assert (again.count, again.handles) == (whole.count, ())
    twins = both[0].service.cohort.twins
    own = [both[1].service.secrets.handle(VENDOR.id, twin) for twin in twins]
    for handle in own:
        with pytest.raises(NotFound):
            both[1].service.resolve(VENDOR, handle)
    with pytest.raises(HospitalRefused):
        client.records(own[:1], VendorKeys.generate(), categories=["labs"])


def test_a_count_alone_binds_later_answers_as_handles_do(tmp_path: Path) -> None:
    """Two balls that differ by one patient: the second count rounds to the group that the first one told of."""
    levels = np.array([[10, 10]] * 5 + [[30, 10]] + [[120, 120]] * 6)
    house = House(tmp_path, SCHEMA, levels, modes=(Mode.GATED,), allowance=50)
    ask = house.vendor().ask
    near = ask(Question({"a": 10.0, "b": 10.0}, threshold=0.05, count_only=True))
    wider = ask(Question({"a": 10.0, "b": 10.0}, threshold=0.2, count_only=True))
    assert (near.count, wider.count) == (5, 5)
