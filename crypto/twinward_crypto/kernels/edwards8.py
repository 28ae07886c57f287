"""Slots on edwards25519 eight at a time, where the processor multiplies 52 bits in eight lanes (AVX-512 IFMA).

The same sums and multiples as ``edwards``, so the same points: vpmadd52 gives a product's lower or upper 52 bits and
adds them to a word (Gueron and Krasnov, "Accelerating big integer arithmetic using Intel IFMA extensions", 2016). An
element of eight slots is ``[5, 8]``, a point ``[4, 5, 8]``. **Every limb is below 2^52 wherever one is read**: sums and
differences are carried at once, products twice, which leaves limbs below 2^51 + 2^8.
"""

from __future__ import annotations

from typing import Any, Final

import llvmlite.ir as ir
import numpy as np
from numba.core import types
from numba.extending import intrinsic

from twinward_crypto.kernels.compiler import called, kernel, read_only
from twinward_crypto.kernels.edwards import F0, F1, M51, signed_digits

U64 = np.uint64
LANES: Final = 8
_LANE_WORDS: Final = ir.VectorType(ir.IntType(64), LANES)


def _all(value: Any) -> Any:
    return ir.Constant(_LANE_WORDS, [int(value)] * LANES)


def _pointer(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    return context.make_array(kind)(context, builder, value=array).data


def _loaded(context: Any, builder: Any, kind: Any, array: Any) -> list[Any]:
    """An element's five limbs, out of ``[5, 8]``."""
    start, limbs = _pointer(context, builder, kind, array), []
    for k in range(5):
        at = builder.gep(start, [ir.Constant(ir.IntType(64), LANES * k)])
        limb = builder.load(builder.bitcast(at, ir.PointerType(_LANE_WORDS)))
        limb.align = 8
        limbs.append(limb)
    return limbs


def _stored(context: Any, builder: Any, kind: Any, array: Any, limbs: list[Any]) -> None:
    start = _pointer(context, builder, kind, array)
    for k in range(5):
        at = builder.gep(start, [ir.Constant(ir.IntType(64), LANES * k)])
        builder.store(limbs[k], builder.bitcast(at, ir.PointerType(_LANE_WORDS))).align = 8


def _times_19(builder: Any, x: Any) -> Any:
    """By shifts: a product of words of 64 bits takes several steps in lanes."""
    return builder.add(builder.add(builder.shl(x, _all(4)), builder.shl(x, _all(1))), x)


def _carried(builder: Any, limbs: list[Any]) -> list[Any]:
    carries = [builder.lshr(one, _all(51)) for one in limbs]
    kept = [builder.and_(one, _all(M51)) for one in limbs]
    carries = [_times_19(builder, carries[4]), *carries[:4]]
    return [builder.add(one, carry) for one, carry in zip(kept, carries, strict=True)]


class _Products:
    """Sums of products by their places: lower halves, and upper ones, which weigh twice the next place."""

    def __init__(self, builder: Any) -> None:
        self._builder = builder
        self.low, self.high = [_all(0)] * 10, [_all(0)] * 10

    def add(self, i: int, j: int, a: Any, b: Any) -> None:
        self.low[i + j] = self._half("l", self.low[i + j], a, b)
        self.high[i + j + 1] = self._half("h", self.high[i + j + 1], a, b)

    def double(self) -> None:
        for sums in (self.low, self.high):
            sums[:] = [self._builder.shl(one, _all(1)) for one in sums]

    def limbs(self) -> list[Any]:
        """Ten places below 2^56 are five below 2^61, carried twice."""
        b = self._builder
        places = [b.add(low, b.shl(high, _all(1))) for low, high in zip(self.low, self.high, strict=True)]
        return _carried(b, _carried(b, [b.add(places[k], _times_19(b, places[k + 5])) for k in range(5)]))

    def _half(self, which: str, total: Any, a: Any, b: Any) -> Any:
        kind = ir.FunctionType(_LANE_WORDS, [_LANE_WORDS] * 3)
        name = f"llvm.x86.avx512.vpmadd52{which}.uq.512"
        return self._builder.call(self._builder.module.declare_intrinsic(name, (), kind), [total, a, b])


def _multiplied(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    x, y = (_loaded(context, builder, signature.args[k], arguments[k]) for k in (1, 2))
    products = _Products(builder)
    for i in range(5):
        for j in range(5):
            products.add(i, j, x[i], y[j])
    _stored(context, builder, signature.args[0], arguments[0], products.limbs())
    return context.get_dummy_value()


def _mul(_typing: Any, to: Any, a: Any, b: Any) -> Any:
    """``to = a b``; ``to`` may be one of them."""
    return types.void(to, a, b), _multiplied


mul: Any = intrinsic(_mul)


def _squared(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    x = _loaded(context, builder, signature.args[1], arguments[1])
    products = _Products(builder)
    for i in range(5):
        for j in range(i + 1, 5):
            products.add(i, j, x[i], x[j])
    products.double()
    for i in range(5):
        products.add(i, i, x[i], x[i])
    _stored(context, builder, signature.args[0], arguments[0], products.limbs())
    return context.get_dummy_value()


def _sqr(_typing: Any, to: Any, a: Any) -> Any:
    """``to = a a``."""
    return types.void(to, a), _squared


sqr: Any = intrinsic(_sqr)


def _added(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    x, y = (_loaded(context, builder, signature.args[k], arguments[k]) for k in (1, 2))
    total = [builder.add(one, other) for one, other in zip(x, y, strict=True)]
    _stored(context, builder, signature.args[0], arguments[0], _carried(builder, total))
    return context.get_dummy_value()


def _add(_typing: Any, to: Any, a: Any, b: Any) -> Any:
    """``to = a + b``."""
    return types.void(to, a, b), _added


add: Any = intrinsic(_add)


def _subtracted(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    x, y = (_loaded(context, builder, signature.args[k], arguments[k]) for k in (1, 2))
    filled = [builder.add(one, _all(F1 if k else F0)) for k, one in enumerate(x)]
    rest = [builder.sub(one, other) for one, other in zip(filled, y, strict=True)]
    _stored(context, builder, signature.args[0], arguments[0], _carried(builder, rest))
    return context.get_dummy_value()


def _sub(_typing: Any, to: Any, a: Any, b: Any) -> Any:
    """``to = a - b``, with four times the prime added."""
    return types.void(to, a, b), _subtracted


sub: Any = intrinsic(_sub)


@called
def double(p: Any, t: Any, last: Any) -> None:
    """``p += p``; T of the ``last`` alone. ``t`` is room for nine elements, the last of them 0."""
    sqr(t[0], p[0])
    sqr(t[1], p[1])
    sqr(t[2], p[2])
    add(t[2], t[2], t[2])
    add(t[3], t[0], t[1])
    sub(t[7], t[8], t[3])
    add(t[4], p[0], p[1])
    sqr(t[4], t[4])
    sub(t[4], t[4], t[3])
    sub(t[5], t[1], t[0])
    sub(t[6], t[5], t[2])
    mul(p[0], t[4], t[6])
    mul(p[1], t[5], t[7])
    mul(p[2], t[6], t[5])
    if last:
        mul(p[3], t[4], t[7])


@called
def add_cached(p: Any, c: Any, t: Any) -> None:
    """``p += c``."""
    sub(t[0], p[1], p[0])
    mul(t[0], t[0], c[1])
    add(t[1], p[1], p[0])
    mul(t[1], t[1], c[0])
    mul(t[2], p[3], c[3])
    mul(t[3], p[2], c[2])
    sub(t[4], t[1], t[0])
    add(t[7], t[1], t[0])
    sub(t[6], t[3], t[2])
    add(t[5], t[3], t[2])
    mul(p[0], t[4], t[6])
    mul(p[1], t[5], t[7])
    mul(p[2], t[6], t[5])
    mul(p[3], t[4], t[7])


@called
def neutral(p: Any) -> None:
    """The neutral point in every lane."""
    p[:] = U64(0)
    p[1, 0] = U64(1)
    p[2, 0] = U64(1)


@called
def take(c: Any, point: Any, lane: Any) -> None:
    """A cached point, ``[4, 5]``, into a lane."""
    for a in range(4):
        for b in range(5):
            c[a, b, lane] = point[a, b]


@called
def multiples(p: Any, table: Any, c: Any, t: Any, twice_d: Any) -> None:
    """``table[8 + k] = k p`` for -8 .. 8, cached, ``[17, 8, 4, 5]``; ``p`` ends as another point."""
    for lane in range(LANES):
        for a in range(4):
            for b in range(5):
                table[8, lane, a, b] = U64(0)
        table[8, lane, 0, 0] = U64(1)
        table[8, lane, 1, 0] = U64(1)
        table[8, lane, 2, 0] = U64(2)
    for k in range(1, 9):
        add(c[0], p[1], p[0])
        sub(c[1], p[1], p[0])
        add(c[2], p[2], p[2])
        mul(c[3], p[3], twice_d)
        sub(t[0], t[8], c[3])
        for lane in range(LANES):
            some, others = table[8 + k, lane], table[8 - k, lane]
            for b in range(5):
                some[0, b], some[1, b], some[2, b], some[3, b] = (
                    c[0, b, lane], c[1, b, lane], c[2, b, lane], c[3, b, lane],
                )  # fmt: skip
                others[0, b], others[1, b], others[2, b], others[3, b] = (
                    c[1, b, lane], c[0, b, lane], c[2, b, lane], t[0, b, lane],
                )  # fmt: skip
        for lane in range(LANES):
            take(c, table[9, lane], lane)
        add_cached(p, c, t)


@called
def multiply(p: Any, digits: Any, table: Any, c: Any, t: Any, twice_d: Any) -> None:
    """``p *= scalar`` in each lane, whose 64 signed digits of base 16 are given."""
    multiples(p, table, c, t, twice_d)
    neutral(p)
    for k in range(64):
        for step in range(4):
            double(p, t, step == 3)
        for lane in range(LANES):
            take(c, table[8 + digits[lane, 63 - k], lane], lane)
        add_cached(p, c, t)


@called
def add_multiple(p: Any, scalars: Any, windows: Any, c: Any, t: Any) -> None:
    """``p += scalar base`` in each lane, by the base's ``edwards.windows``."""
    for w in range(32):
        for lane in range(LANES):
            value = (scalars[lane, w // 8] >> U64(8 * (w % 8))) & U64(255)
            take(c, windows[w, value], lane)
        add_cached(p, c, t)


@kernel(types.void(types.uint64[:, :, ::1]))
def carry(points: Any) -> None:
    """Points in place, cached ones of ``edwards`` say, whose limbs are below 2^54: below 2^52 afterwards."""
    for i in range(points.shape[0]):
        for a in range(4):
            x = points[i, a]
            for _ in range(2):
                over = x[4] >> U64(51)
                x[4] &= M51
                x[0] += U64(19) * over
                for b in range(4):
                    over = x[b] >> U64(51)
                    x[b] &= M51
                    x[b + 1] += over


@kernel(
    types.void(
        read_only("int64", 2), read_only("uint64", 4), read_only("uint64", 2), read_only("uint64", 2),
        read_only("uint64", 4), read_only("uint64", 4), types.uint64[:, :, :, ::1], read_only("uint64", 2),
    )
)  # fmt: skip
def slots(entries: Any, pairs: Any, factors: Any, fresh: Any, base: Any, public: Any, out: Any, twice_d: Any) -> None:
    """As ``edwards.slots``, of eight slots at a time: their number is a multiple of eight.

    ``pairs`` and both windows are carried, and ``twice_d`` is there in each lane.
    """
    t, p, c = np.zeros((9, 5, LANES), np.uint64), np.empty((4, 5, LANES), np.uint64), np.empty((4, 5, LANES), np.uint64)
    table, digits = np.empty((17, LANES, 4, 5), np.uint64), np.empty((LANES, 64), np.int64)
    for i in range(0, entries.shape[0], LANES):
        for lane in range(LANES):
            signed_digits(factors[i + lane], digits[lane])
        for half in range(2):
            neutral(p)
            for j in range(entries.shape[1]):
                for lane in range(LANES):
                    take(c, pairs[entries[i + lane, j], half], lane)
                add_cached(p, c, t)
            multiply(p, digits, table, c, t, twice_d)
            add_multiple(p, fresh[i : i + LANES], (base, public)[half], c, t)
            for lane in range(LANES):
                for a in range(4):
                    for b in range(5):
                        out[half, i + lane, a, b] = p[a, b, lane]
