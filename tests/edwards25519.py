"""The group of ``twinward_crypto.feasibility`` once more, slow and obvious: RFC 8032 in integers, and exponents.

``PlainCurve`` is what libsodium's results are held against, byte for byte. ``Exponents`` stands for an element by its
logarithm, so that a test may ask what a pair encrypts; ``Counted`` notes what is asked of a group, in order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from twinward_crypto.errors import MalformedKey
from twinward_crypto.feasibility.group import ORDER, Group

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
Point = tuple[int, int, int, int]
"""Extended homogeneous coordinates (X, Y, Z, T): RFC 8032, section 5.1.4."""
NEUTRAL: Point = (0, 1, 1, 0)


def seeded(seed: str) -> Callable[[int], bytes]:
    """A stream of bytes that is the same each time: SHAKE-256 of a seed and a counter."""
    drawn = 0

    def some(size: int) -> bytes:
        nonlocal drawn
        drawn += 1
        return hashlib.shake_256(f"{seed}/{drawn}".encode()).digest(size)

    return some


def add(one: Point, other: Point) -> Point:
    """RFC 8032, section 5.1.4: complete, the same for any two points."""
    a, b = (one[1] - one[0]) * (other[1] - other[0]) % P, (one[1] + one[0]) * (other[1] + other[0]) % P
    c, d = 2 * one[3] * other[3] * D % P, 2 * one[2] * other[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiple(scalar: int, point: Point) -> Point:
    """Double and add."""
    found = NEUTRAL
    while scalar:
        if scalar & 1:
            found = add(found, point)
        point, scalar = add(point, point), scalar >> 1
    return found


def encode(point: Point) -> bytes:
    """RFC 8032, section 5.1.2."""
    inverse = pow(point[2], -1, P)
    return (point[1] * inverse % P | (point[0] * inverse % P & 1) << 255).to_bytes(32, "little")


def decode(data: bytes) -> Point:
    """RFC 8032, section 5.1.3, and nothing but the canonical encoding. Raises ``MalformedKey``."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & (1 << 255) - 1
    if len(data) != 32 or y >= P:
        raise MalformedKey("encoding")
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P or (x == 0 and sign):
        raise MalformedKey("curve")
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


BASE = decode(bytes.fromhex("58" + "66" * 31))


class PlainCurve:
    """Implements ``Group``."""

    def require_element(self, point: bytes) -> None:
        """On the curve, canonical, of the prime order."""
        found = decode(point)
        if encode(found) == encode(NEUTRAL) or encode(multiple(ORDER, found)) != encode(NEUTRAL):
            raise MalformedKey("subgroup")

    def add(self, one: bytes, other: bytes) -> bytes:
        """The sum."""
        return encode(add(decode(one), decode(other)))

    def multiply(self, scalar: bytes, point: bytes) -> bytes:
        """The multiple."""
        return encode(multiple(int.from_bytes(scalar, "little"), decode(point)))

    def multiply_base(self, scalar: bytes) -> bytes:
        """The multiple of the base point."""
        return encode(multiple(int.from_bytes(scalar, "little"), BASE))


class Exponents:
    """Implements ``Group``: an element is its logarithm to the base point."""

    def require_element(self, point: bytes) -> None:
        """Not neutral, below the order."""
        if len(point) != 32 or not 0 < int.from_bytes(point, "little") < ORDER:
            raise MalformedKey("no element")

    def add(self, one: bytes, other: bytes) -> bytes:
        """The sum."""
        return ((int.from_bytes(one, "little") + int.from_bytes(other, "little")) % ORDER).to_bytes(32, "little")

    def multiply(self, scalar: bytes, point: bytes) -> bytes:
        """The multiple; as libsodium, not of the neutral element and not neutral."""
        found = int.from_bytes(scalar, "little") * int.from_bytes(point, "little") % ORDER
        if not found:
            raise MalformedKey("a multiple that is neutral")
        return found.to_bytes(32, "little")

    def multiply_base(self, scalar: bytes) -> bytes:
        """The multiple of the base point."""
        return self.multiply(scalar, (1).to_bytes(32, "little"))


@dataclass
class Counted:
    """Implements ``Group`` over another one; ``calls`` are the names of what was asked, in order."""

    group: Group = field(default_factory=Exponents)
    calls: list[str] = field(default_factory=list)

    def require_element(self, point: bytes) -> None:
        """Counted."""
        self.calls.append("require_element")
        self.group.require_element(point)

    def add(self, one: bytes, other: bytes) -> bytes:
        """Counted."""
        self.calls.append("add")
        return self.group.add(one, other)

    def multiply(self, scalar: bytes, point: bytes) -> bytes:
        """Counted."""
        self.calls.append("multiply")
        return self.group.multiply(scalar, point)

    def multiply_base(self, scalar: bytes) -> bytes:
        """Counted."""
        self.calls.append("multiply_base")
        return self.group.multiply_base(scalar)
