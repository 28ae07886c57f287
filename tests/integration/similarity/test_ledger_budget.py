"""Budgets on the real contract, over the embedded chain: what is refused there is refused here, by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.integration.similarity.house import EPOCH, VENDOR, House, schema_of
from twinward.client import HospitalRefused
from twinward.client.messages import GatedQuery, Mode
from twinward.similarity.budget import LedgerBudget
from twinward.similarity.errors import BudgetExhausted, BudgetUnavailable, SchemaMismatch
from twinward_contracts.bindings import BudgetLedger
from twinward_crypto.homomorphic import wire
from twinward_crypto.homomorphic.gated import encrypt_gated_query
from twinward_ledger.chains.embedded import EmbeddedChain


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[EmbeddedChain]:
    opened = EmbeddedChain(tmp_path / "chain.db")
    yield opened
    opened.close()


@pytest.fixture
def contract(chain: EmbeddedChain) -> BudgetLedger:
    return BudgetLedger.deploy(chain)


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
    house.service = house.open(budget.current_epoch())
    terms = house.service.terms()
    plan = terms.modes[0].plan(schema)
    gate = wire.decode(
        house.service.gate_key().bundle, kind=wire.Kind.GATE_PUBLIC_KEY, plan=plan, binding=terms.binding()
    )
    query = GatedQuery.model_construct(
        epoch=terms.epoch, threshold_squared=40_000, bundle=encrypt_gated_query(gate, [64, 64]).encode()
    )
    assert house.service.answer_gated(VENDOR, query).budget_left == 0
    with pytest.raises(BudgetExhausted):
        house.service.answer_gated(VENDOR, query)


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
