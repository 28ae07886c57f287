"""Obfuscation-grade matrix encryption: ``trace(C T) = alpha beta <v, Q>``, and two known breaks (see the package).

A vector v of D numbers becomes ``C = M1 S diag(pi(beta v, r, 0)) M2``, a token vector Q becomes
``T = M2^-1 diag(pi(alpha Q, 0, r')) S' M1^-1``; m = D + 2, S and S' random unit lower-triangular, alpha, beta, r, r'
random and positive. The pads never meet, the triangular factors leave the diagonal's product alone, so the trace is
the scaled inner product and its sign is the test.

Well-conditioned on purpose: M1 and M2 are an orthogonal matrix times a diagonal in [0.5, 2] times another orthogonal
one, S has entries of size 1/m. Rounding stays some 1e-14 of ``|v| |Q|``, for which the tie rule of
``token`` leaves room.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

from twinward_crypto.errors import MalformedKey, ParameterError
from twinward_crypto.matrix._entropy import SYSTEM, Entropy, Indices, Reals, normals, permutation, uniforms

_MAGIC = b"TWMK"
_HEAD = struct.Struct("<4sHHd")  # magic, version, m, reach
_VERSION = 1
_CHUNK = 4096
MAX_VECTOR = 512


@dataclass(frozen=True, slots=True, eq=False)
class MatrixKey:
    """The hospital's secret for one outsourced tree.

    Attributes:
        size: m, the side of every ciphertext.
        reach: a public length by which coordinates and norms are balanced against each other.
        left, right: M1 and M2.
        order: pi, as the places the entries of a vector move to.
    """

    size: int
    reach: float
    left: Reals = field(repr=False)
    right: Reals = field(repr=False)
    order: Indices = field(repr=False)

    @classmethod
    def generate(cls, vector_size: int, reach: float, *, entropy: Entropy = SYSTEM) -> MatrixKey:
        """A fresh key for vectors of ``vector_size`` numbers (features + 3)."""
        if not 1 <= vector_size <= MAX_VECTOR or not reach > 0:
            raise ParameterError(f"1 to {MAX_VECTOR} numbers and a positive reach are expected", part="dimension")
        m = vector_size + 2
        return cls(m, reach, _well_conditioned(m, entropy), _well_conditioned(m, entropy), permutation(entropy, m))

    def encrypt(self, vectors: Reals, *, entropy: Entropy = SYSTEM) -> Reals:
        """Encrypt ``float64[k, m - 2]``; each ciphertext comes out flattened row by row, ``float64[k, m * m]``."""
        k, m = len(vectors), self.size
        made = np.empty((k, m * m))
        for start in range(0, k, _CHUNK):
            part = vectors[start : start + _CHUNK]
            count = len(part)
            padded = np.zeros((count, m))
            padded[:, :-2] = part * uniforms(entropy, 0.5, 2.0, count, 1)
            padded[:, -2] = self.reach * uniforms(entropy, 0.5, 2.0, count)
            inside = _unit_lower(count, m, entropy) * self._permuted(padded)[:, None, :]
            made[start : start + count] = (self.left @ inside @ self.right).reshape(count, m * m)
        return made

    def token(self, vector: Reals, *, entropy: Entropy = SYSTEM) -> Reals:
        """The token of Q, flattened so that ``ciphertexts @ token`` gives every trace at once: ``float64[m * m]``."""
        m = self.size
        padded = np.zeros((1, m))
        padded[0, :-2] = vector * uniforms(entropy, 0.5, 2.0, 1)
        padded[0, -1] = self.reach * uniforms(entropy, 0.5, 2.0, 1)[0]
        inside = self._permuted(padded)[0][:, None] * _unit_lower(1, m, entropy)[0]
        matrix = np.linalg.solve(self.right, inside) @ np.linalg.inv(self.left)
        return np.ascontiguousarray(matrix.T).reshape(m * m)

    def dangerously_export_secret(self) -> bytes:
        """The key itself: 16 bytes of header, pi as u16, M1 and M2 as float64. Seal it before it touches anything."""
        head = _HEAD.pack(_MAGIC, _VERSION, self.size, self.reach)
        return head + self.order.astype("<u2").tobytes() + self.left.tobytes() + self.right.tobytes()

    @classmethod
    def restore(cls, secret: bytes) -> MatrixKey:
        """The key that ``dangerously_export_secret`` gave. Raises ``MalformedKey`` for anything else."""
        if len(secret) < _HEAD.size:
            raise MalformedKey("not a matrix key")
        magic, version, m, reach = _HEAD.unpack_from(secret)
        if magic != _MAGIC or version != _VERSION or not 3 <= m <= MAX_VECTOR + 2:
            raise MalformedKey("not a matrix key")
        if len(secret) != _HEAD.size + 2 * m + 16 * m * m:
            raise MalformedKey("a matrix key of another length")
        order = np.frombuffer(secret, "<u2", m, _HEAD.size).astype(np.int64)
        both = np.frombuffer(secret, "<f8", 2 * m * m, _HEAD.size + 2 * m).reshape(2, m, m)
        if not np.array_equal(np.sort(order), np.arange(m)) or not np.isfinite(both).all():
            raise MalformedKey("not a matrix key")
        return cls(m, reach, both[0].copy(), both[1].copy(), order)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a MatrixKey does not serialise; see dangerously_export_secret")

    def _permuted(self, rows: Reals) -> Reals:
        moved = np.empty_like(rows)
        moved[:, self.order] = rows
        return moved


def _well_conditioned(m: int, entropy: Entropy) -> Reals:
    """Orthogonal, times a diagonal in [0.5, 2], times orthogonal: condition number at most 4."""
    first, _ = np.linalg.qr(normals(entropy, m, m))
    second, _ = np.linalg.qr(normals(entropy, m, m))
    matrix: Reals = np.ascontiguousarray((first * uniforms(entropy, 0.5, 2.0, m)) @ second)
    return matrix


def _unit_lower(count: int, m: int, entropy: Entropy) -> Reals:
    """Random unit lower-triangular matrices, ``float64[count, m, m]``."""
    rows, columns = np.tril_indices(m, -1)
    made = np.zeros((count, m, m))
    made[:, rows, columns] = uniforms(entropy, -2.0 / m, 2.0 / m, count, len(rows))
    made[:, np.arange(m), np.arange(m)] = 1.0
    return made
