"""``ResourceExchange``: what hospitals offer, request, promise, ship and receive, each by its own signature."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from enum import IntEnum
from typing import Final, Self

from twinward_contracts.artefacts import load
from twinward_contracts.bindings.changes import Call
from twinward_contracts.bindings.signatures import HospitalSignature, Sign, nobody
from twinward_contracts.bindings.transactor import TransactionReceipt, Transactor
from twinward_contracts.bindings.words import address_word, message, tag, word
from twinward_contracts.names import name_id

_ARTEFACT: Final = load("ResourceExchange")

DOMAIN: Final = tag("twinward/exchange/v1")
NOBODY: Final = bytes(32)


class ListingKind(IntEnum):
    """Which side a listing is of."""

    OFFER = 1
    REQUEST = 2


class TransferState(IntEnum):
    """How far a transfer is."""

    NONE = 0
    PROMISED = 1
    SHIPPED = 2
    RECEIVED = 3
    DISPUTED = 4
    SETTLED = 5
    CANCELLED = 6
    LAPSED = 7


@dataclass(frozen=True, slots=True)
class Terms:
    """What is offered or requested, in the contract's order: ids and hashes of 32 bytes, Unix seconds."""

    hospital_id: bytes
    request: bytes
    resource: bytes
    details: bytes
    quantity: int
    until_s: int


@dataclass(frozen=True, slots=True)
class PromiseTerms:
    """What is promised, from which offer to which request. In the contract's order; times are Unix seconds."""

    request: bytes
    offer: int
    need: int
    quantity: int
    ship_by_s: int
    receive_by_s: int
    details: bytes


@dataclass(frozen=True, slots=True)
class Listing:
    """An offer or a request as it stands; ``resource`` is ASCII padded with zeros."""

    number: int
    hospital_id: bytes
    resource: bytes
    kind: ListingKind
    quantity: int
    left: int
    until_s: int
    details: bytes


@dataclass(frozen=True, slots=True)
class Transfer:
    """A promise and what became of it; ``received_at_s`` is 0 before it was received. Times are Unix seconds."""

    number: int
    offer: int
    need: int
    quantity: int
    arrived: int
    ship_by_s: int
    receive_by_s: int
    received_at_s: int
    state: TransferState
    details: bytes


class ResourceExchange:
    """The contract at one address.

    Every step is signed by the hospital whose step it is: ``sign`` has it sign. The bytes are made here, equal to the
    contract's ``listMessage``, ``promiseMessage`` and ``stepMessage``; no chain is asked what to sign.
    """

    def __init__(self, client: Transactor, address: str) -> None:
        self._client = client
        self.address = address

    @classmethod
    def deploy(cls, client: Transactor, witness_set: str) -> Self:
        """Create the contract. It obeys the witness set. Refused with ``NotAContract``."""
        return cls(client, client.deploy(_ARTEFACT, witness_set))

    def list(self, kind: ListingKind, terms: Terms, *, sign: Sign = nobody) -> int:
        """Offer or request; return the listing's number.

        Refused with ``NothingListed``, ``ImpossibleDeadline``, ``RequestReplayed``, or as ``WitnessSet`` refuses a
        signature.
        """
        signed = sign([terms.hospital_id], self.list_message(kind, terms))
        self._transact("list", int(kind), astuple(terms), *_one(signed))
        return self.listing_of(terms.hospital_id, terms.request)

    def withdraw(self, listing: Listing, *, sign: Sign = nobody) -> TransactionReceipt:
        """End a listing before its time. Refused with ``ListingEnded``."""
        signed = sign([listing.hospital_id], self.step_message("withdraw", listing.number, listing.hospital_id))
        return self._transact("withdraw", listing.number, *_one(signed))

    def promise(self, giver_id: bytes, terms: PromiseTerms, *, sign: Sign = nobody) -> int:
        """Promise a part of an offer to a request; return the transfer's number.

        Refused with ``UnknownListing``, ``ListingEnded``, ``NotLeft``, ``NotMatching``, ``ImpossibleDeadline`` or
        ``RequestReplayed``.
        """
        signed = sign([giver_id], self.promise_message(terms))
        self._transact("promiseTransfer", astuple(terms), *_one(signed))
        return self.transfer_of(giver_id, terms.request)

    def ship(self, transfer: int, giver_id: bytes, *, sign: Sign = nobody) -> TransactionReceipt:
        """Say that it is on its way. Refused with ``WrongState`` or ``TooLate``."""
        signed = sign([giver_id], self.step_message("ship", transfer, giver_id))
        return self._transact("shipTransfer", transfer, *_one(signed))

    def receive(self, transfer: int, receiver_id: bytes, arrived: int, *, sign: Sign = nobody) -> TransactionReceipt:
        """Say how much arrived. Refused with ``WrongState`` or ``MoreThanPromised``."""
        signed = sign([receiver_id], self.step_message("receive", transfer, receiver_id, word(arrived)))
        return self._transact("receiveTransfer", transfer, arrived, *_one(signed))

    def dispute(self, transfer: int, hospital_id: bytes, evidence: bytes, *, sign: Sign = nobody) -> TransactionReceipt:
        """Dispute what was shipped or received. Refused with ``WrongState``, ``TooLate`` or ``NotParty``."""
        signed = sign([hospital_id], self.step_message("dispute", transfer, hospital_id, evidence))
        return self._transact("disputeTransfer", transfer, hospital_id, evidence, *_one(signed))

    def settle(
        self, transfer: int, giver_id: bytes, receiver_id: bytes, arrived: int, *, sign: Sign = nobody
    ) -> TransactionReceipt:
        """Settle a dispute, signed by both. Refused with ``WrongState`` or ``MoreThanPromised``."""
        signed = sign([giver_id, receiver_id], self.step_message("settle", transfer, NOBODY, word(arrived)))
        return self._transact("settleTransfer", transfer, arrived, list(signed.public_keys), signed.aggregate)

    def deciding(self, transfer: int, arrived: int) -> Call:
        """The change that settles a dispute which the two hospitals do not, for a quorum to agree to."""
        return Call(self.address, _ARTEFACT, "decideTransfer", (transfer, arrived))

    def cancel(self, transfer: int, hospital_id: bytes, *, sign: Sign = nobody) -> TransactionReceipt:
        """Undo a promise before it is shipped. Refused with ``WrongState`` or ``NotParty``."""
        signed = sign([hospital_id], self.step_message("cancel", transfer, hospital_id))
        return self._transact("cancelTransfer", transfer, hospital_id, *_one(signed))

    def lapse(self, transfer: int) -> TransactionReceipt:
        """Undo a promise that was not shipped in time; anybody may. Refused with ``WrongState`` or ``TooEarly``."""
        return self._transact("lapseTransfer", transfer)

    def listing(self, number: int) -> Listing:
        """One listing. Refused with ``UnknownListing``."""
        hospital, resource, kind, *rest = self._client.call(self.address, _ARTEFACT, "listingAt", number)
        return Listing(number, hospital, resource, ListingKind(kind), *rest)

    def transfer(self, number: int) -> Transfer:
        """One transfer; its state is ``NONE`` where it was never promised."""
        values = self._client.call(self.address, _ARTEFACT, "transferAt", number)
        offer, need, quantity, arrived, ship_by, receive_by, received_at, state, details = values
        times = (ship_by, receive_by, received_at)
        return Transfer(number, offer, need, quantity, arrived, *times, TransferState(state), details)

    def listing_count(self) -> int:
        """How many listings there are; they are numbered from 1."""
        return int(self._client.call(self.address, _ARTEFACT, "listings"))

    def transfer_count(self) -> int:
        """How many transfers there are; they are numbered from 1."""
        return int(self._client.call(self.address, _ARTEFACT, "transfers"))

    def listing_of(self, hospital_id: bytes, request: bytes) -> int:
        """The listing that a hospital made under an id; 0 for none."""
        return int(self._client.call(self.address, _ARTEFACT, "listingOf", hospital_id, request))

    def transfer_of(self, hospital_id: bytes, request: bytes) -> int:
        """The transfer that a hospital promised under an id; 0 for none."""
        return int(self._client.call(self.address, _ARTEFACT, "transferOf", hospital_id, request))

    def broken(self, hospital: str) -> int:
        """How many promises a hospital did not keep."""
        return int(self._client.call(self.address, _ARTEFACT, "broken", name_id(hospital)))

    def list_message(self, kind: ListingKind, terms: Terms) -> bytes:
        """What a hospital signs to offer or request: 10 words."""
        return self._message(
            kind.name.lower(),
            terms.hospital_id,
            terms.request,
            terms.resource,
            terms.details,
            word(terms.quantity),
            word(terms.until_s),
        )

    def promise_message(self, terms: PromiseTerms) -> bytes:
        """What a giver signs to promise: 11 words."""
        numbers = (terms.offer, terms.need, terms.quantity, terms.ship_by_s, terms.receive_by_s)
        return self._message("promise", terms.request, *map(word, numbers), terms.details)

    def step_message(self, purpose: str, number: int, hospital_id: bytes, detail: bytes = NOBODY) -> bytes:
        """What is signed for every other step: 7 words."""
        return self._message(purpose, word(number), hospital_id, detail)

    def _message(self, purpose: str, *words: bytes) -> bytes:
        place = (word(self._client.chain_id), address_word(self.address))
        return message(DOMAIN, *place, tag(purpose), *words)

    def _transact(self, function: str, *arguments: object) -> TransactionReceipt:
        return self._client.transact(self.address, _ARTEFACT, function, *arguments)


def _one(signed: HospitalSignature) -> tuple[bytes, bytes]:
    """One hospital's key and signature. The contract refuses an empty key."""
    return (signed.public_keys[0] if signed.public_keys else b""), signed.aggregate
