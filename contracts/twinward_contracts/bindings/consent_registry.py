"""``ConsentRegistry``: when consents were given and withdrawn, by salted commitments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from twinward_contracts.artefacts import load
from twinward_contracts.bindings.transactor import TransactionReceipt, Transactor

_ARTEFACT: Final = load("ConsentRegistry")


@dataclass(frozen=True, slots=True)
class Consent:
    """One consent. Times are Unix seconds; ``revoked_at_s`` is None while it stands."""

    grantor: str
    granted_at_s: int
    revoked_at_s: int | None


class ConsentRegistry:
    """The contract at one address. A commitment is 32 bytes that say nothing without their salt."""

    def __init__(self, client: Transactor, address: str) -> None:
        self._client = client
        self.address = address

    @classmethod
    def deploy(cls, client: Transactor, *, owner: str | None = None) -> Self:
        """Create the contract."""
        return cls(client, client.deploy(_ARTEFACT, owner or client.sender))

    def admit(self, account: str) -> TransactionReceipt:
        """Let another hospital's account record consents."""
        return self._client.transact(self.address, _ARTEFACT, "admit", account)

    def grant(self, commitment: bytes) -> TransactionReceipt:
        """Record a consent. Refused with ``AlreadyGranted``."""
        return self._client.transact(self.address, _ARTEFACT, "grant", commitment)

    def revoke(self, commitment: bytes) -> TransactionReceipt:
        """Record a withdrawal; it is final. Refused with ``UnknownConsent``, ``AlreadyRevoked`` or ``NotGrantor``."""
        return self._client.transact(self.address, _ARTEFACT, "revoke", commitment)

    def consent(self, commitment: bytes) -> Consent | None:
        """One consent; None if it was never given."""
        grantor, granted, revoked = self._client.call(self.address, _ARTEFACT, "consent", commitment)
        return Consent(grantor, granted, revoked or None) if granted else None

    def is_granted(self, commitment: bytes) -> bool:
        """Whether a consent stands now."""
        return bool(self._client.call(self.address, _ARTEFACT, "isGranted", commitment))
