"""What takes two officers: one proposes it and says why, another one looks at it and approves.

Whoever changes the policy, or erases a patient, comes here; each keeps its own proposals, and asks while nobody else
takes a step on them. So does whoever lets somebody in whom the hospital's sign-in made an account.
"""

from __future__ import annotations

from collections.abc import Collection

from twinward.access import justification
from twinward.access.account_store import AccountRecord
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


def let_in(record: AccountRecord, officer: str, officers: Collection[str]) -> AccountRecord:
    """The account enabled; or, where it waits and that takes two officers, still disabled with the first one noted.

    ``officer``: who enables it; empty where one is enough. ``officers``: who is one by now: another one's yes counts
    no more. Raises ``Conflict`` where one is to be both.
    """
    if officer and record.waits and record.first_yes not in officers:
        return record.model_copy(update={"first_yes": officer})
    if officer and record.waits:
        require_second(record.first_yes, officer)
    return record.ended(disabled=False, waits=False, first_yes="")
