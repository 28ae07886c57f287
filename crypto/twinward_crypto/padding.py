"""Size buckets: sealed lengths tell little about what is inside.

Padding is ISO/IEC 7816-4 (one 0x80 byte, then zeros) up to the next *Padmé* length (Nikitin et al., "Reducing Metadata
Leakage from Encrypted Files and Communication with PURBs", PoPETs 2019(4), section 4): a length keeps only its
leading bits, so a length of L leaks O(log log L) bits and costs at most 12 % more. Everything shorter than
``FLOOR_BYTES`` shares one bucket, because that is where short answers (yes, no, positive) would tell themselves apart.

Padding goes on before sealing and comes off after opening, so there is no padding oracle. Data is not compressed.
"""

from __future__ import annotations

from twinward_crypto.envelope import MAX_PLAINTEXT_BYTES
from twinward_crypto.errors import OpenError, ParameterError

FLOOR_BYTES = 256
_MARK = b"\x80"

MAX_PADDABLE_BYTES = MAX_PLAINTEXT_BYTES - 1
"""``MAX_PLAINTEXT_BYTES`` is a bucket itself; one byte of it is the mark."""


def bucket(length: int) -> int:
    """The smallest bucket that holds ``length`` bytes."""
    if length <= FLOOR_BYTES:
        return FLOOR_BYTES
    exponent = length.bit_length() - 1
    mask = (1 << exponent - exponent.bit_length()) - 1
    return (length + mask) & ~mask


def pad(plaintext: bytes) -> bytes:
    """Lengthen a plaintext to its bucket.

    Raises:
        ParameterError: more than ``MAX_PADDABLE_BYTES``.
    """
    if len(plaintext) > MAX_PADDABLE_BYTES:
        raise ParameterError(f"at most {MAX_PADDABLE_BYTES} bytes", part="plaintext")
    return (plaintext + _MARK).ljust(bucket(len(plaintext) + 1), b"\x00")


def unpad(padded: bytes) -> bytes:
    """Take the padding off again.

    Raises:
        OpenError: no mark, or a length that ``pad`` would not have chosen.
    """
    marked = padded.rstrip(b"\x00")
    if not marked.endswith(_MARK) or len(padded) != bucket(len(marked)):
        raise OpenError
    return marked[:-1]
