"""The gate opens scores by kernels, where a plan has two primes of at most 36 bits. SEAL is oracle and fallback.

A score ``(c0, c1, c2)`` is ``c0 + c1 s + c2 s^2`` in transformed form; transformed back and composed out of both primes
it is the scaled polynomial whose values at the odd powers of a 2N-th root of unity are the slots (Cheon et al.,
"Homomorphic encryption for arithmetic of approximate numbers", 2017). Slot i stands at the power 3^i, as SEAL has it.
"""

from __future__ import annotations

from functools import lru_cache
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from twinward_crypto.homomorphic import limbs
from twinward_crypto.homomorphic.limbs import Ring
from twinward_crypto.homomorphic.residues import Residues, unpack
from twinward_crypto.homomorphic.seal_format import Form

_GENERATOR = 3


class KernelOpener:
    """One secret key's tables.

    Args:
        kernels, transforms: families ``ckks`` and ``bfv``.
        form: what each score is.
        secret: the key's residues modulo both primes, transformed: ``uint64[2, n]``.
    """

    def __init__(self, kernels: ModuleType, transforms: ModuleType, form: Form, secret: NDArray[np.uint64]) -> None:
        self._kernels, self._transforms, self._form = kernels, transforms, form
        self._rings = [_ring(form.degree, prime) for prime in form.moduli]
        self._constants = [limbs.constants(prime, 18) for prime in form.moduli]
        self._secret = [_with_square(row, prime) for row, prime in zip(secret, form.moduli, strict=True)]
        first, second = form.moduli
        inverse = pow(first, -1, second)
        self._both = np.array([first, second, inverse, (inverse << 64) // second], dtype=np.uint64)

    def slots(self, part: bytes) -> NDArray[np.float64]:
        """The numbers of one score, ``float64[n / 2]``. Raises ``MalformedBundle``: a part of another form."""
        form = self._form
        return self._decoded(self._phase(unpack(part, form.moduli, form.degree, form.polynomials)))

    def _phase(self, score: Residues) -> NDArray[np.float64]:
        """Decrypted: the scaled polynomial's coefficients."""
        values = np.empty((2, self._form.degree), dtype=np.uint64)
        for k, ring in enumerate(self._rings):
            row = np.ascontiguousarray(score[:, k])
            self._kernels.phase(row, self._secret[k], values[k], self._constants[k])
            ring.transform_back(self._transforms, values[k : k + 1])
        made = np.empty(self._form.degree)
        self._kernels.composed(values, made, self._both)
        return made

    def _decoded(self, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
        twist, places = _slot_tables(self._form.degree)
        values: NDArray[np.float64] = np.fft.ifft(coefficients * twist).real[places]
        return values * (self._form.degree / self._form.scale)


@lru_cache(maxsize=4)
def _ring(degree: int, prime: int) -> Ring:
    return Ring(degree, prime)


@lru_cache(maxsize=2)
def _slot_tables(degree: int) -> tuple[NDArray[np.complex128], NDArray[np.int64]]:
    """Powers of the 2n-th root of unity, and at which odd power each slot stands."""
    places = [pow(_GENERATOR, slot, 2 * degree) // 2 for slot in range(degree // 2)]
    return np.exp(1j * np.pi * np.arange(degree) / degree), np.array(places)


def _with_square(row: NDArray[np.uint64], prime: int) -> NDArray[np.uint64]:
    """``[2, 2, n]``: s and its square, each with ``floor(s 2^64 / prime)``."""
    values = [int(one) for one in row]
    powers = [values, [one * one % prime for one in values]]
    return np.array([[one, [(value << 64) // prime for value in one]] for one in powers], dtype=np.uint64)
