"""Budgets on the real contract, over the embedded chain: what is refused there is refused here, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.integration.similarity.fixtures import EPOCH, VENDOR, House, schema_of
from twinward.client import HospitalRefused
from twinward.protocol.messages import GatedQuery, MatrixQuery, MatrixSearch, TokenRequest, VendorKeyQuery
from twinward.protocol.terms import Mode
from twinward.similarity.budget import LedgerBudget
from twinward.similarity.errors import BudgetExhausted, BudgetUnavailable, SchemaMismatch, WindowExhausted
from twinward_contracts.bindings import BudgetLedger, WitnessSet
from twinward_crypto.homomorphic import wire
from twinward_crypto.homomorphic.gated import encrypt_gated_query
from twinward_crypto.homomorphic.query import QueryKey
from twinward_ledger.chains.embedded import EmbeddedChain


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[EmbeddedChain]:
    opened = EmbeddedChain(tmp_path / "chain.db")
    yield opened
    opened.close()


@pytest.fixture
def contract(chain: EmbeddedChain) -> BudgetLedger:
    return BudgetLedger.deploy(chain, WitnessSet.deploy(chain).address)


def test_spending_is_counted_on_the_chain_and_refused_at_the_cap(contract: BudgetLedger) -> None:
    contract.grant_queries("acme", 2)
    budget = LedgerBudget(contract)
    epoch = budget.current_epoch()
    assert budget.spend("acme", epoch) == 1
    with pytest.raises(BudgetExhausted) as refusal:
        budget.spend("acme", epoch, 2)
    assert refusal.value.remaining == budget.remaining("acme", epoch) == 1
    assert budget.spend("acme", epoch) == 0
    with pytest.raises(BudgetExhausted):
        LedgerBudget(contract).spend("acme", epoch)
    with pytest.raises(BudgetExhausted):
        budget.spend("nobody-granted", epoch)


DAY_S = 86_400


class Days:
    """A chain whose days the test counts."""

    def __init__(self, folder: Path) -> None:
        self.day = 20_000
        chain = EmbeddedChain(folder / "days.db", now_s=lambda: self.day * DAY_S)
        self.contract = BudgetLedger.deploy(chain, WitnessSet.deploy(chain).address, epoch_s=DAY_S)


def test_an_allowance_over_epochs_holds_whatever_is_left_of_the_running_one(tmp_path: Path) -> None:
    """3 queries a day, and in any 5 days no more than 2 days' worth; another process counts the same."""
    days = Days(tmp_path)
    days.contract.grant_queries("acme", 3)
    days.contract.grant_queries("globex", 3)

    def process() -> LedgerBudget:
        return LedgerBudget(days.contract, window_epochs=5, window_grants=2)

    budget = process()
    assert [budget.spend("acme", days.day) for _ in range(3)] == [2, 1, 0]
    days.day += 1
    assert budget.remaining("acme", days.day) == 3
    assert [budget.spend("acme", days.day) for _ in range(2)] == [2, 1]
    days.day += 2
    assert budget.remaining("acme", days.day) == process().remaining("acme", days.day) == 1
    assert process().spend("acme", days.day) == 0
    for counting in (budget, process()):
        with pytest.raises(WindowExhausted, match="0 queries left in the last 5 epochs together") as refusal:
            counting.spend("acme", days.day)
        assert refusal.value.hint == "more are free with a later epoch, at 2024-10-09 00:00 UTC"
    assert days.contract.remaining_queries("acme", days.day) == 2  # the refusal spent nothing
    assert budget.remaining("globex", days.day) == 3
    days.day = 20_005  # the first day has left the window, and its three queries with it
    assert budget.remaining("acme", days.day) == process().remaining("acme", days.day) == 3


def test_a_grant_that_was_lowered_and_raised_forgets_nothing(tmp_path: Path) -> None:
    days = Days(tmp_path)
    budget = LedgerBudget(days.contract, window_epochs=5, window_grants=1)
    days.contract.grant_queries("acme", 4)
    budget.spend("acme", days.day, 3)
    days.day += 1
    for grant, left in ((0, 0), (2, 0), (4, 1)):
        days.contract.grant_queries("acme", grant)
        assert budget.remaining("acme", days.day) == left


def test_a_stale_cohort_cannot_spend(contract: BudgetLedger) -> None:
    contract.grant_queries("acme", 2)
    budget = LedgerBudget(contract)
    with pytest.raises(SchemaMismatch):
        budget.spend("acme", budget.current_epoch() - 1)


def test_a_chain_that_is_gone_means_unavailable(contract: BudgetLedger, chain: EmbeddedChain) -> None:
    chain.close()
    budget = LedgerBudget(contract)
    for ask in (lambda: budget.remaining("acme", 1), lambda: budget.spend("acme", 1), budget.current_epoch):
        with pytest.raises(BudgetUnavailable):
            ask()


def test_a_query_spends_on_the_chain_and_nothing_is_scored_without_it(contract: BudgetLedger, tmp_path: Path) -> None:
    contract.grant_queries(VENDOR.id, 1)
    budget = LedgerBudget(contract)
    schema = schema_of({"a": (0, 1), "b": (0, 1)})
    levels = np.random.default_rng(1).integers(0, 128, (12, 2))
    house = House(tmp_path, schema, levels, modes=(Mode.GATED,), budget=budget)
    house.answers = house.open(budget.current_epoch())
    terms = house.answers.terms()
    plan = terms.modes[0].plan(schema)
    gate = wire.decode(
        house.answers.gate_key().bundle, kind=wire.Kind.GATE_PUBLIC_KEY, plan=plan, binding=terms.binding()
    )
    query = GatedQuery.model_construct(
        epoch=terms.epoch, threshold_squared=40_000, bundle=encrypt_gated_query(gate, [64, 64]).encode()
    )
    assert house.answers.answer_gated(VENDOR, query).budget_left == 0
    with pytest.raises(BudgetExhausted):
        house.answers.answer_gated(VENDOR, query)


@pytest.mark.slow
def test_vendor_key_mode_stays_below_trilateration(tmp_path: Path) -> None:
    """Whatever the allowance, no more than d vendor-key answers fit into an epoch."""
    schema = schema_of({"a": (0, 1), "b": (0, 1), "c": (0, 1)})
    levels = np.random.default_rng(2).integers(0, 128, (12, 3))
    asked = dict.fromkeys("abc", 0.5)
    house = House(tmp_path, schema, levels, modes=(Mode.VENDOR_KEY, Mode.MATRIX), allowance=5)
    answered = 0
    with house.vendor() as vendor:
        for _ in range(9):
            try:
                vendor.query_vendor_key(asked)
                answered += 1
            except HospitalRefused as refusal:
                if "at most 3 queries" in str(refusal):
                    vendor.query_matrix(asked, threshold=1.0)  # brings the allowance down to what is safe
    assert answered == 3
    assert house.budget.remaining(VENDOR.id, EPOCH) == 0


class Watched:
    """A part of the service that notes when it is used for what a query pays for."""

    def __init__(self, part: Any, order: list[str], **notes: str) -> None:
        self._part, self._order, self._notes = part, order, notes

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        if name not in self._notes:
            return found

        def noted(*args: Any, **named: Any) -> Any:
            self._order.append(self._notes[name])
            return found(*args, **named)

        return noted


class Counter:
    """A hospital in all modes on the real contract; ``order`` says when it was paid and when it worked."""

    def __init__(self, contract: BudgetLedger, folder: Path) -> None:
        self.order: list[str] = []
        self.contract = contract
        budget = LedgerBudget(contract)
        schema = schema_of({"a": (0, 127), "b": (0, 127), "c": (0, 127)})
        levels = np.random.default_rng(1).integers(0, 128, (12, 3))
        self.house = House(folder, schema, levels, budget=Watched(budget, self.order, spend="spent"))
        self.answers = answers = self.house.answers = self.house.open(budget.current_epoch())
        service: Any = answers.similarity
        self.epoch = answers.similarity.cohort.epoch
        # Made before anything is noted: an honest query for every way to ask, each about everybody.
        gate, own = service._gated.gate, QueryKey.generate(service._vendor_key.plan)
        binding = service._gated.binding
        gated = encrypt_gated_query(gate.public_bundle(binding=binding), [64] * 3).encode()
        own_query = own.encrypt_query([64] * 3, binding=binding).bundle.encode()
        token = service._matrix.token((64, 64, 64), 3 * 127**2)
        far, now = 3 * 127**2, self.epoch
        self.ask: dict[str, Callable[[], Any]] = {
            "gated": lambda: answers.answer_gated(
                VENDOR, GatedQuery.model_construct(epoch=now, threshold_squared=far, bundle=gated)
            ),
            "vendor-key": lambda: answers.answer_vendor_key(
                VENDOR, VendorKeyQuery.model_construct(epoch=now, bundle=own_query)
            ),
            "matrix": lambda: answers.answer_matrix(VENDOR, MatrixQuery.model_construct(epoch=now, token=token)),
            "matrix search": lambda: answers.search_matrix(
                VENDOR, MatrixSearch(epoch=now, levels=(64, 64, 64), threshold_squared=far, nearest=5)
            ),
        }
        service._gated = Watched(service._gated, self.order, open="opened", distances="scored")
        service._vendor_key = Watched(service._vendor_key, self.order, scores="scored")
        service._matrix = Watched(service._matrix, self.order, rows="scored", token="token")
        service._release = Watched(service._release, self.order, tell="told", tell_each="told", compare="compared")


WAYS = ["gated", "vendor-key", "matrix", "matrix search"]


@pytest.fixture
def counter(contract: BudgetLedger, tmp_path: Path) -> Counter:
    contract.grant_queries(VENDOR.id, 2)
    return Counter(contract, tmp_path)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_ask_is_paid_once_and_before_any_work(counter: Counter, way: str) -> None:
    counter.ask[way]()
    assert counter.order[0] == "spent"
    assert counter.order.count("spent") == 1
    assert {"scored", "told"} <= set(counter.order)
    assert counter.contract.remaining_queries(VENDOR.id, counter.epoch) == 1


@pytest.mark.parametrize("way", WAYS)
def test_whoever_cannot_pay_makes_nobody_work(counter: Counter, way: str) -> None:
    """Nothing is opened, scored, decided about a patient or kept; the query itself is in the log."""
    counter.contract.spend_queries(VENDOR.id, counter.epoch, 2)
    before = len(counter.house.trail.events)
    with pytest.raises(BudgetExhausted):
        counter.ask[way]()
    assert counter.order == ["spent"]
    assert [event.action.value for event in counter.house.trail.events[before:]] == ["query"]
    assert counter.house.drawer.content is None
    assert counter.answers.results(VENDOR).results == ()


def test_a_token_is_made_only_for_who_can_still_pay_for_its_search(counter: Counter) -> None:
    """Tokens are free, and each is one more equation about the tree's key: without a query left there are none."""
    request = TokenRequest(epoch=counter.epoch, levels=(1, 2, 3), threshold_squared=50)
    counter.answers.issue_token(VENDOR, request)
    assert counter.order == ["token"]
    assert counter.contract.remaining_queries(VENDOR.id, counter.epoch) == 2
    counter.contract.spend_queries(VENDOR.id, counter.epoch, 2)
    counter.order.clear()
    with pytest.raises(BudgetExhausted):
        counter.answers.issue_token(VENDOR, request)
    assert counter.order == []
