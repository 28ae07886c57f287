"""Reservations and models as they stand on the ledger: the contracts ``BudgetLedger`` and ``ModelRegistry``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from twinward.core.errors import Conflict, TwinwardError, Unavailable
from twinward.federation.errors import BudgetExhausted
from twinward.federation.models import ReservedPrivacy
from twinward_contracts import bindings
from twinward_contracts.names import name_id
from twinward_ledger.errors import ChainError, QuorumNotReached, TransactionReverted

Answer = TypeVar("Answer")


class LedgerReservations:
    """Implements ``Reservations`` over the contract, through whatever node the hospital trusts: its own.

    Args:
        contract: the consortium's ``BudgetLedger``.
        hospital: who looks. The contract takes no reservation of a hospital that did not sign it, so what names this
            one is no stranger's, whatever study it says.
        requests: under which requests a protocol's reservation may stand. Studies of earlier releases were reserved
            under their fingerprint; it is looked at, too.
    """

    def __init__(
        self,
        contract: bindings.BudgetLedger,
        hospital: str | None = None,
        requests: Callable[[bytes], Iterable[bytes]] = lambda _: (),
    ) -> None:
        self._contract = contract
        self._hospital = None if hospital is None else name_id(hospital)
        self._requests = requests

    def of_study(self, fingerprint: bytes) -> ReservedPrivacy | None:
        """What was reserved for this protocol. Raises ``Unavailable`` where the chain does not answer."""
        for request in (*self._requests(fingerprint), fingerprint):
            found = self.of_request(request)
            if found is not None and self.is_of(found, fingerprint):
                return found
        return None

    def is_of(self, found: ReservedPrivacy, fingerprint: bytes) -> bool:
        """Whether a reservation was made for this protocol, with this hospital's signature."""
        return found.study == fingerprint and (self._hospital is None or self._hospital in found.hospitals)

    def of_request(self, request: bytes) -> ReservedPrivacy | None:
        """What was reserved under a request, by whomever. Raises ``Unavailable`` where the chain does not answer."""
        number = asked(lambda: self._contract.reservation_of(request))
        if not number:
            return None
        found = asked(lambda: self._contract.reservation(number))
        return ReservedPrivacy(
            number=number,
            study=found.study_id,
            cohort=found.cohort_id,
            hospitals=frozenset(found.hospital_ids),
            micros=found.micros,
            live=found.state is bindings.ReservationState.RESERVED,
            committed=found.state is bindings.ReservationState.COMMITTED,
            holder=found.holder,
        )


class LedgerModelRegistry:
    """Implements ``ModelRegistry`` over the contract of that name, seen from an admitted account."""

    def __init__(self, contract: bindings.ModelRegistry) -> None:
        self._contract = contract

    def register(
        self, reservation: int, model_hash: bytes, card_hash: bytes, epsilon_micros: int, delta_e12: int
    ) -> int:
        """Register the model that a committed reservation of this account paid for; return its number.

        Raises:
            Conflict: the model, or another of this reservation, is registered already, or it was not paid for.
            Unavailable: the chain does not answer.
        """
        return asked(lambda: self._contract.register(reservation, model_hash, card_hash, epsilon_micros, delta_e12))

    def number_of(self, model_hash: bytes) -> int:
        """A model's number; 0 for one that is not registered. Raises ``Unavailable``."""
        return asked(lambda: self._contract.number_of(model_hash))


def asked(ask: Callable[[], Answer]) -> Answer:
    """What the ledger answers. Raises ``BudgetExhausted``, ``Conflict`` and ``Unavailable``, which say what to do."""
    try:
        return ask()
    except QuorumNotReached as missing:
        raise Conflict(
            f"the keys of {missing.needed - missing.valid} of {missing.needed} hospitals are not here",
            hint="a hospital's privacy budget is spent with its own signature only",
        ) from missing
    except TransactionReverted as refusal:
        raise _translated(refusal) from refusal
    except ChainError as error:
        raise Unavailable("the ledger does not answer", hint="nothing was released; try again when it does") from error


def _translated(refusal: TransactionReverted) -> TwinwardError:
    if refusal.error == "PrivacyBudgetExceeded":
        left, asked = refusal.arguments[2:4]
        return BudgetExhausted(
            f"a hospital has {left} millionths of 1/σ² left; this study costs {asked}",
            hint="ask for a smaller ε, or ask that hospital to raise its cap",
        )
    if refusal.error == "RequestReplayed":
        return Conflict(
            "this protocol was paid for before: it is run once", hint="a new run is a new study, with its own ε"
        )
    if refusal.error in ("KeyMismatch", "UnknownName"):
        return Conflict(
            "a hospital signed by another key than its witness's, which the ledger knows",
            hint="its node and its witness use one key service and one name",
        )
    return Conflict(f"the ledger refuses: {refusal.error}", hint="is this hospital's account admitted to the contract?")
