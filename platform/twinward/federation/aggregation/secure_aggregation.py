"""A sum that nobody sees the parts of: pairwise one-time masks modulo 2^64, cancelling over an attempt's hospitals.

After Bonawitz et al. 2017 (CCS), protocol 1, in attempts: an attempt opens over exactly the hospitals whose keys it was
made with, or not at all. A round that lost a hospital is attempted anew over the others (ADR 47).

1. Each hospital draws a fresh X25519 key for each attempt, numbered through the study, and signs it with its long-term
   Ed25519 key over ``domain || study fingerprint || attempt || its name's length || its name || X25519 public key``.
2. A coordinator hands all signed keys to all. Each hospital checks that they are of the study's roster, of as many of
   it as the protocol demands, for this study and attempt, validly signed, and that its own key is the one it sent.
3. Each pair derives ``HKDF-SHA256(X25519(own, other), salt=transcript, info=domain || both names)``: 32 bytes of key
   and 16 of counter for AES-256-CTR, whose key stream, as little-endian 64-bit words, the lower name adds and the
   higher subtracts. The transcript hashes round and attempt, the context (the model all must have been sent) and every
   signed key, so a coordinator that tells two hospitals different things gets noise.
4. The coordinator adds what it was sent. A single masked vector is indistinguishable from uniform to anyone who lacks
   one of its pair keys; round keys are forgotten once used, so old masks stay secret.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from twinward.core.errors import BadInput
from twinward.core.late_module import LateModule
from twinward.federation.errors import KeyRefused, RoundAborted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = LateModule("numpy")

Masked: TypeAlias = "NDArray[np.uint64]"
"""A masked vector ``[dimension]`` modulo 2^64."""

Roster = Mapping[str, bytes]
"""Each hospital's Ed25519 public key, 32 bytes: agreed before the study, not handed out by its coordinator."""

_KEY_DOMAIN: Final = b"twinward/federation/round-key/v1\0"
_TRANSCRIPT_DOMAIN: Final = b"twinward/federation/transcript/v2\0"
_MASK_DOMAIN: Final = b"twinward/federation/mask/v1\0"
_CHANNEL_DOMAIN: Final = b"twinward/federation/channel/v1\0"


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
    """One hospital's X25519 key for one attempt of one study, signed."""

    hospital: str
    study: bytes
    attempt: int
    public_key: bytes
    signature: bytes


class RoundSecret:
    """One hospital's half of one attempt: a key, signed, and the masks that follow from it.

    Args:
        identity: who signs.
        roster: of the study.
        study: its fingerprint.
        attempt: from 1, through the study.
        private: the X25519 private key, 32 bytes, where it was drawn before; else a fresh one.

    Raises:
        KeyRefused: the roster has another key for this hospital.
    """

    def __init__(
        self, identity: HospitalIdentity, roster: Roster, study: bytes, attempt: int, private: bytes | None = None
    ) -> None:
        if roster.get(identity.name) != identity.public_key:
            raise KeyRefused(f"the roster does not hold {identity.name}'s own key", hint="correct the study's roster")
        self._name = identity.name
        self._roster = dict(roster)
        self._study = study
        self._attempt = attempt
        self._private = X25519PrivateKey.from_private_bytes(private or new_private_key())
        public = self._private.public_key().public_bytes_raw()
        message = _key_message(identity.name, study, attempt, public)
        self.signed_key = SignedRoundKey(identity.name, study, attempt, public, identity.sign(message))

    def mask(
        self, values: NDArray[np.int64], keys: Sequence[SignedRoundKey], transcript: bytes, *, least: int
    ) -> Masked:
        """``values`` under this attempt's masks. Whoever sends what this gives forgets the key first.

        Args:
            values: ``[dimension]``, noise already added.
            keys: the signed keys of all who take part in the attempt, this hospital's own among them.
            transcript: ``round_transcript`` of what all must have been sent alike.
            least: how many hospitals an attempt needs.

        Raises:
            KeyRefused: a key is missing, foreign, doubled, altered or unsigned.
        """
        verify_round_keys(keys, self._roster, self._study, self._attempt, least=least)
        if self.signed_key not in keys:
            raise KeyRefused(f"the key set does not hold the key {self._name} sent for this attempt")
        masked: Masked = values.astype(np.int64).view(np.uint64).copy()
        for key in keys:
            if key.hospital == self._name:
                continue
            stream = _pair_stream(self._private, key, self._name, transcript, len(values))
            masked = masked + stream if self._name < key.hospital else masked - stream  # modulo 2^64
        return masked

    def channels(self, keys: Sequence[SignedRoundKey], transcript: bytes) -> tuple[dict[str, bytes], dict[str, bytes]]:
        """Keys of one message to, and one from, each other hospital of the attempt, 32 bytes each, by name.

        Raises:
            KeyRefused: a key that is no valid X25519 key.
        """
        others = [key for key in keys if key.hospital != self._name]
        outgoing = {key.hospital: self._channel(key, transcript, self._name, key.hospital) for key in others}
        incoming = {key.hospital: self._channel(key, transcript, key.hospital, self._name) for key in others}
        return outgoing, incoming

    def _channel(self, key: SignedRoundKey, transcript: bytes, sender: str, receiver: str) -> bytes:
        info = _CHANNEL_DOMAIN + _field(sender.encode()) + _field(receiver.encode())
        return HKDF(SHA256(), 32, salt=transcript, info=info).derive(_exchange(self._private, key))


def new_private_key() -> bytes:
    """A fresh X25519 private key, 32 bytes."""
    return X25519PrivateKey.generate().private_bytes_raw()


def verify_round_keys(
    keys: Sequence[SignedRoundKey], roster: Roster, study: bytes, attempt: int, *, least: int
) -> None:
    """Check that ``keys`` are of the roster, each once, at least so many, for this study and attempt, validly signed.

    Raises:
        KeyRefused: they are not; says whose.
    """
    names = [key.hospital for key in keys]
    if len(set(names)) != len(names) or not set(names) <= set(roster) or len(names) < max(2, least):
        whom = f"exactly {', '.join(sorted(roster))}" if least >= len(roster) else f"at least {least} of the roster's"
        raise KeyRefused(f"an attempt needs the keys of {whom}", hint="nobody is added, or counted twice")
    for key in keys:
        verify_round_key(key, roster, study, attempt)


def verify_round_key(key: SignedRoundKey, roster: Roster, study: bytes, attempt: int) -> None:
    """Check one key. Raises ``KeyRefused``."""
    if key.study != study or key.attempt != attempt:
        raise KeyRefused(f"{key.hospital}'s key belongs to another study or attempt")
    message = _key_message(key.hospital, key.study, key.attempt, key.public_key)
    try:
        Ed25519PublicKey.from_public_bytes(roster[key.hospital]).verify(key.signature, message)
    except (InvalidSignature, ValueError, KeyError):
        raise KeyRefused(f"{key.hospital} did not sign the key given for it in attempt {attempt}") from None


def open_sum(masked: Mapping[str, Masked], hospitals: Sequence[str]) -> NDArray[np.int64]:
    """The sum of the vectors of all who took part: the masks cancel. Exact as long as it fits 64 signed bits.

    Raises:
        RoundAborted: a hospital's vector is missing, so that the rest means nothing.
        BadInput: vectors of different lengths, or of a hospital that did not take part.
    """
    missing = sorted(set(hospitals) - set(masked))
    if missing:
        raise RoundAborted(
            f"{', '.join(missing)} dropped out of this round, so it was not opened",
            hint="run the study again with the hospitals that answer; what was reserved counts as spent",
        )
    if set(masked) != set(hospitals) or len({vector.shape for vector in masked.values()}) != 1:
        raise BadInput("masked vectors are one per hospital of the attempt, all of one length")
    total = np.zeros_like(next(iter(masked.values())))
    for vector in masked.values():
        total = total + vector  # modulo 2^64
    return total.view(np.int64)


def _exchange(private: X25519PrivateKey, other: SignedRoundKey) -> bytes:
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(other.public_key))
    except ValueError:  # a low-order point: the shared secret would be zero (RFC 7748, section 6.1)
        raise KeyRefused(f"{other.hospital} sent a key that is no valid X25519 key") from None


def _pair_stream(
    private: X25519PrivateKey, other: SignedRoundKey, own_name: str, transcript: bytes, length: int
) -> Masked:
    low, high = sorted((own_name, other.hospital))
    info = _MASK_DOMAIN + _field(low.encode()) + _field(high.encode())
    material = HKDF(SHA256(), 48, salt=transcript, info=info).derive(_exchange(private, other))
    # The key serves this one stream, so a derived initial counter cannot repeat under it.
    encryptor = Cipher(algorithms.AES256(material[:32]), modes.CTR(material[32:])).encryptor()
    return np.frombuffer(encryptor.update(bytes(8 * length)), "<u8").astype(np.uint64)


def _key_message(hospital: str, study: bytes, attempt: int, public_key: bytes) -> bytes:
    return _KEY_DOMAIN + _field(study) + attempt.to_bytes(8, "big") + _field(hospital.encode()) + _field(public_key)


def round_transcript(
    study: bytes, round_number: int, attempt: int, keys: Sequence[SignedRoundKey], context: bytes
) -> bytes:
    """SHA-256 of everything that all hospitals of an attempt must have been sent alike."""
    numbers = round_number.to_bytes(8, "big") + attempt.to_bytes(8, "big")
    digest = hashlib.sha256(_TRANSCRIPT_DOMAIN + _field(study) + numbers + _field(context))
    for key in sorted(keys, key=lambda key: key.hospital):
        digest.update(_field(key.hospital.encode()) + _field(key.public_key) + _field(key.signature))
    return digest.digest()


def model_context(parameters: NDArray[np.float64]) -> bytes:
    """What every hospital must have been sent alike for the masks to cancel: a hash of the model."""
    return hashlib.sha256(b"twinward/federation/parameters/v1\0" + parameters.astype("<f8").tobytes()).digest()


def _field(value: bytes) -> bytes:
    """Length-prefixed, so that no two lists of fields have the same bytes."""
    return len(value).to_bytes(4, "big") + value
