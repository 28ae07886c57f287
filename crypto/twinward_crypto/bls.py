"""BLS signatures on BLS12-381: many witnesses sign one message, one short aggregate proves it.

Suite ``BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_`` of draft-irtf-cfrg-bls-signature-05: minimal public keys
(G1), proof of possession. Everything is bytes, in the compressed encoding that ZCash set:

    secret key   32   scalar, big-endian, 1 <= k < r
    public key   48   point of G1
    signature    96   point of G2 (an aggregate and a proof of possession too)

Invariants, held by every function that reads a point: exact length, canonical encoding, on the curve, in the
subgroup of order r, and never the point at infinity. What breaks them raises ``MalformedKey`` for a key
and ``InvalidSignature`` for a signature, never a backend's own error.

``fast_aggregate_verify`` is safe only for keys whose possession was proven (``verify_possession``): without it a
rogue key cancels the others out. The curve arithmetic is arkworks', differential-tested against py_ecc's
``G2ProofOfPossession``; it is not constant-time, so a secret key belongs on a machine that is not shared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from py_arkworks_bls12381 import GT, G1Point, G2Point, Scalar

from twinward_crypto.errors import InvalidSignature, MalformedKey

SECRET_KEY_SIZE_BYTES: Final = 32
PUBLIC_KEY_SIZE_BYTES: Final = 48
SIGNATURE_SIZE_BYTES: Final = 96
G1_POINT_SIZE_BYTES: Final = 128
G2_POINT_SIZE_BYTES: Final = 256

SIGNATURE_DST: Final = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
"""Domain of messages (draft-irtf-cfrg-bls-signature-05, 4.2.3)."""
POSSESSION_DST: Final = b"BLS_POP_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
"""Domain of proofs of possession, so that no message signature can pass for one."""

ORDER: Final = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
"""r, the order of G1 and G2."""

_KEYGEN_SALT: Final = b"BLS-SIG-KEYGEN-SALT-"
_KEYGEN_BYTES: Final = 48  # ceil(1.5 * ceil(log2(r)) / 8): enough that reducing mod r leaves no bias
_COORDINATE_SIZE_BYTES: Final = 48
_EIP2537_SIZE_BYTES: Final = 64
_EIP2537_PAD: Final = bytes(_EIP2537_SIZE_BYTES - _COORDINATE_SIZE_BYTES)

_GENERATOR: Final = G1Point()
_MINUS_GENERATOR: Final = -G1Point()
_INFINITY_G1: Final = G1Point.identity()
_INFINITY_G2: Final = G2Point.identity()


def secret_key_from_seed(seed: bytes, *, key_info: bytes = b"") -> bytes:
    """Derive a secret key (KeyGen, draft-irtf-cfrg-bls-signature-05, 2.3).

    Args:
        seed: at least 32 bytes of secret randomness.
        key_info: separates several keys of one seed.

    Returns:
        32 bytes.

    Raises:
        MalformedKey: the seed is shorter than 32 bytes.
    """
    if len(seed) < SECRET_KEY_SIZE_BYTES:
        raise MalformedKey(f"a BLS seed needs at least {SECRET_KEY_SIZE_BYTES} bytes, this one has {len(seed)}")
    salt = _KEYGEN_SALT
    scalar = 0
    while scalar == 0:
        salt = _sha256(salt)
        info = key_info + _KEYGEN_BYTES.to_bytes(2, "big")
        okm = HKDF(hashes.SHA256(), _KEYGEN_BYTES, salt, info).derive(seed + b"\x00")
        scalar = int.from_bytes(okm, "big") % ORDER
    return scalar.to_bytes(SECRET_KEY_SIZE_BYTES, "big")


def public_key(secret_key: bytes) -> bytes:
    """The 48-byte public key of a secret key. Raises ``MalformedKey``."""
    return (_GENERATOR * _scalar(secret_key)).to_compressed_bytes()


def sign(secret_key: bytes, message: bytes) -> bytes:
    """Sign a message; deterministic, 96 bytes. Raises ``MalformedKey``."""
    return _sign(secret_key, message, SIGNATURE_DST)


def verify(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Accept one signer's signature.

    Raises:
        MalformedKey: the public key is no usable point.
        InvalidSignature: the signature is malformed or not this key's over this message.
    """
    _check([(_read_public_key(public_key), _hash(message, SIGNATURE_DST))], signature)


def aggregate(signatures: Sequence[bytes]) -> bytes:
    """Add signatures up into one of 96 bytes. Raises ``InvalidSignature`` for none or a malformed one."""
    if not signatures:
        raise InvalidSignature("there is no signature to aggregate")
    total = _INFINITY_G2
    for signature in signatures:
        total += _read_signature(signature)
    return total.to_compressed_bytes()


def fast_aggregate_verify(public_keys: Sequence[bytes], message: bytes, signature: bytes) -> None:
    """Accept an aggregate of many signers over one message. Possession of every key must have been proven before.

    Raises:
        MalformedKey: a public key is no usable point.
        InvalidSignature: no keys, keys that cancel out, a malformed aggregate, or one that does not verify.
    """
    if not public_keys:
        raise InvalidSignature("an aggregate needs at least one public key")
    total = _INFINITY_G1
    for key in public_keys:
        total += _read_public_key(key)
    if total == _INFINITY_G1:
        raise InvalidSignature("the public keys cancel out")
    _check([(total, _hash(message, SIGNATURE_DST))], signature)


def aggregate_verify(public_keys: Sequence[bytes], messages: Sequence[bytes], signature: bytes) -> None:
    """Accept an aggregate in which signer i signed message i.

    Raises:
        MalformedKey: a public key is no usable point.
        InvalidSignature: no keys, another number of messages, a malformed aggregate, or one that does not verify.
    """
    if not public_keys or len(public_keys) != len(messages):
        raise InvalidSignature(f"{len(public_keys)} public keys for {len(messages)} messages")
    pairs = [
        (_read_public_key(key), _hash(message, SIGNATURE_DST))
        for key, message in zip(public_keys, messages, strict=True)
    ]
    _check(pairs, signature)


def prove_possession(secret_key: bytes) -> bytes:
    """Prove that the secret key of ``public_key(secret_key)`` is held (PopProve, 3.3.2). 96 bytes."""
    return _sign(secret_key, public_key(secret_key), POSSESSION_DST)


def verify_possession(public_key: bytes, proof: bytes) -> None:
    """Accept a proof of possession (PopVerify, 3.3.3).

    Raises:
        MalformedKey: the public key is no usable point.
        InvalidSignature: the proof is malformed or not this key's.
    """
    _check([(_read_public_key(public_key), _hash(public_key, POSSESSION_DST))], proof)


def public_key_to_eip2537(public_key: bytes) -> bytes:
    """A public key as the chain's precompiles read it: x ‖ y, 64 bytes each (EIP-2537). Raises ``MalformedKey``."""
    return _pad(_read_public_key(public_key).to_xy_bytes_be())


def signature_to_eip2537(signature: bytes) -> bytes:
    """A signature as the chain's precompiles read it: x.c0 ‖ x.c1 ‖ y.c0 ‖ y.c1, 64 bytes each (EIP-2537).

    Raises:
        InvalidSignature: the signature is malformed.
    """
    return _pad(_read_signature(signature).to_xy_bytes_be())


def public_key_from_eip2537(point: bytes) -> bytes:
    """The 48-byte form of a public key read from the chain (128 bytes). Raises ``MalformedKey``."""
    if len(point) != G1_POINT_SIZE_BYTES:
        raise MalformedKey(f"a G1 point has {G1_POINT_SIZE_BYTES} bytes, this one {len(point)}")
    halves = (point[:_EIP2537_SIZE_BYTES], point[_EIP2537_SIZE_BYTES:])
    if any(half[: len(_EIP2537_PAD)] != _EIP2537_PAD for half in halves):
        raise MalformedKey("a coordinate is out of range")
    try:
        key = G1Point.from_xy_bytes_be(b"".join(half[len(_EIP2537_PAD) :] for half in halves))
    except ValueError as error:
        raise MalformedKey("not a point of G1") from error
    if key == _INFINITY_G1:
        raise MalformedKey("a public key may not be the point at infinity")
    return key.to_compressed_bytes()


def _sign(secret_key: bytes, message: bytes, dst: bytes) -> bytes:
    return (_hash(message, dst) * _scalar(secret_key)).to_compressed_bytes()


def _check(pairs: Sequence[tuple[G1Point, G2Point]], signature: bytes) -> None:
    """e(-g, signature) * prod e(key_i, H(message_i)) = 1, in one multi-pairing."""
    point = _read_signature(signature)
    if not GT.pairing_check([_MINUS_GENERATOR, *(key for key, _ in pairs)], [point, *(hashed for _, hashed in pairs)]):
        raise InvalidSignature("the signature does not verify")


def _hash(message: bytes, dst: bytes) -> G2Point:
    return G2Point.hash_to_curve(message, dst)


def _scalar(secret_key: bytes) -> Scalar:
    if len(secret_key) != SECRET_KEY_SIZE_BYTES:
        raise MalformedKey(f"a BLS secret key has {SECRET_KEY_SIZE_BYTES} bytes, this one {len(secret_key)}")
    try:
        scalar = Scalar.from_be_bytes(secret_key)
    except ValueError:
        # The backend's message may quote the scalar: it is not chained.
        raise MalformedKey("a BLS secret key is out of range") from None
    if scalar.is_zero():
        raise MalformedKey("a BLS secret key may not be zero")
    return scalar


def _read_public_key(data: bytes) -> G1Point:
    if len(data) != PUBLIC_KEY_SIZE_BYTES:
        raise MalformedKey(f"a BLS public key has {PUBLIC_KEY_SIZE_BYTES} bytes, this one {len(data)}")
    try:
        point = G1Point.from_compressed_bytes(data)
    except ValueError as error:
        raise MalformedKey("a BLS public key is not a point of the subgroup G1") from error
    if point == _INFINITY_G1:
        raise MalformedKey("a BLS public key may not be the point at infinity")
    if point.to_compressed_bytes() != data:
        raise MalformedKey("a BLS public key is not canonically encoded")
    return point


def _read_signature(data: bytes) -> G2Point:
    if len(data) != SIGNATURE_SIZE_BYTES:
        raise InvalidSignature(f"a BLS signature has {SIGNATURE_SIZE_BYTES} bytes, this one {len(data)}")
    try:
        point = G2Point.from_compressed_bytes(data)
    except ValueError as error:
        raise InvalidSignature("a BLS signature is not a point of the subgroup G2") from error
    if point == _INFINITY_G2:  # no honest signature is, and arkworks reads many byte strings as it
        raise InvalidSignature("a BLS signature may not be the point at infinity")
    if point.to_compressed_bytes() != data:
        raise InvalidSignature("a BLS signature is not canonically encoded")
    return point


def _pad(coordinates: bytes) -> bytes:
    parts = range(0, len(coordinates), _COORDINATE_SIZE_BYTES)
    return b"".join(_EIP2537_PAD + coordinates[start : start + _COORDINATE_SIZE_BYTES] for start in parts)


def _sha256(data: bytes) -> bytes:
    digest = hashes.Hash(hashes.SHA256())
    digest.update(data)
    return digest.finalize()
