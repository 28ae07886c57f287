"""What a hospital sends in a round: its masked sum and, with it, what the next exchange needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from twinward.federation.aggregation.secure_aggregation import Masked, SignedRoundKey
from twinward.federation.errors import ContributionRefused

WORD_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Seal:
    """What lets hospitals open a sealed sum together, should the one that sent it be lost (``sealing``).

    Attributes:
        commitment: SHA-256 of the seed of its self-mask, 32 bytes.
        shares: an encrypted share of that seed for each other hospital of the attempt, by name.
        share_hashes: SHA-256 of each share, by name, so that a broken one is noticed and named.
    """

    commitment: bytes
    shares: dict[str, bytes]
    share_hashes: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Contribution:
    """A hospital's answer to one attempt at a round.

    Attributes:
        masked: little-endian 64-bit words, one for each coordinate of the sum.
        next_key: its signed key for the next attempt, None where there is none to come.
        seal: None where masks alone hide the sum.
    """

    masked: bytes
    next_key: SignedRoundKey | None = None
    seal: Seal | None = None


@dataclass(frozen=True, slots=True)
class Unmasking:
    """A hospital's consent to open an attempt, and what it knows of those who cannot give theirs.

    Attributes:
        seed: of its own self-mask, 32 bytes.
        shares: its shares of other hospitals' seeds, by their names, 32 bytes each.
    """

    seed: bytes
    shares: dict[str, bytes]


def masked_vector(hospital: str, contribution: Contribution, dimension: int) -> Masked:
    """What a hospital sent as a vector ``[dimension]``.

    Raises:
        ContributionRefused: another number of words than was due.
    """
    if len(contribution.masked) != WORD_BYTES * dimension:
        raise ContributionRefused(
            f"{hospital} sent {len(contribution.masked)} bytes where {dimension} words of {WORD_BYTES} were due",
            hint="its site runs another release, or lies; ask that hospital",
        )
    return np.frombuffer(contribution.masked, "<u8").astype(np.uint64)


def masked_bytes(masked: Masked) -> bytes:
    """A masked vector as it is sent."""
    return masked.astype("<u8").tobytes()
