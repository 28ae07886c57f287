"""Sealing to somebody else's public key: HPKE (RFC 9180), base mode, single shot.

Keys and sealed values start with one byte that names the suite:

    0x01  DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM
    0x02  ML-KEM-768 + X25519 hybrid KEM (draft-ietf-hpke-pq), HKDF-SHA256, AES-256-GCM: stays closed to a recorder
          of today's traffic who owns a quantum computer later

    public key   suite u8 ‖ X25519 32                      suite u8 ‖ ML-KEM-768 1184 ‖ X25519 32
    private key  suite u8 ‖ X25519 32                      suite u8 ‖ ML-KEM-768 seed 64 ‖ X25519 32
    sealed       suite u8 ‖ encapsulated key ‖ ciphertext ‖ tag 16     (encapsulated key: 32 or 1120 bytes)

HPKE's ``info`` is ``lp("twinward/disclosure/1") ‖ lp(suite u8) ‖ lp(info) ‖ lp(aad)`` with 32-bit lengths, so the suite
byte and both of the caller's strings are bound through the key schedule; HPKE's own per-message AAD stays empty.
The sender is not authenticated by this: a receiver who must know the sender checks a signature as well.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import IntEnum

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from twinward_crypto.envelope import MAX_PLAINTEXT_BYTES
from twinward_crypto.errors import MalformedKey, OpenError, ParameterError
from twinward_crypto.kdf import length_prefixed

INFO_LABEL = b"twinward/disclosure/1"
X25519_BYTES = 32
MLKEM768_SEED_BYTES = 64
MLKEM768_PUBLIC_BYTES = 1184
MLKEM768_CIPHERTEXT_BYTES = 1088
TAG_BYTES = 16


class RecipientSuite(IntEnum):
    """What a recipient's key is made of. The value is the first byte of keys and sealed values."""

    X25519 = 1
    MLKEM768_X25519 = 2


@dataclass(frozen=True, slots=True)
class RecipientKey:
    """A recipient's key pair as bytes. ``public`` may be given away."""

    public: bytes
    private: bytes = field(repr=False)

    def __reduce__(self) -> str:
        raise TypeError("a recipient's key pair is not pickled")


_SUITES = {
    RecipientSuite.X25519: hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM),
    RecipientSuite.MLKEM768_X25519: hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM),
}
_ENCAPSULATED_BYTES = {
    RecipientSuite.X25519: X25519_BYTES,
    RecipientSuite.MLKEM768_X25519: MLKEM768_CIPHERTEXT_BYTES + X25519_BYTES,
}
_CLASSICAL = (RecipientSuite.X25519, X25519_BYTES)
_DERIVED = b"twinward/disclosure/derived/1\x00"
_MATERIAL_BYTES = 32
_PublicKey = X25519PublicKey | hpke.MLKEM768X25519PublicKey
_PrivateKey = X25519PrivateKey | hpke.MLKEM768X25519PrivateKey


def generate_recipient_key(suite: RecipientSuite = RecipientSuite.X25519) -> RecipientKey:
    """Make a key pair.

    Raises:
        ParameterError: this build of OpenSSL has no ML-KEM.
    """
    head = bytes((suite,))
    x25519 = X25519PrivateKey.generate()
    x_private, x_public = x25519.private_bytes_raw(), x25519.public_key().public_bytes_raw()
    if suite is RecipientSuite.X25519:
        return RecipientKey(public=head + x_public, private=head + x_private)
    try:
        mlkem = MLKEM768PrivateKey.generate()
    except UnsupportedAlgorithm:
        raise ParameterError("this OpenSSL has no ML-KEM-768; use RecipientSuite.X25519", part="suite") from None
    return RecipientKey(
        public=head + mlkem.public_key().public_bytes_raw() + x_public,
        private=head + mlkem.private_bytes_raw() + x_private,
    )


def derive_recipient_key(material: bytes) -> RecipientKey:
    """The key pair that follows from secret material, the same each time: hybrid where OpenSSL has ML-KEM.

    Each suite's private key is SHAKE-256 of a label, the suite and the material.

    Raises:
        ParameterError: fewer than 32 bytes of material.
    """
    if len(material) < _MATERIAL_BYTES:
        raise ParameterError(f"at least {_MATERIAL_BYTES} secret bytes are needed", part="material")
    for suite, size in ((RecipientSuite.MLKEM768_X25519, MLKEM768_SEED_BYTES + X25519_BYTES), _CLASSICAL):
        private = bytes((suite,)) + hashlib.shake_256(_DERIVED + bytes((suite,)) + material).digest(size)
        try:
            return RecipientKey(public_part(private), private)
        except MalformedKey:  # an OpenSSL before 3.5
            continue
    raise ParameterError("this OpenSSL has no X25519", part="suite")


def public_part(private: bytes) -> bytes:
    """The public key of a private one.

    Raises:
        MalformedKey: not a recipient's private key.
    """
    suite, key = _load_private(private)
    head = bytes((suite,))
    if isinstance(key, X25519PrivateKey):
        return head + key.public_key().public_bytes_raw()
    x25519 = X25519PrivateKey.from_private_bytes(private[-X25519_BYTES:])
    mlkem = MLKEM768PrivateKey.from_seed_bytes(private[1:-X25519_BYTES])
    return head + mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()


def seal_to(recipient_public: bytes, plaintext: bytes, *, info: bytes = b"", aad: bytes = b"") -> bytes:
    """Seal a plaintext so that only the holder of the recipient's private key opens it.

    Args:
        recipient_public: from ``generate_recipient_key``.
        plaintext: at most ``MAX_PLAINTEXT_BYTES``.
        info: what this disclosure is, e.g. the protocol and the study.
        aad: what this one value is bound to, e.g. a request id.

    Raises:
        MalformedKey: not a recipient's public key.
        ParameterError: the plaintext is too long.
    """
    if len(plaintext) > MAX_PLAINTEXT_BYTES:
        raise ParameterError(f"at most {MAX_PLAINTEXT_BYTES} bytes are sealed at once", part="plaintext")
    suite, key = _load_public(recipient_public)
    try:
        sealed = _SUITES[suite].encrypt(plaintext, key, _bind(suite, info, aad))
    except (ValueError, UnsupportedAlgorithm):
        # X25519 with a low-order point gives zeros, which RFC 7748 section 6.1 lets us refuse.
        raise MalformedKey("not a usable recipient public key") from None
    return bytes((suite,)) + sealed


def open_from(recipient_private: bytes, sealed: bytes, *, info: bytes = b"", aad: bytes = b"") -> bytes:
    """Open what ``seal_to`` made with the same ``info`` and ``aad``.

    Raises:
        MalformedKey: not a recipient's private key.
        OpenError: another key or context, another suite, altered or truncated bytes.
    """
    suite, key = _load_private(recipient_private)
    overhead = 1 + _ENCAPSULATED_BYTES[suite] + TAG_BYTES
    if not overhead <= len(sealed) <= overhead + MAX_PLAINTEXT_BYTES or sealed[0] != suite:
        raise OpenError
    try:
        return _SUITES[suite].decrypt(sealed[1:], key, _bind(suite, info, aad))
    except (InvalidTag, ValueError, UnsupportedAlgorithm):
        raise OpenError from None


def _bind(suite: RecipientSuite, info: bytes, aad: bytes) -> bytes:
    return length_prefixed(INFO_LABEL, bytes((suite,)), info, aad)


def _load_public(key: bytes) -> tuple[RecipientSuite, _PublicKey]:
    suite = _suite_of(key, {RecipientSuite.X25519: 0, RecipientSuite.MLKEM768_X25519: MLKEM768_PUBLIC_BYTES})
    try:
        x25519 = X25519PublicKey.from_public_bytes(key[-X25519_BYTES:])
        if suite is RecipientSuite.X25519:
            return suite, x25519
        mlkem = MLKEM768PublicKey.from_public_bytes(key[1:-X25519_BYTES])
        return suite, hpke.MLKEM768X25519PublicKey(mlkem, x25519)
    except (ValueError, UnsupportedAlgorithm):
        raise MalformedKey("not a usable recipient public key") from None


def _load_private(key: bytes) -> tuple[RecipientSuite, _PrivateKey]:
    suite = _suite_of(key, {RecipientSuite.X25519: 0, RecipientSuite.MLKEM768_X25519: MLKEM768_SEED_BYTES})
    try:
        x25519 = X25519PrivateKey.from_private_bytes(key[-X25519_BYTES:])
        if suite is RecipientSuite.X25519:
            return suite, x25519
        mlkem = MLKEM768PrivateKey.from_seed_bytes(key[1:-X25519_BYTES])
        return suite, hpke.MLKEM768X25519PrivateKey(mlkem, x25519)
    except (ValueError, UnsupportedAlgorithm):
        raise MalformedKey("not a usable recipient private key") from None


def _suite_of(key: bytes, mlkem_bytes: dict[RecipientSuite, int]) -> RecipientSuite:
    for suite, extra in mlkem_bytes.items():
        if len(key) == 1 + extra + X25519_BYTES and key[0] == suite:
            return suite
    raise MalformedKey("a recipient key starts with its suite byte and has that suite's length")
