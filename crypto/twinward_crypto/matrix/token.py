"""Obfuscation-grade query tokens: one token decides every node and every record of an outsourced tree.

The hospital makes it, so the hospital sees the query. With levels centred on zero and R the key's reach::

    Q     = (q, R, r, (|q|^2 - r^2 - 1/2) / R)
    left  = (u, (c - left_max) / R, -1, 0)          test <v, Q> = s(q) - r - left_max <= 0
    right = (-u, (right_min - c) / R, -1, 0)        test <v, Q> = right_min - s(q) - r <= 0
    leaf  = (-2x, |x|^2 / R, 0, R)                  test <v, Q> = |x - q|^2 - r^2 - 1/2 <= 0

The tie rule: distances are whole numbers, so the extra half keeps every leaf test half a unit away from zero, and
``r`` in inner tests carries ``partition_tree.SLACK``: rounding may cost a visit, never a result.

Bytes (integers little-endian)::

    offset  size     field
    0       4        magic "TWMT"
    4       2        version, 1
    6       2        m
    8       32       binding
    40      8 m^2    T transposed, row by row, float64
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from twinward_crypto.errors import MalformedBundle, ParameterError
from twinward_crypto.matrix._entropy import SYSTEM, Entropy, Reals
from twinward_crypto.matrix.partition_tree import SLACK
from twinward_crypto.matrix.scheme import MAX_VECTOR, MatrixKey

EXTRA = 3
"""A vector has this many numbers more than there are features."""

_HEAD = struct.Struct("<4sHH32s")
_MAGIC = b"TWMT"
_VERSION = 1


@dataclass(frozen=True, slots=True, eq=False)
class Token:
    """A query as the cloud gets it: ``flat`` is ``float64[m * m]``."""

    size: int
    binding: bytes
    flat: Reals = field(repr=False)

    def encode(self) -> bytes:
        """The token's bytes."""
        return _HEAD.pack(_MAGIC, _VERSION, self.size, self.binding) + self.flat.astype("<f8").tobytes()

    @classmethod
    def decode(cls, data: bytes, *, size: int, binding: bytes) -> Token:
        """Parse a token that must be for this ciphertext size and binding. Raises ``MalformedBundle``."""
        if not 3 <= size <= MAX_VECTOR + 2 or len(data) != _HEAD.size + 8 * size * size:
            raise MalformedBundle("not a token of the expected size")
        magic, version, m, bound = _HEAD.unpack_from(data)
        if magic != _MAGIC or version != _VERSION or m != size:
            raise MalformedBundle("not a token of the expected form")
        if bound != binding:
            raise MalformedBundle("made for another schema or epoch: fetch the schema again and ask for a new token")
        flat = np.frombuffer(data, "<f8", size * size, _HEAD.size).astype(np.float64)
        if not np.isfinite(flat).all():
            raise MalformedBundle("a token with numbers that are not finite")
        return cls(size, binding, flat)


def make_token(
    key: MatrixKey,
    levels: Sequence[int],
    radius_squared: int,
    *,
    top: int,
    binding: bytes = bytes(32),
    entropy: Entropy = SYSTEM,
) -> Token:
    """A token for "every record within this squared distance".

    Args:
        key: the outsourced tree's key.
        levels: whole numbers in ``0 .. top``, one per feature.
        radius_squared: in squared levels, from 0.
        top: the schema's largest level.
        binding: ties the token to a schema and an epoch.
        entropy: where the token's masks come from.

    Raises:
        ParameterError: ``part`` is ``levels`` or ``radius_squared``.
    """
    if len(levels) != key.size - 2 - EXTRA or not all(0 <= level <= top for level in levels):
        raise ParameterError(f"{key.size - 2 - EXTRA} whole numbers from 0 to {top} are expected", part="levels")
    if radius_squared < 0:
        raise ParameterError("must not be negative", part="radius_squared")
    query = centred(np.array(levels, dtype=np.float64), top)
    last = (query @ query - radius_squared - 0.5) / key.reach
    vector = np.array([*query, key.reach, math.sqrt(radius_squared) + SLACK, last])
    return Token(key.size, binding, key.token(vector, entropy=entropy))


def centred(levels: Reals, top: int) -> Reals:
    """Levels moved to lie around zero: distances stay, norms (and so rounding) shrink."""
    return levels - top / 2


def reach_of(dimension: int, top: int) -> float:
    """The largest norm a centred vector can have; at least 1."""
    return max(1.0, top / 2 * math.sqrt(dimension))
