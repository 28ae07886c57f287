"""The permit, and what other domains may ask of access control.

**No permit, no plaintext.** ``AccessControl.decide`` yields a ``Permit`` only after the access event is durable in
the log. The vault opens a ciphertext only against a permit that covers that twin, category and action, has not
expired, and carries a capability (HMAC-SHA256 under a key this process made at start) over all of its fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from twinward.vocabulary import Action, Category, Purpose, Role, TwinId


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody or something that has proven who it is."""

    id: str
    role: Role
    name: str = ""
    unit: str = ""


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
    """

    request: AccessRequest
    log_index: int
    expires_at_ms: int
    capability: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Decision:
    """What policy and consent say, with the sentence that explains it. A dry run: nothing is logged."""

    permitted: bool
    reason: str
    consent_version: int = 0
    policy_hash: str = ""


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
