"""Budgets and registries through their bindings, on each chain."""

from __future__ import annotations

import pytest

from tests.grounds import NOW_S, Ground
from twinward_contracts.bindings import (
    BreakGlass,
    BudgetLedger,
    ConsentRegistry,
    ModelRegistry,
    PrivacyAccount,
    ReservationState,
    name_id,
)
from twinward_ledger.chain import ChainClient
from twinward_ledger.errors import TransactionReverted


def test_queries_are_spent_once_and_to_the_cap(chain: ChainClient) -> None:
    budget = BudgetLedger.deploy(chain)
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
    budget = BudgetLedger.deploy(chain)
    for hospital in ("a", "b"):
        budget.cap_privacy(hospital, "icu", 100)
    first = budget.reserve("study", "icu", ["b", "a"], 40)
    second = budget.reserve("study", "icu", ["a"], 30)
    assert budget.privacy("a", "icu") == PrivacyAccount(100, 70, 0)
    with pytest.raises(TransactionReverted) as caught:
        budget.reserve("study", "icu", ["a", "b"], 31)
    assert (caught.value.error, caught.value.arguments) == (
        "PrivacyBudgetExceeded",
        (name_id("a"), name_id("icu"), 30, 31),
    )
    budget.commit(first)
    budget.burn(second)
    assert budget.privacy("a", "icu") == PrivacyAccount(100, 0, 70)
    assert budget.privacy("b", "icu") == PrivacyAccount(100, 0, 40)
    assert budget.remaining_privacy("a", "icu") == 30
    settled = budget.reservation(first)
    assert (settled.state, settled.micros, settled.holder) == (ReservationState.COMMITTED, 40, chain.sender)
    assert set(settled.hospital_ids) == {name_id("a"), name_id("b")}
    assert budget.reservation(second).state is ReservationState.BURNED
    assert budget.reservation(99).state is ReservationState.NONE


def test_models_are_registered_once(chain: ChainClient) -> None:
    registry = ModelRegistry.deploy(chain)
    assert registry.register("study", b"m" * 32, b"c" * 32, 2_990_000, 10_000_000) == 1
    assert registry.register("study", b"n" * 32, b"c" * 32, 1, 0) == 2
    model = registry.model(1)
    assert (model.study_id, model.epsilon_micros, model.delta_e12) == (name_id("study"), 2_990_000, 10_000_000)
    assert model.registered_at_s >= NOW_S
    assert registry.count() == 2
    with pytest.raises(TransactionReverted, match="AlreadyRegistered"):
        registry.register("other", b"m" * 32, b"c" * 32, 1, 0)
    with pytest.raises(TransactionReverted, match="ImplausiblePrivacy"):
        registry.register("other", b"o" * 32, b"c" * 32, 0, 0)


def test_consents_are_given_and_withdrawn(chain: ChainClient, ground: Ground) -> None:
    registry = ConsentRegistry.deploy(chain)
    commitment = b"c" * 32
    assert registry.consent(commitment) is None
    registry.grant(commitment)
    assert registry.is_granted(commitment)
    ground.advance(60)
    registry.revoke(commitment)
    assert not registry.is_granted(commitment)
    consent = registry.consent(commitment)
    assert consent is not None
    assert consent.grantor == chain.sender
    assert consent.revoked_at_s is not None
    assert consent.revoked_at_s >= consent.granted_at_s + 30
    with pytest.raises(TransactionReverted, match="AlreadyGranted"):
        registry.grant(commitment)


def test_emergencies_fall_overdue_and_reviews_come_late(ground: Ground) -> None:
    chain = ground.open()
    glass = BreakGlass.deploy(chain, review_s=3600)
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
