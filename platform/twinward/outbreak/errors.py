"""What goes wrong with an alert of an outbreak.

TwinwardError
├── BadInput ─ OutbreakInvalid          what was entered is no statement, series of counts, or hospital's signature
├── Conflict
│   ├── NoOutbreakContract              the consortium has none yet
│   ├── NothingToForecast               sums that say nothing of the days that follow; says why
│   ├── ReleaseRefused                  a period or day that is not released, or not yet
│   │   └── ReleaseForgotten            this home lacks what it released of a period: nothing more is released of it
│   └── AlertRefused                    the contract refuses it; says why
└── Unavailable ─ OutbreakUnreachable   the chain does not answer
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from twinward.core.errors import BadInput, Conflict, Unavailable
from twinward_ledger.errors import ChainError, TransactionReverted


class OutbreakInvalid(BadInput):
    """What was entered does not say what it must. Nothing was logged or signed."""


class NoOutbreakContract(Conflict):
    """The consortium has no contract for alerts yet."""


class NothingToForecast(Conflict):
    """Sums that say nothing of the days that follow: too few, too old, or no more than their noise."""


class ReleaseRefused(Conflict):
    """A period or a day that is not released, or not yet. Nothing was counted, nothing left."""


class ReleaseForgotten(ReleaseRefused):
    """This home does not know what it released of a period, so it may have: it releases nothing more of it."""


class AlertRefused(Conflict):
    """The contract refuses the alert: nothing changed there."""


class OutbreakUnreachable(Unavailable):
    """The chain does not answer."""


_WHY: Final[Mapping[str, str]] = {
    "NoExcess": "what was counted does not lie above the threshold",
    "DayNotNear": "an alert is of today or of the fortnight before",
    "AlreadyRaised": "this day of this syndrome was alerted before",
    "AlreadyOver": "it is over already",
    "UnknownAlert": "there is no such alert",
    "QuorumNotReached": "fewer hospitals signed than must",
    "InvalidQuorumSignature": "the signatures are not of this statement, or of a set of hospitals before today's",
}


@contextmanager
def refusals_explained() -> Iterator[None]:
    """What the contract refuses, and a chain that does not answer, as this room's errors."""
    try:
        yield
    except TransactionReverted as refusal:
        why = _WHY.get(refusal.error, refusal.error)
        raise AlertRefused(f"the contract refuses: {why}", hint="`twinward outbreak alerts` lists what stands") from (
            refusal
        )
    except ChainError as error:
        raise OutbreakUnreachable(str(error)) from error
