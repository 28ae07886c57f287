"""BFV over one prime of at most 54 bits: transforms, the sum of products, and what SEAL makes of a seed.

Residues of 54 bits are two limbs of 27 in uint32: products of limbs are below 2^54, so sums of 256 stay in a word of 64
bits and are reduced once. The transform is Harvey's ("Faster arithmetic for number-theoretic transforms", 2014), with
the root and order of SEAL's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import types

from twinward_crypto.kernels.compiler import inlined, kernel, read_only
from twinward_crypto.kernels.residues import reduced, times

U64 = np.uint64
TILE = 256
"""Coefficients whose sums lie in the first cache at once."""
LANES = 16
"""Hashes side by side: loops over lanes become vector instructions."""

_TABLE = read_only("uint64", 1)


@kernel(types.void(types.uint64[:, ::1], _TABLE, _TABLE, types.uint64))
def transform(polynomials: Any, roots: Any, inverses: Any, prime: Any) -> None:
    """Each row in place: coefficients to values, in bit-reversed order."""
    twice = U64(2) * prime
    for row in range(polynomials.shape[0]):
        x = polynomials[row]
        n = x.shape[0]
        gap, groups = n, 1
        while groups < n:
            gap >>= 1
            for i in range(groups):
                root, inverse = roots[groups + i], inverses[groups + i]
                first = x[2 * i * gap : (2 * i + 1) * gap]
                second = x[(2 * i + 1) * gap : (2 * i + 2) * gap]
                for j in range(gap):
                    u = first[j]
                    if u >= twice:
                        u -= twice
                    v = times(second[j], root, inverse, prime)
                    first[j] = u + v
                    second[j] = u + twice - v
            groups <<= 1
        for j in range(n):
            u = x[j]
            if u >= twice:
                u -= twice
            if u >= prime:
                u -= prime
            x[j] = u


@kernel(types.void(types.uint64[:, ::1], _TABLE, _TABLE, types.uint64, types.uint64, types.uint64))
def transform_back(polynomials: Any, roots: Any, inverses: Any, share: Any, share_inverse: Any, prime: Any) -> None:
    """Each row in place: values to coefficients; ``share`` is 1/n."""
    twice = U64(2) * prime
    for row in range(polynomials.shape[0]):
        x = polynomials[row]
        n = x.shape[0]
        gap, groups = 1, n
        while groups > 1:
            half = groups >> 1
            for i in range(half):
                root, inverse = roots[half + i], inverses[half + i]
                first = x[2 * i * gap : (2 * i + 1) * gap]
                second = x[(2 * i + 1) * gap : (2 * i + 2) * gap]
                for j in range(gap):
                    u, v = first[j], second[j]
                    total = u + v
                    if total >= twice:
                        total -= twice
                    first[j] = total
                    second[j] = times(u + twice - v, root, inverse, prime)
            gap <<= 1
            groups = half
        for j in range(n):
            u = times(x[j], share, share_inverse, prime)
            if u >= prime:
                u -= prime
            x[j] = u


_LIMBS = read_only("uint32", 2)
_QUERY = read_only("uint32", 3)


@kernel(types.void(_QUERY, _QUERY, _LIMBS, _LIMBS, types.uint64[:, ::1], _TABLE))
def products(query_low: Any, query_high: Any, low: Any, high: Any, out: Any, constants: Any) -> None:
    """``out[half] = sum_j query[half, j] block[j]``, for both halves of a query.

    Args:
        query_low, query_high: limbs ``[2, features, n]``; as many features as a multiple of four, zeros beyond.
        low, high: a block's limbs ``[features, n]``.
        out: ``[2, n]``, reduced.
        constants: prime, floor((2^64-1)/prime), 2^54 mod prime and its inverse, 2^27 mod prime and its inverse.
    """
    features, n = low.shape
    prime, whole, r54, r54i, r27, r27i = (
        constants[0], constants[1], constants[2], constants[3], constants[4], constants[5],
    )  # fmt: skip
    sums = np.empty((6, TILE), dtype=np.uint64)
    for c in range(0, n, TILE):
        sums[:] = U64(0)
        for j in range(0, query_low.shape[1], 4):
            b, d, e = min(j + 1, features - 1), min(j + 2, features - 1), min(j + 3, features - 1)
            l0, l1, l2, l3 = low[j, c : c + TILE], low[b, c : c + TILE], low[d, c : c + TILE], low[e, c : c + TILE]
            h0, h1, h2, h3 = high[j, c : c + TILE], high[b, c : c + TILE], high[d, c : c + TILE], high[e, c : c + TILE]
            for half in range(2):
                some, others = query_low[half], query_high[half]
                x0, x1, x2, x3 = (
                    some[j, c : c + TILE], some[j + 1, c : c + TILE],
                    some[j + 2, c : c + TILE], some[j + 3, c : c + TILE],
                )  # fmt: skip
                y0, y1, y2, y3 = (
                    others[j, c : c + TILE], others[j + 1, c : c + TILE],
                    others[j + 2, c : c + TILE], others[j + 3, c : c + TILE],
                )  # fmt: skip
                s0, s1, s2 = sums[3 * half], sums[3 * half + 1], sums[3 * half + 2]
                for k in range(TILE):
                    p0, p1, p2, p3 = U64(l0[k]), U64(l1[k]), U64(l2[k]), U64(l3[k])
                    q0, q1, q2, q3 = U64(h0[k]), U64(h1[k]), U64(h2[k]), U64(h3[k])
                    u0, u1, u2, u3 = U64(x0[k]), U64(x1[k]), U64(x2[k]), U64(x3[k])
                    v0, v1, v2, v3 = U64(y0[k]), U64(y1[k]), U64(y2[k]), U64(y3[k])
                    s0[k] += u0 * p0 + u1 * p1 + (u2 * p2 + u3 * p3)
                    s1[k] += (u0 * q0 + v0 * p0) + (u1 * q1 + v1 * p1) + ((u2 * q2 + v2 * p2) + (u3 * q3 + v3 * p3))
                    s2[k] += v0 * q0 + v1 * q1 + (v2 * q2 + v3 * q3)
        for half in range(2):
            s0, s1, s2, to = sums[3 * half], sums[3 * half + 1], sums[3 * half + 2], out[half, c : c + TILE]
            for k in range(TILE):
                x = times(s2[k], r54, r54i, prime) + times(s1[k], r27, r27i, prime) + s0[k]
                to[k] = reduced(x, whole, prime)


@kernel(types.void(types.uint64[::1], _TABLE, types.uint64, types.uint64, types.uint64, types.uint64))
def add_plain(polynomial: Any, numbers: Any, quotient: Any, rest: Any, bits: Any, prime: Any) -> None:
    """``polynomial += round(numbers prime / 2^bits)`` as SEAL rounds: ``prime = quotient 2^bits + rest``."""
    half = U64(1) << (bits - U64(1))
    for k in range(polynomial.shape[0]):
        x = numbers[k]
        total = polynomial[k] + x * quotient + ((x * rest + half) >> bits)
        while total >= prime:
            total -= prime
        polynomial[k] = total


_IV = np.array(
    [
        0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
        0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
    ],
    dtype=np.uint64,
)  # fmt: skip
_SIGMA = np.array(
    [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
        [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4], [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
        [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13], [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
        [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11], [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
        [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5], [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    ],
    dtype=np.int64,
)  # fmt: skip


@inlined
def _mixed(v: Any, a: Any, b: Any, c: Any, d: Any, one: Any, other: Any) -> Any:
    """BLAKE2b's G (RFC 7693, section 3.1) in every lane."""
    for lane in range(LANES):
        first = v[a, lane] + v[b, lane] + one
        last = v[d, lane] ^ first
        last = (last >> U64(32)) | (last << U64(32))
        third = v[c, lane] + last
        second = v[b, lane] ^ third
        second = (second >> U64(24)) | (second << U64(40))
        first = first + second + other
        last ^= first
        last = (last >> U64(16)) | (last << U64(48))
        third += last
        second ^= third
        second = (second >> U64(63)) | (second << U64(1))
        v[a, lane] = first
        v[b, lane] = second
        v[c, lane] = third
        v[d, lane] = last


@kernel(types.void(_TABLE, types.uint64[::1]))
def expand(root: Any, out: Any) -> None:
    """BLAKE2Xb's leaves over a root hash, 64 bytes each and ``LANES`` of them at once, into 512 words."""
    size = U64(8) * U64(out.shape[0])
    message = np.zeros(16, dtype=np.uint64)
    for i in range(8):
        message[i] = root[i]
    v = np.empty((16, LANES), dtype=np.uint64)
    p0, p2 = U64(64) | (U64(64) << U64(32)), U64(64) << U64(8)  # digest and leaf of 64 bytes; inner length 64
    for base in range(0, out.shape[0] // 8, LANES):
        for lane in range(LANES):
            for i in range(8):
                v[i, lane] = _IV[i]
                v[8 + i, lane] = _IV[i]
            v[0, lane] ^= p0
            v[1, lane] ^= U64(base + lane) | (size << U64(32))
            v[2, lane] ^= p2
            v[12, lane] ^= U64(64)
            v[14, lane] = ~v[14, lane]
        for r in range(12):
            s = _SIGMA[r]
            for column in range(4):
                one, other = message[s[2 * column]], message[s[2 * column + 1]]
                _mixed(v, column, 4 + column, 8 + column, 12 + column, one, other)
            for column in range(4):
                one, other = message[s[8 + 2 * column]], message[s[9 + 2 * column]]
                _mixed(v, column, 4 + (column + 1) % 4, 8 + (column + 2) % 4, 12 + (column + 3) % 4, one, other)
        for lane in range(LANES):
            for i in range(8):
                h = _IV[i]
                if i == 0:
                    h ^= p0
                elif i == 1:
                    h ^= U64(base + lane) | (size << U64(32))
                elif i == 2:
                    h ^= p2
                out[8 * (base + lane) + i] = h ^ v[i, lane] ^ v[8 + i, lane]


@kernel(types.boolean(types.uint64[::1], types.uint64))
def uniform(words: Any, prime: Any) -> Any:
    """Words modulo the prime, in place; False where SEAL would reject one and draw again."""
    top = U64(0xFFFFFFFFFFFFFFFF)
    limit, inverse, sound = top - top % prime - U64(1), top // prime, True
    for k in range(words.shape[0]):
        sound &= words[k] < limit
        words[k] = reduced(words[k], inverse, prime)
    return sound
