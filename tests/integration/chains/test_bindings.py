"""Budgets and registries through their bindings, on each chain."""

from __future__ import annotations

import pytest

from tests.chains import NOW_S, Ground
from twinward_contracts.artefacts import load
from twinward_contracts.bindings import (
    BreakGlass,
    BudgetLedger,
    ModelRegistry,
    PrivacyAccount,
    ReservationState,
    WitnessSet,
    name_id,
)
from twinward_ledger.anchoring.agreement import agree, sign_as
from twinward_ledger.chains.interfaces import ChainClient
from twinward_ledger.errors import TransactionReverted
from twinward_ledger.testing.consortium import hospitals_on, seeded


def test_queries_are_spent_once_and_to_the_cap(chain: ChainClient) -> None:
    budget = BudgetLedger.deploy(chain, WitnessSet.deploy(chain).address)
    budget.grant_queries("vendor", 3)
    epoch = budget.current_epoch()
    assert epoch == NOW_S // 86_400
    assert budget.spend_queries("vendor", epoch, 2, request=b"r" * 32) == 1
    with pytest.raises(TransactionReverted, match="RequestReplayed"):
        budget.spend_queries("vendor", epoch, 1, request=b"r" * 32)
    with pytest.raises(TransactionReverted, match="QueryBudgetExceeded"):
        budget.spend_queries("vendor", epoch, 2)
    with pytest.raises(TransactionReverted) as caught:
        budget.spend_queries("vendor", epoch + 1)
    assert (caught.value.error, caught.value.arguments) == ("WrongEpoch", (epoch, epoch + 1))
    assert budget.spend_queries("vendor", epoch) == 0
    assert budget.remaining_queries("somebody else", epoch) == 0


def test_privacy_is_reserved_committed_and_burned(chain: ChainClient) -> None:
    budget = BudgetLedger.deploy(chain, hospitals_on(chain, ("a", "b"), quorum=2).address)
    sign = sign_as({name: seeded(name) for name in ("a", "b")})
    witnesses = WitnessSet(chain, str(chain.call(budget.address, load("BudgetLedger"), "witnesses")))
    for hospital in ("a", "b"):
        agree(witnesses, budget.capping(hospital, "icu", 100, sign=sign), [seeded("a"), seeded("b")])
    first = budget.reserve("study", "icu", ["b", "a"], 40, sign=sign)
    second = budget.reserve("study", "icu", ["a"], 30, sign=sign)
    assert budget.privacy("a", "icu") == PrivacyAccount(100, 70, 0)
    with pytest.raises(TransactionReverted) as caught:
        budget.reserve("study", "icu", ["a", "b"], 31, sign=sign)
    assert (caught.value.error, caught.value.arguments) == (
        "PrivacyBudgetExceeded",
        (name_id("a"), name_id("icu"), 30, 31),
    )
    with pytest.raises(TransactionReverted, match="KeyCountMismatch"):
        budget.burn(second)
    budget.commit(first, sign=sign)
    budget.burn(second, sign=sign)
    budget.cap_privacy("a", "icu", 90, sign=sign)
    with pytest.raises(TransactionReverted, match="NotAgreed"):
        budget.cap_privacy("a", "icu", 100, sign=sign)
    agree(witnesses, budget.capping("a", "icu", 100, sign=sign), [seeded("a"), seeded("b")])
    assert budget.privacy("a", "icu") == PrivacyAccount(100, 0, 70)
    assert budget.privacy("b", "icu") == PrivacyAccount(100, 0, 40)
    assert budget.remaining_privacy("a", "icu") == 30
    settled = budget.reservation(first)
    assert (settled.state, settled.micros, settled.holder) == (ReservationState.COMMITTED, 40, chain.sender)
    assert set(settled.hospital_ids) == {name_id("a"), name_id("b")}
    assert budget.reservation(second).state is ReservationState.BURNED
    assert budget.reservation(99).state is ReservationState.NONE


def test_models_are_registered_once_under_what_paid_for_them(chain: ChainClient) -> None:
    witnesses = hospitals_on(chain, ("a",))
    budget = BudgetLedger.deploy(chain, witnesses.address)
    registry = ModelRegistry.deploy(chain, budget.address)
    assert registry.budget_ledger() == budget.address
    budget.carry_privacy("a", "icu", PrivacyAccount(100, 0, 0))
    assert registry.carry_model(b"e" * 32, b"e" * 32, b"c" * 32, 1, 0) == 1  # while founding: of an earlier contract
    witnesses.set_quorum(1)
    with pytest.raises(TransactionReverted, match="NotFounding"):
        registry.carry_model(b"f" * 32, b"f" * 32, b"c" * 32, 1, 0)
    sign, fingerprint = sign_as({"a": seeded("a")}), b"p" * 32
    paid = budget.reserve_for(fingerprint, "icu", ["a"], 10, sign=sign, request=fingerprint)
    assert (budget.reservation_of(fingerprint), budget.reservation_of(b"q" * 32)) == (paid, 0)
    with pytest.raises(TransactionReverted, match="RequestReplayed"):
        budget.reserve_for(fingerprint, "icu", ["a"], 10, sign=sign, request=fingerprint)
    burned = budget.reserve("failed", "icu", ["a"], 10, sign=sign)
    budget.burn(burned, sign=sign)
    for reservation in (paid, burned, 99):  # not committed, burned, none
        with pytest.raises(TransactionReverted, match="NotPaid"):
            registry.register(reservation, b"m" * 32, b"c" * 32, 2_990_000, 10_000_000)
    budget.commit(paid, sign=sign)
    with pytest.raises(TransactionReverted, match="ImplausiblePrivacy"):
        registry.register(paid, b"m" * 32, b"c" * 32, 0, 0)
    with pytest.raises(TransactionReverted, match="AlreadyRegistered"):
        registry.register(paid, b"e" * 32, b"c" * 32, 1, 0)
    assert registry.register(paid, b"m" * 32, b"c" * 32, 2_990_000, 10_000_000) == 2
    with pytest.raises(TransactionReverted, match="ReservationUsed"):
        registry.register(paid, b"n" * 32, b"c" * 32, 2_990_000, 10_000_000)
    model = registry.model(2)
    assert (model.study_id, model.epsilon_micros, model.delta_e12) == (fingerprint, 2_990_000, 10_000_000)
    assert model.registered_at_s >= NOW_S
    assert (registry.count(), registry.reservation_of(1), registry.reservation_of(2)) == (2, 0, paid)


def test_a_reservations_name_cannot_be_used_up_by_a_query(chain: ChainClient) -> None:
    budget = BudgetLedger.deploy(chain, hospitals_on(chain, ("a",)).address)
    budget.carry_privacy("a", "icu", PrivacyAccount(100, 0, 0))
    budget.grant_queries("vendor", 5)
    budget.spend_queries("vendor", budget.current_epoch(), request=b"p" * 32)
    sign = sign_as({"a": seeded("a")})
    assert budget.reserve_for(b"p" * 32, "icu", ["a"], 10, sign=sign, request=b"p" * 32) == 1


def test_emergencies_fall_overdue_and_reviews_come_late(ground: Ground) -> None:
    chain = ground.open()
    glass = BreakGlass.deploy(chain, WitnessSet.deploy(chain).address, review_s=3600)
    for commitment in (b"a" * 32, b"b" * 32):
        glass.declare(commitment)
    glass.review(b"a" * 32, justified=True, report_hash=b"r" * 32)
    assert glass.overdue() == []
    ground.advance(4000)
    assert glass.overdue() == [b"b" * 32]
    glass.review(b"b" * 32, justified=False, report_hash=b"s" * 32)
    assert glass.overdue() == []
    early, late = glass.declaration(b"a" * 32), glass.declaration(b"b" * 32)
    assert early is not None
    assert late is not None
    assert (early.reviewed_late, early.justified) == (False, True)
    assert (late.reviewed_late, late.justified, late.report_hash) == (True, False, b"s" * 32)
    assert glass.declaration(b"c" * 32) is None
