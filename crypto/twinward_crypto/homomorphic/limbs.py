"""Residues as kernels read them, and the plans whose residues they can. A block holds these or SEAL's objects.

Vendor-key, one prime of at most 54 bits: two arrays of uint32, 27 bits each. Gated, primes of at most 36 bits: uint32
and uint8. Both are SEAL's own residues in SEAL's own order, so either form makes the other.
"""

from __future__ import annotations

from functools import lru_cache
from types import ModuleType
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinward_crypto.homomorphic import _seal
from twinward_crypto.homomorphic.parameters import Plan
from twinward_crypto.homomorphic.residues import Residues
from twinward_crypto.kernels import store

LIMB_BITS: Final = 27
_MOST_FACTORS: Final = 256
"""Of 27-bit limbs so many products fit a word of 64 bits twice over."""
_WORDS: Final = 512
"""A degree is a multiple of what one root hash of BLAKE2Xb gives SEAL at a time."""


class Limbs(NamedTuple):
    """Bits below the cut and above it."""

    low: NDArray[np.uint32]
    high: NDArray[Any]


def fits_bfv(plan: Plan) -> bool:
    """Whether a vendor-key plan has limbs: one prime of at most 54 bits, nothing flooded."""
    bits = plan.profile.modulus_bits
    return (
        plan.profile.scheme == "bfv"
        and not plan.profile.floods
        and len(bits) == 1
        and bits[0] <= 2 * LIMB_BITS
        and plan.groups * (2 if plan.weighted else 1) <= _MOST_FACTORS
        and plan.profile.degree % _WORDS == 0
        and plan.plain_modulus <= 1 << 30
    )


def fits_ckks(plan: Plan) -> bool:
    """Whether a gated plan has limbs: two or more primes, of at most 36 bits those of ciphertexts."""
    bits = plan.profile.modulus_bits[:-1]
    return plan.profile.scheme == "ckks" and bool(bits) and max(bits) <= 36 and plan.profile.degree % _WORDS == 0


def split(residues: NDArray[np.uint64]) -> Limbs:
    """Residues of at most 54 bits as limbs of 27."""
    low = (residues & np.uint64((1 << LIMB_BITS) - 1)).astype(np.uint32)
    return Limbs(low, (residues >> np.uint64(LIMB_BITS)).astype(np.uint32))


def joined(limbs: Limbs) -> Residues:
    """What ``split`` split."""
    return limbs.low.astype(np.uint64) | limbs.high.astype(np.uint64) << np.uint64(LIMB_BITS)


class Ring:
    """One prime's tables: powers of SEAL's root, and constants of reduction."""

    def __init__(self, degree: int, prime: int) -> None:
        self.degree, self.prime = degree, prime
        root = _least_root(degree, prime)
        order = _bit_reversed(degree)
        self.forward = _with_inverses([pow(root, k, prime) for k in order], prime)
        back = pow(root, -1, prime)
        self.backward = _with_inverses([pow(back, k, prime) for k in order], prime)
        self.share = tuple(int(one[0]) for one in _with_inverses([pow(degree, -1, prime)], prime))

    def transform(self, kernels: ModuleType, polynomials: NDArray[np.uint64]) -> None:
        """Rows of coefficients to rows of values, in place."""
        kernels.transform(polynomials, *self.forward, self.prime)

    def transform_back(self, kernels: ModuleType, polynomials: NDArray[np.uint64]) -> None:
        """Rows of values to rows of coefficients, in place."""
        kernels.transform_back(polynomials, *self.backward, *self.share, self.prime)


@lru_cache(maxsize=8)
def ring(plan: Plan) -> Ring:
    """The ring of a plan with one prime."""
    (prime,) = _seal.ciphertext_form(plan, _seal.Level.FIRST).moduli
    return Ring(plan.profile.degree, prime)


@lru_cache(maxsize=16)
def constants(prime: int, limb_bits: int) -> NDArray[np.uint64]:
    """What kernels reduce with: the prime, its inverse, and two powers of two with theirs."""
    powers = [value for bits in (2 * limb_bits, limb_bits) for value in _shoup((1 << bits) % prime, prime)]
    return np.array([prime, ((1 << 64) - 1) // prime, *powers], dtype=np.uint64)


def kernels(family: str) -> ModuleType | None:
    """A family of kernels together with ``residues``; None where either is missing."""
    return store.load(family) if store.load("residues") else None


def packed(row: NDArray[np.uint64], bits: int) -> bytes:
    """Residues of one prime as they travel, by kernels: what ``residues.pack`` gives."""
    words = np.empty(row.size * bits // 64, dtype="<u8")
    _residues().pack(row, bits, words)
    return words.tobytes()


def unpacked(data: bytes | memoryview, bits: int, prime: int, row: NDArray[np.uint64]) -> bool:
    """Residues of one prime from exactly their bytes; whether each is below it."""
    words = np.frombuffer(data, dtype="<u8", count=row.size * bits // 64)
    return bool(_residues().unpack(words, bits, prime, row))


def _residues() -> ModuleType:
    found = store.load("residues")
    if found is None:
        raise RuntimeError("kernels are asked for where there are none")
    return found


def _least_root(degree: int, prime: int) -> int:
    """The smallest primitive root of unity of order 2n, which is SEAL's."""
    found = next(
        root
        for base in range(2, prime)
        if pow(root := pow(base, (prime - 1) // (2 * degree), prime), degree, prime) == prime - 1
    )
    square, least, current = found * found % prime, found, found
    for _ in range(degree - 1):
        current = current * square % prime
        least = min(least, current)
    return least


def _bit_reversed(degree: int) -> list[int]:
    bits = degree.bit_length() - 1
    return [int(f"{k:0{bits}b}"[::-1], 2) for k in range(degree)]


def _shoup(value: int, prime: int) -> tuple[int, int]:
    return value, (value << 64) // prime


def _with_inverses(values: list[int], prime: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    pairs = [_shoup(value, prime) for value in values]
    return np.array([a for a, _ in pairs], dtype=np.uint64), np.array([b for _, b in pairs], dtype=np.uint64)
