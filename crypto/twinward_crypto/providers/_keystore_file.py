"""The local provider's file: every KEK and tombstone in one sealed, atomically replaced file.

    offset  bytes  field
    0       4      magic        "TWLK"
    4       1      version      0x01
    5       1      unlocking    0x00 key file, 0x01 passphrase through Argon2id
    6       2      lanes        Argon2id p; 0 with a key file. All numbers unsigned big-endian
    8       4      memory       Argon2id m in KiB; 0 with a key file
    12      4      iterations   Argon2id t; 0 with a key file
    16      16     salt         random
    32      80+n   body         TE1, associated data = the 32 bytes before it, generation 0

The body's plaintext is RFC 8785 JSON: ``{"<tenant>":{"destroyed":[1],"keks":{"2":"<hex>"},"mac":"<hex>"}}``.
Tombstones are inside the seal, so nobody without the master key can bring a destroyed version back.
"""

from __future__ import annotations

import json
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from twinward_crypto.canonical import canonicalize
from twinward_crypto.envelope import OVERHEAD_BYTES, open_sealed, seal
from twinward_crypto.errors import OpenError, ProviderLocked
from twinward_crypto.kdf import KEY_BYTES
from twinward_crypto.keys import TenantId
from twinward_crypto.providers._software_keys import TenantKeys

MAGIC = b"TWLK"
VERSION = 1
BY_KEY_FILE = 0
BY_PASSPHRASE = 1
SALT_BYTES = 16
MAX_FILE_BYTES = 16 * 1024 * 1024
MIN_FILE_BYTES = 32 + OVERHEAD_BYTES

_HEADER = struct.Struct(">4sBBHII16s")
_MAX_LANES, _MAX_MEMORY_KIB, _MAX_ITERATIONS = 64, 4 * 1024 * 1024, 1024


@dataclass(frozen=True, slots=True)
class Argon2Cost:
    """Argon2id's price. The default is RFC 9106 section 4's second recommended option: 64 MiB, t = 3, p = 4."""

    memory_kib: int = 64 * 1024
    iterations: int = 3
    lanes: int = 4


@dataclass(frozen=True, slots=True)
class Header:
    """The first 32 bytes: how the master key is come by."""

    unlocking: int
    cost: Argon2Cost | None
    salt: bytes

    def encode(self) -> bytes:
        """The 32 bytes."""
        cost = self.cost or Argon2Cost(0, 0, 0)
        return _HEADER.pack(MAGIC, VERSION, self.unlocking, cost.lanes, cost.memory_kib, cost.iterations, self.salt)

    @classmethod
    def decode(cls, data: bytes) -> Header:
        """Parse, with every cost bounded before anything is spent on it."""
        if len(data) < MIN_FILE_BYTES:
            raise _damaged()
        magic, version, unlocking, lanes, memory_kib, iterations, salt = _HEADER.unpack_from(data)
        if magic != MAGIC or version != VERSION:
            raise _damaged()
        if unlocking == BY_KEY_FILE and lanes == memory_kib == iterations == 0:
            return cls(unlocking, None, salt)
        affordable = memory_kib <= _MAX_MEMORY_KIB and 1 <= iterations <= _MAX_ITERATIONS and 1 <= lanes <= _MAX_LANES
        if unlocking != BY_PASSPHRASE or not affordable or memory_kib < 8 * lanes:
            raise _damaged()
        return cls(unlocking, Argon2Cost(memory_kib, iterations, lanes), salt)

    def stretch(self, passphrase: str) -> bytes:
        """Argon2id (RFC 9106): the master key from a passphrase."""
        if self.cost is None:
            raise ProviderLocked("this key store is unlocked by a key file, not by a passphrase")
        argon = Argon2id(
            salt=self.salt,
            length=KEY_BYTES,
            iterations=self.cost.iterations,
            lanes=self.cost.lanes,
            memory_cost=self.cost.memory_kib,
        )
        return argon.derive(passphrase.encode("utf-8", "surrogatepass"))


def encode(header: Header, master: bytes, tenants: dict[TenantId, TenantKeys]) -> bytes:
    """The whole file."""
    plain = {
        tenant: {
            "destroyed": sorted(keys.destroyed),
            "keks": {str(version): kek.hex() for version, kek in keys.keks.items()},
            "mac": keys.mac_key.hex(),
        }
        for tenant, keys in tenants.items()
    }
    prefix = header.encode()
    return prefix + seal(master, canonicalize(plain), prefix)


def decode(data: bytes, master: bytes) -> dict[TenantId, TenantKeys]:
    """What the file holds. Raises ``ProviderLocked`` for a wrong master key and for altered bytes alike."""
    try:
        plain = json.loads(open_sealed(master, data[_HEADER.size :], data[: _HEADER.size]))
    except OpenError:
        by_passphrase = Header.decode(data).unlocking == BY_PASSPHRASE
        hint = (
            "check the passphrase in the file that TWINWARD_PASSPHRASE_FILE names"
            if by_passphrase
            else ("put back the key file that belongs to this key store, or the key store that belongs to the key file")
        )
        raise ProviderLocked("wrong passphrase, key file or shares, or the key store was altered", hint=hint) from None
    return {
        TenantId(tenant): TenantKeys(
            mac_key=bytes.fromhex(keys["mac"]),
            keks={int(version): bytes.fromhex(kek) for version, kek in keys["keks"].items()},
            destroyed=set(keys["destroyed"]),
        )
        for tenant, keys in plain.items()
    }


def read_bounded(path: Path) -> bytes:
    """A file's bytes, refused beyond ``MAX_FILE_BYTES``."""
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise _damaged()
    return data


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file so that a crash leaves the old or the new one, whole: write aside, fsync, rename, fsync folder."""
    aside = path.with_name(f"{path.name}.new")
    aside.unlink(missing_ok=True)
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _damaged() -> ProviderLocked:
    return ProviderLocked("this is not a key store of a known version, or it was damaged; restore it from a backup")
