"""Notices as a webhook, signed as Standard Webhooks 1.0 says (https://www.standardwebhooks.com), which has libraries
for receivers in a dozen languages: ``webhook-id``, ``webhook-timestamp`` and ``webhook-signature``, an HMAC-SHA256 of
both and the body.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Final

from twinward.audit.interfaces import EventKeys
from twinward.core.clock import iso
from twinward.core.receiver import post
from twinward.live.alerts.notices import Notice
from twinward_crypto.kdf import derive

_KEY: Final = b"twinward/live-webhook/1"


@dataclass(frozen=True, slots=True)
class Webhook:
    """A receiver of notices.

    Attributes:
        url: its address.
        hospital: whose node this is.
        keys: the tenant's, from which the secret that receiver and node share is derived.
    """

    url: str
    hospital: str
    keys: EventKeys

    @property
    def secret(self) -> str:
        """What the receiver checks signatures with. It is this address's own: another address has another."""
        return "whsec_" + base64.b64encode(self._key).decode("ascii")

    def send(self, name: str, notice: Notice, now_ms: int) -> None:
        """Tell it. Raises ``Unavailable`` unless it answers with a 2xx in time."""
        data = {"alert": notice.alert, "severity": notice.severity, "hospital": self.hospital}
        said = {"type": notice.kind, "timestamp": iso(notice.at_ms), "data": data}
        body, at_s = json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode(), now_ms // 1000
        headers = {
            "webhook-id": name,
            "webhook-timestamp": str(at_s),
            "webhook-signature": signature(self._key, name, at_s, body),
        }
        post(self.url, body, headers)

    @property
    def _key(self) -> bytes:
        return derive(self.keys.audit_key(None), _KEY, self.url.encode())


def signature(key: bytes, name: str, at_s: int, body: bytes) -> str:
    """``webhook-signature`` of a body, its id and the Unix second at which it is sent."""
    made = hmac.new(key, f"{name}.{at_s}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(made).decode("ascii")
