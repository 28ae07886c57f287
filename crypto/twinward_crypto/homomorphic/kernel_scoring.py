"""One query against blocks by kernels, the same bits as SEAL's evaluator gives: vendor-key over one prime, and gated.

What a stranger sent, coefficients and seeds, was cut to its exact length by ``wire``; it is checked here once more
against its prime before a kernel computes with it.
"""

from __future__ import annotations

import hashlib
import struct
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from twinward_crypto.errors import MalformedBundle
from twinward_crypto.homomorphic import _seal, limbs, parts
from twinward_crypto.homomorphic.limbs import Limbs
from twinward_crypto.homomorphic.parameters import Plan
from twinward_crypto.homomorphic.residues import Residues
from twinward_crypto.homomorphic.seal_format import SEED_BYTES, Form

_WORDS = 512
_NODE = (8 * _WORDS) << 32  # BLAKE2Xb's root says in its node offset how long the whole will be


class BfvQuery:
    """A vendor's query in transformed form, ready for blocks.

    Raises:
        MalformedBundle: a part of another length, or a coefficient that is not below its prime.
    """

    def __init__(self, kernels: ModuleType, plan: Plan, forms: list[Form], pieces: tuple[bytes, ...]) -> None:
        self._kernels, self._plan, self._ring = kernels, plan, limbs.ring(plan)
        (self._bits,) = plan.profile.modulus_bits
        self._constants = limbs.constants(self._ring.prime, limbs.LIMB_BITS)
        n, whole = plan.profile.degree, -(-len(pieces) // 4) * 4
        query = np.zeros((2, whole, n), dtype=np.uint64)
        for k, (form, piece) in enumerate(zip(forms, pieces, strict=True)):
            self._read(form, piece, query[:, k])
        for half in query:
            self._ring.transform(kernels, half)
        self._query = limbs.split(query)
        self._factors = len(pieces)

    def answer(self, block: Limbs, clear: NDArray[np.int64]) -> bytes:
        """A block's part of the answer; ``clear`` is what is added to each coefficient."""
        n, t, prime = self._plan.profile.degree, self._plan.plain_modulus, self._ring.prime
        total = np.empty((2, n), dtype=np.uint64)
        low, high = (one[: self._factors] for one in block)
        self._kernels.products(*self._query, low, high, total, self._constants)
        if not total[1].any():
            raise MalformedBundle("a query that cannot be scored")
        self._ring.transform_back(self._kernels, total)
        added = np.ascontiguousarray(clear % t).astype(np.uint64)
        self._kernels.add_plain(total[0], added, prime // t, prime % t, t.bit_length() - 1, prime)
        return limbs.packed(total.reshape(-1), self._bits)

    def _read(self, form: Form, piece: bytes, into: NDArray[np.uint64]) -> None:
        """Both polynomials of a seeded ciphertext: one that came, one that its seed makes."""
        if len(piece) != parts.size(form):
            raise MalformedBundle("polynomials of another length")
        end = len(piece) - SEED_BYTES
        if not limbs.unpacked(piece[:end], self._bits, self._ring.prime, into[0]):
            raise MalformedBundle("a coefficient that is not below its prime")
        if not self._expand(piece[end:], into[1]):
            made = _seal.save(parts.ciphertext(self._plan, form, piece))
            into[1] = _seal.ciphertext_form(self._plan, _seal.Level.FIRST).read(made)[0][1, 0]
        if not into[1].any():
            raise MalformedBundle("a part that is not a freshly encrypted feature")

    def _expand(self, seed: bytes, into: NDArray[np.uint64]) -> bool:
        """As SEAL's ``sample_poly_uniform`` over its BLAKE2Xb; False where that would draw again (2^-10 or rarer)."""
        for k in range(len(into) // _WORDS):
            node = struct.pack("<Q", k)
            root = hashlib.blake2b(node, key=seed, digest_size=64, node_offset=_NODE).digest()
            self._kernels.expand(np.frombuffer(root, "<u8"), into[_WORDS * k : _WORDS * (k + 1)])
        return bool(self._kernels.uniform(into, self._ring.prime))


class CkksQuery:
    """A gated query, ready for blocks.

    Raises:
        MalformedBundle: a part of another length, one that is transparent, or a coefficient not below its prime.
    """

    def __init__(self, kernels: ModuleType, plan: Plan, forms: list[Form], pieces: tuple[bytes, ...]) -> None:
        self._kernels, self._moduli = kernels, forms[0].moduli
        self._constants = [limbs.constants(prime, 18) for prime in self._moduli]
        *factors, offset = (_unpacked(form, piece) for form, piece in zip(forms, pieces, strict=True))
        self.factors, n = len(factors), plan.profile.degree
        self._query = np.zeros((len(self._moduli), self.factors + self.factors % 2, 2, 2, n), dtype=np.uint32)
        for j, one in enumerate(factors):
            by_prime = one.transpose(1, 0, 2)
            self._query[:, j, :, 0] = by_prime & np.uint64((1 << 18) - 1)
            self._query[:, j, :, 1] = by_prime >> np.uint64(18)
        self._offset = np.ascontiguousarray(offset.transpose(1, 0, 2))

    def answer(self, block: Limbs, norms: Residues | None) -> bytes:
        """A block's part of the answer: ``norms`` are ``uint64[primes, 2, n]``, None where the query has weights."""
        added = self._offset if norms is None else self._offset + norms
        n, made = self._offset.shape[-1], []
        total = np.empty((len(self._moduli), 3, n), dtype=np.uint64)
        for k, fixed in enumerate(self._constants):
            low, high = (one[k, : self.factors] for one in block)
            self._kernels.products(low, high, self._query[k], added[k], total[k], fixed)
        if not total[:, 1:].any():
            raise MalformedBundle("a query that cannot be scored")
        for polynomial in range(3):
            made += [limbs.packed(total[k, polynomial], prime.bit_length()) for k, prime in enumerate(self._moduli)]
        return b"".join(made)


def _unpacked(form: Form, piece: bytes) -> Residues:
    """``uint64[2, primes, n]``."""
    if len(piece) != parts.size(form):
        raise MalformedBundle("polynomials of another length")
    made, start = np.empty((form.polynomials, len(form.moduli), form.degree), dtype=np.uint64), 0
    for polynomial in made:
        for row, prime in zip(polynomial, form.moduli, strict=True):
            end = start + form.degree * prime.bit_length() // 8
            if not limbs.unpacked(piece[start:end], prime.bit_length(), prime, row):
                raise MalformedBundle("a coefficient that is not below its prime")
            start = end
    if not made[1:].any():
        raise MalformedBundle("a part that is not a freshly encrypted value")
    return made
