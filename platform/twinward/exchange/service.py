"""One hospital's part in the exchange: each step decided, logged, signed by this hospital's key, then sent.

Order of every step: what was entered is checked; access control decides, and the event is durable; the hospital signs;
the contract takes it or refuses. So no signature of this hospital exists that its log does not know. A step that was
sent and never heard of is sent again under the same id, and counts once.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from twinward.access.interfaces import AccessContext, AccessControl
from twinward.core.vocabulary import Action
from twinward.exchange.errors import ExchangeInvalid, ExchangeRefused, NoSuchEntry, refusals_explained
from twinward.exchange.models import (
    MAX_QUANTITY,
    MAX_TEXT,
    SALT_BYTES,
    ListingView,
    Signed,
    TransferView,
    details_hash,
    resource_code,
    resource_word,
)
from twinward_contracts.bindings import (
    Call,
    HospitalSignature,
    Listing,
    ListingKind,
    PromiseTerms,
    ResourceExchange,
    Sign,
    Terms,
    Transfer,
    TransferState,
    name_id,
)
from twinward_contracts.bindings.resource_exchange import NOBODY
from twinward_contracts.bindings.words import word
from twinward_crypto import bls
from twinward_crypto.errors import CryptoError
from twinward_ledger.anchoring.agreement import sign_as
from twinward_ledger.witness.witness import WitnessKeys

SHOWN: Final = 500
"""How many listings, and how many transfers, are read at once: the newest."""
SHOWN_OF_ONE: Final = 100
"""Listings of one hospital: whoever offers hundreds hides nobody else's."""
LOOKED_AT: Final = 5_000
"""Listings that are looked through for that."""


@dataclass(frozen=True, slots=True)
class Details:
    """What two hospitals tell each other of a listing or promise. Text and salt go into this hospital's log only."""

    text: str = ""
    salt: bytes = b""

    @classmethod
    def of(cls, text: str) -> Details:
        """Salted anew. Raises ``ExchangeInvalid`` for a text that is too long."""
        if len(text) > MAX_TEXT:
            raise ExchangeInvalid(f"details have at most {MAX_TEXT} characters")
        return cls(text, secrets.token_bytes(SALT_BYTES) if text else b"")

    def hash(self) -> bytes:
        """What the chain keeps."""
        return details_hash(self.text, self.salt)

    def logged(self) -> tuple[tuple[str, str], ...]:
        """What the log keeps."""
        return (("details", self.text), ("salt", self.salt.hex())) if self.text else ()


class Exchange:
    """One hospital's face of the exchange.

    Args:
        contract: gives the consortium's contract; may raise as a chain does, and ``NoExchange``.
        hospital: this hospital.
        keys: its witness keys, which sign.
        access: decides and logs each step.
        names: the organisations this node knows: the chain has digests only.
        now_s: the time by which deadlines are shown, Unix seconds; not behind the chain's, whose time counts.
    """

    def __init__(
        self,
        contract: Callable[[], ResourceExchange],
        hospital: str,
        keys: Callable[[], WitnessKeys | None],
        access: AccessControl,
        names: Callable[[], Iterable[str]],
        now_s: Callable[[], int],
    ) -> None:
        self._contract = contract
        self._hospital = hospital
        self._keys = keys
        self._access = access
        self._names = names
        self._now_s = now_s

    def enter(
        self,
        by: AccessContext,
        kind: ListingKind,
        resource: str,
        quantity: int,
        until_s: int,
        details: Details = Details(),
        *,
        request: str = "",
    ) -> ListingView:
        """Offer a resource to the other hospitals, or request one of them.

        Args:
            by: who does it in the hospital's name.
            kind: which of the two.
            resource: its code.
            quantity: how much.
            until_s: until when it stands, Unix seconds; a request is to be met by then.
            details: for whom it concerns; the chain gets a salted hash.
            request: under one name it is listed once, however often this is called; a new one each time if empty.

        Raises:
            ExchangeInvalid, AccessDenied, ExchangeRefused, ExchangeUnreachable.
        """
        terms = Terms(
            name_id(self._hospital),
            _request(request),
            resource_word(resource),
            details.hash(),
            _quantity(quantity),
            _time(until_s),
        )
        facts = (("resource", resource), ("quantity", str(quantity)), ("until_s", str(until_s)))
        self._decide(by, kind.name.lower(), *facts, ("id", terms.request.hex()), *details.logged())
        with refusals_explained():
            contract = self._contract()
            number = contract.listing_of(terms.hospital_id, terms.request)
            if not number:
                number = contract.list(kind, terms, sign=self._sign)
            found = contract.listing(number)
        _require_same(
            (kind, terms.resource, terms.quantity, terms.until_s),
            (found.kind, found.resource, found.quantity, found.until_s),
        )
        return self._listing_view(found)

    def withdraw(self, by: AccessContext, listing: int) -> ListingView:
        """End a listing of this hospital before its time. Raises as ``enter``, and ``NoSuchEntry``."""
        found = self._listing(listing)
        self._decide(by, "withdraw", ("listing", str(listing)), ("resource", resource_code(found.resource)))
        with refusals_explained():
            contract = self._contract()
            contract.withdraw(found, sign=self._sign)
            return self._listing_view(contract.listing(listing))

    def promise(
        self,
        by: AccessContext,
        offer: int,
        need: int,
        quantity: int,
        ship_by_s: int,
        receive_by_s: int,
        details: Details = Details(),
        *,
        request: str = "",
    ) -> TransferView:
        """Promise a part of this hospital's offer to another's request.

        Args:
            by, details, request: as in ``enter``.
            offer, need: the numbers of the offer and of the request.
            quantity: how much.
            ship_by_s, receive_by_s: by when it leaves and arrives, Unix seconds.

        Raises:
            ExchangeInvalid, NoSuchEntry, AccessDenied, ExchangeRefused, ExchangeUnreachable.
        """
        giver = name_id(self._hospital)
        times = (_time(ship_by_s), _time(receive_by_s))
        terms = PromiseTerms(_request(request), offer, need, _quantity(quantity), *times, details.hash())
        resource = resource_code(self._listing(offer).resource)
        self._listing(need)  # which nothing is logged about unless it is there
        facts = (("resource", resource), ("quantity", str(quantity)), ("offer", str(offer)), ("request", str(need)))
        deadlines = (("ship_by_s", str(ship_by_s)), ("receive_by_s", str(receive_by_s)))
        self._decide(by, "promise", *facts, *deadlines, ("id", terms.request.hex()), *details.logged())
        with refusals_explained():
            contract = self._contract()
            number = contract.transfer_of(giver, terms.request)
            if not number:
                number = contract.promise(giver, terms, sign=self._sign)
            made = contract.transfer(number)
        _require_same(
            (offer, need, quantity, *times), (made.offer, made.need, made.quantity, made.ship_by_s, made.receive_by_s)
        )
        return self.transfer(number)

    def ship(self, by: AccessContext, transfer: int) -> TransferView:
        """Say that what this hospital promised is on its way. Raises as ``promise``."""
        self._step(by, "ship", transfer)
        with refusals_explained():
            self._contract().ship(transfer, name_id(self._hospital), sign=self._sign)
        return self.transfer(transfer)

    def receive(self, by: AccessContext, transfer: int, arrived: int) -> TransferView:
        """Say how much arrived of what was promised to this hospital; 0 for nothing. Raises as ``promise``."""
        self._step(by, "receive", transfer, ("arrived", str(_quantity(arrived, least=0))))
        with refusals_explained():
            self._contract().receive(transfer, name_id(self._hospital), arrived, sign=self._sign)
        return self.transfer(transfer)

    def dispute(self, by: AccessContext, transfer: int, evidence: Details) -> TransferView:
        """Dispute what was shipped or received; what is said of it stays here. Raises as ``promise``."""
        if not evidence.text:
            raise ExchangeInvalid("a dispute says why", hint="e.g. --why 'two of three arrived broken'")
        self._step(by, "dispute", transfer, *evidence.logged())
        with refusals_explained():
            self._contract().dispute(transfer, name_id(self._hospital), evidence.hash(), sign=self._sign)
        return self.transfer(transfer)

    def cancel(self, by: AccessContext, transfer: int) -> TransferView:
        """Undo a promise before it is shipped. Raises as ``promise``."""
        self._step(by, "cancel", transfer)
        with refusals_explained():
            self._contract().cancel(transfer, name_id(self._hospital), sign=self._sign)
        return self.transfer(transfer)

    def lapse(self, by: AccessContext, transfer: int) -> TransferView:
        """Undo a promise of anybody's that was not shipped in time. Raises as ``promise``."""
        self._step(by, "lapse", transfer)
        with refusals_explained():
            self._contract().lapse(transfer)
        return self.transfer(transfer)

    def sign_settlement(self, by: AccessContext, transfer: int, arrived: int) -> Signed:
        """This hospital's half of a settlement. Raises as ``promise``."""
        self._step(by, "settle", transfer, ("arrived", str(_quantity(arrived, least=0))))
        keys = self._own_keys()
        with refusals_explained():
            message = self._contract().step_message("settle", transfer, NOBODY, word(arrived))
        return Signed(transfer, arrived, self._hospital, keys.bls_public_key, bls.sign(keys.bls_secret_key, message))

    def settle(self, by: AccessContext, transfer: int, arrived: int, other: Signed) -> TransferView:
        """Sign that so much arrived, as the other hospital did, and settle the dispute. Raises as ``promise``.

        What is signed is what is said here: a half that says something else is refused before anything is signed.
        """
        if (other.transfer, other.arrived) != (transfer, arrived):
            raise ExchangeInvalid(
                f"the other hospital's half says that {other.arrived} arrived of transfer {other.transfer}",
                hint="agree on one number; then each hospital signs it",
            )
        own = self.sign_settlement(by, transfer, arrived)
        halves = {name_id(one.hospital): one for one in (own, other)}

        def both(hospital_ids: Iterable[bytes], _message: bytes) -> HospitalSignature:
            signed = [halves[one] for one in hospital_ids]
            whole = bls.aggregate([one.signature for one in signed])
            keys = tuple(bls.public_key_to_eip2537(one.public_key) for one in signed)
            return HospitalSignature(keys, bls.signature_to_eip2537(whole))

        with refusals_explained():
            contract = self._contract()
            giver, receiver = (one.hospital_id for one in self._ends(contract.transfer(transfer)))
            if set(halves) != {giver, receiver}:
                raise ExchangeInvalid("these two halves are not of the transfer's two hospitals")
            try:
                contract.settle(transfer, giver, receiver, arrived, sign=both)
            except CryptoError:
                raise ExchangeInvalid("the other hospital's half is no signature") from None
        return self.transfer(transfer)

    def deciding(self, by: AccessContext, transfer: int, arrived: int) -> Call:
        """The change by which the consortium settles a dispute that two hospitals do not. Logged.

        It is enacted like any other of the consortium's changes: by a quorum, or once everybody could see it. Nothing
        is decided ahead of a dispute. Raises as ``promise``.
        """
        found = self._transfer(transfer)
        if found.state is not TransferState.DISPUTED or _quantity(arrived, least=0) > found.quantity:
            raise ExchangeRefused("no dispute stands over so much", hint="`twinward exchange list` says how things are")
        self._step(by, "decide", transfer, ("arrived", str(arrived)))
        with refusals_explained():
            return self._contract().deciding(transfer, arrived)

    def listings(self) -> list[ListingView]:
        """The newest offers and requests, oldest first, a hundred of each hospital at most: none pushes others out.

        Raises ``ExchangeUnreachable``.
        """
        with refusals_explained():
            contract, found, shown = self._contract(), list[ListingView](), Counter[str]()
            last = contract.listing_count()
            for number in range(last, max(0, last - LOOKED_AT), -1):
                one = self._listing_view(contract.listing(number))
                shown[one.hospital] += 1
                if shown[one.hospital] <= SHOWN_OF_ONE:
                    found.append(one)
                if len(found) == SHOWN:
                    break
            return found[::-1]

    def transfers(self, most: int = SHOWN) -> list[TransferView]:
        """The newest transfers between all hospitals, oldest first. Raises ``ExchangeUnreachable``."""
        with refusals_explained():
            last = self._contract().transfer_count()
            return [self.transfer(one) for one in range(max(1, last - most + 1), last + 1)]

    def transfer(self, number: int) -> TransferView:
        """One transfer. Raises ``NoSuchEntry`` and ``ExchangeUnreachable``."""
        found = self._transfer(number)
        return TransferView.of(found, self._ends(found), self._known(), self._now_s())

    def broken(self, hospital: str) -> int:
        """How many promises a hospital did not keep. Raises ``ExchangeUnreachable``."""
        with refusals_explained():
            return self._contract().broken(hospital)

    def _step(self, by: AccessContext, step: str, transfer: int, *facts: tuple[str, str]) -> None:
        found = self._transfer(transfer)
        resource = resource_code(self._ends(found)[0].resource)
        self._decide(by, step, ("transfer", str(transfer)), ("resource", resource), *facts)

    def _decide(self, by: AccessContext, step: str, *facts: tuple[str, str]) -> None:
        detail = (("step", step), ("hospital", self._hospital), *facts)
        self._access.decide(by.request(Action.EXCHANGE, detail=detail))

    @property
    def _sign(self) -> Sign:
        return sign_as({self._hospital: self._own_keys()})

    def _own_keys(self) -> WitnessKeys:
        keys = self._keys()
        if keys is None:
            raise ExchangeInvalid(
                f"the key of {self._hospital} is not here", hint="each hospital signs at its own node"
            )
        return keys

    def _listing(self, number: int) -> Listing:
        with refusals_explained():
            contract = self._contract()
            if not 0 < number <= contract.listing_count():
                raise NoSuchEntry(f"there is no listing {number}", hint="`twinward exchange list` prints their numbers")
            return contract.listing(number)

    def _transfer(self, number: int) -> Transfer:
        with refusals_explained():
            contract = self._contract()
            found = contract.transfer(number) if 0 < number < 2**256 else None
            if found is None or found.state is TransferState.NONE:
                raise NoSuchEntry(
                    f"there is no transfer {number}", hint="`twinward exchange list` prints their numbers"
                )
            return found

    def _ends(self, transfer: Transfer) -> tuple[Listing, Listing]:
        with refusals_explained():
            contract = self._contract()
            return contract.listing(transfer.offer), contract.listing(transfer.need)

    def _listing_view(self, one: Listing) -> ListingView:
        return ListingView.of(one, self._known(), self._now_s())

    def _known(self) -> dict[bytes, str]:
        return {name_id(name): name for name in self._names()}


def _request(text: str) -> bytes:
    return name_id(text) if text else secrets.token_bytes(32)


def _require_same(asked: tuple[object, ...], stands: tuple[object, ...]) -> None:
    """Raise ``ExchangeRefused`` where something else stands under an id than what is asked for."""
    if asked != stands:
        raise ExchangeRefused(
            "something else was sent under this id before: it stands as it was", hint="take another --id"
        )


def _quantity(number: int, *, least: int = 1) -> int:
    if not least <= number <= MAX_QUANTITY:
        raise ExchangeInvalid(f"a quantity is {least} to {MAX_QUANTITY}")
    return number


def _time(at_s: int) -> int:
    if not 0 < at_s < 2**63:
        raise ExchangeInvalid("a deadline is an instant after 1970", hint="e.g. 2026-01-31T08:30:00Z")
    return at_s
