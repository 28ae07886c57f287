"""Errors of similarity search.

Refused
├── BudgetExhausted      no queries left in this epoch; nothing was spent
│   └── WindowExhausted  none left over many epochs
├── TooFast              more requests a minute than the hospital answers; nothing was spent (HTTP 429)
└── QueryRefused         the mode is not offered, or the release policy says no before anything is scored
    └── NoCohort         no patient's consent allows similarity search: there is nobody to ask about
Conflict
└── SchemaMismatch       made for another schema, hospital or epoch: fetch the terms again
BadInput
└── QueryMalformed       an encrypted query that does not parse or that no honest client makes
Unavailable
├── BudgetUnavailable    the ledger does not answer; nothing was scored
├── ScoringUnavailable   the processes or machines that score do not answer
└── SecretsUnreadable    an epoch's stored secrets do not parse: begin a new epoch
"""

from __future__ import annotations

from datetime import UTC, datetime

from twinward.core.errors import BadInput, Conflict, Refused, Unavailable


def when(resets_at_s: int | None) -> str:
    """When an epoch's limits end, in words."""
    if resets_at_s is None:
        return "with the next epoch"
    return f"with the next epoch, at {datetime.fromtimestamp(resets_at_s, tz=UTC):%Y-%m-%d %H:%M} UTC"


class BudgetExhausted(Refused):
    """No queries left in this epoch."""

    def __init__(self, vendor: str, epoch: int, remaining: int, resets_at_s: int | None = None) -> None:
        super().__init__(
            f"{vendor} has {remaining} queries left in epoch {epoch}, too few for this one; nothing was spent",
            hint=f"the allowance is renewed {when(resets_at_s)}",
        )
        self.remaining = remaining


class EpsilonExhausted(BudgetExhausted):
    """Too little epsilon is left for a count, of the vendor's or of the hospital's for all vendors."""

    def __init__(self, whose: str, left_millis: int, asked_millis: int, resets_at_s: int | None) -> None:
        Refused.__init__(
            self,
            f"{whose} epsilon {left_millis / 1000:g} left for counts, and this one costs {asked_millis / 1000:g}; "
            "nothing was spent",
            hint=f"ask for a smaller epsilon, or wait: it is renewed {when(resets_at_s)}"
            if left_millis
            else f"it is renewed {when(resets_at_s)}, if the hospital granted any",
        )
        self.remaining = left_millis


class WindowExhausted(BudgetExhausted):
    """No queries left over many epochs, whatever is left of the running one."""

    def __init__(self, vendor: str, remaining: int, epochs: int, opens_at_s: int) -> None:
        Refused.__init__(
            self,
            f"{vendor} has {remaining} queries left in the last {epochs} epochs together, too few for this one; "
            "nothing was spent",
            hint=f"more are free {when(opens_at_s).replace('the next', 'a later')}",
        )
        self.remaining = remaining


class TooFast(Refused):
    """More requests a minute than the hospital answers one vendor."""

    http_status = 429

    def __init__(self, per_minute: int, *, wait_s: int) -> None:
        super().__init__(
            f"more than {per_minute} requests in a minute; nothing was spent", hint=f"ask again in {wait_s} seconds"
        )
        self.wait_s = wait_s


class QueryRefused(Refused):
    """The mode is not offered to this vendor, or the release policy says no."""


class NoCohort(QueryRefused):
    """No patient's consent allows similarity search, so there is nobody to ask about."""

    def __init__(self) -> None:
        super().__init__(
            "no patient's consent allows similarity search now",
            hint="consents are the hospital's to record; the first ones count at once",
        )


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

    own_words = True


class ScoringUnavailable(Unavailable):
    """The processes or machines that score a cohort do not answer."""

    own_words = True


class SecretsUnreadable(Unavailable):
    """An epoch's stored secrets do not parse, or belong to other parameters."""
