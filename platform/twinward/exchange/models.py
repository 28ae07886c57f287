"""Offers, requests and transfers as people and programs read them, and what the chain keeps of their details."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from twinward.core.clock import iso
from twinward.exchange.errors import ExchangeInvalid
from twinward_contracts.bindings import Listing, ListingKind, Transfer, TransferState
from twinward_contracts.bindings.words import tag

RESOURCES: Final[Mapping[str, str]] = {
    "ventilator": "ventilators for intensive care",
    "ventilator-transport": "transport ventilators",
    "ecmo": "ECMO circuits",
    "dialysis": "dialysis machines",
    "monitor": "bedside monitors",
    "infusion-pump": "infusion pumps",
    "bed-icu": "staffed intensive care beds",
    "bed-ward": "staffed ward beds",
    "oxygen-cylinder": "oxygen cylinders",
    "blood-o-neg": "units of red cells, O negative",
    "blood-o-pos": "units of red cells, O positive",
    "plasma-ab": "units of plasma, AB",
    "mask-ffp2": "FFP2 masks",
    "nurse-shift": "nurses' shifts",
}
"""The resources this release has words for. A consortium may agree on more codes: any of ``CODE`` is taken."""

CODE: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,29}[a-z0-9])?")
MAX_QUANTITY: Final = 2**32 - 1
MAX_TEXT: Final = 2000
SALT_BYTES: Final = 16
_DETAILS: Final = b"twinward/exchange-details/1\n"


def resource_word(code: str) -> bytes:
    """A resource's code as the contract keeps it: 32 bytes. Raises ``ExchangeInvalid``."""
    if not CODE.fullmatch(code):
        raise ExchangeInvalid(
            f"{code!r} is no resource's code",
            hint="1 to 31 of a-z, 0-9 and -; e.g. " + ", ".join(list(RESOURCES)[:4]),
        )
    return tag(code)


def resource_code(kept: bytes) -> str:
    """The code behind 32 bytes; what is no code is shown in hexadecimal."""
    text = kept.rstrip(b"\x00").decode("ascii", "replace")
    return text if CODE.fullmatch(text) else f"0x{kept.hex()}"


def details_hash(text: str, salt: bytes) -> bytes:
    """SHA-256 of a tag, a salt of 16 bytes and the text: what the chain keeps of it. Zeros where nothing is said."""
    return hashlib.sha256(_DETAILS + salt + text.encode()).digest() if text else bytes(32)


@dataclass(frozen=True, slots=True)
class ListingView:
    """One offer or request, with its hospital's name where it is known. Times are Unix seconds."""

    number: int
    kind: str
    hospital: str
    resource: str
    quantity: int
    left: int
    until_s: int
    stands: bool
    details: bytes = bytes(32)
    """What the chain keeps of them."""

    @classmethod
    def of(cls, one: Listing, names: Mapping[bytes, str], now_s: int) -> ListingView:
        """From the chain."""
        return cls(
            one.number,
            "offer" if one.kind is ListingKind.OFFER else "request",
            name_of(one.hospital_id, names),
            resource_code(one.resource),
            one.quantity,
            one.left,
            one.until_s,
            stands=now_s <= one.until_s and one.left > 0,
            details=one.details,
        )

    def shown(self) -> dict[str, Any]:
        """For a machine."""
        return {
            "listing": self.number,
            "kind": self.kind,
            "hospital": self.hospital,
            "resource": self.resource,
            "quantity": self.quantity,
            "left": self.left,
            "until": iso(self.until_s * 1000),
            "stands": self.stands,
        }


@dataclass(frozen=True, slots=True)
class TransferView:
    """One transfer between two hospitals. Times are Unix seconds; ``late`` says which deadline has passed, if any."""

    number: int
    giver: str
    receiver: str
    resource: str
    quantity: int
    arrived: int
    ship_by_s: int
    receive_by_s: int
    state: str
    late: str
    details: bytes = bytes(32)
    """As of a listing."""

    @classmethod
    def of(cls, one: Transfer, ends: tuple[Listing, Listing], names: Mapping[bytes, str], now_s: int) -> TransferView:
        """From the chain; ``ends`` are its offer and its request."""
        offer, need = ends
        late = ""
        if one.state is TransferState.PROMISED and now_s > one.ship_by_s:
            late = "not shipped in time"
        elif one.state is TransferState.SHIPPED and now_s > one.receive_by_s:
            late = "not received in time"
        elif one.state is TransferState.RECEIVED and one.received_at_s > one.receive_by_s:
            late = "received late"
        return cls(
            one.number,
            name_of(offer.hospital_id, names),
            name_of(need.hospital_id, names),
            resource_code(offer.resource),
            one.quantity,
            one.arrived,
            one.ship_by_s,
            one.receive_by_s,
            one.state.name.lower(),
            late,
            one.details,
        )

    def shown(self) -> dict[str, Any]:
        """For a machine."""
        return {
            "transfer": self.number,
            "giver": self.giver,
            "receiver": self.receiver,
            "resource": self.resource,
            "quantity": self.quantity,
            "arrived": self.arrived,
            "ship_by": iso(self.ship_by_s * 1000),
            "receive_by": iso(self.receive_by_s * 1000),
            "state": self.state,
            "late": self.late,
        }


@dataclass(frozen=True, slots=True)
class Signed:
    """One hospital's half of a settlement, for the other to complete. ``signature`` is 96 bytes."""

    transfer: int
    arrived: int
    hospital: str
    public_key: bytes
    signature: bytes

    def shown(self) -> dict[str, Any]:
        """As the file that is handed over."""
        return {
            "transfer": self.transfer,
            "arrived": self.arrived,
            "hospital": self.hospital,
            "public_key": self.public_key.hex(),
            "signature": self.signature.hex(),
        }

    @classmethod
    def parse(cls, found: Any) -> Signed:
        """From what ``shown`` gave. Raises ``ExchangeInvalid``."""
        try:
            key, signature = bytes.fromhex(found["public_key"]), bytes.fromhex(found["signature"])
            made = cls(found["transfer"], found["arrived"], found["hospital"], key, signature)
            whole = type(made.transfer) is type(made.arrived) is int and made.hospital.isprintable()
        except (AttributeError, KeyError, TypeError, ValueError):
            whole = False
        if not whole or len(key) != 48 or len(signature) != 96:
            raise ExchangeInvalid("not the other hospital's half", hint="`twinward exchange settle --out` writes one")
        return made


def name_of(hospital_id: bytes, names: Mapping[bytes, str]) -> str:
    """A hospital's name where this node knows it; the chain has digests only."""
    return names.get(hospital_id) or f"0x{hospital_id[:8].hex()}…"
