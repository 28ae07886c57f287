"""A 32-byte secret in n shares, any k of which give it back: Shamir, "How to share a secret" (CACM 22, 1979).

The field arithmetic is pycryptodome's (extra ``shamir``): polynomials over GF(2^128) modulo x^128 + x^7 + x^2 + x + 1,
for 16-byte secrets. A secret here is two such halves, each split by a polynomial of its own at the same points, which
hides both as perfectly as one: k - 1 shares say nothing about either. Plain sharing checks nothing, so a share carries
which split it is of and a checksum against slips of the pen; neither proves that its holder did not alter it. What is
joined must therefore open something authenticated, as the local key store is.

A share is 50 bytes, written as 80 base32 characters (RFC 4648) in sixteen groups of five:

    offset  bytes  field
    0       3      magic      "TWS"
    3       1      version    0x01
    4       1      threshold  k, 2 to 32
    5       1      index      1 to 32: the point
    6       8      split      random, the same in all shares of one split
    14      32     value      first half's 16 bytes, second half's 16 bytes
    46      4      checksum   first 4 bytes of SHA-256 of the 46 bytes before

pycryptodome does not promise constant time; split and join where nobody else runs code.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twinward_crypto.errors import KeyProviderError, MalformedKey, ParameterError
from twinward_crypto.kdf import KEY_BYTES, RandomBytes, require_key

if TYPE_CHECKING:
    from Crypto.Protocol.SecretSharing import Shamir

MAGIC = b"TWS"
VERSION = 1
MAX_SHARES = 32
MIN_THRESHOLD = 2
SPLIT_BYTES = 8
CHECKSUM_BYTES = 4
SHARE_BYTES = 50

_BODY = struct.Struct(">3sBBB8s32s")
_HALF = KEY_BYTES // 2
_GROUP = 5
_MAX_TEXT = 256


@dataclass(frozen=True, slots=True)
class Share:
    """One holder's part. ``split`` tells splits apart; ``value`` is secret."""

    threshold: int
    index: int
    split: bytes
    value: bytes = field(repr=False)

    def encode(self) -> str:
        """The text a holder keeps."""
        body = _BODY.pack(MAGIC, VERSION, self.threshold, self.index, self.split, self.value)
        text = base64.b32encode(body + _checksum(body)).decode("ascii")
        return "-".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))

    @classmethod
    def decode(cls, text: str) -> Share:
        """Read what a holder typed: letters of either case, groups set apart by anything of ``-`` and white space.

        Raises:
            MalformedKey: not a share, or a slip in it.
        """
        if len(text) > _MAX_TEXT:
            raise _not_a_share()
        try:
            raw = base64.b32decode("".join(text.replace("-", " ").split()).upper())
        except (binascii.Error, ValueError):
            raise _not_a_share() from None
        if len(raw) != SHARE_BYTES or not hmac.compare_digest(_checksum(raw[: _BODY.size]), raw[_BODY.size :]):
            raise _not_a_share()
        magic, version, threshold, index, split, value = _BODY.unpack_from(raw)
        if magic != MAGIC or version != VERSION:
            raise _not_a_share()
        if not MIN_THRESHOLD <= threshold <= MAX_SHARES or not 1 <= index <= MAX_SHARES:
            raise _not_a_share()
        return cls(threshold, index, split, value)


def split_secret(secret: bytes, *, shares: int, threshold: int, random: RandomBytes = os.urandom) -> tuple[Share, ...]:
    """Split 32 bytes into ``shares`` parts, any ``threshold`` of which give them back.

    Args:
        secret: 32 bytes.
        shares: n, at most 32.
        threshold: k, at least 2: with 1, each share would be the secret.
        random: source of the split's name. The polynomials are drawn by the library.

    Raises:
        ParameterError: 2 ≤ k ≤ n ≤ 32 does not hold.
        MalformedKey: the secret has another length.
        KeyProviderError: the extra is missing.
    """
    require_key(secret)
    if not MIN_THRESHOLD <= threshold <= shares <= MAX_SHARES:
        raise ParameterError(f"{MIN_THRESHOLD} ≤ threshold ≤ shares ≤ {MAX_SHARES} must hold", part="threshold")
    shamir, split = _shamir(), random(SPLIT_BYTES)
    halves = (shamir.split(threshold, shares, half, ssss=False) for half in (secret[:_HALF], secret[_HALF:]))
    return tuple(
        Share(threshold, index, split, first + second) for (index, first), (_, second) in zip(*halves, strict=True)
    )


def join_shares(shares: Sequence[Share]) -> bytes:
    """The 32 bytes, from at least ``threshold`` different shares of one split. Altered shares give other bytes.

    Raises:
        MalformedKey: none, too few, of several splits, or two that contradict each other.
        KeyProviderError: the extra is missing.
    """
    if len({(share.split, share.threshold) for share in shares}) != 1:
        raise MalformedKey("give the shares of one split: these are none, or of several")
    by_index: dict[int, Share] = {}
    for share in shares:
        if by_index.setdefault(share.index, share) != share:
            raise MalformedKey(f"two shares say they are number {share.index}, and they differ")
    needed = shares[0].threshold
    if len(by_index) < needed:
        raise MalformedKey(f"{needed} different shares are needed, {len(by_index)} were given")
    used = list(by_index.values())[:needed]
    shamir = _shamir()
    first = shamir.combine([(share.index, share.value[:_HALF]) for share in used], ssss=False)
    return first + shamir.combine([(share.index, share.value[_HALF:]) for share in used], ssss=False)


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:CHECKSUM_BYTES]


def _not_a_share() -> MalformedKey:
    return MalformedKey("this is not a share, or there is a slip in it: compare it with what you were given")


def _shamir() -> type[Shamir]:
    try:
        from Crypto.Protocol.SecretSharing import Shamir
    except ImportError:
        raise KeyProviderError("sharing a key needs pycryptodome; run: pip install 'twinward[shamir]'") from None
    return Shamir
