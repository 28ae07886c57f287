"""One account as it is kept: who, by which password and tokens, and whether it may be used at all."""

from __future__ import annotations

import hashlib

from pydantic import BaseModel, ConfigDict

from twinward.access.interfaces import Principal, Standing
from twinward.core.vocabulary import Role

MOST_TOKENS = 100
"""Of one account, revoked ones counted."""
DAY_MS = 86_400_000


class TokenRecord(BaseModel):
    """A bearer token: never itself, only the SHA-256 (hex) of its 256 random bits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    sha256: str
    made_at_ms: int = 0
    expires_at_ms: int | None = None
    revoked: bool = False

    def fault(self, at_ms: int) -> str:
        """Why it is no longer good; empty where it is."""
        if self.revoked:
            return "revoked"
        return "expired" if self.expires_at_ms is not None and at_ms >= self.expires_at_ms else ""


class AccountRecord(BaseModel):
    """An account. ``generation`` counts up whenever whoever is signed in must no longer be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    role: Role
    name: str = ""
    unit: str = ""
    disabled: bool = False
    generation: int = 1
    password: str = ""
    """A PHC string of Argon2id; empty is none."""
    password_at_ms: int = 0
    must_change: bool = False
    """Somebody else knows the password: it is good for one thing, to choose another."""
    tokens: tuple[TokenRecord, ...] = ()

    def principal(self, token: int = 0) -> Principal:
        """Who signs in with this account now."""
        return Principal(self.id, self.role, self.name, self.unit, Standing(self.generation, token))

    def fault(self, standing: Standing, at_ms: int) -> str:
        """Why somebody who has signed in is signed in no longer; empty where it stands."""
        if self.disabled:
            return "disabled"
        if standing.generation != self.generation:
            return "ended"
        if not standing.token:
            return ""
        token = next((one for one in self.tokens if one.number == standing.token), None)
        return "revoked" if token is None else token.fault(at_ms)

    def ended(self, **more: object) -> AccountRecord:
        """The account with everybody who has signed in signed out, and these fields changed."""
        return self.model_copy(update={**more, "generation": self.generation + 1})

    def usable(self, at_ms: int) -> bool:
        """Whether anybody can sign in with it."""
        return not self.disabled and bool(self.password or any(not one.fault(at_ms) for one in self.tokens))

    def password_expires_at_ms(self, days: int) -> int | None:
        """When its password will have to be changed, if it is good for so many days; 0 is for ever."""
        return self.password_at_ms + days * DAY_MS if days and self.password else None


def digest_of(secret: str) -> bytes:
    """SHA-256 of a secret that is drawn at random: what is kept of it."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
