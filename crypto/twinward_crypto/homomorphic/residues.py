"""Coefficients packed to the bits of their primes: how polynomials travel. Exact in length, one spelling per value.

A polynomial over k primes is k rows of N residues. The residues of a prime of b bits are N fields of b bits each, least
significant bit first: field i takes bits ``i b .. i b + b - 1`` of N b / 8 bytes, read as one little-endian number.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from twinward_crypto.errors import MalformedBundle
from twinward_crypto.kernels import store

Residues = NDArray[np.uint64]
"""Coefficients, ``uint64[polynomials, primes, degree]``, each below its prime."""

_LANES = 8
"""Eight fields of b bits are b whole bytes, so every eighth field starts at the same bit of its byte."""
MAX_BITS = 57
"""A field starts at one of eight bits of a byte: with at most 57 bits it lies within eight bytes."""


def packed_size(moduli: Sequence[int], degree: int, polynomials: int) -> int:
    """Bytes that ``pack`` gives."""
    return polynomials * sum(degree * prime.bit_length() // 8 for prime in moduli)


def pack(residues: Residues, moduli: Sequence[int]) -> bytes:
    """Polynomial by polynomial, prime by prime."""
    return b"".join(
        _pack_row(row, prime.bit_length())
        for polynomial in residues
        for row, prime in zip(polynomial, moduli, strict=True)
    )


def unpack(data: bytes, moduli: Sequence[int], degree: int, polynomials: int) -> Residues:
    """The polynomials that ``pack`` packed.

    Raises:
        MalformedBundle: another length, or a coefficient that is not below its prime.
    """
    if len(data) != packed_size(moduli, degree, polynomials):
        raise MalformedBundle("polynomials of another length")
    residues = np.empty((polynomials, len(moduli), degree), dtype=np.uint64)
    offset = 0
    for polynomial in residues:
        for row, prime in zip(polynomial, moduli, strict=True):
            size = degree * prime.bit_length() // 8
            _unpack_row(data[offset : offset + size], prime.bit_length(), row)
            offset += size
    check_range(residues, moduli)
    return residues


def check_range(residues: Residues, moduli: Sequence[int]) -> None:
    """Raise ``MalformedBundle`` unless every coefficient is below its prime."""
    if (residues >= np.array(moduli, dtype=np.uint64)[:, np.newaxis]).any():
        raise MalformedBundle("a coefficient that is not below its prime")


def _lanes(buffer: bytearray | bytes, bits: int, count: int) -> list[tuple[NDArray[np.uint64], np.uint64]]:
    """Of each lane the eight bytes around each of its fields, overlapping the next lane's, and the bit it starts at."""
    return [
        (
            np.ndarray((count,), dtype="<u8", buffer=buffer, offset=lane * bits // 8, strides=(bits,)),
            np.uint64(lane * bits % 8),
        )
        for lane in range(_LANES)
    ]


def _pack_row(row: NDArray[np.uint64], bits: int) -> bytes:
    size = len(row) * bits // 8
    if kernels := _kernels(len(row) * bits):
        words = np.empty(size // 8, dtype="<u8")
        kernels.pack(row, bits, words)
        return words.tobytes()
    buffer = bytearray(size + 8)
    for lane, (window, shift) in enumerate(_lanes(buffer, bits, len(row) // _LANES)):
        window |= row[lane::_LANES] << shift  # in place: into the buffer
    return bytes(buffer[:size])


def _unpack_row(data: bytes, bits: int, row: NDArray[np.uint64]) -> None:
    if kernels := _kernels(len(row) * bits):
        kernels.unpack(np.frombuffer(data, dtype="<u8"), bits, 1 << bits, row)
        return
    mask = np.uint64((1 << bits) - 1)
    for lane, (window, shift) in enumerate(_lanes(data + bytes(8), bits, len(row) // _LANES)):
        row[lane::_LANES] = window >> shift & mask


def _kernels(bits: int) -> ModuleType | None:
    """Kernels for so many bits, where this process has loaded them: no client loads any to read one answer."""
    return store.loaded("residues") if bits % 64 == 0 else None
