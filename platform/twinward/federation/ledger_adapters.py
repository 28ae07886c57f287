"""Privacy budget and model registry on the ledger: the contracts ``BudgetLedger`` and ``ModelRegistry``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from twinward.core.errors import BadInput, Conflict, TwinwardError, Unavailable
from twinward.federation.errors import BudgetExhausted
from twinward.federation.models import COHORT, ReservedPrivacy
from twinward_contracts import bindings
from twinward_ledger.anchoring.agreement import sign_as
from twinward_ledger.errors import ChainError, QuorumNotReached, TransactionReverted
from twinward_ledger.witness.witness import WitnessKeys

Answer = TypeVar("Answer")


class LedgerPrivacyBudget:
    """Implements ``PrivacyBudget``. A hospital without a cap has no budget, and only its own key spends it.

    Args:
        contract: the consortium's ``BudgetLedger``, seen from an admitted account.
        keys: of the hospitals that take part, by name; each signs what is reserved and settled of its own.
        cohort: whose privacy is spent.
    """

    def __init__(
        self,
        contract: bindings.BudgetLedger,
        keys: Mapping[str, WitnessKeys] | None = None,
        cohort: str = COHORT,
    ) -> None:
        self._contract = contract
        self._sign = sign_as(keys or {})
        self._cohort = cohort

    def reserve(self, fingerprint: bytes, hospitals: Sequence[str], inverse_variance_micros: int) -> int:
        """Reserve from all hospitals or none, under the protocol's fingerprint: once and for ever.

        Raises:
            BadInput: that is no fingerprint.
            BudgetExhausted: a hospital's cap does not reach; nothing was reserved.
            Conflict, Unavailable: this protocol was paid for before, a hospital's key is not here, the contract
                refuses otherwise, or the chain does not answer.
        """
        if not isinstance(fingerprint, bytes) or len(fingerprint) != 32:
            raise BadInput("privacy is reserved for a protocol's fingerprint, 32 bytes", hint="study.fingerprint()")
        cost = inverse_variance_micros
        return _asked(
            lambda: self._contract.reserve_for(
                fingerprint, self._cohort, hospitals, cost, sign=self._sign, request=fingerprint
            )
        )

    def commit(self, reservation: int) -> None:
        """Turn a reservation into a spend. Raises ``Conflict`` if it was settled before, or ``Unavailable``."""
        _asked(lambda: self._contract.commit(reservation, sign=self._sign))

    def burn(self, reservation: int) -> None:
        """Settle a failed run's reservation, charged all the same. Raises as ``commit``."""
        _asked(lambda: self._contract.burn(reservation, sign=self._sign))


class LedgerReservations:
    """Implements ``Reservations`` over the contract, through whatever node the hospital trusts: its own."""

    def __init__(self, contract: bindings.BudgetLedger) -> None:
        self._contract = contract

    def of_study(self, fingerprint: bytes) -> ReservedPrivacy | None:
        """What was reserved for this protocol. Raises ``Unavailable`` where the chain does not answer."""
        number = _asked(lambda: self._contract.reservation_of(fingerprint))
        if not number:
            return None
        found = _asked(lambda: self._contract.reservation(number))
        return ReservedPrivacy(
            number=number,
            study=found.study_id,
            cohort=found.cohort_id,
            hospitals=frozenset(found.hospital_ids),
            micros=found.micros,
            live=found.state is bindings.ReservationState.RESERVED,
            committed=found.state is bindings.ReservationState.COMMITTED,
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
        return _asked(lambda: self._contract.register(reservation, model_hash, card_hash, epsilon_micros, delta_e12))

    def number_of(self, model_hash: bytes) -> int:
        """A model's number; 0 for one that is not registered. Raises ``Unavailable``."""
        return _asked(lambda: self._contract.number_of(model_hash))


def _asked(ask: Callable[[], Answer]) -> Answer:
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
    return Conflict(f"the ledger refuses: {refusal.error}", hint="is this hospital's account admitted to the contract?")
