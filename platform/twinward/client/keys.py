"""A vendor's key pair for sealed records, kept encrypted under a passphrase. Never serialised by default.

File (integers big-endian)::

    offset  bytes  field
    0       4      magic        "TWVK"
    4       1      version      0x01
    5       1      lanes        Argon2id p
    6       4      memory       Argon2id m in KiB
    10      4      iterations   Argon2id t
    14      16     salt         random
    30      2      public       length of the public key, then the public key (in the clear: it is public)
    ...     80+n   private      TE1 under the stretched key, associated data = everything before it

Keys of vendor-key queries are not kept at all: a fresh one is made for each query and forgotten with the answer.
"""

from __future__ import annotations

import hashlib
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Self

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from twinward.core.errors import BadInput, Conflict
from twinward.core.private_files import create_private
from twinward_crypto.disclosure import RecipientKey, RecipientSuite, generate_recipient_key, open_from
from twinward_crypto.envelope import OVERHEAD_BYTES, open_sealed, seal
from twinward_crypto.errors import MalformedKey, OpenError, ParameterError
from twinward_crypto.padding import unpad

MAGIC = b"TWVK"
VERSION = 1
MAX_FILE_BYTES = 16 * 1024
MIN_PASSPHRASE_CHARS = 12
_HEAD = struct.Struct(">4sBBII16sH")
_MAX_LANES, _MAX_MEMORY_KIB, _MAX_ITERATIONS = 64, 1 << 20, 64


@dataclass(frozen=True, slots=True)
class Stretching:
    """Argon2id's price. The default is RFC 9106 section 4's second recommended option: 64 MiB, t = 3, p = 4."""

    memory_kib: int = 64 * 1024
    iterations: int = 3
    lanes: int = 4


class VendorKeys:
    """A key pair to which hospitals seal records. Its repr shows the public key's fingerprint; it does not pickle."""

    def __init__(self, pair: RecipientKey) -> None:
        self._pair = pair

    @classmethod
    def generate(cls, *, classical: bool = False) -> Self:
        """A fresh pair: X25519 with ML-KEM-768, or X25519 alone where ``classical`` or OpenSSL has no ML-KEM."""
        if not classical:
            try:
                return cls(generate_recipient_key(RecipientSuite.MLKEM768_X25519))
            except ParameterError:
                pass  # an OpenSSL before 3.5
        return cls(generate_recipient_key(RecipientSuite.X25519))

    @property
    def public(self) -> bytes:
        """What hospitals seal to."""
        return self._pair.public

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the public key as hex: what hospitals write into their logs."""
        return hashlib.sha256(self.public).hexdigest()

    @property
    def suite(self) -> str:
        """What the pair is made of, in words."""
        return "X25519" if self.public[0] == RecipientSuite.X25519 else "ML-KEM-768 with X25519"

    def open(self, sealed: bytes, *, info: bytes, aad: bytes) -> bytes:
        """Open what a hospital sealed. Raises ``OpenError``, one for every cause."""
        return unpad(open_from(self._pair.private, sealed, info=info, aad=aad))

    def save(self, path: Path, passphrase: str, *, stretching: Stretching | None = None) -> None:
        """Write the pair to a new file that only its owner may read, the private half encrypted.

        Raises:
            Conflict: the file exists; a key is never overwritten.
            BadInput: a passphrase of fewer than ``MIN_PASSPHRASE_CHARS`` characters, or a place that cannot be written.
        """
        if len(passphrase) < MIN_PASSPHRASE_CHARS:
            raise BadInput(f"a passphrase of at least {MIN_PASSPHRASE_CHARS} characters is needed")
        cost, salt = stretching or Stretching(), os.urandom(16)
        numbers = (cost.lanes, cost.memory_kib, cost.iterations, salt, len(self.public))
        head = _HEAD.pack(MAGIC, VERSION, *numbers) + self.public
        data = head + seal(_stretch(passphrase, salt, cost), self._pair.private, head)
        try:
            create_private(path, data)
        except FileExistsError:
            raise Conflict(f"{path} exists, and a key is never overwritten", hint="give another file") from None
        except OSError as error:
            raise BadInput(f"{path} cannot be written: {error.strerror}") from None

    @classmethod
    def load(cls, path: Path, passphrase: str) -> Self:
        """The pair that ``save`` wrote.

        Raises:
            BadInput: unreadable, no such file of ours, altered, or another passphrase.
        """
        try:
            with path.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            hint = "`twinward vendor keygen` makes one"
            raise BadInput(f"{path} cannot be read: {error.strerror}", hint=hint) from None
        head, public, salt, cost = _parse(data, path)
        try:
            private = open_sealed(_stretch(passphrase, salt, cost), data[len(head) :], head)
        except (OpenError, MalformedKey):
            raise BadInput(f"{path} does not open: another passphrase, or the file was altered") from None
        return cls(RecipientKey(public=public, private=private))

    def __repr__(self) -> str:
        return f"VendorKeys({self.fingerprint[:16]}, private key withheld)"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("VendorKeys do not serialise; see save")


def _parse(data: bytes, path: Path) -> tuple[bytes, bytes, bytes, Stretching]:
    """Head, public key, salt and cost, with every cost bounded before anything is spent on it."""
    ours = _HEAD.size + OVERHEAD_BYTES < len(data) <= MAX_FILE_BYTES
    magic, version, lanes, memory, iterations, salt, length = _HEAD.unpack_from(data.ljust(_HEAD.size, b"\0"))
    affordable = (
        1 <= lanes <= _MAX_LANES and 8 * lanes <= memory <= _MAX_MEMORY_KIB and 1 <= iterations <= _MAX_ITERATIONS
    )
    end = _HEAD.size + length
    if not ours or magic != MAGIC or version != VERSION or not affordable or end >= len(data):
        raise BadInput(f"{path} is no vendor's key file", hint="`twinward vendor keygen` makes one")
    return data[:end], data[_HEAD.size : end], salt, Stretching(memory, iterations, lanes)


def _stretch(passphrase: str, salt: bytes, cost: Stretching) -> bytes:
    argon = Argon2id(salt=salt, length=32, iterations=cost.iterations, lanes=cost.lanes, memory_cost=cost.memory_kib)
    return argon.derive(passphrase.encode("utf-8", "surrogatepass"))
