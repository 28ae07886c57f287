"""Vendors' query budgets, on the ledger: ``QueryBudget`` over the ``BudgetLedger`` contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from twinward.similarity.errors import BudgetExhausted, BudgetUnavailable, SchemaMismatch
from twinward_contracts.bindings import BudgetLedger
from twinward_ledger.errors import ChainError, TransactionReverted

Answer = TypeVar("Answer")


class LedgerBudget:
    """Implements ``QueryBudget``. The contract's epochs are the cohort's: a stale cohort cannot spend.

    Args:
        contract: the consortium's ``BudgetLedger``, seen from this hospital's account.
    """

    def __init__(self, contract: BudgetLedger) -> None:
        self._contract = contract
        self._epoch_s: int | None = None

    def current_epoch(self) -> int:
        """The epoch a new cohort is made for. Raises ``BudgetUnavailable``."""
        return _asked(self._contract.current_epoch)

    def spend(self, vendor: str, epoch: int, amount: int = 1) -> int:
        """Spend before scoring; return what is left.

        Raises:
            BudgetExhausted: too few queries are left; nothing was spent.
            SchemaMismatch: the chain is in another epoch than the cohort.
            BudgetUnavailable: no answer from the chain, or it refuses this hospital's account.
        """
        try:
            return self._contract.spend_queries(vendor, epoch, amount)
        except TransactionReverted as refusal:
            if refusal.error == "QueryBudgetExceeded":
                left = self.remaining(vendor, epoch)
                raise BudgetExhausted(vendor, epoch, left, self.resets_at_s(epoch)) from refusal
            if refusal.error == "WrongEpoch":
                raise SchemaMismatch(self.current_epoch()) from refusal
            raise BudgetUnavailable(
                f"the ledger refuses to spend ({refusal.error})", hint="is this hospital's account admitted?"
            ) from refusal
        except ChainError as error:
            raise BudgetUnavailable("the ledger does not answer; nothing was scored") from error

    def remaining(self, vendor: str, epoch: int) -> int:
        """What is left. Raises ``BudgetUnavailable``."""
        return _asked(lambda: self._contract.remaining_queries(vendor, epoch))

    def resets_at_s(self, epoch: int) -> int:
        """When the epoch ends, in seconds since 1970. Raises ``BudgetUnavailable``."""
        if self._epoch_s is None:
            self._epoch_s = _asked(self._contract.epoch_seconds)
        return (epoch + 1) * self._epoch_s


def _asked(ask: Callable[[], Answer]) -> Answer:
    try:
        return ask()
    except ChainError as error:
        raise BudgetUnavailable("the ledger does not answer") from error
