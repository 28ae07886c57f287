"""Budget and registry on the real contracts, on the embedded chain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.held_keys import HeldKeysBudget
from tests.integration.federation.kit import HOSPITALS, simulated, sites
from twinward.core.clock import FixedClock
from twinward.core.errors import Conflict, Unavailable
from twinward.federation.coordinator import Coordinator
from twinward.federation.errors import BudgetExhausted, NotPaid
from twinward.federation.evaluation.anomaly_injection import inject_anomalies
from twinward.federation.evaluation.benchmark import Benchmark, Origin
from twinward.federation.ledger_adapters import LedgerModelRegistry, LedgerReservations
from twinward.federation.models import COHORT
from twinward.federation.privacy.accountant import plan_for, require_paid, spent_epsilon
from twinward.federation.stays.simulated import simulate_stays
from twinward.federation.study import StudyProtocol
from twinward_contracts import bindings
from twinward_ledger.anchoring.agreement import sign_as
from twinward_ledger.chains.embedded import EmbeddedChain
from twinward_ledger.errors import ChainUnavailable
from twinward_ledger.testing.consortium import hospitals_on, seeded

STUDY = StudyProtocol.for_dp_var("var-1", HOSPITALS, expected_patients=90)
COST = plan_for(STUDY).inverse_variance_micros
KEYS = {name: seeded(name) for name in HOSPITALS}


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[EmbeddedChain]:
    opened = EmbeddedChain(tmp_path / "chain.db")
    yield opened
    opened.close()


@pytest.fixture
def contract(chain: EmbeddedChain) -> bindings.BudgetLedger:
    """Of a consortium that is being founded."""
    return bindings.BudgetLedger.deploy(chain, hospitals_on(chain, HOSPITALS).address)


def cap(contract: bindings.BudgetLedger, hospital: str, micros: int) -> None:
    contract.cap_privacy(hospital, COHORT, micros, sign=sign_as(KEYS))


def test_a_study_is_paid_for_and_registered_on_the_chain(chain: EmbeddedChain, contract: bindings.BudgetLedger) -> None:
    budget, models = contract, bindings.ModelRegistry.deploy(chain, contract.address)
    for hospital in HOSPITALS:
        cap(budget, hospital, COST + 1000)
    benchmark = Benchmark("simulated", Origin.SYNTHETIC, inject_anomalies(simulate_stays(100, 41), 42))
    stays = simulated(30, seed=6)

    def run(study: StudyProtocol, seed: int) -> Coordinator:
        paid = HeldKeysBudget(budget, KEYS)
        made = sites(stays, seed, reservations=LedgerReservations(budget))
        return Coordinator(made, paid, LedgerModelRegistry(models), FixedClock())

    trained = run(STUDY, 1).run(STUDY, benchmark)
    assert trained.model_number == 1
    entry = models.model(1)
    assert (entry.model_hash, entry.card_hash) == (trained.model.hash(), trained.card.hash())
    assert (entry.epsilon_micros, entry.delta_e12) == (trained.plan.epsilon_micros, 10_000_000)
    for hospital in HOSPITALS:
        account = budget.privacy(hospital, COHORT)
        assert (account.spent_micros, account.reserved_micros) == (COST, 0)
        assert spent_epsilon(account.spent_micros, 1e-5) == pytest.approx(3.0, rel=1e-5)

    again = StudyProtocol.for_dp_var("var-2", HOSPITALS, expected_patients=90)
    with pytest.raises(BudgetExhausted, match="1000 millionths"):
        run(again, 2).run(again, benchmark)
    assert models.count() == 1


def test_reserved_committed_burned(contract: bindings.BudgetLedger) -> None:
    budget = HeldKeysBudget(contract, KEYS)
    for hospital in HOSPITALS:
        cap(contract, hospital, 100)
    first, second = budget.reserve(b"a" * 32, HOSPITALS, 30), budget.reserve(b"b" * 32, HOSPITALS, 30)
    budget.commit(first)
    budget.burn(second)
    assert contract.privacy("east", COHORT).spent_micros == 60
    with pytest.raises(Conflict, match="NotReserved"):
        budget.commit(second)
    with pytest.raises(BudgetExhausted, match="40 millionths"):
        budget.reserve(b"c" * 32, HOSPITALS, 41)


def test_no_hospital_pays_if_one_cannot(contract: bindings.BudgetLedger) -> None:
    cap(contract, "east", 100)
    with pytest.raises(BudgetExhausted):
        HeldKeysBudget(contract, KEYS).reserve(b"a" * 32, HOSPITALS, 10)
    assert contract.privacy("east", COHORT).reserved_micros == 0


def test_a_member_spends_no_privacy_but_of_hospitals_whose_keys_it_has(contract: bindings.BudgetLedger) -> None:
    for hospital in HOSPITALS:
        cap(contract, hospital, 100)
    own = HeldKeysBudget(contract, {"east": KEYS["east"]})
    for hospitals in (["north"], list(HOSPITALS)):
        with pytest.raises(Conflict, match="are not here"):
            own.reserve(b"n" * 32, hospitals, 10)
    reservation = HeldKeysBudget(contract, KEYS).reserve(b"a" * 32, HOSPITALS, 10)
    for settle in (own.commit, own.burn):
        with pytest.raises(Conflict, match="2 of 3 hospitals are not here"):
            settle(reservation)
    impostor = HeldKeysBudget(contract, KEYS | {"north": KEYS["east"]})
    for settle in (impostor.commit, impostor.burn):
        with pytest.raises(Conflict, match="another key than its witness"):
            settle(reservation)
    with pytest.raises(Conflict, match="another key than its witness"):
        impostor.reserve(b"n" * 32, ["north"], 10)
    assert contract.privacy("north", COHORT) == bindings.PrivacyAccount(100, 10, 0)


def test_a_model_is_registered_once_under_what_paid_for_it_and_never_as_free(
    chain: EmbeddedChain, contract: bindings.BudgetLedger
) -> None:
    registry = LedgerModelRegistry(bindings.ModelRegistry.deploy(chain, contract.address))
    for hospital in HOSPITALS:
        cap(contract, hospital, 100)
    budget = HeldKeysBudget(contract, KEYS)
    paid = budget.reserve(b"a" * 32, HOSPITALS, 10)
    with pytest.raises(Conflict, match="NotPaid"):
        registry.register(paid, b"\1" * 32, b"\2" * 32, 3_000_000, 10**7)
    budget.commit(paid)
    with pytest.raises(Conflict, match="ImplausiblePrivacy"):
        registry.register(paid, b"\3" * 32, b"\2" * 32, 0, 10**7)
    assert registry.register(paid, b"\1" * 32, b"\2" * 32, 3_000_000, 10**7) == 1
    with pytest.raises(Conflict, match="ReservationUsed"):
        registry.register(paid, b"\3" * 32, b"\2" * 32, 3_000_000, 10**7)


def test_what_a_hospital_reads_of_a_reservation(contract: bindings.BudgetLedger) -> None:
    ledger, budget = LedgerReservations(contract), HeldKeysBudget(contract, KEYS)
    for hospital in HOSPITALS:
        cap(contract, hospital, 2 * COST)
    assert ledger.of_study(STUDY.fingerprint()) is None
    with pytest.raises(NotPaid, match="no reservation names this protocol"):
        require_paid(STUDY, "east", None)
    number = budget.reserve(STUDY.fingerprint(), HOSPITALS, COST)
    found = ledger.of_study(STUDY.fingerprint())
    assert require_paid(STUDY, "east", found) == found
    with pytest.raises(Conflict, match="paid for before"):
        budget.reserve(STUDY.fingerprint(), HOSPITALS, COST)
    budget.commit(number)
    with pytest.raises(NotPaid, match="settled"):
        require_paid(STUDY, "east", ledger.of_study(STUDY.fingerprint()))


def test_a_silent_chain_is_unavailable() -> None:
    class Silent:
        def reserve_for(self, *_: object, **__: object) -> int:
            raise ChainUnavailable("no answer")

    with pytest.raises(Unavailable):
        HeldKeysBudget(Silent()).reserve(b"s" * 32, HOSPITALS, 1)  # type: ignore[arg-type]
    assert np.iinfo(np.uint64).max > COST  # the contract counts in uint64
