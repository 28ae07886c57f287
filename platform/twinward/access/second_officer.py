"""What takes two officers: one proposes it and says why, another one looks at it and approves.

Whoever changes the policy, or erases a patient, comes here; each keeps its own proposals, and asks while nobody else
takes a step on them. So does whoever lets somebody in whom the hospital's sign-in made an account, or links
somebody of it to an account that is there: else one officer would let a second self in by an account of another name.
"""

from __future__ import annotations

from collections.abc import Collection

from twinward.access import justification
from twinward.access.account_store import AccountRecord, IdentityRecord
from twinward.core.errors import BadInput, Conflict, NotFound
from twinward.core.sentences import sentence

MOST_IDENTITIES = 8
"""Persons of an OpenID provider that one account is linked to: one, as a rule. Of proposed ones likewise."""


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


def linked(record: AccountRecord, identity: IdentityRecord, officer: str, officers: Collection[str]) -> AccountRecord:
    """The account linked to a person of the provider; or, where that takes two officers, the first one noted.

    ``officer`` and ``officers`` as in ``let_in``. Raises ``Conflict`` where one is to be both, or there are too many.
    """
    first = next((by for who, by in record.proposed_links if who == identity and by in officers), "")
    others = tuple(one for one in record.proposed_links if one[0] != identity)
    if len(record.identities) >= MOST_IDENTITIES or len(others) >= MOST_IDENTITIES:
        raise Conflict(
            sentence(
                "{account} is linked to {most} persons, the most an account has",
                account=record.id,
                most=MOST_IDENTITIES,
            )
        )
    if officer and not first:
        return record.model_copy(update={"proposed_links": (*others, (identity, officer))})
    if officer:
        require_second(first, officer)
    return record.model_copy(update={"identities": (*record.identities, identity), "proposed_links": others})


def unlinked(record: AccountRecord, subject: str) -> AccountRecord:
    """The account without a person of the provider, proposed or linked; every session ends. Raises ``NotFound``."""
    kept = tuple(one for one in record.identities if one.subject != subject)
    proposed = tuple(one for one in record.proposed_links if one[0].subject != subject)
    if (len(kept), len(proposed)) == (len(record.identities), len(record.proposed_links)):
        raise NotFound(
            sentence("{account} is linked to no such person", account=record.id),
            hint="`twinward account show` prints who",
        )
    return record.ended(identities=kept, proposed_links=proposed)
