"""Blind tags of names that their key holder can read back: AES-256-SIV (RFC 5297) of a padded name.

Deterministic on purpose: equal names under one key give equal tags, so storage can filter by a tag it cannot read. SIV
is the mode made for that; it leaks equality under one key and nothing else, and authenticates the name. The name is
padded (ISO/IEC 7816-4) to ``PADDED_BYTES``, so that lengths tell nothing.

    tag = SIV 16 ‖ ciphertext 48 = 64 bytes; associated data: the one string "twinward/name-tag/1"
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from twinward_crypto.errors import MalformedKey, OpenError, ParameterError

LABEL = b"twinward/name-tag/1"
PADDED_BYTES = 48
MAX_NAME_BYTES = PADDED_BYTES - 1
TAG_BYTES = 16 + PADDED_BYTES
KEY_BYTES = 64


class NameTagger:
    """Tags names under one 64-byte key."""

    def __init__(self, key: bytes) -> None:
        """Take the key: 64 bytes, from ``hierarchy.name_tag_key``."""
        if len(key) != KEY_BYTES:
            raise MalformedKey(f"an AES-256-SIV key has {KEY_BYTES} bytes, this one has {len(key)}")
        self._siv = AESSIV(key)

    def tag(self, name: str) -> bytes:
        """The 64-byte tag of a name of at most ``MAX_NAME_BYTES`` UTF-8 bytes.

        Raises:
            ParameterError: the name is empty, too long, or has no UTF-8 form.
        """
        try:
            plain = name.encode()
        except UnicodeEncodeError:
            raise ParameterError("a lone surrogate has no UTF-8 form", part="name") from None
        if not 1 <= len(plain) <= MAX_NAME_BYTES:
            raise ParameterError(f"a name has 1 to {MAX_NAME_BYTES} bytes", part="name")
        return self._siv.encrypt((plain + b"\x80").ljust(PADDED_BYTES, b"\x00"), [LABEL])

    def name(self, tag: bytes) -> str:
        """Read a tag back.

        Raises:
            OpenError: not a tag made under this key.
        """
        if len(tag) != TAG_BYTES:
            raise OpenError
        try:
            return self._siv.decrypt(tag, [LABEL]).rstrip(b"\x00")[:-1].decode()
        except (InvalidTag, UnicodeDecodeError):
            raise OpenError from None
