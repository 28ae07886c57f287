"""The permit, and what other domains may ask of access control.

**No permit, no plaintext.** ``AccessControl.decide`` yields a ``Permit`` only after the access event is durable in
the log. The vault opens a ciphertext only against a permit that covers that twin, category and action, has not
expired, and carries a capability (HMAC-SHA256 under a key this process made at start) over all of its fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from twinward.core.vocabulary import Action, Category, Purpose, Role, TwinId


@dataclass(frozen=True, slots=True)
class Standing:
    """By which sign-in somebody is who they are: it ends with the account's generation, and with the token.

    ``token`` 0 is no token: a password, or the node's own command line.
    """

    generation: int
    token: int = 0


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody or something that has proven who it is.

    ``standing`` is what every later decision holds against the account as it is then; None is a principal without an
    account: the node itself.
    """

    id: str
    role: Role
    name: str = ""
    unit: str = ""
    standing: Standing | None = field(default=None, compare=False, repr=False)


NODE = Principal("node", Role.NODE, "this node")
"""The node at its own jobs: no token, session or account yields this role (``Accounts`` refuses it)."""


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """What a principal is about to do."""

    principal: Principal
    action: Action
    purpose: Purpose
    twin: TwinId | None = None
    categories: frozenset[Category] = frozenset()
    justification: str = ""
    detail: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to touch one twin's categories for one purpose, for a short while. Made only by ``AccessControl``.

    ``log_index`` is the event's place in the access log: it was durable before this permit existed. In an emergency
    while the log cannot be written it is negative: -1 minus the event's number in the break-glass journal.
    ``consent_version`` is the consent it was given under: with another one in force the permit is decided again.
    """

    request: AccessRequest
    log_index: int
    expires_at_ms: int
    capability: bytes = field(repr=False)
    consent_version: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """What policy and consent say, with the sentence that explains it. A dry run: nothing is logged.

    ``until_ms`` is when a provision of the consent begins or ends to be in force next: until then this holds.
    """

    permitted: bool
    reason: str
    consent_version: int = 0
    policy_hash: str = ""
    until_ms: int | None = None


class AccessControl(Protocol):
    """The one gate. A deny raises ``AccessDenied`` (a ``Refused``); a log that cannot be written, ``Unavailable``."""

    def decide(self, request: AccessRequest) -> Permit:
        """Decide one request, log it durably, then give the permit or raise ``AccessDenied``."""
        ...

    def decide_many(self, requests: Sequence[AccessRequest]) -> list[Permit | None]:
        """Decide many in one durable append; None stands where a request was denied (and logged as such)."""
        ...

    def check(self, request: AccessRequest) -> Decision:
        """A dry run that explains itself. Nothing is logged, nothing may be opened with it."""
        ...


class PermitVerifier(Protocol):
    """What the vault asks before it opens or seals anything."""

    def require(self, permit: Permit, *, action: Action, twin: TwinId | None, category: Category | None) -> None:
        """Raise ``PermitInvalid`` (a ``Refused``) unless the permit is genuine, fresh and covers exactly this."""
        ...
