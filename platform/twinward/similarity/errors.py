"""Errors of similarity search.

Refused
├── BudgetExhausted      no queries left in this epoch; nothing was spent
└── QueryRefused         the mode is not offered, or the release policy says no before anything is scored
Conflict
└── SchemaMismatch       made for another schema, hospital or epoch: fetch the terms again
BadInput
└── QueryMalformed       an encrypted query that does not parse or that no honest client makes
Unavailable
├── BudgetUnavailable    the ledger does not answer; nothing was scored
└── SecretsUnreadable    an epoch's stored secrets do not parse: begin a new epoch
"""

from __future__ import annotations

from twinward.errors import BadInput, Conflict, Refused, Unavailable


class BudgetExhausted(Refused):
    """No queries left in this epoch."""

    def __init__(self, vendor: str, epoch: int, remaining: int) -> None:
        super().__init__(
            f"{vendor} has {remaining} queries left in epoch {epoch}, too few for this one",
            hint="the allowance is renewed with the next epoch",
        )
        self.remaining = remaining


class QueryRefused(Refused):
    """The mode is not offered to this vendor, or the release policy says no."""


class SchemaMismatch(Conflict):
    """Made for another schema, hospital or epoch."""

    def __init__(self, epoch: int) -> None:
        super().__init__(
            f"made for another schema or epoch; epoch {epoch} is answered now",
            hint="fetch the schema again and make the query anew",
        )
        self.epoch = epoch


class QueryMalformed(BadInput):
    """An encrypted query that does not parse, or that no honest client makes."""


class BudgetUnavailable(Unavailable):
    """The ledger that keeps budgets does not answer. Nothing was scored."""


class SecretsUnreadable(Unavailable):
    """An epoch's stored secrets do not parse, or belong to other parameters."""
