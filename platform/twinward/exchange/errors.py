"""What goes wrong in an exchange of resources.

TwinwardError
├── BadInput ─ ExchangeInvalid      what was entered is no resource, quantity, time, or half of a settlement
├── NotFound ─ NoSuchEntry          there is no listing or transfer of this number
├── Conflict
│   ├── NoExchange                  the consortium has none yet
│   └── ExchangeRefused             the contract refuses the step; says why
└── Unavailable ─ ExchangeUnreachable   the chain does not answer
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from twinward.core.errors import BadInput, Conflict, NotFound, Unavailable
from twinward_ledger.errors import ChainError, QuorumNotReached, TransactionReverted


class ExchangeInvalid(BadInput):
    """What was entered does not say what it must. Nothing was logged or signed."""


class NoSuchEntry(NotFound):
    """There is no listing or transfer of this number."""


class NoExchange(Conflict):
    """The consortium has no exchange yet."""


class ExchangeRefused(Conflict):
    """The contract refuses the step: nothing changed there."""


class ExchangeUnreachable(Unavailable):
    """The chain does not answer. What was signed may be sent again under the same id."""


_WHY: Final[Mapping[str, str]] = {
    "ImpossibleDeadline": "a deadline lies ahead, after the one before, within a year, and in a request's time",
    "ListingEnded": "its time is over, or it was withdrawn",
    "NotLeft": "it has less left than that",
    "NotMatching": "a promise takes an offer of one's own to another hospital's request for the same resource",
    "WrongState": "the transfer is not at this step, or past it",
    "TooLate": "the deadline has passed",
    "TooEarly": "the deadline has not passed yet",
    "MoreThanPromised": "no more can arrive than was promised",
    "NotParty": "this hospital has no part in it",
    "UnknownListing": "there is no such listing",
    "RequestReplayed": "something was sent under this id before",
    "InvalidSignature": "a hospital's signature is of another number, or is none",
    "UnknownName": "this hospital is no active witness of the consortium",
    "KeyMismatch": "it is another hospital's step",
}


@contextmanager
def refusals_explained() -> Iterator[None]:
    """What the contract refuses, and a chain that does not answer, as this room's errors."""
    try:
        yield
    except TransactionReverted as refusal:
        why = _WHY.get(refusal.error, refusal.error)
        raise ExchangeRefused(
            f"the exchange refuses: {why}", hint="`twinward exchange list` says how things stand"
        ) from refusal
    except QuorumNotReached as error:
        raise ExchangeRefused("the key of this hospital is not here", hint="each hospital signs at its own node") from (
            error
        )
    except ChainError as error:
        raise ExchangeUnreachable(str(error)) from error
