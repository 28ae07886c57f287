"""SEAL behind a few verbs: make a context, save, load, build a polynomial. Nothing else touches SEAL's files.

SEAL's Python face reads and writes *paths* only. What passes through here may be a secret key, so the path is an
anonymous memory file (``memfd_create``), or, where a platform has none, a file in a directory only this user may
enter, removed at once.

SEAL reads only what ``seal_format.Form`` wrote: every field is ours, and every number was checked.
"""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import tenseal.sealapi as seal
from numpy.typing import NDArray

from twinward_crypto.errors import MalformedBundle, ParameterError
from twinward_crypto.homomorphic.parameters import Plan
from twinward_crypto.homomorphic.residues import Residues
from twinward_crypto.homomorphic.seal_format import Form, uncompressed, version_of

_PARMS_ID = struct.Struct("<4Q")
_OWN_MAX_BYTES = 64 << 20

# What SEAL's C++ exceptions arrive as.
SEAL_ERRORS = (RuntimeError, ValueError, IndexError, OverflowError, MemoryError, OSError)


class Level(StrEnum):
    """Which primes an object is over: all of them, those of fresh ciphertexts, or one fewer."""

    KEY = "key"
    FIRST = "first"
    NEXT = "next"


@lru_cache(maxsize=32)
def context(degree: int, modulus_bits: tuple[int, ...], plain_modulus: int) -> Any:
    """A SEAL context at 128-bit security; ``plain_modulus`` 0 means CKKS.

    Raises:
        ParameterError: SEAL rejects the numbers, for instance because they fall below 128 bits of security.
    """
    scheme = seal.SCHEME_TYPE.BFV if plain_modulus else seal.SCHEME_TYPE.CKKS
    try:
        parameters = seal.EncryptionParameters(scheme)
        parameters.set_poly_modulus_degree(degree)
        parameters.set_coeff_modulus(seal.CoeffModulus.Create(degree, list(modulus_bits)))
        if plain_modulus:
            parameters.set_plain_modulus(plain_modulus)
        made = seal.SEALContext(parameters, True, seal.SEC_LEVEL_TYPE.TC128)
    except SEAL_ERRORS as error:
        raise ParameterError("SEAL does not accept these numbers", part="profile") from error
    if not made.parameters_set():
        raise ParameterError(str(made.parameters_error_message()), part="profile")
    return made


def context_of(plan: Plan) -> Any:
    """A plan's context."""
    return context(plan.profile.degree, plan.profile.modulus_bits, plan.plain_modulus)


@lru_cache(maxsize=256)
def ciphertext_form(
    plan: Plan, level: Level, *, polynomials: int = 2, scale_bits: int = 0, seeded: bool = False
) -> Form:
    """What a plan's ciphertext, or its public key (level ``KEY``), must be. CKKS and keys are in transformed form."""
    parms_id, moduli = _primes(plan, level)
    transformed = level is Level.KEY or not plan.plain_modulus
    degree = plan.profile.degree
    return Form(_version(), parms_id, moduli, degree, polynomials, transformed, 2.0**scale_bits, seeded)


@lru_cache(maxsize=64)
def plaintext_form(plan: Plan, level: Level) -> Form:
    """What a plan's transformed plaintext, or its secret key (level ``KEY``), must be."""
    parms_id, moduli = _primes(plan, level)
    return Form(_version(), parms_id, moduli, plan.profile.degree, 0)


def save(thing: Any) -> bytes:
    """The uncompressed bytes of a SEAL object."""
    with _scratch() as path:
        thing.save(str(path))
        return uncompressed(path.read_bytes(), _OWN_MAX_BYTES)


def load(kind: type[Any], plan: Plan, form: Form, data: bytes) -> Any:
    """A SEAL object from bytes that must be of this form.

    Raises:
        MalformedBundle: they are not, or SEAL does not accept them.
    """
    return build(kind, plan, form, *form.read(data))


def build(kind: type[Any], plan: Plan, form: Form, residues: Residues, seed: bytes = b"") -> Any:
    """A SEAL object from numbers that ``Form.read`` or ``residues.unpack`` has checked. Raises ``MalformedBundle``."""
    return _read(kind, context_of(plan), form.write(residues, seed))


def polynomial(plan: Plan, coefficients: NDArray[np.uint64]) -> Any:
    """A BFV plaintext with these coefficients below t, constant term first.

    Its bytes are written and loaded, which is some 25 times faster than the hexadecimal string SEAL's Python face
    offers.
    """
    form = Form(_version(), bytes(_PARMS_ID.size), (plan.plain_modulus,), len(coefficients), 0)
    return build(seal.Plaintext, plan, form, coefficients)


def coefficients(plaintext: Any, count: int) -> NDArray[np.int64]:
    """The first ``count`` coefficients of a plaintext; SEAL drops trailing zeros, so they are put back."""
    present = min(count, plaintext.coeff_count())
    values = np.zeros(count, dtype=np.int64)
    values[:present] = [plaintext[i] for i in range(present)]
    return values


@contextmanager
def refusing(message: str) -> Iterator[None]:
    """What SEAL throws inside becomes ``MalformedBundle``."""
    try:
        yield
    except SEAL_ERRORS as error:
        raise MalformedBundle(message) from error


def _read(kind: type[Any], seal_context: Any, data: bytes) -> Any:
    made = kind()
    with _scratch() as path:
        path.write_bytes(data)
        with refusing(f"not a valid {kind.__name__} for these parameters"):
            made.load(seal_context, str(path))
    return made


@lru_cache(maxsize=64)
def _primes(plan: Plan, level: Level) -> tuple[bytes, tuple[int, ...]]:
    made = context_of(plan)
    data = made.key_context_data() if level is Level.KEY else made.first_context_data()
    if level is Level.NEXT:
        data = data.next_context_data()
    return _PARMS_ID.pack(*data.parms_id()), tuple(prime.value() for prime in data.parms().coeff_modulus())


@lru_cache(maxsize=1)
def _version() -> tuple[int, int]:
    return version_of(save(seal.Plaintext("1")))


@contextmanager
def _scratch() -> Iterator[Path]:
    if hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
        descriptor = os.memfd_create("twinward", os.MFD_CLOEXEC)
        try:
            yield Path(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
    else:
        with tempfile.TemporaryDirectory(prefix="twinward-") as folder:
            yield Path(folder) / "object"
