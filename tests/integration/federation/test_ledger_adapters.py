"""Budget and registry on the real contracts, on the embedded chain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.integration.federation.kit import HOSPITALS, simulated, sites
from twinward.clock import FixedClock
from twinward.errors import Conflict, Unavailable
from twinward.federation.accountant import plan_for, spent_epsilon
from twinward.federation.errors import BudgetExhausted
from twinward.federation.evaluation import Benchmark
from twinward.federation.ledger_adapters import COHORT, LedgerModelRegistry, LedgerPrivacyBudget
from twinward.federation.study import StudyProtocol
from twinward.federation.tampering import tamper
from twinward.federation.training import Coordinator
from twinward.simulated_stays import simulate_stays
from twinward_contracts import bindings
from twinward_ledger.chains.embedded import EmbeddedChain
from twinward_ledger.errors import ChainUnavailable

STUDY = StudyProtocol.for_moments("var-1", HOSPITALS, expected_patients=90)
COST = plan_for(STUDY).inverse_variance_micros


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[EmbeddedChain]:
    opened = EmbeddedChain(tmp_path / "chain.db")
    yield opened
    opened.close()


def test_a_study_is_paid_for_and_registered_on_the_chain(chain: EmbeddedChain) -> None:
    budget, models = bindings.BudgetLedger.deploy(chain), bindings.ModelRegistry.deploy(chain)
    for hospital in HOSPITALS:
        budget.cap_privacy(hospital, COHORT, COST + 1000)
    benchmark = Benchmark("simulated", tamper(simulate_stays(100, 41), 42))
    stays = simulated(30, seed=6)

    def run(study: StudyProtocol, seed: int) -> Coordinator:
        return Coordinator(sites(stays, seed), LedgerPrivacyBudget(budget), LedgerModelRegistry(models), FixedClock())

    trained = run(STUDY, 1).run(STUDY, benchmark)
    assert trained.model_number == 1
    entry = models.model(1)
    assert (entry.model_hash, entry.card_hash) == (trained.model.hash(), trained.card.hash())
    assert (entry.epsilon_micros, entry.delta_e12) == (trained.plan.epsilon_micros, 10_000_000)
    for hospital in HOSPITALS:
        account = budget.privacy(hospital, COHORT)
        assert (account.spent_micros, account.reserved_micros) == (COST, 0)
        assert spent_epsilon(account.spent_micros, 1e-5) == pytest.approx(3.0, rel=1e-5)

    again = StudyProtocol.for_moments("var-2", HOSPITALS, expected_patients=90)
    with pytest.raises(BudgetExhausted, match="1000 millionths"):
        run(again, 2).run(again, benchmark)
    assert models.count() == 1


def test_reserved_committed_burned(chain: EmbeddedChain) -> None:
    contract = bindings.BudgetLedger.deploy(chain)
    budget = LedgerPrivacyBudget(contract)
    for hospital in HOSPITALS:
        contract.cap_privacy(hospital, COHORT, 100)
    first, second = budget.reserve("a", HOSPITALS, 30), budget.reserve("b", HOSPITALS, 30)
    budget.commit(first)
    budget.burn(second)
    assert contract.privacy("east", COHORT).spent_micros == 60
    with pytest.raises(Conflict, match="NotReserved"):
        budget.commit(second)
    with pytest.raises(BudgetExhausted, match="40 millionths"):
        budget.reserve("c", HOSPITALS, 41)


def test_no_hospital_pays_if_one_cannot(chain: EmbeddedChain) -> None:
    contract = bindings.BudgetLedger.deploy(chain)
    contract.cap_privacy("east", COHORT, 100)
    with pytest.raises(BudgetExhausted):
        LedgerPrivacyBudget(contract).reserve("a", HOSPITALS, 10)
    assert contract.privacy("east", COHORT).reserved_micros == 0


def test_a_model_is_registered_once_and_never_as_free(chain: EmbeddedChain) -> None:
    registry = LedgerModelRegistry(bindings.ModelRegistry.deploy(chain))
    assert registry.register("s", b"\1" * 32, b"\2" * 32, 3_000_000, 10**7) == 1
    with pytest.raises(Conflict, match="AlreadyRegistered"):
        registry.register("s", b"\1" * 32, b"\2" * 32, 3_000_000, 10**7)
    with pytest.raises(Conflict, match="ImplausiblePrivacy"):
        registry.register("s", b"\3" * 32, b"\2" * 32, 0, 10**7)


def test_a_silent_chain_is_unavailable() -> None:
    class Silent:
        def reserve(self, *_: object) -> int:
            raise ChainUnavailable("no answer")

    with pytest.raises(Unavailable):
        LedgerPrivacyBudget(Silent()).reserve("s", HOSPITALS, 1)  # type: ignore[arg-type]
    assert np.iinfo(np.uint64).max > COST  # the contract counts in uint64
