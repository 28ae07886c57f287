"""Deriving keys from keys: the NIST SP 800-108r1 counter-mode KDF over HMAC-SHA512, one block.

Every derived value of the house comes from here. The message that HMAC sees is

    0x00000001 ‖ label ‖ 0x00 ‖ context ‖ [L]32

with the block counter first, as SP 800-108r1 section 4.1 writes it, and L the output length in **bits** as a 32-bit
big-endian integer. Labels are ASCII constants without a zero byte, so the 0x00 ends them unambiguously; contexts are
built by ``length_prefixed``. Keys are always 32 bytes: HMAC pads shorter keys with zeros, so letting lengths vary
would give two keys one meaning.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.hmac import HMAC

from twinward_crypto.errors import MalformedKey, ParameterError

KEY_BYTES = 32
BLOCK_BYTES = 64
"""Output of HMAC-SHA512; one block is all that is ever asked for."""

RandomBytes = Callable[[int], bytes]
"""A source of random bytes, ``os.urandom`` unless a test says otherwise."""

_FIRST_BLOCK = b"\x00\x00\x00\x01"
_LENGTHS = tuple(length.to_bytes(4, "big") for length in range(256))
"""Looked up, not made: a rotation writes lengths by the million."""


def derive(key: bytes, label: bytes, context: bytes, *, length: int = KEY_BYTES) -> bytes:
    """Derive ``length`` (1 to 64) bytes from a 32-byte key.

    Args:
        key: 32 bytes.
        label: what the output is for; a named constant without a zero byte.
        context: which one of those it is, e.g. ``length_prefixed(...)``.
        length: bytes wanted. L enters the computation: outputs of two lengths have nothing in common.

    Raises:
        MalformedKey: the key is not 32 bytes.
        ParameterError: a label with a zero byte, or a length out of range.
    """
    require_key(key)
    return hmac.digest(key, block_input(label, context, length), "sha512")[:length]


class AbsorbedKey:
    """``derive`` for many contexts under one key, which HMAC absorbs once: half the time. Threads may share it."""

    __slots__ = ("_keyed",)

    def __init__(self, key: bytes) -> None:
        """Take the key: 32 bytes. Raises ``MalformedKey``."""
        require_key(key)
        self._keyed = HMAC(key, SHA512())

    def derive(self, label: bytes, context: bytes, *, length: int = KEY_BYTES) -> bytes:
        """As the function of this name. Raises ``ParameterError``."""
        mac = self._keyed.copy()
        mac.update(block_input(label, context, length))
        return mac.finalize()[:length]

    def __reduce__(self) -> str:
        raise TypeError("an absorbed key is a key and is not pickled")


def block_input(label: bytes, context: bytes, length: int) -> bytes:
    """What HMAC-SHA512 sees in ``derive``: for a key service that holds the key and computes the HMAC itself.

    Raises:
        ParameterError: a label with a zero byte, or a length out of range.
    """
    before, after = block_frame(label, length)
    return before + context + after


def block_frame(label: bytes, length: int) -> tuple[bytes, bytes]:
    """What stands before and after the context in ``block_input``: the same for all contexts. Raises as that."""
    if not label or 0 in label:
        raise ParameterError("a label is non-empty and holds no zero byte", part="label")
    if not 1 <= length <= BLOCK_BYTES:
        raise ParameterError(f"between 1 and {BLOCK_BYTES} bytes can be derived", part="length")
    return _FIRST_BLOCK + label + b"\x00", (8 * length).to_bytes(4, "big")


def length_prefixed(*parts: bytes) -> bytes:
    """Join parts, each after its length as a 32-bit big-endian integer. No two lists of parts give the same bytes."""
    return b"".join([(_LENGTHS[n] if (n := len(part)) < 256 else n.to_bytes(4, "big")) + part for part in parts])


def require_key(key: bytes) -> None:
    """Raise ``MalformedKey`` unless the key has 32 bytes."""
    if len(key) != KEY_BYTES:
        raise MalformedKey(f"a symmetric key has {KEY_BYTES} bytes, this one has {len(key)}")
