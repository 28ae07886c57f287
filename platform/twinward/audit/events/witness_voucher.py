"""Vouches for what the node remembers of its log's witnesses: a MAC under the tenant's key, heads in the log."""

from __future__ import annotations

import hmac

from twinward.audit.events.store_heads import StoreHeads
from twinward.audit.interfaces import EventKeys, Head
from twinward.core.errors import Unavailable
from twinward_crypto.kdf import derive
from twinward_ledger.errors import LogUnavailable

STORE = "witnesses"
"""The memory's name in the log."""
_KEY_LABEL = b"twinward/witness-memory/1"


class WitnessVoucher:
    """Implements ``Voucher`` of the ledger's ``WitnessMemory``, with HMAC-SHA256 (FIPS 198-1).

    Args:
        keys: whose tenant key the MAC's is derived from, when it is first needed.
        heads: the log's record.
    """

    def __init__(self, keys: EventKeys, heads: StoreHeads) -> None:
        self._keys, self._heads = keys, heads
        self._key: bytes | None = None

    def mac(self, content: bytes) -> bytes:
        """32 bytes."""
        if self._key is None:
            self._key = derive(self._keys.audit_key(None), _KEY_LABEL, b"")
        return hmac.digest(self._key, content, "sha256")

    def newest(self) -> tuple[int, bytes] | None:
        """What the log recorded last. Raises ``LogUnavailable``."""
        try:
            found = self._heads.newest(STORE)
        except Unavailable as error:
            raise LogUnavailable(str(error)) from error
        return None if found is None else (found.changes, found.mac)

    def record(self, changes: int, mac: bytes) -> None:
        """Let the log record a head. Raises ``LogUnavailable``."""
        try:
            self._heads.record(STORE, Head(changes, mac))
        except Unavailable as error:
            raise LogUnavailable(str(error)) from error

    def say(self, what: str) -> None:
        """An event of the node's own, about no patient. Raises ``LogUnavailable``."""
        try:
            self._heads.say(STORE, what)
        except Unavailable as error:
            raise LogUnavailable(str(error)) from error
