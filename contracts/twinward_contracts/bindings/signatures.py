"""What hospitals sign together, as the chain reads it (EIP-2537): keys of 128 bytes in G1, sums of 256 bytes in G2."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class QuorumSignature:
    """What a quorum of witnesses made together.

    Attributes:
        bitmap: bit i is set where the witness at place i signed.
        public_keys: the signers' keys by ascending place, 128 bytes each.
        aggregate: the sum of their signatures over one message, 256 bytes.
    """

    bitmap: int
    public_keys: tuple[bytes, ...]
    aggregate: bytes


@dataclass(frozen=True, slots=True)
class HospitalSignature:
    """What hospitals that are named one by one made together.

    Attributes:
        public_keys: their witnesses' keys in the order they were named, 128 bytes each.
        aggregate: the sum of their signatures over one message, 256 bytes.
    """

    public_keys: tuple[bytes, ...]
    aggregate: bytes


Sign = Callable[[Sequence[bytes], bytes], HospitalSignature]
"""Has the hospitals of these ids (``name_id``) sign a message, in this order."""

UNSIGNED: Final = HospitalSignature((), bytes(256))
"""Nobody signed. Contracts refuse it."""


def nobody(_hospital_ids: Sequence[bytes], _message: bytes) -> HospitalSignature:
    """A ``Sign`` for whoever holds no hospital's key."""
    return UNSIGNED
