"""SEAL behind four verbs: make a context, save, load, build a polynomial. Nothing else touches SEAL's files.

SEAL's Python face reads and writes *paths* only. What passes through here may be a secret key, so the path is an
anonymous memory file (``memfd_create``), or, where a platform has none, a file in a directory only this user may
enter, removed at once.
"""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import tenseal.sealapi as seal
from numpy.typing import NDArray

from twinward_crypto.errors import MalformedBundle, ParameterError

_HEADER = struct.Struct("<HBBBBHQ")
_MAGIC = 0xA15E
HEADER_SIZE = 16
_UNCOMPRESSED = 0

# What SEAL's C++ exceptions arrive as.
SEAL_ERRORS = (RuntimeError, ValueError, IndexError, OverflowError, MemoryError, OSError)


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


def save(thing: Any) -> bytes:
    """The bytes of a SEAL object."""
    with _scratch() as path:
        thing.save(str(path))
        return path.read_bytes()


def load(kind: type[Any], seal_context: Any, data: bytes) -> Any:
    """A SEAL object from bytes whose framing ``wire`` has already bounded.

    Raises:
        MalformedBundle: SEAL does not accept the bytes for this context.
    """
    made = kind()
    with _scratch() as path:
        path.write_bytes(data)
        try:
            made.load(seal_context, str(path))
        except SEAL_ERRORS as error:
            raise MalformedBundle(f"not a valid {kind.__name__} for these parameters") from error
    return made


def polynomial(seal_context: Any, coefficients: NDArray[np.uint64]) -> Any:
    """A BFV plaintext with these coefficients, constant term first.

    It is written in SEAL's own uncompressed format (parms_id, coeff_count, scale, data) and loaded: SEAL checks it as
    it checks any other input, and that is some 25 times faster than the hexadecimal string its Python face offers.
    """
    data = np.ascontiguousarray(coefficients, dtype="<u8").tobytes()
    inner = HEADER_SIZE + 8 + len(data)
    outer = HEADER_SIZE + 32 + 8 + 8 + inner
    framed = b"".join(
        (
            header(outer),
            bytes(32),
            struct.pack("<Qd", len(coefficients), 1.0),
            header(inner),
            struct.pack("<Q", len(coefficients)),
            data,
        )
    )
    return load(seal.Plaintext, seal_context, framed)


def coefficients(plaintext: Any, count: int) -> NDArray[np.int64]:
    """The first ``count`` coefficients of a plaintext; SEAL drops trailing zeros, so they are put back."""
    present = min(count, plaintext.coeff_count())
    values = np.zeros(count, dtype=np.int64)
    values[:present] = [plaintext[i] for i in range(present)]
    return values


def header(size: int) -> bytes:
    """SEAL's 16 bytes before an uncompressed object of ``size`` bytes, themselves included."""
    major, minor = _version()
    return _HEADER.pack(_MAGIC, HEADER_SIZE, major, minor, _UNCOMPRESSED, 0, size)


@lru_cache(maxsize=1)
def _version() -> tuple[int, int]:
    _, _, major, minor, _, _, _ = _HEADER.unpack(save(seal.Plaintext("1"))[:HEADER_SIZE])
    return major, minor


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
