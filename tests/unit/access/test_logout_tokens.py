"""What is no logout token of the provider's, for this node, of these minutes, signs nobody out."""

from __future__ import annotations

from typing import Any

import pytest

from twinward.access.oidc.id_tokens import ProviderRefused, Unproven
from twinward.access.oidc.logout_tokens import EVENT, require_logout

NOW_S = 1_800_000_000
GOOD: dict[str, Any] = {
    "iss": "https://login.example",
    "aud": "twinward",
    "iat": NOW_S,
    "exp": NOW_S + 120,
    "jti": "j1",
    "sub": "olga",
    "events": {EVENT: {}},
}


def looked_at(**other: Any) -> tuple[str, str]:
    claims = {name: value for name, value in (GOOD | other).items() if value is not None}
    token = Unproven("", "ES384", "", claims)
    return require_logout(token, issuer="https://login.example", client_id="twinward", now_s=NOW_S)


def test_one_that_is_right_says_whom() -> None:
    assert looked_at() == looked_at(aud=["another", "twinward"], sid="s") == ("olga", "j1")


@pytest.mark.parametrize(
    "wrong",
    [
        {"iss": "https://evil.example"},
        {"aud": "another"},
        {"aud": None},
        {"exp": NOW_S - 31},
        {"exp": None},
        {"iat": NOW_S + 31},
        {"iat": NOW_S - 601},
        {"iat": "now"},
        {"events": None},
        {"events": [EVENT]},
        {"events": {"http://schemas.openid.net/event/other": {}}},
        {"events": {EVENT: True}},
        {"nonce": "n"},
        {"jti": None},
        {"jti": ""},
        {"sub": None, "sid": "s"},
        {"sub": ["olga"]},
    ],
)
def test_one_that_is_not_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ProviderRefused):
        looked_at(**wrong)
