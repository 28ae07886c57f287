"""Permits: made and checked here, and nowhere else.

A capability is HMAC-SHA256 (FIPS 198-1) under a key drawn when the process starts, over the JSON of every field of
the permit, a list of one shape: equal fields give equal bytes, and different ones never do. The key never leaves the
process, so a permit cannot be forged, widened, prolonged or replayed elsewhere.

A permit is leave given at one moment, and names the consent and policy it was given under. Whenever something is opened
by it, those must still be in force, whichever process changed it, or else the request is decided again. Where a rule
asked for the hour it is decided again once that hour is over. It ends when the period of any provision begins or ends.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from twinward.access.errors import PermitInvalid, PermitWithdrawn
from twinward.access.interfaces import AccessRequest, Decision, Permit, Principal
from twinward.core.clock import Clock
from twinward.core.sentences import sentence
from twinward.core.vocabulary import Action, Category, TwinId

_JSON = json.JSONEncoder(separators=(",", ":"), allow_nan=False)

PERMIT_LIFETIME_MS = 60_000
"""Long enough for one request or one batch."""
LASTING: Final = 10
"""So many times as long where a page is watched: ten minutes. It is held against consent, policy and sign-in as often
as it opens something, like any other."""


class InForce(Protocol):
    """Who says what is in force; ``Access`` is one."""

    def consent_version(self, request: AccessRequest) -> int:
        """The version of the consent that is in force for a request. Raises ``Unavailable``."""
        ...

    def policy_hash(self) -> str:
        """The SHA-256 of the policy in force. Raises ``Unavailable``."""
        ...

    def hour_ends_ms(self, request: AccessRequest) -> int | None:
        """When the present hour ends, where a rule on the request's action asks for it. Raises ``Unavailable``."""
        ...

    def check(self, request: AccessRequest) -> Decision:
        """A dry run."""
        ...


class PermitAuthority:
    """Issues permits for ``Access`` and verifies them for the vault."""

    def __init__(
        self,
        clock: Clock,
        *,
        lifetime_ms: int = PERMIT_LIFETIME_MS,
        require_standing: Callable[[Principal], None] | None = None,
    ) -> None:
        self._clock = clock
        self._require_standing = require_standing
        self._lifetime_ms = lifetime_ms
        self._key = secrets.token_bytes(32)
        self._in_force: InForce | None = None

    def answer_to(self, in_force: InForce) -> None:
        """From now on permits end with the consent they were given under. ``Access`` sees to it."""
        self._in_force = in_force

    def issue(self, request: AccessRequest, log_index: int, decision: Decision | None = None) -> Permit:
        """A permit for a request whose event is already durable at ``log_index``; by a decision, or as if by one."""
        expires_at_ms = self._clock.now_ms() + self._lifetime_ms * (
            LASTING if request.lasting and not request.is_urgent else 1
        )
        if decision is not None:
            given = decision.consent_version, decision.policy_hash, decision.hour_ends_ms
            expires_at_ms = min(expires_at_ms, decision.until_ms or expires_at_ms)
        else:
            asked = self._in_force
            given = 0, "", None
            if asked is not None:
                given = asked.consent_version(request), asked.policy_hash(), asked.hour_ends_ms(request)
        permit = Permit(request, log_index, expires_at_ms, b"", *given)
        return replace(permit, capability=self._mac(permit))

    def require(self, permit: Permit, *, action: Action, twin: TwinId | None, category: Category | None) -> None:
        """Raise ``PermitInvalid`` unless the permit is genuine, fresh, covers exactly this and would still be given.

        ``category`` None asks for no category: creating a twin, say.

        Raises:
            PermitWithdrawn: policy or consent says no by now.
            PermitInvalid: any other reason.
            Unavailable: it cannot be known what consent says.
        """
        if not hmac.compare_digest(self._mac(permit), permit.capability):
            raise PermitInvalid("this permit was not issued by this node")
        if self._clock.now_ms() >= permit.expires_at_ms:
            raise PermitInvalid("this permit has expired", hint="ask for a new decision")
        request = permit.request
        if self._require_standing is not None and request.principal.standing is not None:
            self._require_standing(request.principal)  # a permit outlives no sign-in
        if request.action is not action or request.twin != twin:
            raise PermitInvalid(sentence("this permit does not cover {action} on that twin", action=action.value))
        if category is not None and category not in request.categories:
            raise PermitInvalid(
                sentence("this permit does not cover the category {category}", category=sentence(category.value))
            )
        self._require_in_force(permit)

    def _require_in_force(self, permit: Permit) -> None:
        """Decide again, without logging, where consent, policy or hour is another than the permit was given under."""
        if self._in_force is None:
            return
        same = permit.hour_ends_ms is None or self._clock.now_ms() < permit.hour_ends_ms
        same = same and self._in_force.consent_version(permit.request) == permit.consent_version
        if same and (permit.request.is_urgent or self._in_force.policy_hash() == permit.policy_hash):
            return
        if not self._in_force.check(permit.request).permitted:
            raise PermitWithdrawn(
                "policy or consent says no since this permit was given", hint="ask for a new decision"
            )

    def _mac(self, permit: Permit) -> bytes:
        request = permit.request
        who = request.principal
        fields = [
            [who.id, who.role.value, who.name, who.unit, who.own_twin, who.more_units, who.network],
            [
                request.action.value,
                request.purpose.value,
                request.twin,
                sorted(request.categories),
            ],
            [request.justification, [list(pair) for pair in request.detail], request.lasting],
            [
                permit.log_index,
                permit.expires_at_ms,
                permit.consent_version,
                permit.policy_hash,
                permit.hour_ends_ms,
            ],
        ]
        return hmac.digest(self._key, _JSON.encode(fields).encode(), "sha256")
