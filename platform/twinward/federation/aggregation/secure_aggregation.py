"""A sum that nobody sees the parts of: pairwise one-time masks modulo 2^64, cancelling over all hospitals.

After Bonawitz et al. 2017 (CCS), protocol 1, without recovery: a round in which anybody drops out is aborted, never
opened in part. (Shamir shares of the masks, which let a round survive a dropout, come later.)

1. Each hospital draws a fresh X25519 key for the round and signs it with its long-term Ed25519 key over
   ``domain || study fingerprint || round || its name's length || its name || X25519 public key``.
2. A coordinator hands all signed keys to all. Each hospital checks that they are exactly the study's roster, this
   study and this round, validly signed, and that its own key is the one it sent.
3. Each pair derives ``HKDF-SHA256(X25519(own, other), salt=transcript, info=domain || both names)``: 32 bytes of key
   and 16 of counter for AES-256-CTR, whose key stream, as little-endian 64-bit words, the lower name adds and the
   higher subtracts. The transcript hashes the context (the model all must have been sent) and every signed key, so a
   coordinator that tells two hospitals different things gets noise.
4. The coordinator adds what it was sent. A single masked vector is indistinguishable from uniform to anyone who lacks
   one of its pair keys; round keys are forgotten once used, so old masks stay secret.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from twinward.core.errors import BadInput
from twinward.federation.errors import KeyRefused, RoundAborted, RoundRefused

Masked = NDArray[np.uint64]
"""A masked vector ``[dimension]`` modulo 2^64."""

Roster = Mapping[str, bytes]
"""Each hospital's Ed25519 public key, 32 bytes: agreed before the study, not handed out by its coordinator."""

_KEY_DOMAIN: Final = b"twinward/federation/round-key/v1\0"
_TRANSCRIPT_DOMAIN: Final = b"twinward/federation/transcript/v1\0"
_MASK_DOMAIN: Final = b"twinward/federation/mask/v1\0"


@dataclass(frozen=True)
class HospitalIdentity:
    """A hospital's name and its long-term Ed25519 signing key."""

    name: str
    signing_key: bytes = field(repr=False)
    """The 32-byte private key (RFC 8032)."""

    @classmethod
    def generate(cls, name: str) -> HospitalIdentity:
        """A new identity."""
        return cls(name, Ed25519PrivateKey.generate().private_bytes_raw())

    @property
    def public_key(self) -> bytes:
        """32 bytes for the roster."""
        return Ed25519PrivateKey.from_private_bytes(self.signing_key).public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """An Ed25519 signature, 64 bytes."""
        return Ed25519PrivateKey.from_private_bytes(self.signing_key).sign(message)


@dataclass(frozen=True, slots=True)
class SignedRoundKey:
    """One hospital's X25519 key for one round of one study, signed."""

    hospital: str
    study: bytes
    round_number: int
    public_key: bytes
    signature: bytes


class RoundSecret:
    """One hospital's half of one round: makes a key, masks one vector, forgets the key."""

    def __init__(self, identity: HospitalIdentity, roster: Roster, study: bytes, round_number: int) -> None:
        if roster.get(identity.name) != identity.public_key:
            raise KeyRefused(f"the roster does not hold {identity.name}'s own key", hint="correct the study's roster")
        self._name = identity.name
        self._roster = dict(roster)
        self._study = study
        self._round = round_number
        self._private: X25519PrivateKey | None = X25519PrivateKey.generate()
        public = self._private.public_key().public_bytes_raw()
        message = _key_message(identity.name, study, round_number, public)
        self.signed_key = SignedRoundKey(identity.name, study, round_number, public, identity.sign(message))

    def mask(self, values: NDArray[np.int64], keys: Sequence[SignedRoundKey], context: bytes) -> Masked:
        """``values`` under this round's masks. Once only: the key is gone afterwards, whatever happened.

        Args:
            values: ``[dimension]``, noise already added.
            keys: everybody's signed keys, this hospital's own among them.
            context: what all hospitals must agree on, such as a hash of the model they were sent.

        Raises:
            KeyRefused: a key is missing, foreign, doubled, altered or unsigned.
            RoundRefused: this round was answered before.
        """
        private, self._private = self._private, None
        if private is None:
            raise RoundRefused("this round was answered before: a mask is used once")
        verify_round_keys(keys, self._roster, self._study, self._round)
        if self.signed_key not in keys:
            raise KeyRefused(f"the key set does not hold the key {self._name} sent for this round")
        transcript = round_transcript(self._study, self._round, keys, context)
        masked: Masked = values.astype(np.int64).view(np.uint64).copy()
        for key in keys:
            if key.hospital == self._name:
                continue
            stream = _pair_stream(private, key, self._name, transcript, len(values))
            masked = masked + stream if self._name < key.hospital else masked - stream  # modulo 2^64
        return masked


def verify_round_keys(keys: Sequence[SignedRoundKey], roster: Roster, study: bytes, round_number: int) -> None:
    """Check that ``keys`` are the roster's, each once, for this study and round, validly signed.

    Raises:
        KeyRefused: they are not; says whose.
    """
    names = sorted(key.hospital for key in keys)
    if names != sorted(roster) or len(names) < 2:
        raise KeyRefused(
            f"a round needs the keys of exactly {', '.join(sorted(roster))}", hint="nobody was added or left out"
        )
    for key in keys:
        if key.study != study or key.round_number != round_number:
            raise KeyRefused(f"{key.hospital}'s key belongs to another study or round")
        message = _key_message(key.hospital, key.study, key.round_number, key.public_key)
        try:
            Ed25519PublicKey.from_public_bytes(roster[key.hospital]).verify(key.signature, message)
        except (InvalidSignature, ValueError):
            raise KeyRefused(f"{key.hospital} did not sign the key given for it in round {round_number}") from None


def open_sum(masked: Mapping[str, Masked], hospitals: Sequence[str]) -> NDArray[np.int64]:
    """The sum of all hospitals' vectors: the masks cancel. Exact as long as it fits 64 signed bits.

    Raises:
        RoundAborted: a hospital's vector is missing, so that the rest means nothing.
        BadInput: vectors of different lengths, or of a hospital that is not in the study.
    """
    missing = sorted(set(hospitals) - set(masked))
    if missing:
        raise RoundAborted(
            f"{', '.join(missing)} dropped out of this round, so it was not opened",
            hint="run the study again with the hospitals that answer; what was reserved counts as spent",
        )
    if set(masked) != set(hospitals) or len({vector.shape for vector in masked.values()}) != 1:
        raise BadInput("masked vectors are one per hospital of the study, all of one length")
    total = np.zeros_like(next(iter(masked.values())))
    for vector in masked.values():
        total = total + vector  # modulo 2^64
    return total.view(np.int64)


def _pair_stream(
    private: X25519PrivateKey, other: SignedRoundKey, own_name: str, transcript: bytes, length: int
) -> Masked:
    try:
        shared = private.exchange(X25519PublicKey.from_public_bytes(other.public_key))
    except ValueError:  # a low-order point: the shared secret would be zero (RFC 7748, section 6.1)
        raise KeyRefused(f"{other.hospital} sent a key that is no valid X25519 key") from None
    low, high = sorted((own_name, other.hospital))
    info = _MASK_DOMAIN + _field(low.encode()) + _field(high.encode())
    material = HKDF(SHA256(), 48, salt=transcript, info=info).derive(shared)
    # The key serves this one stream, so a derived initial counter cannot repeat under it.
    encryptor = Cipher(algorithms.AES256(material[:32]), modes.CTR(material[32:])).encryptor()
    return np.frombuffer(encryptor.update(bytes(8 * length)), "<u8").astype(np.uint64)


def _key_message(hospital: str, study: bytes, round_number: int, public_key: bytes) -> bytes:
    return (
        _KEY_DOMAIN + _field(study) + round_number.to_bytes(8, "big") + _field(hospital.encode()) + _field(public_key)
    )


def round_transcript(study: bytes, round_number: int, keys: Sequence[SignedRoundKey], context: bytes) -> bytes:
    """SHA-256 of everything that all hospitals of a round must have been sent alike."""
    digest = hashlib.sha256(_TRANSCRIPT_DOMAIN + _field(study) + round_number.to_bytes(8, "big") + _field(context))
    for key in sorted(keys, key=lambda key: key.hospital):
        digest.update(_field(key.hospital.encode()) + _field(key.public_key) + _field(key.signature))
    return digest.digest()


def _field(value: bytes) -> bytes:
    """Length-prefixed, so that no two lists of fields have the same bytes."""
    return len(value).to_bytes(4, "big") + value
