"""The secret key of the embedded chain's account, as it lies in its file. Looked at without an Ethereum library."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final

from twinward_ledger.errors import ChainUnavailable

KEY_BYTES: Final = 32


def secret_in(path: Path) -> bytes:
    """The key in a file. Raises ``ChainUnavailable`` if it is missing, malformed or readable by others."""
    try:
        found = path.stat()
        text = path.read_text(encoding="ascii") if found.st_size <= 2 * KEY_BYTES + 2 else ""
    except FileNotFoundError:
        raise ChainUnavailable(f"the chain's key {path} is missing: restore it from the backup of the chain") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ChainUnavailable(f"the chain's key {path} can't be read") from error
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise ChainUnavailable(f"the chain's key {path} is readable by others: chmod 600 it")
    try:
        secret = bytes.fromhex(text.strip())
    except ValueError:
        raise malformed(path) from None
    if len(secret) != KEY_BYTES:
        raise malformed(path)
    return secret


def malformed(path: Path) -> ChainUnavailable:
    """What is said of a file that holds no key, and does not quote it."""
    return ChainUnavailable(f"the chain's key {path} is not a key of 64 hexadecimal digits")
