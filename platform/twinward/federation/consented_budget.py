"""Privacy of several hospitals, reserved and settled by a coordinator without their keys: each signs its own.

The coordinator asks each hospital's daemon over the signed site protocol, verifies what it signed, and sends the sum of
the signatures to the contract, which verifies them again under the keys that it knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from twinward.core.errors import Conflict
from twinward.federation.aggregation.secure_aggregation import HospitalIdentity
from twinward.federation.errors import ContributionRefused
from twinward.federation.ledger_adapters import LedgerReservations, asked
from twinward.federation.models import COHORT, BudgetSignature, ReservedPrivacy
from twinward.federation.reservation_request import MOST_REQUESTS, Holder, proof_of, request_of
from twinward_contracts.bindings import BudgetLedger, HospitalSignature, Sign
from twinward_contracts.names import name_id
from twinward_crypto import bls
from twinward_crypto.errors import CryptoError


class BudgetSigner(Protocol):
    """A hospital that signs what is its own, as a coordinator reaches it (``DaemonSite``)."""

    @property
    def name(self) -> str:
        """The hospital."""
        ...

    def sign_reservation(self, number: int, proof: bytes, account: str) -> BudgetSignature:
        """See ``OwnBudget.sign_reservation``."""
        ...

    def sign_settlement(self, reservation: int, *, committed: bool) -> BudgetSignature:
        """See ``OwnBudget.sign_settlement``."""
        ...


_Ask = Callable[[BudgetSigner], BudgetSignature]


class ConsentedBudget:
    """Implements ``PrivacyBudget``, and ``Reservations`` as the coordinator finds its own.

    Args:
        contract: the consortium's ``BudgetLedger``, seen from an admitted account, which will hold what is reserved.
        coordinator: the study key of the hospital that runs the study.
        signers: the study's hospitals.
    """

    def __init__(
        self, contract: BudgetLedger, coordinator: HospitalIdentity, signers: Sequence[BudgetSigner] = ()
    ) -> None:
        self._contract = contract
        self._coordinator = coordinator
        self._signers = {name_id(one.name): one for one in signers}
        self._holder = Holder(contract.chain_id, contract.address, contract.holder)
        self._reservations = LedgerReservations(contract, coordinator.name, self._requests)

    def of_study(self, fingerprint: bytes) -> ReservedPrivacy | None:
        """What the ledger holds for a protocol that is run from here. Raises ``Unavailable``."""
        return self._reservations.of_study(fingerprint)

    def reserve(self, fingerprint: bytes, hospitals: Sequence[str], inverse_variance_micros: int) -> int:
        """Reserve from all hospitals or none: once and for ever.

        Raises:
            BudgetExhausted: a hospital's cap does not reach; nothing was reserved.
            ContributionRefused: a hospital signed something else than it was asked; it is named.
            Conflict: this protocol was paid for before, others used up its requests, or the contract refuses otherwise.
            RoundAborted, Unavailable: a hospital or the chain does not answer.
        """
        if self.of_study(fingerprint) is not None:
            raise Conflict(
                "this protocol was paid for before: it is run once", hint="a new run is a new study, with its own ε"
            )
        holders = []
        for number in range(MOST_REQUESTS):
            taken = self._taken(fingerprint, number)
            if taken is None:
                try:
                    return self._reserved(fingerprint, hospitals, inverse_variance_micros, number)
                except Conflict:
                    taken = self._taken(fingerprint, number)
                    if taken is None or self._reservations.is_of(taken, fingerprint):
                        raise
            holders.append(taken.holder)
        raise Conflict(
            f"others used up this study's requests on the ledger: {', '.join(sorted(set(holders)))}",
            hint="those accounts stop studies: `twinward consortium propose --expel ACCOUNT`",
        )

    def commit(self, reservation: int) -> None:
        """Turn a reservation into a spend. Raises as ``reserve``."""
        self._settle(reservation, committed=True)

    def burn(self, reservation: int) -> None:
        """Settle a failed run's reservation, charged all the same. Raises as ``reserve``."""
        self._settle(reservation, committed=False)

    def _reserved(self, fingerprint: bytes, hospitals: Sequence[str], micros: int, number: int) -> int:
        proof, account = self._proof(fingerprint, number), self._holder.account
        sign = self._sign(lambda site: site.sign_reservation(number, proof, account))
        request = request_of(proof)
        return asked(
            lambda: self._contract.reserve_for(fingerprint, COHORT, hospitals, micros, sign=sign, request=request)
        )

    def _settle(self, reservation: int, *, committed: bool) -> None:
        sign = self._sign(lambda site: site.sign_settlement(reservation, committed=committed))
        settle = self._contract.commit if committed else self._contract.burn
        asked(lambda: settle(reservation, sign=sign))

    def _sign(self, ask: _Ask) -> Sign:
        """Has every hospital asked at once, each answer verified before it is added."""

        def sign(hospital_ids: Sequence[bytes], message: bytes) -> HospitalSignature:
            missing = len([one for one in hospital_ids if one not in self._signers])
            if missing:
                raise Conflict(
                    f"{missing} of the study's {len(hospital_ids)} hospitals are not connected",
                    hint="connect exactly the protocol's hospitals",
                )
            sites = [self._signers[one] for one in hospital_ids]
            with ThreadPoolExecutor(len(sites), thread_name_prefix="budget") as pool:
                made = list(pool.map(lambda site: _verified(site.name, ask(site), message), sites))
            points = tuple(bls.public_key_to_eip2537(one.public_key) for one in made)
            return HospitalSignature(points, bls.signature_to_eip2537(bls.aggregate([one.signature for one in made])))

        return sign

    def _proof(self, fingerprint: bytes, number: int) -> bytes:
        return proof_of(self._coordinator, fingerprint, self._holder, number)

    def _taken(self, fingerprint: bytes, number: int) -> ReservedPrivacy | None:
        return self._reservations.of_request(request_of(self._proof(fingerprint, number)))

    def _requests(self, fingerprint: bytes) -> Iterator[bytes]:
        """The requests up to the first that nobody used: there is nothing after it."""
        for number in range(MOST_REQUESTS):
            request = request_of(self._proof(fingerprint, number))
            if self._reservations.of_request(request) is None:
                return
            yield request


def _verified(hospital: str, made: BudgetSignature, message: bytes) -> BudgetSignature:
    try:
        bls.verify(made.public_key, message, made.signature)
    except CryptoError:
        raise ContributionRefused(
            f"{hospital} signed something else of its budget than it was asked",
            hint="is its node on the same chain, with the same consortium's contracts and protocol?",
        ) from None
    return made
