"""The parts between a query and its answer: the brake, the book, the tree's bisection, what the client refuses."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.integration.similarity.fixtures import EPOCH, VENDOR, YES, House, schema_of
from tests.unit.similarity.signed import signed_answer, signed_terms
from twinward.client import AnswerMalformed, HospitalRefused, Question, Threshold, VendorClient, VendorKeys
from twinward.core.clock import FixedClock
from twinward.core.errors import BadInput, Unavailable
from twinward.core.vocabulary import Action, TwinId
from twinward.features.schema import CARDIOMETABOLIC
from twinward.protocol.messages import GatedQuery, MatrixSearch, RecordsReply, RecordsRequest, SealedRecords
from twinward.protocol.proofs import Kind
from twinward.protocol.sealed_records import sealing_context
from twinward.protocol.terms import Mode, Terms
from twinward.similarity.errors import QueryMalformed, QueryRefused, TooFast
from twinward.similarity.rate_limit import Pace, RateLimit
from twinward_crypto.disclosure import seal_to
from twinward_crypto.homomorphic.gated import GateKey, encrypt_gated_query
from twinward_crypto.padding import pad

SCHEMA = schema_of(dict.fromkeys("abc", (0, 127)))
ROWS = np.random.default_rng(8).integers(0, 128, (70, 3))
CROWD = np.random.default_rng(9).integers(60, 66, (70, 3))
"""Many at each distance, and somebody at the next one: every off-by-one shows."""
HANDLE = "ab" * 16


class TestRateLimit:
    def test_the_window_slides(self) -> None:
        clock = FixedClock()
        limit = RateLimit(clock, 2)
        limit.admit("acme")
        clock.advance(40_000)
        limit.admit("acme")
        with pytest.raises(TooFast) as refusal:
            limit.admit("acme")
        assert refusal.value.wait_s == 20
        limit.admit("globex")
        clock.advance(19_999)
        with pytest.raises(TooFast, match="2 requests"):
            limit.admit("acme")
        clock.advance(1)
        limit.admit("acme")
        with pytest.raises(TooFast) as refusal:
            limit.admit("acme")
        assert refusal.value.hint == "ask again in 40 seconds"

    def test_a_limit_of_none_is_a_mistake(self) -> None:
        with pytest.raises(BadInput):
            RateLimit(FixedClock(), 0)


class TestPace:
    @pytest.mark.parametrize(("took_s", "waits_s"), [(0.0, 0.25), (0.06, 0.19), (0.25, 0.25), (0.6, 0.15)])
    def test_answers_and_refusals_leave_at_whole_steps(self, took_s: float, waits_s: float) -> None:
        times, slept = iter([7.0, 7.0 + took_s] * 2), []
        pace = Pace(0.25, now_s=lambda: next(times), sleep=slept.append)
        with pace.keep():
            pass
        with pytest.raises(BadInput), pace.keep():
            raise BadInput("refused")
        assert slept == [pytest.approx(waits_s)] * 2

    def test_no_step_no_waiting(self) -> None:
        slept: list[float] = []
        with Pace(0, sleep=slept.append).keep():
            pass
        assert slept == []

    def test_a_gated_answer_waits_once_it_is_made_and_so_does_a_forged_querys_refusal(self, tmp_path: Path) -> None:
        house = House(tmp_path, SCHEMA, ROWS, modes=(Mode.GATED,))
        waited: list[int] = []

        def decided(_: float) -> None:
            waited.append(sum(event.action is Action.MATCH for event in house.trail.events))

        house.service._pace = Pace(0.25, sleep=decided)
        with house.vendor() as vendor:
            vendor.query_gated({"a": 64.0}, threshold=1.0)
        assert waited == [len(ROWS)]
        engine = house.service._gated
        assert engine is not None
        stranger = GateKey.generate(engine.gate.plan).public_bundle(binding=engine.binding)
        forged = encrypt_gated_query(stranger, [1, 2, 3]).encode()
        with pytest.raises(QueryMalformed):
            house.answers.answer_gated(
                VENDOR, GatedQuery.model_construct(epoch=EPOCH, threshold_squared=1, bundle=forged)
            )
        assert waited == [len(ROWS)] * 2


class TestBook:
    GROUPS = frozenset({frozenset({TwinId("a"), TwinId("b")}), frozenset({TwinId("c")})})

    def test_nothing_is_told_that_could_not_be_written(self, tmp_path: Path) -> None:
        house = House(tmp_path, SCHEMA, ROWS, modes=(Mode.MATRIX,))

        def full(content: bytes) -> None:
            raise Unavailable("no space left")

        house.drawer.save = full  # type: ignore[method-assign]
        search = MatrixSearch(epoch=EPOCH, levels=(64, 64, 64), threshold_squared=5_000)
        with pytest.raises(Unavailable):
            house.answers.search_matrix(VENDOR, search)
        assert house.answers.results(VENDOR).results == ()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(tmp_path_factory.mktemp("parts"), SCHEMA, CROWD, allowance=10**6, protected=False, minimum_count=1)


@given(
    st.one_of(st.none(), st.integers(1, 90)),
    st.one_of(st.integers(0, 60), st.just(60_000)),
    st.tuples(*[st.integers(1, 2)] * 3),
    st.integers(0, 69),
)
@settings(max_examples=60)
def test_the_trees_nearest_are_brute_forces(
    house: House, nearest: int | None, limit: int, weights: tuple[int, int, int], row: int
) -> None:
    query = tuple(int(level) for level in CROWD[row])
    search = MatrixSearch(epoch=EPOCH, levels=query, threshold_squared=limit, weights=weights, nearest=nearest)
    told = house.answers.search_matrix(VENDOR, search)
    distances = ((CROWD - np.array(query)) ** 2 * np.array(weights)).sum(axis=1)
    reach = limit if nearest is None else min(limit, int(np.sort(distances)[min(nearest, len(CROWD)) - 1]))
    expected = {house.service.secrets.handle(VENDOR.id, house.twins[i]) for i in np.flatnonzero(distances <= reach)}
    assert set(told.handles) == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"levels": (1, 2)},
        {"levels": (1, 2, 128)},
        {"weights": (1, 1)},
        {"weights": (0, 1, 1)},
        {"weights": (3, 1, 1)},
    ],
)
def test_a_search_that_does_not_fit_costs_nothing(house: House, wrong: dict[str, Any]) -> None:
    left = house.budget.remaining(VENDOR.id, EPOCH)
    search = MatrixSearch(**({"epoch": EPOCH, "levels": (1, 2, 3), "threshold_squared": 5} | wrong))
    with pytest.raises(QueryMalformed):
        house.answers.search_matrix(VENDOR, search)
    assert house.budget.remaining(VENDOR.id, EPOCH) == left


def test_fewer_than_the_minimum_are_not_looked_for(tmp_path: Path) -> None:
    house = House(tmp_path, SCHEMA, ROWS, minimum_count=4)
    search = MatrixSearch(epoch=EPOCH, levels=(1, 2, 3), threshold_squared=50_000, nearest=3)
    with pytest.raises(QueryRefused, match="fewer than 4 patients") as refusal:
        house.answers.search_matrix(VENDOR, search)
    assert refusal.value.hint == "ask for the nearest 4"
    with house.vendor() as vendor, pytest.raises(HospitalRefused, match="fewer than 4 patients"):
        vendor.query_gated({"a": 1.0}, nearest=3)
    assert house.budget.remaining(VENDOR.id, EPOCH) == 5


def test_the_nearest_by_blurred_distance_keep_their_bound(tmp_path: Path) -> None:
    width = 512
    house = House(tmp_path, SCHEMA, ROWS, modes=(Mode.VENDOR_KEY,), noise_width=width, allowance=3)
    with house.vendor() as vendor:
        told = vendor.query_vendor_key(dict.fromkeys("abc", 60.0), nearest=10)
    distances = ((ROWS - 60) ** 2).sum(axis=1)
    by_handle = {
        house.service.secrets.handle(VENDOR.id, t): int(d) for t, d in zip(house.twins, distances, strict=True)
    }
    assert len(told.handles) >= 10
    assert list(told.distances) == sorted(told.distances)
    assert all(by_handle[handle] < np.sort(distances)[9] + width for handle in told.handles)
    assert all(0 <= d - by_handle[h] < width for h, d in zip(told.handles, told.distances, strict=True))


def test_a_threshold_is_moved_by_half_the_noise(tmp_path: Path) -> None:
    """Of those exactly at the threshold half are found; who is half the noise nearer always, half farther never."""
    at, near, far = ([60 + distance, 60, 60] for distance in (30, 25, 35))  # squared: 900, 625, 1225
    rows = np.array([at] * 60 + [near, far] * 5)
    house = House(tmp_path, SCHEMA, rows, modes=(Mode.VENDOR_KEY,), noise_width=512, allowance=3)
    with house.vendor() as vendor:
        told = vendor.query_vendor_key(dict.fromkeys("abc", 60.0), threshold=Threshold.squared_levels(900))
    found = [house.twins.index(house.service.resolve(VENDOR, handle)) for handle in told.handles]
    assert 10 <= sum(row < 60 for row in found) <= 50
    assert [row for row in sorted(found) if row >= 60] == [60, 62, 64, 66, 68]


def test_a_consent_given_later_counts_with_the_next_epoch(tmp_path: Path) -> None:
    house = House(tmp_path, SCHEMA, ROWS, modes=(Mode.GATED,), refusing=range(10), allowance=9)
    with house.vendor() as vendor:
        assert len(vendor.query_gated({"a": 64.0}, threshold=1.0).handles) == 60
        house.consents.put_many([(twin, YES) for twin in house.twins[:10]])
        assert len(vendor.query_gated({"a": 64.0}, threshold=1.0).handles) == 60
    house.answers = house.open(EPOCH + 1)
    with house.vendor() as vendor:
        assert len(vendor.query_gated({"a": 64.0}, threshold=1.0).handles) == 70


TERMS = signed_terms(Terms(hospital="h", epoch=3, feature_schema=CARDIOMETABOLIC, modes=(), minimum_count=3))
KEYS = VendorKeys.generate(classical=True)


def hospital(reply: RecordsReply) -> VendorClient:
    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("schema"):
            return httpx.Response(200, content=TERMS.model_dump_json())
        asked = RecordsRequest.model_validate_json(request.content)
        return httpx.Response(200, content=signed_answer(Kind.RECORDS, reply, asked, TERMS).model_dump_json())

    return VendorClient("https://h.example", "t", http=httpx.Client(transport=httpx.MockTransport(handle)))


def sealed(content: bytes, handle: str = HANDLE) -> SealedRecords:
    info, aad = sealing_context(TERMS.binding(), handle)
    data = seal_to(KEYS.public, pad(content), info=info, aad=aad)
    return SealedRecords(handle=handle, categories=("labs",), sealed=data)


def good(content: bytes = b"{}") -> bytes:
    record = {"type": "Observation", "category": "labs", "content": base64.b64encode(content).decode()}
    return json.dumps({"records": [record]}).encode()


def test_a_good_answer_opens() -> None:
    reply = RecordsReply(epoch=3, records=(sealed(good(b"x")),), withheld="")
    with hospital(reply) as vendor:
        (record,) = vendor.records([HANDLE], KEYS, categories=["labs"]).records
    assert (record.content, record.handle, record.category) == (b"x", HANDLE, "labs")


OTHER = "cd" * 16
MOVED = sealed(good(), OTHER).model_copy(update={"handle": HANDLE})


@pytest.mark.parametrize(
    "reply",
    [
        RecordsReply(epoch=4, records=(sealed(good()),), withheld=""),
        RecordsReply(epoch=3, records=(sealed(good(), OTHER),), withheld=""),
        RecordsReply(epoch=3, records=(MOVED,), withheld=""),
        RecordsReply(epoch=3, records=(sealed(b"[]"),), withheld=""),
        RecordsReply(epoch=3, records=(sealed(b"{"),), withheld=""),
        RecordsReply(epoch=3, records=(sealed(b'{"records": [{}]}'),), withheld=""),
        RecordsReply(epoch=3, records=(sealed(b'{"records": 7}'),), withheld=""),
        RecordsReply(epoch=3, records=(sealed(good().replace(b"e30=", b"e3!=")),), withheld=""),
        RecordsReply(epoch=3, records=(sealed(b"[" * 90_000),), withheld=""),
    ],
    ids=["epoch", "another patient", "moved", "array", "no JSON", "empty", "number", "base64", "deep"],
)
def test_records_of_a_hospital_that_misbehaves(reply: RecordsReply) -> None:
    with hospital(reply) as vendor, pytest.raises(AnswerMalformed):
        vendor.records([HANDLE], KEYS, categories=["labs"])


@pytest.mark.parametrize(
    ("handles", "categories"), [([], ["labs"]), ([HANDLE], []), (["zz"], ["labs"]), ([HANDLE], ["x" * 40])]
)
def test_records_that_cannot_be_asked_for(handles: list[str], categories: list[str]) -> None:
    with hospital(RecordsReply(epoch=3, records=(), withheld="")) as vendor, pytest.raises(BadInput):
        vendor.records(handles, KEYS, categories=categories)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Question({"a": 1.0}, nearest=0),
        lambda: Question({"a": 1.0}, nearest=True),
        lambda: Question({"a": 1.0}, weights={"a": 1.5}),  # type: ignore[dict-item]
        lambda: Question({"a": 1.0}, weights={"a": -1}),
        lambda: Question({"a": 1.0}, weights={"a": 0}),
        lambda: Question({"a": (1, "furlong")}),
        lambda: Question({"a": "1"}),  # type: ignore[dict-item]
    ],
)
def test_questions_that_make_no_sense_are_not_sent(house: House, make: Callable[[], Question]) -> None:
    left = house.budget.remaining(VENDOR.id, EPOCH)
    with house.vendor() as vendor, pytest.raises(BadInput):
        vendor.ask(make())
    assert house.budget.remaining(VENDOR.id, EPOCH) == left
