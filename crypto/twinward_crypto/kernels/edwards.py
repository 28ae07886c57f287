"""Sums and multiples on edwards25519 for a hospital's slots. Never for a secret that lasts: that is libsodium's.

The field 2^255 - 19 in five limbs of 51 bits, products in 128-bit words (Bernstein et al., "High-speed high-security
signatures", 2011). A point is ``[4, 5]``: X, Y, Z, T with x = X/Z, y = Y/Z, xy = T/Z; a cached one Y+X, Y-X, 2Z, 2dT
(Hisil et al., "Twisted Edwards curves revisited", 2008). Additions are complete: neutral, equal and opposite points
take no way of their own. A multiple takes a time that depends on its scalar, so scalars here are fresh, used once and
independent of every row; what a slot is made of changes no operation.
"""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir
import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic

from twinward_crypto.kernels.compiler import called, kernel, read_only

U64 = np.uint64
_MASK = (1 << 51) - 1
_tuple: Any = types.UniTuple
_ELEMENT = _tuple(types.uint64, 5)
_LIMBS = [4 * (2**51 - 19), *[4 * _MASK] * 4]
F0, F1, M51 = U64(_LIMBS[0]), U64(_LIMBS[1]), U64(_MASK)


def _carried(builder: Any, sums: list[Any]) -> list[Any]:
    """Five sums of 128 bits as five limbs of 51 bits and a little."""
    wide, narrow = ir.IntType(128), ir.IntType(64)
    mask, shift, limbs = ir.Constant(wide, _MASK), ir.Constant(wide, 51), []
    for i in range(5):
        carry = builder.lshr(sums[i], shift)
        limbs.append(builder.and_(sums[i], mask))
        if i < 4:
            sums[i + 1] = builder.add(sums[i + 1], carry)
    limbs[0] = builder.add(limbs[0], builder.mul(carry, ir.Constant(wide, 19)))
    carry = builder.lshr(limbs[0], shift)
    limbs[0], limbs[1] = builder.and_(limbs[0], mask), builder.add(limbs[1], carry)
    return [builder.trunc(one, narrow) for one in limbs]


def _product(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    wide, narrow = ir.IntType(128), ir.IntType(64)
    unpack: Any = cgutils.unpack_tuple
    x, y = (unpack(builder, one, 5) for one in arguments)
    y19 = [builder.zext(builder.mul(one, ir.Constant(narrow, 19)), wide) for one in y]
    x, y = ([builder.zext(one, wide) for one in some] for some in (x, y))
    sums = []
    for k in range(5):
        terms = [builder.mul(x[i], y[k - i] if k >= i else y19[k - i + 5]) for i in range(5)]
        total = terms[0]
        for one in terms[1:]:
            total = builder.add(total, one)
        sums.append(total)
    return context.make_tuple(builder, signature.return_type, _carried(builder, sums))


def _mul(_typing: Any, _a: Any, _b: Any) -> Any:
    """A product; limbs of both below 2^55: sums stay below 2^118, and their carries within a word."""
    return _ELEMENT(_ELEMENT, _ELEMENT), _product


mul: Any = intrinsic(_mul)


def _squares(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    wide, narrow = ir.IntType(128), ir.IntType(64)
    unpack: Any = cgutils.unpack_tuple
    x = unpack(builder, arguments[0], 5)
    plain = [builder.zext(one, wide) for one in x]
    twice, many = (
        [builder.zext(builder.mul(one, ir.Constant(narrow, factor)), wide) for one in x] for factor in (2, 19)
    )
    sums = []
    for k in range(5):
        total = None
        for i in range(5):
            j = (k - i) % 5
            if i > j:
                continue
            term = builder.mul(plain[i] if i == j else twice[i], plain[j] if i + j < 5 else many[j])
            total = term if total is None else builder.add(total, term)
        sums.append(total)
    return context.make_tuple(builder, signature.return_type, _carried(builder, sums))


def _sqr(_typing: Any, _a: Any) -> Any:
    """A square, as ``mul``."""
    return _ELEMENT(_ELEMENT), _squares


sqr: Any = intrinsic(_sqr)


@called
def add(a: Any, b: Any) -> Any:
    """A sum, not carried."""
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3], a[4] + b[4])


@called
def sub(a: Any, b: Any) -> Any:
    """A difference, not carried; limbs of ``b`` below 2^53."""
    return (a[0] + F0 - b[0], a[1] + F1 - b[1], a[2] + F1 - b[2], a[3] + F1 - b[3], a[4] + F1 - b[4])


@called
def read(a: Any) -> Any:
    """An element out of an array."""
    return (a[0], a[1], a[2], a[3], a[4])


@called
def put(to: Any, a: Any) -> None:
    """An element into an array."""
    to[0] = a[0]
    to[1] = a[1]
    to[2] = a[2]
    to[3] = a[3]
    to[4] = a[4]


@called
def neutral(p: Any) -> None:
    """The neutral point."""
    for i in range(4):
        for k in range(5):
            p[i, k] = U64(1) if k == 0 and (i == 1 or i == 2) else U64(0)


@called
def copy(p: Any, to: Any) -> None:
    """A point; by its numbers, for a slice's assignment takes long to compile."""
    for i in range(4):
        for k in range(5):
            to[i, k] = p[i, k]


@called
def double(p: Any, last: Any) -> None:
    """``p += p``; T, which no doubling needs, only of the ``last``."""
    x, y, z = read(p[0]), read(p[1]), read(p[2])
    a, b, c = sqr(x), sqr(y), sqr(z)
    s = add(a, b)
    e, g = sub(sqr(add(x, y)), s), sub(b, a)
    f = sub(g, add(c, c))
    h = sub((U64(0), U64(0), U64(0), U64(0), U64(0)), s)
    put(p[0], mul(e, f))
    put(p[1], mul(g, h))
    put(p[2], mul(f, g))
    if last:
        put(p[3], mul(e, h))


@called
def add_cached(p: Any, c: Any, negative: Any) -> None:
    """``p += c``, or ``p -= c``."""
    x, y, z, t = read(p[0]), read(p[1]), read(p[2]), read(p[3])
    plus, minus = (1, 0) if negative else (0, 1)
    a, b = mul(sub(y, x), read(c[minus])), mul(add(y, x), read(c[plus]))
    k, d = mul(t, read(c[3])), mul(z, read(c[2]))
    e, h = sub(b, a), add(b, a)
    f, g = (add(d, k), sub(d, k)) if negative else (sub(d, k), add(d, k))
    put(p[0], mul(e, f))
    put(p[1], mul(g, h))
    put(p[2], mul(f, g))
    put(p[3], mul(e, h))


@called
def cache(p: Any, c: Any, twice_d: Any) -> None:
    """The cached form."""
    put(c[0], add(read(p[1]), read(p[0])))
    put(c[1], sub(read(p[1]), read(p[0])))
    put(c[2], add(read(p[2]), read(p[2])))
    put(c[3], mul(read(p[3]), read(twice_d)))


@called
def squared(a: Any, times: Any) -> Any:
    """``a^(2^times)``."""
    for _ in range(times):
        a = sqr(a)
    return a


@called
def power(z: Any) -> Any:
    """``z^(2^252 - 3)``."""
    t0 = sqr(z)
    t1 = mul(z, squared(t0, 2))
    t0 = sqr(mul(t0, t1))
    t0 = mul(t1, t0)
    t0 = mul(squared(t0, 5), t0)
    t1 = mul(squared(t0, 10), t0)
    t1 = mul(squared(t1, 20), t1)
    t0 = mul(squared(t1, 10), t0)
    t1 = mul(squared(t0, 50), t0)
    t1 = mul(squared(t1, 100), t1)
    t0 = mul(squared(t1, 50), t0)
    return mul(squared(t0, 2), z)


@called
def canonical(a: Any) -> Any:
    """The element's one form below the prime."""
    l0, l1, l2, l3, l4 = a
    for _ in range(2):
        l1 += l0 >> U64(51)
        l2 += l1 >> U64(51)
        l3 += l2 >> U64(51)
        l4 += l3 >> U64(51)
        l0 = (l0 & M51) + U64(19) * (l4 >> U64(51))
        l1, l2, l3, l4 = l1 & M51, l2 & M51, l3 & M51, l4 & M51
    q = (l0 + U64(19)) >> U64(51)
    q = (l1 + q) >> U64(51)
    q = (l2 + q) >> U64(51)
    q = (l3 + q) >> U64(51)
    q = (l4 + q) >> U64(51)
    l0 += U64(19) * q
    l1 += l0 >> U64(51)
    l2 += l1 >> U64(51)
    l3 += l2 >> U64(51)
    l4 += l3 >> U64(51)
    return (l0 & M51, l1 & M51, l2 & M51, l3 & M51, l4 & M51)


@called
def same(a: Any, b: Any) -> Any:
    """Whether canonical elements are equal."""
    return a[0] == b[0] and a[1] == b[1] and a[2] == b[2] and a[3] == b[3] and a[4] == b[4]


@kernel(types.void(types.uint64[:, :, ::1], types.uint64[:, ::1]))
def encode(points: Any, words: Any) -> None:
    """Encodings (RFC 8032, section 5.1.2), 4 words each; one inversion for all."""
    count = points.shape[0]
    before = np.empty((count, 5), dtype=np.uint64)
    product = (U64(1), U64(0), U64(0), U64(0), U64(0))
    for i in range(count):
        put(before[i], product)
        product = mul(product, read(points[i, 2]))
    inverse = mul(squared(power(product), 3), mul(sqr(product), product))
    for back in range(count):
        i = count - 1 - back
        z = mul(inverse, read(before[i]))
        inverse = mul(inverse, read(points[i, 2]))
        x, y = canonical(mul(read(points[i, 0]), z)), canonical(mul(read(points[i, 1]), z))
        words[i, 0] = y[0] | (y[1] << U64(51))
        words[i, 1] = (y[1] >> U64(13)) | (y[2] << U64(38))
        words[i, 2] = (y[2] >> U64(26)) | (y[3] << U64(25))
        words[i, 3] = (y[3] >> U64(39)) | (y[4] << U64(12)) | ((x[0] & U64(1)) << U64(63))


@kernel(types.boolean(read_only("uint64", 2), types.uint64[:, :, ::1], read_only("uint64", 2)))
def decode(words: Any, points: Any, fixed: Any) -> Any:
    """Points of encodings (RFC 8032, section 5.1.3); False where one is not canonical or not on the curve."""
    sound, one, nothing = True, (U64(1), U64(0), U64(0), U64(0), U64(0)), (U64(0), U64(0), U64(0), U64(0), U64(0))
    d, root = read(fixed[0]), read(fixed[1])
    for i in range(words.shape[0]):
        w0, w1, w2, w3 = words[i, 0], words[i, 1], words[i, 2], words[i, 3]
        sign, top = w3 >> U64(63), w3 & U64(0x7FFFFFFFFFFFFFFF)
        y = (
            w0 & M51, ((w0 >> U64(51)) | (w1 << U64(13))) & M51, ((w1 >> U64(38)) | (w2 << U64(26))) & M51,
            ((w2 >> U64(25)) | (w3 << U64(39))) & M51, top >> U64(12),
        )  # fmt: skip
        sound &= same(canonical(y), y)
        y2 = sqr(y)
        u, v = mul(sub(y2, one), one), add(mul(y2, d), one)
        v3 = mul(sqr(v), v)
        x = mul(mul(u, v3), power(mul(u, mul(sqr(v3), v))))
        got = canonical(mul(sqr(x), v))
        if not same(got, canonical(u)):
            sound &= same(got, canonical(mul(sub(nothing, u), one)))
            x = mul(x, root)
        x = canonical(x)
        sound &= not (same(x, nothing) and sign == U64(1))
        if (x[0] & U64(1)) != sign:
            x = canonical(mul(sub(nothing, x), one))
        put(points[i, 0], x)
        put(points[i, 1], y)
        put(points[i, 2], one)
        put(points[i, 3], mul(x, y))
    return sound


_POINTS = read_only("uint64", 3)
_D2 = read_only("uint64", 1)


@kernel(types.void(_POINTS, types.uint64[:, :, ::1], _D2))
def cached(points: Any, out: Any, twice_d: Any) -> None:
    """The cached forms of points."""
    for i in range(points.shape[0]):
        cache(points[i], out[i], twice_d)


@kernel(types.void(_POINTS, _POINTS, types.uint64[:, :, ::1]))
def sums(points: Any, others: Any, out: Any) -> None:
    """Every sum of a point and one of the others, which are cached: ``out[i len(others) + k]``."""
    for i in range(points.shape[0]):
        for k in range(others.shape[0]):
            to = out[i * others.shape[0] + k]
            copy(points[i], to)
            add_cached(to, others[k], False)


@kernel(types.void(read_only("uint64", 2), types.uint64[:, :, :, ::1], _D2))
def windows(point: Any, out: Any, twice_d: Any) -> None:
    """``out[w, v] = v 2^(8 w) point``, cached: what multiples of one point are added up from."""
    base, total, step = np.empty((4, 5), np.uint64), np.empty((4, 5), np.uint64), np.empty((4, 5), np.uint64)
    copy(point, base)
    for w in range(32):
        cache(base, step, twice_d)
        neutral(total)
        for v in range(256):
            cache(total, out[w, v], twice_d)
            add_cached(total, step, False)
        for _ in range(8):
            double(base, True)


@called
def add_multiple(p: Any, scalar: Any, table: Any) -> None:
    """``p += scalar base`` by the base's ``windows``."""
    for w in range(32):
        v = (scalar[w // 8] >> U64(8 * (w % 8))) & U64(255)
        add_cached(p, table[w, v], False)


@called
def multiply(p: Any, digits: Any, table: Any, step: Any, twice_d: Any) -> None:
    """``p *= scalar``, whose 64 signed digits of base 16 are given."""
    cache(p, step, twice_d)
    for k in range(8):
        cache(p, table[k], twice_d)
        add_cached(p, step, False)
    neutral(p)
    for k in range(64):
        for step_down in range(4):
            double(p, step_down == 3)
        digit = digits[63 - k]
        if digit > 0:
            add_cached(p, table[digit - 1], False)
        elif digit < 0:
            add_cached(p, table[-digit - 1], True)


@called
def signed_digits(scalar: Any, digits: Any) -> None:
    """64 digits of base 16, from -8 to 7, of a scalar below 2^253."""
    carry = 0
    for i in range(64):
        value = np.int64((scalar[i // 16] >> U64(4 * (i % 16))) & U64(15)) + carry
        carry = 1 if value >= 8 else 0
        digits[i] = value - 16 * carry


@kernel(
    types.void(
        read_only("int64", 2), read_only("uint64", 4), read_only("uint64", 2), read_only("uint64", 2),
        read_only("uint64", 4), read_only("uint64", 4), types.uint64[:, :, :, ::1], _D2,
    )
)  # fmt: skip
def slots(entries: Any, pairs: Any, factors: Any, fresh: Any, base: Any, public: Any, out: Any, twice_d: Any) -> None:
    """Of each slot ``factor (sum of its pairs) + fresh (G, P)``: the same operations whatever its entries are.

    Args:
        entries: ``[slots, tables]``, places in ``pairs``; the caller made sure that they are there.
        pairs: cached ``[entries, 2, 4, 5]``.
        factors, fresh: scalars, 4 words each.
        base, public: ``windows`` of G and P.
        out: ``[2, slots, 4, 5]``.
    """
    table, step, digits = np.empty((8, 4, 5), np.uint64), np.empty((4, 5), np.uint64), np.empty(64, np.int64)
    for i in range(entries.shape[0]):
        signed_digits(factors[i], digits)
        for half in range(2):
            p = out[half, i]
            neutral(p)
            for j in range(entries.shape[1]):
                add_cached(p, pairs[entries[i, j], half], False)
            multiply(p, digits, table, step, twice_d)
        add_multiple(out[0, i], fresh[i], base)
        add_multiple(out[1, i], fresh[i], public)
