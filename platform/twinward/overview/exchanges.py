"""What hospitals offer, need and move between them, for officers: from the chain, as every one of them sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from twinward.core.errors import Unavailable
from twinward.exchange.errors import NoExchange
from twinward.exchange.models import ListingView, TransferView
from twinward.exchange.suggestion import Suggestion, suggest
from twinward.node import Node

MOST_TRANSFERS: Final = 50
"""The newest: each is several questions to the chain, and somebody waits for them."""


@dataclass(frozen=True, slots=True)
class ExchangeStanding:
    """Where it stands.

    Attributes:
        opened: whether the consortium has an exchange.
        answers: whether the chain answered; where not, nothing else is known.
        listings: offers and requests that stand, the oldest first.
        transfers: the newest first.
        suggestions: which offers should go to which requests.
        broken: this hospital's promises that it did not keep.
    """

    opened: bool
    answers: bool
    listings: Sequence[ListingView] = ()
    transfers: Sequence[TransferView] = ()
    suggestions: Sequence[Suggestion] = ()
    broken: int = 0


def exchange_standing(node: Node) -> ExchangeStanding:
    """Logs nothing: who shows it has a permit for the page, and whoever reads the chain sees the same."""
    try:
        standing = [one for one in node.exchange.listings() if one.stands]
        transfers, broken = node.exchange.transfers(MOST_TRANSFERS)[::-1], node.exchange.broken(node.settings.tenant)
    except NoExchange:
        return ExchangeStanding(opened=False, answers=True)
    except Unavailable:
        return ExchangeStanding(opened=True, answers=False)
    return ExchangeStanding(True, True, standing, transfers, suggest(standing), broken)
