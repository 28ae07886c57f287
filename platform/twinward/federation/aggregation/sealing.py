"""A second mask on a hospital's sum that comes off only when enough hospitals agree (after Bonawitz et al. 2017, CCS).

Where pairwise masks alone hide a sum, whoever holds all masked vectors has the sum. So a coordinator that says "one is
lost" while it holds that one's vector gets two sums, of all and of the others, and their difference is one hospital's
own, under its own share of the noise only. A seal takes that choice away: of the attempts at a round one opens.

1. Each hospital draws a seed of 32 bytes and adds the key stream of AES-256-CTR under it (keyed through
   ``HKDF-SHA256(seed, salt=transcript, info=domain)``) to its masked vector.
2. It splits the seed among the attempt's other hospitals, any ``quorum`` of which give it back (Shamir 1979;
   ``twinward_crypto.secret_sharing``), and sends each its share under AES-256-GCM, with a key of the pair
   (``HKDF-SHA256(X25519, salt=transcript, info=domain || dealer || holder)``: one message ever, so a zero nonce is used
   once). SHA-256 of the seed and of each share travel in the open: both are uniform and 32 bytes, so a hash hides them.
3. Once all have answered, the coordinator asks each to open the attempt. A hospital agrees to one attempt of a round,
   its newest, writes that down, and gives its seed. Of one that was lost since, the others give their shares.

Why at most one attempt of a round opens. Let n hospitals be in the study, c collude with the coordinator, d be lost or
said to be. Of the honest ones, C₁ agree to one attempt and C₂ to another; nobody is in both. An attempt opens only if
every honest hospital in it agrees, or else the quorum k is reached by those who do and the c. If both need the quorum,
|C₁| + |C₂| + 2c ≥ 2k, but |C₁| + |C₂| ≤ n - c: excluded by k > (n + c)/2. If all of the first agree, at most d honest
ones are left for the other, and d + c < k. If all of either agree, no hospital is in both: nobody's patient is in two
sums. And k ≤ n - d suffices to open over a loss. Colluders are of ``colluding``, losses of ``dropouts``.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from twinward.federation.aggregation.contribution import Seal, Unmasking
from twinward.federation.aggregation.secure_aggregation import Masked
from twinward.federation.errors import ContributionRefused, RoundAborted, RoundRefused
from twinward.federation.study import StudyProtocol
from twinward_crypto.errors import CryptoError
from twinward_crypto.secret_sharing import Share, join_shares, split_secret

SEED_BYTES: Final = 32

_STREAM_DOMAIN: Final = b"twinward/federation/seal/v1\0"
_SEED_DOMAIN: Final = b"twinward/federation/seed/v1\0"
_SHARE_DOMAIN: Final = b"twinward/federation/share/v1\0"
_NONCE: Final = bytes(12)


def quorum_of(study: StudyProtocol) -> int:
    """k: how many others' shares open the sum of a hospital that was lost."""
    return max((len(study.hospitals) + study.colluding) // 2 + 1, study.colluding + study.dropouts + 1)


class SealSecret(msgspec.Struct, frozen=True):
    """What a hospital keeps of an attempt that it sealed, until it was opened.

    Attributes:
        transcript: of the attempt.
        seed: of its own self-mask.
        channels: the key that each other hospital of the attempt encrypted this one's share with, by name.
    """

    transcript: bytes
    seed: bytes
    channels: dict[str, bytes]

    def __repr__(self) -> str:
        return f"SealSecret({len(self.channels)} channels)"


def seal(
    masked: Masked, secret: SealSecret, outgoing: Mapping[str, bytes], name: str, quorum: int
) -> tuple[Masked, Seal]:
    """A masked vector with its seal on, and what lets the others open it.

    Args:
        masked: ``[dimension]``.
        secret: with a seed of its own.
        outgoing: the key of the channel to each other hospital of the attempt.
        name: of the hospital that seals.
        quorum: k.
    """
    holders, values = sorted(outgoing), dict[str, bytes]()
    if len(holders) >= quorum:  # else the attempt has lost whom it could: it is opened by all of its hospitals
        shares = split_secret(secret.seed, shares=len(holders), threshold=quorum)
        values = {holder: share.value for holder, share in zip(holders, shares, strict=True)}
    sealed = {
        holder: AESGCM(outgoing[holder]).encrypt(_NONCE, value, _bound(name, holder))
        for holder, value in values.items()
    }
    hashes = {holder: _hash(_SHARE_DOMAIN, value) for holder, value in values.items()}
    stream = _seal_stream(secret.seed, secret.transcript, len(masked))
    return masked + stream, Seal(_hash(_SEED_DOMAIN, secret.seed), sealed, hashes)


def unmasking(secret: SealSecret, name: str, shares: Mapping[str, bytes]) -> Unmasking:
    """This hospital's seed, and its share of each of others' that can be read; what cannot is left out.

    Args:
        secret: of the attempt that it agreed to open.
        name: the hospital's.
        shares: what others sealed for it, by their names.
    """
    opened = {}
    for dealer, sealed in shares.items():
        channel = secret.channels.get(dealer)
        if channel is None:
            continue
        try:
            opened[dealer] = AESGCM(channel).decrypt(_NONCE, sealed, _bound(dealer, name))
        except InvalidTag:
            continue
    return Unmasking(secret.seed, opened)


@dataclass(frozen=True)
class SealedAttempt:
    """A coordinator's view of an attempt: every hospital's seal, and what opens them.

    Args:
        transcript: of the attempt.
        seals: by hospital.
        quorum: k.
    """

    transcript: bytes
    seals: Mapping[str, Seal]
    quorum: int
    _seeds: dict[str, bytes] = field(default_factory=dict, repr=False)

    def take_seed(self, hospital: str, seed: bytes) -> None:
        """A hospital's own seed. Raises ``ContributionRefused`` if it is not the one that it committed itself to."""
        if not hmac.compare_digest(_hash(_SEED_DOMAIN, seed), self.seals[hospital].commitment):
            raise ContributionRefused(
                f"{hospital} gave a seed that it did not seal its sum with", hint="its site lies, or lost its memory"
            )
        self._seeds[hospital] = seed

    def join(self, lost: str, shares: Mapping[str, bytes]) -> None:
        """The seed of a hospital that was lost, of the others' shares.

        Raises:
            ContributionRefused: a share is not what the lost hospital announced, or its shares are of no seed of its.
            RoundAborted: too few shares.
        """
        seal, holders = self.seals[lost], sorted(self.seals.keys() - {lost})
        for holder, share in shares.items():
            if not hmac.compare_digest(_hash(_SHARE_DOMAIN, share), seal.share_hashes.get(holder, b"")):
                raise ContributionRefused(
                    f"{holder} gave a share of {lost}'s seed that is not the one announced",
                    hint=f"one of the two does not keep to the protocol; {holder} gave it, {lost} dealt it",
                )
        if len(shares) < self.quorum:
            silent = ", ".join(holder for holder in holders if holder not in shares)
            raise RoundAborted(
                f"{lost} was lost, and {len(shares)} of {self.quorum} shares of its seed are at hand: none of {silent}",
                hint="the round goes on when it, or enough of the others, answer again",
            )
        points = [Share(self.quorum, holders.index(holder) + 1, bytes(8), share) for holder, share in shares.items()]
        try:
            seed = join_shares(points)
        except (CryptoError, ValueError):
            seed = b""
        if not hmac.compare_digest(_hash(_SEED_DOMAIN, seed), seal.commitment):
            raise ContributionRefused(f"{lost} dealt shares that are of no seed that it sealed its sum with")
        self._seeds[lost] = seed

    def opened(self, masked: Mapping[str, Masked]) -> dict[str, Masked]:
        """The vectors without their seals; their pairwise masks are still on."""
        return {
            name: vector - _seal_stream(self._seeds[name], self.transcript, len(vector))
            for name, vector in masked.items()
        }


def require_seal(hospital: str, found: Seal | None, members: Sequence[str], quorum: int) -> Seal:
    """What a hospital's seal must have. Raises ``ContributionRefused``."""
    others = set(members) - {hospital}
    due = others if len(others) >= quorum else set()
    if found is None or set(found.shares) != due or set(found.share_hashes) != due:
        raise ContributionRefused(
            f"{hospital} did not seal its sum for exactly the others of the attempt", hint="its site lies"
        )
    return found


def read_secret(kept: bytes | None) -> SealSecret:
    """What a hospital kept. Raises ``RoundRefused`` where it kept nothing."""
    if kept is None:
        raise RoundRefused("what opens this attempt is no longer kept")
    return msgspec.msgpack.decode(kept, type=SealSecret)


def new_seed() -> bytes:
    """A seed of a self-mask."""
    return os.urandom(SEED_BYTES)


def _seal_stream(seed: bytes, transcript: bytes, length: int) -> Masked:
    material = HKDF(SHA256(), 48, salt=transcript, info=_STREAM_DOMAIN).derive(seed)
    # The key serves this one stream, so a derived initial counter cannot repeat under it.
    encryptor = Cipher(algorithms.AES256(material[:32]), modes.CTR(material[32:])).encryptor()
    return np.frombuffer(encryptor.update(bytes(8 * length)), "<u8").astype(np.uint64)


def _bound(dealer: str, holder: str) -> bytes:
    """What a share is bound to; its key is of the attempt already."""
    return _SHARE_DOMAIN + f"{dealer}\0{holder}".encode()


def _hash(domain: bytes, value: bytes) -> bytes:
    return hashlib.sha256(domain + value).digest()
