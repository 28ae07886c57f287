"""Under which request a study's privacy is reserved: one that only the hospital which runs it can make.

The contract takes each request id once, from any member. A request that others could foretell, such as the protocol's
fingerprint, could be used up by a member that wants to stop the study. So it comes of a signature by the coordinator's
study key:

    proof   = Ed25519(study key, domain || fingerprint || chain id (32) || contract (20) || account (20) || number (4))
    request = SHA-256(domain || proof)

RFC 8032 signatures are deterministic: the coordinator finds its request again after any restart, from its key alone. A
hospital verifies the proof under the key that its officer approved, so it signs for who runs the study and for nobody
else. Whoever sees a request on its way to the chain may still be quicker with it; then the next number is taken.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from twinward.federation.aggregation.secure_aggregation import HospitalIdentity
from twinward.federation.errors import NotAuthentic

MOST_REQUESTS: Final = 8
"""So many requests of one study may be used up by others before it is given up."""

_DOMAIN: Final = b"twinward/federation/reservation/v1\0"
_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who reserves, and where: an account at a ``BudgetLedger`` on a chain. Addresses in hexadecimal."""

    chain_id: int
    contract: str
    account: str

    def __post_init__(self) -> None:
        if not _ADDRESS.fullmatch(self.account) or not _ADDRESS.fullmatch(self.contract):
            raise NotAuthentic("a reservation is held by an account's address")


def proof_of(coordinator: HospitalIdentity, study: bytes, holder: Holder, number: int) -> bytes:
    """The coordinator's signature, 64 bytes, that makes a request; ``number`` counts from 0."""
    return coordinator.sign(_message(study, holder, number))


def request_of(proof: bytes) -> bytes:
    """The request id that a proof makes, 32 bytes."""
    return hashlib.sha256(_DOMAIN + proof).digest()


def require_proof(proof: bytes, coordinator: bytes, study: bytes, holder: Holder, number: int) -> None:
    """Raise ``NotAuthentic`` unless the coordinator of this public key made the proof."""
    if not 0 <= number < MOST_REQUESTS:
        raise NotAuthentic(f"a study has at most {MOST_REQUESTS} requests for a reservation")
    try:
        Ed25519PublicKey.from_public_bytes(coordinator).verify(proof, _message(study, holder, number))
    except (InvalidSignature, ValueError):
        raise NotAuthentic("the study's coordinator did not ask for this reservation") from None


def _message(study: bytes, holder: Holder, number: int) -> bytes:
    where = holder.chain_id.to_bytes(32, "big") + _address(holder.contract) + _address(holder.account)
    return _DOMAIN + study + where + number.to_bytes(4, "big")


def _address(text: str) -> bytes:
    return bytes.fromhex(text[2:])
