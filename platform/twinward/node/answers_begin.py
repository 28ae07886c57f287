"""Where a hospital's memory of its answers begins: what was reserved before that, it may have answered, and never does.

``studies.db`` is in no backup and can be lost. A home that has none would answer rounds of a study again, with fresh
noise, and two answers tell more than was paid for. So when the memory is made, the newest reservation on the ledger is
written down beside it, and studies that this reservation or an older one pays for are refused from then on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from twinward.core.config import ANSWERS_BEGIN_FILE, ANSWERS_FILE
from twinward.core.errors import BadInput
from twinward.core.private_files import write_private
from twinward.federation.errors import RoundRefused
from twinward.federation.interfaces import Reservations
from twinward.federation.models import ReservedPrivacy
from twinward_contracts.bindings import BudgetLedger

_MAX_BYTES: Final = 4096


class Begin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The newest reservation when a memory was made, and the contract it is numbered in."""

    contract: str
    reservation: int


def begin_of(folder: Path, ledger: BudgetLedger) -> Begin | None:
    """Where the memory in a hospital's home begins; written down where it is about to be made.

    Returns:
        None for a memory from before beginnings were written down.

    Raises:
        BadInput: what was written down cannot be read.
        LedgerError: there is no memory yet, and the chain does not answer.
    """
    place = folder / ANSWERS_BEGIN_FILE
    if not place.exists():
        if (folder / ANSWERS_FILE).exists():
            return None
        write_private(place, msgspec.json.encode(Begin(ledger.address, ledger.reservations())))
    try:
        with place.open("rb") as file:
            return msgspec.json.decode(file.read(_MAX_BYTES), type=Begin)
    except (OSError, msgspec.MsgspecError):
        raise BadInput(
            f"{place} cannot be read, so no study is answered",
            hint=f"delete it together with {ANSWERS_FILE}: studies reserved until then are then refused",
        ) from None


@dataclass(frozen=True)
class ReservedSince:
    """``Reservations`` but for those that a memory does not reach back to.

    Attributes:
        ledger: all of them.
        contract: the address of the contract that numbers them now.
        begin: where the memory begins.
    """

    ledger: Reservations
    contract: str
    begin: Begin | None

    def of_study(self, fingerprint: bytes) -> ReservedPrivacy | None:
        """What was reserved for a protocol.

        Raises:
            RoundRefused: it was reserved before the memory began.
        """
        found = self.ledger.of_study(fingerprint)
        begin = self.begin
        if found and begin and begin.contract == self.contract and found.number <= begin.reservation:
            raise RoundRefused(
                "this hospital's memory of its answers began after this study was reserved, so it may have answered it",
                hint="the study ends here and stays charged: begin a new one",
            )
        return found
