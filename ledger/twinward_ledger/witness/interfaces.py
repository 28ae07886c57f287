"""What a log asks of a witness, wherever it is, and what it is answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from twinward_ledger.formats.cosignature import AnchorDomain
from twinward_ledger.formats.note import Signature, VerifierKey


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a log asks a witness to cosign.

    Attributes:
        note: the signed checkpoint, whole.
        old_size: the size the consistency proof starts from: what the witness last cosigned, 0 for nothing.
        consistency: the proof from ``old_size`` to the checkpoint; empty from 0.
        time_s: the time the BLS signers put their name to, seconds since the Unix epoch; without a domain unused.
        domain: where the anchor will be sent; None asks for the Ed25519 cosignature alone.
    """

    note: bytes
    old_size: int
    consistency: tuple[bytes, ...]
    time_s: int
    domain: AnchorDomain | None


@dataclass(frozen=True, slots=True)
class Cosignature:
    """A witness's answer: a line for the note and, for an anchor, its BLS signature (96 bytes, else empty).

    ``bls_key_id`` says which BLS key made it (``anchor_key_id``).
    """

    line: Signature
    bls_signature: bytes = b""
    bls_key_id: bytes = b""


class WitnessPeer(Protocol):
    """A witness as a log sees it, in this process or far away. A ``cosign`` that fails raises ``WitnessRefused``."""

    @property
    def key(self) -> VerifierKey:
        """What its Ed25519 cosignatures verify with."""
        ...

    def last_size(self, origin: str) -> int:
        """The largest size it cosigned of a log as far as is known here; 0 if none. A guess that is too small costs a
        ``StaleProof``, which says the right one.
        """
        ...

    def cosign(self, proposal: Proposal) -> Cosignature:
        """Check a proposal and sign it, or raise ``WitnessRefused``."""
        ...
