"""``BudgetLedger``: vendors' query budgets an epoch, and studies' privacy budgets for ever."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from twinward_contracts.artefacts import load
from twinward_contracts.bindings.changes import Call
from twinward_contracts.bindings.signatures import Sign, nobody
from twinward_contracts.bindings.transactor import TransactionReceipt, Transactor
from twinward_contracts.bindings.words import address_word, message, tag, word
from twinward_contracts.names import name_id

_ARTEFACT: Final = load("BudgetLedger")
_DAY_S: Final = 86_400

DOMAIN: Final = tag("twinward/budget/v1")


class ReservationState(IntEnum):
    """What became of a reservation."""

    NONE = 0
    RESERVED = 1
    COMMITTED = 2
    BURNED = 3


@dataclass(frozen=True, slots=True)
class PrivacyAccount:
    """What a hospital's cohort has, in millionths of 1/sigma^2."""

    cap_micros: int
    reserved_micros: int
    spent_micros: int


@dataclass(frozen=True, slots=True)
class Reservation:
    """One reservation: ``micros`` of every hospital named, in millionths of 1/sigma^2."""

    number: int
    study_id: bytes
    cohort_id: bytes
    holder: str
    micros: int
    state: ReservationState
    hospital_ids: tuple[bytes, ...]


class BudgetLedger:
    """The contract at one address. Names are hashed by ``name_id``.

    What is a hospital's own is signed by it: ``sign`` has the hospitals of given ids sign. The bytes are made here,
    equal to the contract's ``capMessage``, ``reserveMessage`` and ``settleMessage``; no chain is asked what to sign.

    ``request`` is 32 bytes that make a spend or a reservation happen once: give the same ones when sending again after
    a lost answer. Random ones are drawn where none are given.
    """

    def __init__(self, client: Transactor, address: str) -> None:
        self._client = client
        self.address = address

    @classmethod
    def deploy(cls, client: Transactor, witness_set: str, *, member: str | None = None, epoch_s: int = _DAY_S) -> Self:
        """Create the contract; the sender is its first member where no other is named.

        Args:
            client: the chain, seen from the account that pays.
            witness_set: the hospitals, whose agreement and signatures count.
            member: the first account that may write.
            epoch_s: how long an epoch of query budgets lasts.
        """
        return cls(client, client.deploy(_ARTEFACT, witness_set, member or client.sender, epoch_s))

    def admitting(self, account: str) -> Call:
        """The change that lets another hospital's account spend and reserve."""
        return Call(self.address, _ARTEFACT, "admit", (account,))

    def expelling(self, account: str) -> Call:
        """The change that takes this away."""
        return Call(self.address, _ARTEFACT, "expel", (account,))

    def grant_queries(self, vendor: str, per_epoch: int) -> TransactionReceipt:
        """Set how many queries a vendor may spend an epoch: while the consortium is founded."""
        return self._client.transact(self.address, _ARTEFACT, "grantQueries", name_id(vendor), per_epoch)

    def granting(self, vendor: str, per_epoch: int) -> Call:
        """The change that sets how many queries a vendor may spend an epoch."""
        return Call(self.address, _ARTEFACT, "grantQueries", (name_id(vendor), per_epoch))

    def spend_queries(self, vendor: str, epoch: int, amount: int = 1, *, request: bytes | None = None) -> int:
        """Spend; return what is left. Refused with ``QueryBudgetExceeded``, ``WrongEpoch`` or ``RequestReplayed``."""
        request = request or secrets.token_bytes(32)
        self._client.transact(self.address, _ARTEFACT, "spendQueries", name_id(vendor), epoch, amount, request)
        return self.remaining_queries(vendor, epoch)

    def remaining_queries(self, vendor: str, epoch: int) -> int:
        """What a vendor has left in an epoch."""
        return int(self._client.call(self.address, _ARTEFACT, "remainingQueries", name_id(vendor), epoch))

    def queries_per_epoch(self, vendor: str) -> int:
        """What a vendor was granted, an epoch."""
        return int(self._client.call(self.address, _ARTEFACT, "queriesPerEpoch", name_id(vendor)))

    def current_epoch(self) -> int:
        """The running epoch: the chain's time divided by the epoch's length."""
        return int(self._client.call(self.address, _ARTEFACT, "currentEpoch"))

    def epoch_seconds(self) -> int:
        """How long an epoch of query budgets lasts."""
        return int(self._client.call(self.address, _ARTEFACT, "epochSeconds"))

    def cap_privacy(self, hospital: str, cohort: str, cap_micros: int, *, sign: Sign = nobody) -> TransactionReceipt:
        """Lower what all studies together may learn about a hospital's cohort; while founding, raise it too."""
        call = self.capping(hospital, cohort, cap_micros, sign=sign)
        return self._client.transact(self.address, _ARTEFACT, call.function, *call.arguments)

    def capping(self, hospital: str, cohort: str, cap_micros: int, *, sign: Sign = nobody) -> Call:
        """The change that caps what all studies together may learn about a hospital's cohort."""
        ids = name_id(hospital), name_id(cohort)
        number = int(self._client.call(self.address, _ARTEFACT, "capsSet", ids[0]))
        signed = sign([ids[0]], self._message("cap", *ids, word(cap_micros), word(number)))
        key = signed.public_keys[0] if signed.public_keys else b""
        return Call(self.address, _ARTEFACT, "capPrivacy", (*ids, cap_micros, key, signed.aggregate))

    def reserve(
        self,
        study: str,
        cohort: str,
        hospitals: Sequence[str],
        micros: int,
        *,
        sign: Sign = nobody,
        request: bytes | None = None,
    ) -> int:
        """Reserve from all hospitals or none; return the reservation. Refused with ``PrivacyBudgetExceeded``."""
        return self.reserve_for(name_id(study), cohort, hospitals, micros, sign=sign, request=request)

    def reserve_for(
        self,
        study_id: bytes,
        cohort: str,
        hospitals: Sequence[str],
        micros: int,
        *,
        sign: Sign = nobody,
        request: bytes | None = None,
    ) -> int:
        """As ``reserve``, for a study that has an id of 32 bytes already, such as its protocol's fingerprint."""
        request = request or secrets.token_bytes(32)
        ids = sorted({name_id(hospital) for hospital in hospitals})
        message = self.reserve_message(request, study_id, cohort, hospitals, micros, holder=self.holder)
        signed = sign(ids, message)
        self._client.transact(
            self.address,
            _ARTEFACT,
            "reserve",
            request,
            study_id,
            name_id(cohort),
            ids,
            micros,
            list(signed.public_keys),
            signed.aggregate,
        )
        return self.reservation_of(request)

    @property
    def chain_id(self) -> int:
        """The EIP-155 id of the chain that it is on."""
        return self._client.chain_id

    @property
    def holder(self) -> str:
        """The account that reserves from here, and settles: its checksummed address."""
        return self._client.sender

    def reserve_message(
        self, request: bytes, study_id: bytes, cohort: str, hospitals: Sequence[str], micros: int, *, holder: str
    ) -> bytes:
        """What each hospital signs to have its privacy reserved by ``holder``: the contract's ``reserveMessage``."""
        named = hashlib.sha256(b"".join(sorted({name_id(hospital) for hospital in hospitals}))).digest()
        words = request, study_id, name_id(cohort), named, word(micros), address_word(holder)
        return self._message("reserve", *words)

    def settle_message(self, reservation: int, *, committed: bool) -> bytes:
        """What each hospital signs to settle a reservation: the contract's ``settleMessage``."""
        return self._message("commit" if committed else "burn", word(reservation))

    def commit(self, reservation: int, *, sign: Sign = nobody) -> TransactionReceipt:
        """The result was released: what was reserved is spent."""
        return self._settle("commit", reservation, sign)

    def burn(self, reservation: int, *, sign: Sign = nobody) -> TransactionReceipt:
        """The run failed: what was reserved is spent all the same, for something may have left."""
        return self._settle("burn", reservation, sign)

    def carry_privacy(self, hospital: str, cohort: str, account: PrivacyAccount) -> TransactionReceipt:
        """While a consortium is founded: take over what a hospital's cohort had; what was reserved counts as spent."""
        spent = account.reserved_micros + account.spent_micros
        return self._client.transact(
            self.address, _ARTEFACT, "carryPrivacy", name_id(hospital), name_id(cohort), account.cap_micros, spent
        )

    def carry_queries(self, vendor: str, epoch: int, spent: int) -> TransactionReceipt:
        """While a consortium is founded: take over what a vendor spent of an epoch."""
        return self._client.transact(self.address, _ARTEFACT, "carryQueries", name_id(vendor), epoch, spent)

    def privacy(self, hospital: str, cohort: str) -> PrivacyAccount:
        """What a hospital's cohort has."""
        values = self._client.call(self.address, _ARTEFACT, "privacy", name_id(hospital), name_id(cohort))
        return PrivacyAccount(*values)

    def remaining_privacy(self, hospital: str, cohort: str) -> int:
        """Millionths of 1/sigma^2 that are neither spent nor reserved."""
        return int(self._client.call(self.address, _ARTEFACT, "remainingPrivacy", name_id(hospital), name_id(cohort)))

    def reservation(self, number: int) -> Reservation:
        """One reservation; its state is ``NONE`` where there is no such one."""
        study, cohort, holder, micros, state, hospitals = self._client.call(
            self.address, _ARTEFACT, "reservationAt", number
        )
        return Reservation(number, study, cohort, holder, micros, ReservationState(state), tuple(hospitals))

    def reservations(self) -> int:
        """How many reservations there are: the number of the newest."""
        return int(self._client.call(self.address, _ARTEFACT, "reservations"))

    def count_reservations(self) -> int:
        """How many reservations were ever made; the newest one's number."""
        return int(self._client.call(self.address, _ARTEFACT, "reservations"))

    def reservation_of(self, request: bytes) -> int:
        """The number of the reservation that a request made; 0 for none."""
        return int(self._client.call(self.address, _ARTEFACT, "reservationOf", request))

    def _settle(self, purpose: str, reservation: int, sign: Sign) -> TransactionReceipt:
        message = self.settle_message(reservation, committed=purpose == "commit")
        signed = sign(self.reservation(reservation).hospital_ids, message)
        return self._client.transact(
            self.address, _ARTEFACT, purpose, reservation, list(signed.public_keys), signed.aggregate
        )

    def _message(self, purpose: str, *words: bytes) -> bytes:
        where = word(self._client.chain_id), address_word(self.address)
        return message(DOMAIN, *where, tag(purpose), *words)
