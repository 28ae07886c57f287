"""CKKS over primes of at most 36 bits: ciphertext times ciphertext, in transformed form throughout, and the opening.

An index residue is five bytes (uint32 and uint8), for reading them is what scoring costs; limbs of 18 bits are cut on
the fly, and their products, of 36 bits, are summed in words of 64 and reduced once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import types

from twinward_crypto.kernels.compiler import called, kernel, read_only
from twinward_crypto.kernels.residues import reduced, times

U64 = np.uint64
U32 = np.uint32
TILE = 256


@called
def _cut(low: Any, high: Any, start: Any, limbs: Any) -> None:
    """A tile of both polynomials as limbs of 18 bits: low, high, low, high."""
    for s in range(2):
        below, above = low[s, start : start + TILE], high[s, start : start + TILE]
        to_low, to_high = limbs[2 * s], limbs[2 * s + 1]
        for k in range(TILE):
            to_low[k] = below[k] & U32(0x3FFFF)
            to_high[k] = (below[k] >> U32(18)) | (U32(above[k]) << U32(14))


@called
def _add(s0: Any, s1: Any, s2: Any, a0: Any, a1: Any, x0: Any, x1: Any, b0: Any, b1: Any, y0: Any, y1: Any) -> None:
    """``s += a x + b y`` over a tile, in limbs: two products at once keep sums longer in registers."""
    for k in range(TILE):
        g, h, u, v = U64(a0[k]), U64(a1[k]), U64(x0[k]), U64(x1[k])
        p, q, r, t = U64(b0[k]), U64(b1[k]), U64(y0[k]), U64(y1[k])
        s0[k] += g * u + p * r
        s1[k] += (g * v + h * u) + (p * t + q * r)
        s2[k] += h * v + q * t


@kernel(
    types.void(
        read_only("uint32", 3), read_only("uint8", 3), read_only("uint32", 4), read_only("uint64", 2),
        types.uint64[:, ::1], read_only("uint64", 1),
    )
)  # fmt: skip
def products(low: Any, high: Any, query: Any, added: Any, out: Any, constants: Any) -> None:
    """``out = sum_j index[j] query[j] + added``, three polynomials of two times two, modulo one prime.

    Args:
        low, high: an index block's residues ``[features, 2, n]``, bits 0-31 and 32-39.
        query: limbs ``[features, 2, 2, n]`` (feature, polynomial, limb); an even number of features, zeros beyond.
        added: ``[2, n]``, below 2^40: what is added to the first two polynomials.
        out: ``[3, n]``, reduced.
        constants: prime, floor((2^64-1)/prime), 2^36 mod prime and its inverse, 2^18 mod prime and its inverse.
    """
    features, n = low.shape[0], low.shape[2]
    prime, whole, r36, r36i, r18, r18i = (
        constants[0], constants[1], constants[2], constants[3], constants[4], constants[5],
    )  # fmt: skip
    sums = np.empty((9, TILE), dtype=np.uint64)
    limbs = np.empty((8, TILE), dtype=np.uint32)
    for c in range(0, n, TILE):
        sums[:] = U64(0)
        for j in range(0, query.shape[0], 2):
            _cut(low[j], high[j], c, limbs[:4])
            second = min(j + 1, features - 1)
            _cut(low[second], high[second], c, limbs[4:])
            a0, a1, b0, b1 = limbs[0], limbs[1], limbs[2], limbs[3]
            e0, e1, f0, f1 = limbs[4], limbs[5], limbs[6], limbs[7]
            x0, x1 = query[j, 0, 0, c : c + TILE], query[j, 0, 1, c : c + TILE]
            y0, y1 = query[j, 1, 0, c : c + TILE], query[j, 1, 1, c : c + TILE]
            z0, z1 = query[j + 1, 0, 0, c : c + TILE], query[j + 1, 0, 1, c : c + TILE]
            w0, w1 = query[j + 1, 1, 0, c : c + TILE], query[j + 1, 1, 1, c : c + TILE]
            _add(sums[0], sums[1], sums[2], a0, a1, x0, x1, e0, e1, z0, z1)
            _add(sums[6], sums[7], sums[8], b0, b1, y0, y1, f0, f1, w0, w1)
            _add(sums[3], sums[4], sums[5], a0, a1, y0, y1, e0, e1, w0, w1)
            _add(sums[3], sums[4], sums[5], b0, b1, x0, x1, f0, f1, z0, z1)
        for i in range(3):
            s0, s1, s2, to = sums[3 * i], sums[3 * i + 1], sums[3 * i + 2], out[i, c : c + TILE]
            for k in range(TILE):
                x = times(s2[k], r36, r36i, prime) + times(s1[k], r18, r18i, prime) + s0[k]
                if i < 2:
                    x += added[i, c + k]
                to[k] = reduced(x, whole, prime)


@kernel(types.void(read_only("uint64", 2), read_only("uint64", 3), types.uint64[::1], read_only("uint64", 1)))
def phase(score: Any, secret: Any, out: Any, constants: Any) -> None:
    """``score[0] + score[1] s + score[2] s^2`` modulo one prime: what a score of size three decrypts to.

    The same operations whatever they compute with: nothing here depends on the secret.

    Args:
        score: ``[3, n]``, below the prime.
        secret: ``[2, 2, n]``: s, then its square, each with ``floor(s 2^64 / prime)``.
        out: ``[n]``, reduced.
        constants: as ``products``.
    """
    prime, whole = constants[0], constants[1]
    for k in range(out.shape[0]):
        x = score[0, k] + times(score[1, k], secret[0, 0, k], secret[0, 1, k], prime)
        out[k] = reduced(x + times(score[2, k], secret[1, 0, k], secret[1, 1, k], prime), whole, prime)


@kernel(types.void(read_only("uint64", 2), types.float64[::1], read_only("uint64", 1)))
def composed(residues: Any, out: Any, constants: Any) -> None:
    """Numbers modulo two primes, ``[2, n]``, as the nearest signed ones: exact below 2^53, then as float64 rounds.

    ``constants``: both primes, 1/first modulo the second, floor of it 2^64 / second. Each is below twice the other.
    """
    first, second, inverse, inverse_i = constants[0], constants[1], constants[2], constants[3]
    for k in range(out.shape[0]):
        h = times(residues[1, k] + U64(2) * second - residues[0, k], inverse, inverse_i, second)
        if h >= second:
            h -= second
        signed = np.float64(np.int64(h)) - (np.float64(np.int64(second)) if h > second >> U64(1) else 0.0)
        out[k] = signed * np.float64(np.int64(first)) + np.float64(np.int64(residues[0, k]))
