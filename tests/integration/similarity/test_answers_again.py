"""Answers that were lost on their way: given again by query id, charged once, also by the process after a kill -9."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient

from tests.integration.similarity.fixtures import ALL_MODES, EPOCH, VENDOR, House, app_of, schema_of
from twinward.access.interfaces import Principal
from twinward.client import HospitalRefused, HospitalUnreachable, Mode, Question, VendorClient
from twinward.core.errors import Conflict, NotFound, Unavailable
from twinward.core.vocabulary import Action, Role
from twinward.node.answer_files import SealedAnswers
from twinward.protocol.messages import GatedQuery, MatchReply, MatrixSearch
from twinward.protocol.proofs import Kind
from twinward.similarity import answered_once as kept_answers
from twinward.similarity.rate_limit import MOST_AT_ONCE

SCHEMA = schema_of(dict.fromkeys("abc", (0, 127)))
VALUES = dict.fromkeys("abc", 60.0)
LEVELS = np.random.default_rng(43).integers(0, 128, (40, 3))
SEALING = bytes(range(32))
ID = "ab" * 16
JSON = {"content-type": "application/json"}


class Lossy:
    """A way to a hospital on which answers to queries are lost after they were given, as long as it is cut."""

    def __init__(self, house: House) -> None:
        inner = TestClient(app_of(house.answers))
        self.cut = True

        def handle(request: httpx.Request) -> httpx.Response:
            told = inner.request(request.method, request.url.path, content=request.content, headers=JSON)
            if self.cut and request.method == "POST" and not request.url.path.endswith("token"):
                raise httpx.RemoteProtocolError("peer closed connection", request=request)
            return httpx.Response(told.status_code, content=told.content)

        self.vendor = VendorClient("https://h.example", "t", http=httpx.Client(transport=httpx.MockTransport(handle)))


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House(tmp_path, SCHEMA, LEVELS, allowance=20)
    made.service._below_trilateration = lambda principal: None  # type: ignore[method-assign]
    return made


@pytest.mark.parametrize("mode", ALL_MODES)
def test_a_lost_answer_is_fetched_again_without_a_second_charge(house: House, mode: Mode) -> None:
    way = Lossy(house)
    prepared = way.vendor.prepare(Question(VALUES, mode, 0.4))
    with pytest.raises(HospitalUnreachable) as lost:
        way.vendor.send(prepared)
    assert lost.value.query_id == prepared.query_id
    assert prepared.query_id in lost.value.hint
    assert "vendor results" in lost.value.hint
    assert house.budget.remaining(VENDOR.id, EPOCH) == 19
    exports = _told(house)
    way.cut = False
    (again,) = way.vendor.results(prepared.query_id)
    sent_again = way.vendor.send(prepared)
    assert again.handles == sent_again.handles
    assert again.distances == sent_again.distances
    assert len(again.handles) >= 3
    assert again.budget_left == house.budget.remaining(VENDOR.id, EPOCH) == 19
    assert _told(house) == exports  # nobody is told of a second time
    assert any(("again", prepared.query_id) in event.detail for event in house.trail.events)


def test_the_same_bytes_come_again_and_another_query_of_the_id_is_refused(house: House) -> None:
    query = MatrixSearch(epoch=EPOCH, levels=(60, 60, 60), threshold_squared=4000, query_id=ID)
    first, second = (house.answers.search_matrix(VENDOR, query) for _ in range(2))
    assert first == second
    assert house.budget.remaining(VENDOR.id, EPOCH) == 19
    for other in (
        query.model_copy(update={"threshold_squared": 4001}),
        query.model_copy(update={"nearest": 5}),
    ):
        with pytest.raises(Conflict, match="another query had this id"):
            house.answers.search_matrix(VENDOR, other)
    gated = GatedQuery.model_construct(epoch=EPOCH, threshold_squared=1, bundle=b"x", query_id=ID)
    with pytest.raises(Conflict):
        house.answers.answer_gated(VENDOR, gated)
    assert house.budget.remaining(VENDOR.id, EPOCH) == 19


def test_an_id_is_one_vendors(house: House) -> None:
    house.budget.left["globex"] = 5  # type: ignore[attr-defined]
    query = MatrixSearch(epoch=EPOCH, levels=(60, 60, 60), threshold_squared=4000, query_id=ID)
    mine = house.answers.search_matrix(VENDOR, query)
    other = Principal("globex", Role.VENDOR)
    with pytest.raises(NotFound):
        house.answers.result(other, ID)
    theirs = house.answers.search_matrix(other, query)
    assert not set(mine.handles) & set(theirs.handles)
    assert house.answers.result(VENDOR, ID).matches == mine


def test_the_same_query_twice_at_once_is_charged_once(house: House) -> None:
    query = MatrixSearch(epoch=EPOCH, levels=(60, 60, 60), threshold_squared=4000, query_id=ID)
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda _: house.answers.search_matrix(VENDOR, query), range(8)))
    assert len(set(told)) == 1
    assert house.budget.remaining(VENDOR.id, EPOCH) == 19


def test_requests_of_one_query_take_turns_also_when_the_first_ones_fail(house: House) -> None:
    """Nobody answers a query while another does: each would charge it."""
    running, together = [], []
    query = GatedQuery(epoch=EPOCH, threshold_squared=1, bundle=b"", query_id=ID)

    def make() -> MatchReply:
        running.append(1)
        together.append(len(running))
        sleep(0.002)  # long enough for others to come; should none come, nothing is shown and nothing fails
        running.pop()
        raise Unavailable("refused before its charge")

    def ask(_: int) -> None:
        with pytest.raises(Unavailable):
            house.answers.once.answer(VENDOR, Kind.GATED, query, make, lambda: None)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(40)))
    assert together == [1] * 40
    assert house.answers.once._queue._running == {}


def test_few_requests_of_one_query_may_wait_and_others_are_turned_away_at_once(house: House) -> None:
    """Each that waits holds one of the server's threads: forty of one vendor's would be all of them."""
    query = GatedQuery(epoch=EPOCH, threshold_squared=1, bundle=b"", query_id=ID)
    go_on, turned_away = threading.Event(), threading.Semaphore(0)

    def make() -> MatchReply:
        assert go_on.wait(60)
        raise Unavailable("refused before its charge")

    def ask(_: int) -> str:
        try:
            house.answers.once.answer(VENDOR, Kind.GATED, query, make, lambda: None)
        except Conflict:
            turned_away.release()
            return "turned away"
        except Unavailable:
            return "made"
        return "answered"

    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(ask, number) for number in range(20)]
        for _ in range(20 - MOST_AT_ONCE):
            assert turned_away.acquire(timeout=60)  # while the first is still being made
        go_on.set()
        assert Counter(one.result() for one in asked) == {"made": MOST_AT_ONCE, "turned away": 20 - MOST_AT_ONCE}


def test_a_query_that_failed_after_its_charge_is_answered_without_another(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = MatrixSearch(epoch=EPOCH, levels=(60, 60, 60), threshold_squared=4000, query_id=ID)
    tell = house.service._release.tell

    def fail(*_: object) -> None:
        raise Unavailable("the disk is full")

    monkeypatch.setattr(house.service._release, "tell", fail)
    with pytest.raises(Unavailable):
        house.answers.search_matrix(VENDOR, query)
    with pytest.raises(Conflict, match="charged and is not answered"):
        house.answers.result(VENDOR, ID)
    monkeypatch.setattr(house.service._release, "tell", tell)
    assert house.answers.search_matrix(VENDOR, query).handles
    assert house.budget.remaining(VENDOR.id, EPOCH) == 19


def test_what_is_refused_before_the_charge_is_not_remembered(house: House) -> None:
    query = MatrixSearch(epoch=EPOCH, levels=(60, 60, 60), threshold_squared=4000, query_id=ID)
    house.budget.left[VENDOR.id] = 0  # type: ignore[attr-defined]
    with house.vendor() as vendor, pytest.raises(HospitalRefused, match="0 queries left"):
        vendor.query_gated(VALUES)
    with pytest.raises(NotFound):
        house.answers.result(VENDOR, ID)
    house.budget.left[VENDOR.id] = 1  # type: ignore[attr-defined]
    assert house.answers.search_matrix(VENDOR, query).handles


def test_a_vendor_who_may_not_ask_any_more_is_told_nothing_again(house: House) -> None:
    query = MatrixSearch(epoch=EPOCH, levels=(60, 60, 60), threshold_squared=4000, query_id=ID)
    house.answers.search_matrix(VENDOR, query)
    house.trail.full = True  # what cannot be logged is not given
    with pytest.raises(Unavailable):
        house.answers.search_matrix(VENDOR, query)


class TestSealedAnswers:
    def test_they_outlive_the_process_and_end_with_the_epoch(self, tmp_path: Path) -> None:
        cabinet = SealedAnswers(tmp_path, 7, lambda: SEALING)
        for number in range(12):
            cabinet.save("acme", f"{number:032x}", b"answer %d" % number)
        cabinet.save("acme", f"{3:032x}", b"another")
        after = SealedAnswers(tmp_path, 7, lambda: SEALING)
        assert after.query_ids("acme") == [f"{number:032x}" for number in range(12)]
        assert after.load("acme", f"{3:032x}") == b"another"
        assert after.load("globex", f"{3:032x}") is None
        assert after.query_ids("globex") == []
        after.drop("acme", f"{0:032x}")
        assert SealedAnswers(tmp_path, 7, lambda: SEALING).query_ids("acme")[0] == f"{1:032x}"
        assert SealedAnswers(tmp_path, 8, lambda: SEALING).query_ids("acme") == []
        assert [path.name for path in (tmp_path / "answers").iterdir()] == ["8"]

    def test_names_and_bytes_tell_no_vendor_and_no_answer(self, tmp_path: Path) -> None:
        SealedAnswers(tmp_path, 7, lambda: SEALING).save("acme", ID, b"a handle")
        (file,) = (tmp_path / "answers" / "7").iterdir()
        assert "acme" not in file.name
        assert b"handle" not in file.read_bytes()
        assert file.stat().st_mode & 0o77 == 0

    def test_altered_or_moved_they_are_not_given(self, tmp_path: Path) -> None:
        cabinet = SealedAnswers(tmp_path, 7, lambda: SEALING)
        cabinet.save("acme", ID, b"one")
        cabinet.save("acme", "cd" * 16, b"two")
        one, two = sorted((tmp_path / "answers" / "7").iterdir())
        one.write_bytes(two.read_bytes())
        with pytest.raises(Unavailable, match="altered"):
            cabinet.load("acme", ID)

    def test_of_too_many_the_oldest_go(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(kept_answers, "KEPT_ANSWERS", 2)
        for number in range(3):
            query = MatrixSearch(epoch=EPOCH, levels=(60, 60, 60), threshold_squared=4000, query_id=f"{number:032x}")
            house.answers.search_matrix(VENDOR, query)
        assert len(house.answers.results(VENDOR).results) == 2
        with pytest.raises(NotFound):
            house.answers.result(VENDOR, f"{0:032x}")


def _told(house: House) -> int:
    return sum(event.action is Action.MATCH for event in house.trail.events)
