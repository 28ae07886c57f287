"""What takes two officers: one proposes it and says why, another one looks at it and approves.

Whoever changes the policy, or erases a patient, comes here; each keeps its own proposals, and asks while nobody else
takes a step on them.
"""

from __future__ import annotations

from twinward.access import justification
from twinward.core.errors import BadInput, Conflict


def why(reason: str) -> str:
    """The sentence that the other officer reads, as it is logged. Raises ``BadInput`` where it says nothing."""
    said = justification.bounded(reason)
    if justification.fault(said):
        raise BadInput(
            "a proposal says in a sentence why", hint="the other officer reads it, and the log keeps it for ever"
        )
    return said


def require_second(proposed_by: str, approver: str) -> None:
    """Raise ``Conflict`` where the one who proposed approves: it takes another account, whoever holds the first."""
    if proposed_by == approver:
        raise Conflict("who proposes does not approve", hint="another officer approves it")
