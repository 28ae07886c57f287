"""Permits: made and checked here, and nowhere else.

A capability is HMAC-SHA256 (FIPS 198-1) under a key drawn when the process starts, over the JSON of every field of
the permit, a list of one shape: equal fields give equal bytes, and different ones never do. The key never leaves the
process, so a permit cannot be forged, widened, prolonged or replayed elsewhere.
"""

from __future__ import annotations

import hmac
import json
import secrets

from twinward.access.errors import PermitInvalid
from twinward.access.interfaces import AccessRequest, Permit
from twinward.clock import Clock
from twinward.vocabulary import Action, Category, TwinId

_JSON = json.JSONEncoder(separators=(",", ":"), allow_nan=False)

PERMIT_LIFETIME_MS = 60_000
"""Long enough for one request or one batch, short enough that a revocation bites at once."""


class PermitAuthority:
    """Issues permits for ``Access`` and verifies them for the vault."""

    def __init__(self, clock: Clock, *, lifetime_ms: int = PERMIT_LIFETIME_MS) -> None:
        self._clock = clock
        self._lifetime_ms = lifetime_ms
        self._key = secrets.token_bytes(32)

    def issue(self, request: AccessRequest, log_index: int) -> Permit:
        """A permit for a request whose event is already durable at ``log_index``."""
        expires_at_ms = self._clock.now_ms() + self._lifetime_ms
        return Permit(request, log_index, expires_at_ms, self._mac(request, log_index, expires_at_ms))

    def require(self, permit: Permit, *, action: Action, twin: TwinId | None, category: Category | None) -> None:
        """Raise ``PermitInvalid`` unless the permit is genuine, fresh and covers exactly this.

        ``category`` None asks for no category: creating a twin, say.
        """
        expected = self._mac(permit.request, permit.log_index, permit.expires_at_ms)
        if not hmac.compare_digest(expected, permit.capability):
            raise PermitInvalid("this permit was not issued by this node")
        if self._clock.now_ms() >= permit.expires_at_ms:
            raise PermitInvalid("this permit has expired", hint="ask for a new decision")
        request = permit.request
        if request.action is not action or request.twin != twin:
            raise PermitInvalid(f"this permit does not cover {action.value} on that twin")
        if category is not None and category not in request.categories:
            raise PermitInvalid(f"this permit does not cover the category {category.value}")

    def _mac(self, request: AccessRequest, log_index: int, expires_at_ms: int) -> bytes:
        principal = request.principal
        fields = [
            [principal.id, principal.role.value, principal.name, principal.unit],
            [request.action.value, request.purpose.value, request.twin, sorted(request.categories)],
            [request.justification, [list(pair) for pair in request.detail], log_index, expires_at_ms],
        ]
        return hmac.digest(self._key, _JSON.encode(fields).encode(), "sha256")
