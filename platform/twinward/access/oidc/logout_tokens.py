"""A logout token (OpenID Connect Back-Channel Logout 1.0, section 2.6), checked as an ID token is, step by step.

Form and signature are an ID token's (``id_tokens``). Its claims: ``iss`` the provider, ``aud`` this client, ``iat`` of
these minutes, ``exp`` to come, ``events`` with the one event of a logout, no ``nonce`` (no ID token passes for one),
``jti``, and ``sub``: a token that names a session alone (``sid``) is refused, for this node keeps accounts and not the
provider's sessions. That it was never used before is seen to by who asks.
"""

from __future__ import annotations

import re
from typing import Final

from twinward.access.oidc.id_tokens import OLDEST_S, SKEW_S, SUBJECT, ProviderRefused, Unproven, seconds

EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
_JTI: Final = re.compile(r"[\x21-\x7e]{1,256}")


def require_logout(token: Unproven, *, issuer: str, client_id: str, now_s: int) -> tuple[str, str]:
    """Whom it signs out, and its ``jti``. Raises ``ProviderRefused``."""
    claims = token.claims
    if claims.get("iss") != issuer:
        raise ProviderRefused("the logout token is another provider's")
    audience = claims.get("aud")
    if client_id not in (audience if isinstance(audience, list) else [audience]):
        raise ProviderRefused("the logout token is meant for another client")
    if seconds(claims, "exp") <= now_s - SKEW_S:
        raise ProviderRefused("the logout token has expired")
    if not now_s - OLDEST_S <= seconds(claims, "iat") <= now_s + SKEW_S:
        raise ProviderRefused("the logout token was not issued in these minutes: a clock is wrong, or it is old")
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(EVENT), dict) or "nonce" in claims:
        raise ProviderRefused("it is no logout token")
    subject, jti = claims.get("sub"), claims.get("jti")
    if not isinstance(jti, str) or not _JTI.fullmatch(jti):
        raise ProviderRefused("the logout token has no jti")
    if not isinstance(subject, str) or not SUBJECT.fullmatch(subject):
        raise ProviderRefused("the logout token does not say who was signed out: have the provider send sub")
    return subject, jti
