"""Vendors' query budgets, on the ledger: ``QueryBudget`` over the ``BudgetLedger`` contract.

Two bounds. The contract refuses what goes beyond an epoch's grant. Over epochs a vendor would still learn more with
each (patients change, groups become finer), so in any ``window_epochs`` it may spend ``window_grants`` epochs' grants.
That bound is kept here, from what the contract says was spent: no second truth, and no restart forgets it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from twinward.similarity.errors import BudgetExhausted, BudgetUnavailable, SchemaMismatch, WindowExhausted
from twinward_contracts.bindings import BudgetLedger
from twinward_ledger.errors import ChainError, TransactionReverted

Answer = TypeVar("Answer")


class LedgerBudget:
    """Implements ``QueryBudget``. The contract's epochs are the cohort's: a stale cohort cannot spend.

    Args:
        contract: the consortium's ``BudgetLedger``, seen from this hospital's account.
        window_epochs: how many epochs, the running one included, are looked at together.
        window_grants: how many epochs' grants may be spent in them.
    """

    def __init__(self, contract: BudgetLedger, *, window_epochs: int = 30, window_grants: int = 10) -> None:
        self._contract = contract
        self._window_epochs, self._window_grants = window_epochs, window_grants
        self._epoch_s: int | None = None
        self._lock = threading.Lock()
        """Held while a query is checked against the window and spent."""
        self._spent: dict[tuple[str, int], int] = {}
        """Of epochs that are over, where nothing changes any more."""

    def current_epoch(self) -> int:
        """The epoch a new cohort is made for. Raises ``BudgetUnavailable``."""
        return _asked(self._contract.current_epoch)

    def spend(self, vendor: str, epoch: int, amount: int = 1) -> int:
        """Spend before scoring; return what is left.

        Raises:
            BudgetExhausted: too few queries are left, of the epoch or of the window; nothing was spent.
            SchemaMismatch: the chain is in another epoch than the cohort.
            BudgetUnavailable: no answer from the chain, or it refuses this hospital's account.
        """
        with self._lock:
            left = self._window_left(vendor, epoch)
            if amount > left:
                raise WindowExhausted(vendor, left, self._window_epochs, self._window_opens_at_s(vendor, epoch))
            return min(self._spend(vendor, epoch, amount), left - amount)

    def remaining(self, vendor: str, epoch: int) -> int:
        """What is left, of the epoch and of the window. Raises ``BudgetUnavailable``."""
        left = _asked(lambda: self._contract.remaining_queries(vendor, epoch))
        return min(left, self._window_left(vendor, epoch))

    def resets_at_s(self, epoch: int) -> int:
        """When the epoch ends, in seconds since 1970. Raises ``BudgetUnavailable``."""
        if self._epoch_s is None:
            self._epoch_s = _asked(self._contract.epoch_seconds)
        return (epoch + 1) * self._epoch_s

    def _spend(self, vendor: str, epoch: int, amount: int) -> int:
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

    def _window(self, epoch: int) -> range:
        return range(max(0, epoch - self._window_epochs + 1), epoch + 1)

    def _window_left(self, vendor: str, epoch: int) -> int:
        grant = _asked(lambda: self._contract.queries_per_epoch(vendor))
        return max(0, self._window_grants * grant - sum(self._window_spent(vendor, epoch, grant).values()))

    def _window_opens_at_s(self, vendor: str, epoch: int) -> int:
        """When the oldest epoch in which something was spent has left the window."""
        grant = _asked(lambda: self._contract.queries_per_epoch(vendor))
        spent = self._window_spent(vendor, epoch, grant)
        oldest = next((one for one, queries in spent.items() if queries), epoch)
        return self.resets_at_s(oldest + self._window_epochs - 1)

    def _window_spent(self, vendor: str, epoch: int, grant: int) -> dict[int, int]:
        """What was spent, by epoch. Where a grant was lowered since, an older epoch may look cheaper than it was."""
        found = {}
        now = _asked(self._contract.current_epoch)
        for one in self._window(epoch):
            spent = self._spent.get((vendor, one))
            if spent is None:
                left = _asked(partial(self._contract.remaining_queries, vendor, one))
                spent = grant - left
                if one < now and left:  # with nothing left it may have been more than today's grant
                    self._spent[vendor, one] = spent
            found[one] = spent
        return found


def _asked(ask: Callable[[], Answer]) -> Answer:
    try:
        return ask()
    except ChainError as error:
        raise BudgetUnavailable("the ledger does not answer") from error
