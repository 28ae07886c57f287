"""SEAL 4's serialisation, byte by byte: written from numbers that were checked, read field by field. No SEAL in here.

SEAL's own reader follows headers inside of headers, and unpacks what they announce: bytes made by somebody else can
end the process (tests/adversarial/similarity/test_seal_bytes.py). So SEAL is only ever given bytes that ``Form.write``
made from numbers; what others made goes through ``Form.read`` first. Integers little-endian.

Header (``SEALHeader``), 16 bytes, before every object and every object inside one::

    0   2   magic 0xA15E
    2   1   size of this header, 16
    3   2   SEAL's version, major and minor
    5   1   compression: 0 none (the only one accepted), 1 zlib, 2 zstd
    6   2   reserved, 0
    8   8   size of the object, this header included

Ciphertext and public key (``Ciphertext::save_members``), k primes, degree N::

    16  32  parms_id: which primes
    48  1   1 in number-theoretic form, else 0
    49  8   polynomials p, 2 or 3
    57  8   N
    65  8   k
    73  8   scale, float64
    81  8   correction factor, 1 (BGV alone uses it)
    89  24  header and number of coefficients p k N; of a seeded one k N
    113 ..  coefficients, 8 bytes each: polynomial by polynomial, prime by prime
    ..  81  of a seeded one: header, generator (1 byte, 1 for BLAKE2xb), seed 64; the second polynomial follows from it

Plaintext and secret key (``Plaintext::save_members``)::

    16  32  parms_id; 0 outside of number-theoretic form
    48  8   number of coefficients c
    56  8   scale, float64
    64  24  header and c
    88  ..  coefficients, 8 bytes each
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import zstandard

from twinward_crypto.errors import MalformedBundle
from twinward_crypto.homomorphic.residues import Residues, check_range

SEED_BYTES = 64

_HEADER = struct.Struct("<HBBBBHQ")
_MAGIC = 0xA15E
_MINOR_AT = 4
_UNCOMPRESSED, _ZSTD = 0, 2
_CIPHERTEXT = struct.Struct("<32sBQQQdQ")
_CORRECTION = 1
_PLAINTEXT = struct.Struct("<32sQd")
_COUNT = struct.Struct("<Q")
_BLAKE2XB = b"\x01"


@dataclass(frozen=True, slots=True)
class Form:
    """What one SEAL object must be in every field but its coefficients and its seed.

    Attributes:
        version: SEAL's, (major, minor).
        parms_id: 32 bytes that name the primes; zeros for a plaintext outside of number-theoretic form.
        moduli: the primes.
        degree: N.
        polynomials: 2 or 3; 0 for a plaintext or secret key, which holds one.
        ntt: whether a ciphertext is in number-theoretic form.
        scale: CKKS's; 1 where there is none.
        seeded: whether a ciphertext's second polynomial is a seed.
    """

    version: tuple[int, int]
    parms_id: bytes
    moduli: tuple[int, ...]
    degree: int
    polynomials: int
    ntt: bool = False
    scale: float = 1.0
    seeded: bool = False

    @property
    def stored(self) -> int:
        """Polynomials whose coefficients are written out."""
        return 1 if self.seeded or not self.polynomials else self.polynomials

    @property
    def size(self) -> int:
        """Bytes of the serialised object."""
        seed = _HEADER.size + len(_BLAKE2XB) + SEED_BYTES if self.seeded else 0
        fields = _CIPHERTEXT.size if self.polynomials else _PLAINTEXT.size
        return _HEADER.size + fields + self._array_size + seed

    def write(self, residues: Residues, seed: bytes = b"") -> bytes:
        """The object's bytes. ``residues`` are ``uint64[stored, primes, degree]`` and in range."""
        head, array_head, seed_head = self._frame(self.version)
        return b"".join((head, array_head, residues.astype("<u8", copy=False).tobytes(), seed_head, seed))

    def read(self, data: bytes) -> tuple[Residues, bytes]:
        """Coefficients and seed of an object that must be of this form in every byte, SEAL's minor version excepted.

        Raises:
            MalformedBundle: anything differs, or a coefficient is not below its prime.
        """
        if len(data) != self.size:
            raise MalformedBundle("a SEAL object of another size")
        head, array_head, seed_head = self._frame((self.version[0], data[_MINOR_AT]))
        fixed = len(head) + len(array_head)
        end = fixed + 8 * self.stored * len(self.moduli) * self.degree
        if data[:fixed] != head + array_head:
            raise MalformedBundle("a SEAL object of another kind or of other parameters")
        if data[end : end + len(seed_head)] != seed_head:
            raise MalformedBundle("a SEAL object whose seed is of another kind")
        residues = np.frombuffer(data, dtype="<u8", offset=fixed, count=(end - fixed) // 8)
        shaped = residues.reshape(self.stored, len(self.moduli), self.degree)
        check_range(shaped, self.moduli)
        return shaped, data[end + len(seed_head) :]

    @property
    def _array_size(self) -> int:
        return _HEADER.size + _COUNT.size + 8 * self.stored * len(self.moduli) * self.degree

    def _frame(self, version: tuple[int, int]) -> tuple[bytes, bytes, bytes]:
        """All bytes but coefficients and seed: before the array, the array's head, before the seed."""
        count = self.stored * len(self.moduli) * self.degree
        if self.polynomials:
            numbers = (self.polynomials, self.degree, len(self.moduli))
            fields = _CIPHERTEXT.pack(self.parms_id, self.ntt, *numbers, self.scale, _CORRECTION)
        else:
            fields = _PLAINTEXT.pack(self.parms_id, count, self.scale)
        info = _HEADER.size + len(_BLAKE2XB) + SEED_BYTES
        seed_head = _header(version, info) + _BLAKE2XB if self.seeded else b""
        return (
            _header(version, self.size) + fields,
            _header(version, self._array_size) + _COUNT.pack(count),
            seed_head,
        )


def _header(version: tuple[int, int], size: int) -> bytes:
    return _HEADER.pack(_MAGIC, _HEADER.size, *version, _UNCOMPRESSED, 0, size)


def version_of(saved: bytes) -> tuple[int, int]:
    """The version in what the SEAL of this process wrote."""
    _, _, major, minor, _, _, _ = _HEADER.unpack_from(saved)
    return major, minor


def uncompressed(saved: bytes, limit: int) -> bytes:
    """What SEAL saved, without its compression, which is undone here within ``limit`` bytes.

    Only for what this machine made or sealed away itself; nothing compressed travels.

    Raises:
        MalformedBundle: no SEAL object, or one that would be larger.
    """
    if len(saved) < _HEADER.size:
        raise MalformedBundle("shorter than a SEAL header")
    magic, header, major, minor, compression, reserved, size = _HEADER.unpack_from(saved)
    if (magic, header, reserved, size) != (_MAGIC, _HEADER.size, 0, len(saved)):
        raise MalformedBundle("not a SEAL object")
    if compression == _UNCOMPRESSED:
        return saved
    if compression != _ZSTD:
        raise MalformedBundle("a SEAL object compressed in another way")
    try:
        with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(saved[_HEADER.size :]) as stream:
            body = stream.read(limit + 1)
    except zstandard.ZstdError as error:
        raise MalformedBundle("a SEAL object that does not unpack") from error
    if len(body) > limit:
        raise MalformedBundle("a SEAL object that would unpack to more than it may")
    return _header((major, minor), _HEADER.size + len(body)) + body
