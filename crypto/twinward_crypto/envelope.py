"""``TE1``: one record sealed under a key that is used once.

    offset  bytes  field
    0       1      version      0x01
    1       1      suite        0x01: SP 800-108 counter KDF with HMAC-SHA512, AES-256-GCM
    2       1      flags        0x00
    3       1      reserved     0x00
    4       4      generation   of the key, unsigned big-endian
    8       24     nonce        random
    32      32     commitment   to key, nonce and context
    64      n      ciphertext   as long as the plaintext
    64 + n  16     GCM tag

The 64 bytes before the ciphertext are the *prelude*. With ``aad`` the caller's context (a ``RecordContext``, say):

    okm = HMAC-SHA512(key, 0x00000001 ‖ "twinward/TE1" ‖ 0x00 ‖ nonce ‖ aad ‖ [512]32)
    record key = okm[0:32], commitment = okm[32:64]
    ciphertext ‖ tag = AES-256-GCM(record key, nonce = 0^12, associated data = prelude, plaintext)

**Why a zero GCM nonce is safe.** GCM breaks when one (key, nonce) pair seals two messages. Here the GCM key itself is
fresh: it is a pseudo-random function of a 192-bit random nonce, so two records share a record key only if their
nonces collide, which after 2**64 records under one category key has a chance below 2**-64.

**Why the commitment.** GCM does not commit to its key: one ciphertext can be made to open under two keys. The
commitment is a 256-bit hash of (key, nonce, aad), compared in constant time *before* anything is decrypted, so a
ciphertext opens under one key and one context only and no partitioning oracle exists.

Order of checks on opening: lengths, fixed header bytes, commitment, GCM tag. All failures are one ``OpenError``.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from twinward_crypto.errors import OpenError, ParameterError
from twinward_crypto.kdf import KEY_BYTES, AbsorbedKey, RandomBytes, block_frame, derive, require_key

VERSION = 1
SUITE_HMAC_SHA512_AES_256_GCM = 1

LABEL = b"twinward/TE1"
HEADER_BYTES = 8
NONCE_BYTES = 24
COMMITMENT_BYTES = 32
TAG_BYTES = 16
PRELUDE_BYTES = HEADER_BYTES + NONCE_BYTES + COMMITMENT_BYTES
OKM_BYTES = KEY_BYTES + COMMITMENT_BYTES
OVERHEAD_BYTES = PRELUDE_BYTES + TAG_BYTES

MAX_PLAINTEXT_BYTES = 64 * 1024 * 1024
"""Far below GCM's 2**36 - 32; keeps one record's memory bounded. Larger things are stored in parts."""

MAX_AAD_BYTES = 64 * 1024
MAX_GENERATION = 0xFFFFFFFF

_FIXED = bytes((VERSION, SUITE_HMAC_SHA512_AES_256_GCM, 0, 0))
_ZERO_NONCE = bytes(12)  # safe because the record key is used once: see the module docstring


def seal(key: bytes, plaintext: bytes, aad: bytes, *, nonce: bytes | None = None, generation: int = 0) -> bytes:
    """Seal a plaintext; the result is ``OVERHEAD_BYTES`` (80) longer.

    Args:
        key: 32 bytes.
        plaintext: at most ``MAX_PLAINTEXT_BYTES``. Its length shows: see ``padding``.
        aad: the context, at most ``MAX_AAD_BYTES``. It is not stored; opening needs the very same bytes.
        nonce: 24 bytes, **for test vectors only**. Two plaintexts under one key, context and nonce reveal each other.
        generation: which generation of the key this is, kept in the header in the clear.

    Raises:
        MalformedKey: the key is not 32 bytes.
        ParameterError: a part of the wrong length or range.
    """
    _require_bounds(plaintext, aad, generation)
    if nonce is None:
        nonce = os.urandom(NONCE_BYTES)
    elif len(nonce) != NONCE_BYTES:
        raise ParameterError(f"a nonce has {NONCE_BYTES} bytes", part="nonce")
    # The nonce's length is fixed, so nonce ‖ aad splits in one way only.
    return _closed(derive(key, LABEL, nonce + aad, length=OKM_BYTES), nonce, plaintext, generation)


def seal_many(
    parts: Sequence[tuple[bytes, bytes, bytes]], *, random: RandomBytes = os.urandom, generation: int = 0
) -> list[bytes]:
    """``seal`` for many at once, in one pass and with one read of randomness: key, plaintext, context of each.

    Nothing is sealed where one part is refused. Raises as ``seal``.
    """
    for key, plaintext, aad in parts:
        require_key(key)
        _require_bounds(plaintext, aad, generation)
    digest, before, after = hmac.digest, *block_frame(LABEL, OKM_BYTES)
    header, nonces = _FIXED + generation.to_bytes(4, "big"), random(NONCE_BYTES * len(parts))
    sealed = []
    for at, (key, plaintext, aad) in enumerate(parts):
        nonce = nonces[NONCE_BYTES * at : NONCE_BYTES * (at + 1)]
        okm = digest(key, before + nonce + aad + after, "sha512")
        prelude = header + nonce + okm[KEY_BYTES:]
        sealed.append(prelude + AESGCM(okm[:KEY_BYTES]).encrypt(_ZERO_NONCE, plaintext, prelude))
    return sealed


def open_sealed(key: bytes, sealed: bytes, aad: bytes) -> bytes:
    """Open what ``seal`` made under the same key and context.

    Raises:
        MalformedKey: the key is not 32 bytes. This says nothing about ``sealed``.
        OpenError: anything else: wrong key, wrong context, altered, truncated or foreign bytes.
    """
    require_key(key)
    return _opened(derive(key, LABEL, _nonce_of(sealed, aad) + aad, length=OKM_BYTES), sealed)


class SealingKey:
    """``seal`` and ``open_sealed`` for many envelopes under one key, which is absorbed once. Threads may share it."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        """Take the key: 32 bytes. Raises ``MalformedKey``."""
        self._key = AbsorbedKey(key)

    def seal(self, plaintext: bytes, aad: bytes, *, generation: int = 0) -> bytes:
        """As ``envelope.seal``."""
        _require_bounds(plaintext, aad, generation)
        nonce = os.urandom(NONCE_BYTES)
        return _closed(self._key.derive(LABEL, nonce + aad, length=OKM_BYTES), nonce, plaintext, generation)

    def open(self, sealed: bytes, aad: bytes) -> bytes:
        """As ``open_sealed``."""
        return _opened(self._key.derive(LABEL, _nonce_of(sealed, aad) + aad, length=OKM_BYTES), sealed)

    def __reduce__(self) -> str:
        raise TypeError("a sealing key is not pickled")


def generation_of(sealed: bytes) -> int:
    """Read the key generation from a header: what to open with. It is authentic only once ``open_sealed`` returned.

    Raises:
        OpenError: not the shape of a ``TE1`` envelope.
    """
    _check_shape(sealed)
    return int.from_bytes(sealed[4:HEADER_BYTES], "big")


def _check_shape(sealed: bytes) -> None:
    if not OVERHEAD_BYTES <= len(sealed) <= OVERHEAD_BYTES + MAX_PLAINTEXT_BYTES or sealed[:4] != _FIXED:
        raise OpenError


def _require_bounds(plaintext: bytes, aad: bytes, generation: int) -> None:
    if len(plaintext) > MAX_PLAINTEXT_BYTES:
        raise ParameterError(f"at most {MAX_PLAINTEXT_BYTES} bytes are sealed at once", part="plaintext")
    if len(aad) > MAX_AAD_BYTES:
        raise ParameterError(f"at most {MAX_AAD_BYTES} bytes of context", part="aad")
    if not 0 <= generation <= MAX_GENERATION:
        raise ParameterError("a generation is an unsigned 32-bit number", part="generation")


def _closed(okm: bytes, nonce: bytes, plaintext: bytes, generation: int) -> bytes:
    prelude = _FIXED + generation.to_bytes(4, "big") + nonce + okm[KEY_BYTES:]
    return prelude + AESGCM(okm[:KEY_BYTES]).encrypt(_ZERO_NONCE, plaintext, prelude)


def _nonce_of(sealed: bytes, aad: bytes) -> bytes:
    """The nonce, once lengths and fixed bytes are right."""
    _check_shape(sealed)
    if len(aad) > MAX_AAD_BYTES:
        raise OpenError
    return sealed[HEADER_BYTES : HEADER_BYTES + NONCE_BYTES]


def _opened(okm: bytes, sealed: bytes) -> bytes:
    prelude = sealed[:PRELUDE_BYTES]
    if not hmac.compare_digest(okm[KEY_BYTES:], prelude[HEADER_BYTES + NONCE_BYTES :]):
        raise OpenError
    try:
        return AESGCM(okm[:KEY_BYTES]).decrypt(_ZERO_NONCE, sealed[PRELUDE_BYTES:], prelude)
    except InvalidTag:
        raise OpenError from None
