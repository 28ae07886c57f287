"""Secrets in files: a PIN, a token. Bounded, and refused where others may read them."""

from __future__ import annotations

import stat
from pathlib import Path

from twinward_crypto.errors import ProviderLocked

MAX_SECRET_BYTES = 64 * 1024


def read_secret(path: Path, what: str) -> str:
    """The text of a secret file without the white space around it.

    Raises:
        ProviderLocked: missing, empty, too long, not UTF-8, or readable by group or others.
    """
    try:
        mode = path.stat().st_mode
        with path.open("rb") as file:
            data = file.read(MAX_SECRET_BYTES + 1)
        text = data.decode().strip()
    except OSError as error:
        raise ProviderLocked(f"{what} cannot be read from {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ProviderLocked(f"{path} does not hold {what}: it is not text") from None
    if stat.S_IMODE(mode) & 0o077:
        raise ProviderLocked(f"{what} in {path} can be read by others; run: chmod 600 {path}")
    if not text or len(data) > MAX_SECRET_BYTES:
        raise ProviderLocked(f"{path} does not hold {what}: it is empty or too long")
    return text
