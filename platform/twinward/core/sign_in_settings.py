"""Settings of signing in: how long it lasts, what it asks for, and the hospital's own OpenID provider."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings

from twinward.core.tls_settings import TlsSettings
from twinward.core.vocabulary import Role


def bare_origin(url: str) -> str:
    """Scheme, host and port of an address, and nothing else. Raises ``ValueError``."""
    try:
        parts = urlsplit(url)
        bare = not (parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None)
        fits = not url or (parts.scheme in ("http", "https") and bool(parts.hostname) and bare and parts.port != 0)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError("it is no address such as https://twinward.hospital.example: scheme, host and port alone")
    return url.rstrip("/")


def _issuer(url: str) -> str:
    """OpenID Connect Discovery 1.0: https, no query, no fragment. Plain http only on this machine."""
    if not url:
        return url
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and parts.username is None and not (parts.query or parts.fragment)
        here = parts.hostname in ("localhost", "127.0.0.1", "::1")
        fits = named and (parts.scheme == "https" or (parts.scheme == "http" and here)) and parts.port != 0
    except ValueError:
        fits = False
    if not fits:
        raise ValueError("it is no issuer such as https://login.hospital.example: https, and no query")
    return url


_STAFF_ROLES = frozenset({Role.OFFICER, Role.CLINICIAN, Role.RESEARCHER, Role.OPERATOR})


def _staff(roles: dict[str, Role]) -> dict[str, Role]:
    if len(roles) > _MOST_GROUPS or not roles.keys() <= {one[:256] for one in roles if one}:
        raise ValueError(f"it names at most {_MOST_GROUPS} groups, of 1 to 256 characters")
    if not set(roles.values()) <= _STAFF_ROLES:
        raise ValueError(f"groups stand for {', '.join(sorted(_STAFF_ROLES))}; patients and systems are made here")
    return roles


_MOST_GROUPS = 200


class SignInSettings(TlsSettings, BaseSettings):  # named for ruff, which knows its fields by it
    """Of accounts, sessions, passkeys and the hospital's provider."""

    password_days: Annotated[int, Field(ge=0, le=3650)] = 0
    """After how many days a password has to be changed; 0 for never, as NIST SP 800-63B-4 advises."""
    session_s: Annotated[int, Field(ge=300, le=12 * 3600)] = 8 * 3600
    """How long a sign-in to the console lasts at most, in seconds."""
    session_idle_s: Annotated[int, Field(ge=60, le=12 * 3600)] = 30 * 60
    """After how many seconds in which nothing was asked for it ends before that."""
    fresh_sign_in_s: Annotated[int, Field(ge=30, le=3600)] = 10 * 60
    """For how many seconds after a sign-in, or after it was confirmed, somebody may erase, export and change policy,
    consent or their own ways of signing in."""
    second_factor_roles: tuple[Role, ...] = ()
    """Roles that may do nothing in the console before they have set up a second factor: ``["officer"]``."""
    public_origins: Annotated[tuple[Annotated[str, AfterValidator(bare_origin)], ...], Field(max_length=16)] = ()
    """Where browsers have the console open, for passkeys: ``https://twinward.hospital.example``. Empty for
    ``public_url``, or without one ``http://localhost`` at the port that is listened on."""
    rp_id: Annotated[str, Field(max_length=253, pattern=r"^[a-z0-9.-]*$")] = ""
    """For which host, or domain above it, passkeys are kept: another one later makes all of them worthless. Empty for
    the host of the first of ``public_origins``."""
    oidc_issuer: Annotated[str, AfterValidator(_issuer)] = ""
    """The hospital's OpenID provider, by which people sign in to the console, such as
    ``https://login.hospital.example/realms/staff``; empty for none. Nothing else is called for it."""
    oidc_client_id: Annotated[str, Field(max_length=255)] = ""
    """What this node is called there. Its redirect URI is the first of ``public_origins`` with
    ``/console/sign-in/hospital/callback``."""
    oidc_client_secret_file: Path | None = None
    """A file with the client's secret; without one PKCE alone protects it (a public client)."""
    oidc_also_at: Annotated[tuple[Annotated[str, AfterValidator(bare_origin)], ...], Field(max_length=8)] = ()
    """Origins besides the issuer's own where it has its token endpoint or keys: ``["https://oauth2.example"]``."""
    oidc_scopes: Annotated[tuple[Annotated[str, Field(pattern=r"^[\x21\x23-\x5b\x5d-\x7e]{1,64}$")], ...], Field()] = (
        "profile",
    )
    """What is asked for beside ``openid``. Mail addresses are no use here: they say who nobody is."""
    oidc_groups_claim: Annotated[str, Field(min_length=1, max_length=128)] = "groups"
    """Where its ID tokens say in which groups somebody is."""
    oidc_roles: Annotated[dict[str, Role], AfterValidator(_staff)] = {}
    """Which role a group has, the first that fits: ``{"twinward-officers" = "officer"}``. The role of a linked member
    of staff follows at each sign-in; who is in none of them is not let in. Empty: groups say nothing here."""
    oidc_unknown: Literal["refuse", "wait", "admit"] = "refuse"
    """What becomes of somebody whom nobody linked to an account, and whose group has a role: refused; an account is
    made that waits until an officer enables it; or one that is admitted at once."""
    oidc_wait_officers: Annotated[int, Field(ge=1, le=2)] = 1
    """How many officers enable an account that waits: with 2 nobody lets a second self of their own in."""
    oidc_strong_acr: Annotated[tuple[str, ...], Field(max_length=16)] = ()
    """Values of ``acr`` by which it says that it asked for two factors; ``amr`` with ``mfa`` says so in any case."""
    secure_cookies: bool = False
    """Session cookies are only ever sent over HTTPS. They are so in any case where ``public_url`` is https, where a
    trusted proxy says that a request came over HTTPS, and where the node listens beyond this machine."""
