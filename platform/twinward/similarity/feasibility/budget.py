"""The epsilon that counts spend: of one vendor, and of the hospital for all vendors together. Both stand on the ledger.

A count costs every patient of the cohort its epsilon, whoever asks: so there is a bound over all vendors as well. Both
are allowances of the ``BudgetLedger`` contract as vendors' queries are, in thousandths of epsilon an epoch, under names
of their own; no contract had to change. As there, an epoch's grant is refused beyond, and over many epochs
(``LedgerBudget``'s window) less than every epoch's grant may be spent.
"""

from __future__ import annotations

import threading

from twinward.core.allowances import hospital_epsilon, vendor_epsilon
from twinward.similarity.budget import LedgerBudget
from twinward.similarity.errors import EpsilonExhausted


class EpsilonBudget:
    """Implements ``QueryBudget``; amounts are thousandths of epsilon.

    Args:
        ledger: allowances by name.
        tenant: the hospital's short name.
    """

    def __init__(self, ledger: LedgerBudget, tenant: str) -> None:
        self._ledger, self._tenant = ledger, tenant
        self._lock = threading.Lock()

    def spend(self, vendor: str, epoch: int, amount: int = 1) -> int:
        """Spend before anything is counted, the hospital's first; return what is left of the smaller one.

        A crash between the two leaves the hospital with less than was told, never with more.

        Raises:
            EpsilonExhausted: one of them does not reach; nothing was spent.
            SchemaMismatch, BudgetUnavailable: as ``LedgerBudget.spend``.
        """
        whole, own = hospital_epsilon(self._tenant), vendor_epsilon(self._tenant, vendor)
        with self._lock:
            for name, whose in ((own, "you have"), (whole, "this hospital has, for all vendors together,")):
                left = self._ledger.remaining(name, epoch)
                if amount > left:
                    raise EpsilonExhausted(whose, left, amount, self._ledger.resets_at_s(epoch))
            left = self._ledger.spend(whole, epoch, amount)
            return min(left, self._ledger.spend(own, epoch, amount))

    def remaining(self, vendor: str, epoch: int) -> int:
        """What is left of the smaller one. Raises ``BudgetUnavailable``."""
        names = hospital_epsilon(self._tenant), vendor_epsilon(self._tenant, vendor)
        return min(self._ledger.remaining(name, epoch) for name in names)

    def resets_at_s(self, epoch: int) -> int:
        """When the epoch ends, in seconds since 1970. Raises ``BudgetUnavailable``."""
        return self._ledger.resets_at_s(epoch)
