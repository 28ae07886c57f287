"""Residues modulo primes below 2^57: packing, unpacking, and reduction by multiplying with inverses of 64 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import types

from twinward_crypto.kernels.compiler import high_product, inlined, kernel, read_only

U64 = np.uint64


@inlined
def times(x: Any, factor: Any, inverse: Any, prime: Any) -> Any:
    """``x factor`` modulo ``prime`` in ``0 .. 2 prime - 1``; ``inverse = floor(factor 2^64 / prime)`` (Shoup)."""
    return x * factor - high_product(x, inverse) * prime


@inlined
def reduced(x: Any, inverse: Any, prime: Any) -> Any:
    """``x`` modulo ``prime``; ``inverse = floor((2^64 - 1) / prime)`` (Barrett)."""
    x -= high_product(x, inverse) * prime
    if x >= prime:
        x -= prime
    if x >= prime:
        x -= prime
    return x


@kernel(types.void(read_only("uint64", 1), types.uint64, types.uint64[::1]))
def pack(fields: Any, bits: Any, words: Any) -> None:
    """Fields of so many bits, one after another, into words of 64: ``len(fields) bits`` is 64 times their number."""
    held, filled, place = U64(0), U64(0), 0
    for k in range(fields.shape[0]):
        held |= fields[k] << filled
        filled += bits
        if filled >= U64(64):
            words[place] = held
            place += 1
            filled -= U64(64)
            held = fields[k] >> (bits - filled) if filled else U64(0)


@kernel(types.boolean(read_only("uint64", 1), types.uint64, types.uint64, types.uint64[::1]))
def unpack(words: Any, bits: Any, prime: Any, fields: Any) -> Any:
    """What ``pack`` packed; whether each field is below the prime."""
    sound, place, taken, mask = True, 0, U64(0), (U64(1) << bits) - U64(1)
    for k in range(fields.shape[0]):
        field = words[place] >> taken
        taken += bits
        if taken >= U64(64):
            taken -= U64(64)
            place += 1
            if taken:
                field |= words[place] << (bits - taken)
        field &= mask
        sound &= field < prime
        fields[k] = field
    return sound
