"""A ``PrivacyBudget`` whose hospitals' keys are all at hand, for tests of what comes after a reservation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from twinward.federation.ledger_adapters import asked
from twinward.federation.models import COHORT
from twinward_contracts import bindings
from twinward_ledger.anchoring.agreement import sign_as
from twinward_ledger.witness.witness import WitnessKeys


class HeldKeysBudget:
    """Implements ``PrivacyBudget``. A hospital without a cap has no budget, and only its own key spends it.

    Args:
        contract: the consortium's ``BudgetLedger``, seen from an admitted account.
        keys: of the hospitals that take part, by name; each signs what is reserved and settled of its own.
        cohort: whose privacy is spent.
    """

    def __init__(
        self,
        contract: bindings.BudgetLedger,
        keys: Mapping[str, WitnessKeys] | None = None,
        cohort: str = COHORT,
    ) -> None:
        self._contract = contract
        self._sign = sign_as(keys or {})
        self._cohort = cohort

    def reserve(self, fingerprint: bytes, hospitals: Sequence[str], inverse_variance_micros: int) -> int:
        """Reserve from all hospitals or none, under the fingerprint itself, as releases before ADR 73 did."""
        cost = inverse_variance_micros
        return asked(
            lambda: self._contract.reserve_for(
                fingerprint, self._cohort, hospitals, cost, sign=self._sign, request=fingerprint
            )
        )

    def commit(self, reservation: int) -> None:
        """Turn a reservation into a spend."""
        asked(lambda: self._contract.commit(reservation, sign=self._sign))

    def burn(self, reservation: int) -> None:
        """Settle a failed run's reservation."""
        asked(lambda: self._contract.burn(reservation, sign=self._sign))
