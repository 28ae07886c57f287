"""``BreakGlass``: emergency accesses, each to be reviewed by a deadline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from twinward_contracts.artefacts import load
from twinward_contracts.bindings.changes import Call
from twinward_contracts.bindings.transactor import TransactionReceipt, Transactor

_ARTEFACT: Final = load("BreakGlass")
_REVIEW_S: Final = 72 * 3600
_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Declaration:
    """One emergency. Times are Unix seconds; ``reviewed_at_s`` is None while it waits for its review."""

    declarant: str
    deadline_s: int
    reviewed_at_s: int | None
    justified: bool
    report_hash: bytes

    @property
    def reviewed_late(self) -> bool:
        """Whether the review came after the deadline."""
        return self.reviewed_at_s is not None and self.reviewed_at_s > self.deadline_s


class BreakGlass:
    """The contract at one address. A commitment is 32 bytes that say nothing without their salt."""

    def __init__(self, client: Transactor, address: str) -> None:
        self._client = client
        self.address = address

    @classmethod
    def deploy(
        cls, client: Transactor, witness_set: str, *, member: str | None = None, review_s: int = _REVIEW_S
    ) -> Self:
        """Create the contract; the sender is its first member where no other is named.

        ``review_s`` is how long a review may take.
        """
        return cls(client, client.deploy(_ARTEFACT, witness_set, member or client.sender, review_s))

    def admitting(self, account: str) -> Call:
        """The change that lets another hospital's account declare emergencies."""
        return Call(self.address, _ARTEFACT, "admit", (account,))

    def expelling(self, account: str) -> Call:
        """The change that takes this away."""
        return Call(self.address, _ARTEFACT, "expel", (account,))

    def declare(self, commitment: bytes) -> TransactionReceipt:
        """Declare an emergency access. Refused with ``AlreadyDeclared``."""
        return self._client.transact(self.address, _ARTEFACT, "declare", commitment)

    def review(self, commitment: bytes, *, justified: bool, report_hash: bytes) -> TransactionReceipt:
        """Record a review. Refused with ``UnknownDeclaration``, ``AlreadyReviewed`` or ``NotDeclarant``."""
        return self._client.transact(self.address, _ARTEFACT, "review", commitment, justified, report_hash)

    def declaration(self, commitment: bytes) -> Declaration | None:
        """One emergency; None if it was never declared."""
        values = self._client.call(self.address, _ARTEFACT, "declaration", commitment)
        declarant, deadline, reviewed, justified, report_hash = values
        return Declaration(declarant, deadline, reviewed or None, justified, report_hash) if deadline else None

    def open_count(self) -> int:
        """How many emergencies wait for their review."""
        return int(self._client.call(self.address, _ARTEFACT, "openCount"))

    def overdue(self) -> list[bytes]:
        """Commitments whose deadline passed without a review, at the chain's time."""
        waiting = self.open_count()
        return [
            bytes(commitment)
            for start in range(0, waiting, _PAGE)
            for commitment in self._client.call(self.address, _ARTEFACT, "overdue", start, _PAGE)
        ]
