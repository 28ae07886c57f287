"""Challenges that a browser's authenticator signs: good for one answer, five minutes, and one form of one browser.

    offset  bytes  field
    0       16     nonce          random
    16      8      expires_at_ms  unsigned big-endian
    24      32     mac            HMAC-SHA256 (FIPS 198-1) over nonce, expires_at_ms, bound, each after its length

Nothing is stored until one was answered rightly: no stranger who asks for challenges fills or empties a store. A right
answer is noted, so that it is none a second time, in whatever process.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Final

from twinward.access.sign_in_store import SignInStore
from twinward.audit.interfaces import EventKeys
from twinward.core.clock import Clock
from twinward_crypto.kdf import derive, length_prefixed

LIFETIME_MS: Final = 5 * 60_000
_NONCE_BYTES, _TIME_BYTES = 16, 8
_KEY_LABEL: Final = b"twinward/challenge/1"


class Challenges:
    """Makes them and knows its own. ``keys``: the tenant's."""

    def __init__(self, store: SignInStore, keys: EventKeys, clock: Clock) -> None:
        self._store, self._keys, self._clock = store, keys, clock

    def new(self, bound: str) -> bytes:
        """A challenge for whoever holds ``bound``: a form's token, say."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        expires = (self._clock.now_ms() + LIFETIME_MS).to_bytes(_TIME_BYTES, "big")
        return nonce + expires + self._mac(nonce, expires, bound)

    def is_good(self, challenge: bytes, bound: str) -> bool:
        """Whether it is one of ours, for this form, and neither old nor answered yet as far as is known."""
        nonce, expires, mac = challenge[:16], challenge[16:24], challenge[24:]
        if not hmac.compare_digest(self._mac(nonce, expires, bound), mac):
            return False
        return 0 < int.from_bytes(expires, "big") - self._clock.now_ms() <= LIFETIME_MS

    def spend(self, challenge: bytes) -> bool:
        """Whether this is its first answer."""
        return self._store.use_once(b"challenge" + challenge, int.from_bytes(challenge[16:24], "big"))

    def _mac(self, nonce: bytes, expires: bytes, bound: str) -> bytes:
        key = derive(self._keys.audit_key(None), _KEY_LABEL, b"")
        text = length_prefixed(nonce, expires, bound.encode("utf-8", "surrogatepass"))
        return hmac.digest(key, text, "sha256")
