"""Privacy budget and model registry on the ledger: the contracts ``BudgetLedger`` and ``ModelRegistry``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from twinward.errors import Conflict, TwinwardError, Unavailable
from twinward.federation.errors import BudgetExhausted
from twinward_contracts import bindings
from twinward_ledger.errors import ChainError, TransactionReverted

COHORT: Final = "monitored-stays"
"""The cohort that studies of this domain spend from: every monitored stay of a hospital."""

Answer = TypeVar("Answer")


class LedgerPrivacyBudget:
    """Implements ``PrivacyBudget``. A hospital without a cap has no budget: caps are set by the consortium's owner.

    Args:
        contract: the consortium's ``BudgetLedger``, seen from an admitted account.
        cohort: whose privacy is spent.
    """

    def __init__(self, contract: bindings.BudgetLedger, cohort: str = COHORT) -> None:
        self._contract = contract
        self._cohort = cohort

    def reserve(self, study: str, hospitals: Sequence[str], inverse_variance_micros: int) -> int:
        """Reserve from all hospitals or none.

        Raises:
            BudgetExhausted: a hospital's cap does not reach; nothing was reserved.
            Conflict, Unavailable: the contract refuses otherwise, or the chain does not answer.
        """
        return _asked(lambda: self._contract.reserve(study, self._cohort, hospitals, inverse_variance_micros))

    def commit(self, reservation: int) -> None:
        """Turn a reservation into a spend. Raises ``Conflict`` if it was settled before, or ``Unavailable``."""
        _asked(lambda: self._contract.commit(reservation))

    def burn(self, reservation: int) -> None:
        """Settle a failed run's reservation, charged all the same. Raises as ``commit``."""
        _asked(lambda: self._contract.burn(reservation))


class LedgerModelRegistry:
    """Implements ``ModelRegistry`` over the contract of that name, seen from an admitted account."""

    def __init__(self, contract: bindings.ModelRegistry) -> None:
        self._contract = contract

    def register(self, study: str, model_hash: bytes, card_hash: bytes, epsilon_micros: int, delta_e12: int) -> int:
        """Register a model; return its number. Raises ``Conflict`` if it is registered already, or ``Unavailable``."""
        return _asked(lambda: self._contract.register(study, model_hash, card_hash, epsilon_micros, delta_e12))


def _asked(ask: Callable[[], Answer]) -> Answer:
    try:
        return ask()
    except TransactionReverted as refusal:
        raise _translated(refusal) from refusal
    except ChainError as error:
        raise Unavailable("the ledger does not answer", hint="nothing was released; try again when it does") from error


def _translated(refusal: TransactionReverted) -> TwinwardError:
    if refusal.error == "PrivacyBudgetExceeded":
        left, asked = refusal.arguments[2:4]
        return BudgetExhausted(
            f"a hospital has {left} millionths of 1/σ² left; this study costs {asked}",
            hint="ask for a smaller ε, or have the consortium raise that hospital's cap",
        )
    return Conflict(f"the ledger refuses: {refusal.error}", hint="is this hospital's account admitted to the contract?")
