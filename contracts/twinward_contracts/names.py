"""How names of hospitals, vendors, studies and cohorts become the 32-byte ids that contracts keep."""

from __future__ import annotations

import hashlib
from typing import Final

_TAG: Final = b"twinward/name/v1\x00"


def name_id(name: str) -> bytes:
    """SHA-256 of a tag and the name's UTF-8. Names of organisations only: a patient's could be guessed."""
    return hashlib.sha256(_TAG + name.encode()).digest()
