"""Events as the patient whose record it is reads them: who, what, why, in words that nobody has to look up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from twinward.audit.events.wording import deed
from twinward.audit.models import AccessEvent
from twinward.core.vocabulary import Action, Category, Purpose, Role

WHATS: Final = {
    Category.DEMOGRAPHICS: "your name, address and birth date",
    Category.VITALS: "vital signs",
    Category.LABS: "laboratory results",
    Category.MEDICATIONS: "medicines",
    Category.CONDITIONS: "diagnoses",
    Category.PROCEDURES: "operations and other procedures",
    Category.IMMUNIZATIONS: "vaccinations",
    Category.ENCOUNTERS: "visits and stays",
    Category.IMAGING: "images",
    Category.NOTES: "notes and letters",
    Category.GENOMICS: "genetic findings",
    Category.PSYCHIATRY: "mental health",
    Category.SUBSTANCE_USE: "alcohol, drugs and treatment for them",
    Category.HIV: "HIV",
    Category.SEXUAL_HEALTH: "sexual and reproductive health",
    Category.SOCIAL: "how you live and work",
    Category.ADMINISTRATIVE: "appointments, bills and insurance",
    Category.FEATURES: "figures computed from your record",
    Category.MONITORING: "bedside monitor recordings",
}
WHYS: Final = {
    Purpose.TREATMENT: "to treat you",
    Purpose.EMERGENCY: "in an emergency",
    Purpose.RESEARCH: "for research",
    Purpose.OPERATIONS: "to run the hospital",
    Purpose.COMPLIANCE: "to check that rules are kept",
    Purpose.PATIENT_REQUEST: "because you asked for it",
    Purpose.RECORD_MANAGEMENT: "to keep your record",
    Purpose.SIMILARITY: "to find patients like you, by encrypted queries",
    Purpose.PUBLIC_HEALTH: "to watch for outbreaks",
}
WHOS: Final = {
    Role.OFFICER: "of the hospital's data office",
    Role.CLINICIAN: "who treats patients here",
    Role.RESEARCHER: "who does research",
    Role.VENDOR: "a company outside of the hospital",
    Role.OPERATOR: "who runs the hospital's computers",
    Role.PATIENT: "a patient's account",
    Role.PEER_HOSPITAL: "another hospital",
    Role.SYSTEM: "a machine of the hospital",
    Role.NODE: "the hospital's own system, by itself",
}
INVITATIONS: Final = {
    "told": "had you told of a study that looks for patients like you; the company learns nothing of it",
    "compared": "held the criteria of a study against figures of yours; nobody was told",
    "answered": "answered an invitation to a study",
    "": "looked at studies that you are told of",
}
CONSENTED: Final = {
    "own consents": "looked at what you consent to",
    "change of own consents": "changed what you consent to",
    "": "looked at or changed what you consent to",
}
TIED: Final = ("added, with a password, tied to this patient", "tied to this patient", "untied from this patient")
"""What is done to the account that sees a record, in the words of its events (``twinward.access.account_desk``)."""
WAYS_IN: Final = (
    *("password reset", "password expired", "second factor removed", "new token"),
    *("disabled", "enabled", "sessions ended"),
)
"""What others do to how a patient signs in, in the same words."""
SEARCHED: Final = {
    Action.COHORT: "took figures of yours into the encrypted search for patients like each other",
    Action.COUNT: "looked whether you are a case to count; of all counts together a number with noise leaves",
    Action.QUERY: "compared a company's encrypted query with figures of yours",
    Action.MATCH: "was told that a patient like the one searched for is here, not who",
}
_MOST_NAMED: Final = 6
Say = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class PlainWords:
    """One access: ``who`` did ``what`` and ``why``; ``who_is`` says what that is; ``note`` is an emergency's reason."""

    who: str
    who_is: str
    what: str
    why: str
    note: str
    refused: bool
    emergency: bool


def plain_words(event: AccessEvent, *, reader: str, name: str, say: Say = str) -> PlainWords:
    """An event for the patient it is about.

    Args:
        event: about the reader's record.
        reader: the account that reads it.
        name: of the account that acted, for people; empty where it has none.
        say: puts one of this module's texts into the reader's language.
    """
    own = event.agent == reader
    unit = f", {event.unit}" if event.unit else ""
    if event.role is Role.NODE:
        who, who_is = say("The hospital's system"), say("by itself")
    elif own:
        who, who_is = say("You"), say("with this account")
    else:
        who, who_is = (f"{name} ({event.agent})" if name else event.agent), f"{say(WHOS[event.role])}{unit}"
    emergency = event.purpose is Purpose.EMERGENCY or event.action is Action.BREAK_GLASS
    note = dict(event.detail).get("justification", "") if emergency else ""
    return PlainWords(
        who, who_is, _what(event, say), say(WHYS[event.purpose]), note, event.decision != "permit", emergency
    )


def _what(event: AccessEvent, say: Say) -> str:
    done = say(deed(event))
    permitted = event.decision == "permit"
    if event.action is Action.CONSENT:
        page = dict(event.detail).get("page", "")
        return say(CONSENTED.get(page, CONSENTED[""]) if permitted else "tried to see or change what you consent to")
    if event.action is Action.AUDIT:
        return say("looked at who accessed your record") if permitted else say("tried to see who accessed your record")
    if event.action is Action.ACCOUNT:
        facts = dict(event.detail)
        ways_in = say("changed how your account signs in: {account}, {change}")
        tied = say("changed whose account sees your record: {account} was {change}")
        changed = tied if facts.get("change") in TIED else ways_in
        return changed.format(
            account=facts.get("account", ""), change=say(facts.get("change", "")) if facts.get("change") else ""
        )
    if event.action in SEARCHED:
        return say(SEARCHED[event.action] if permitted else "tried to search for patients like you")
    if event.action is Action.CONTACT:
        said = INVITATIONS.get(dict(event.detail).get("step", ""), INVITATIONS[""])
        return say(said if permitted else "tried to have you told of a study")
    names = [say(WHATS[one]) for one in event.categories]
    if not names:
        whole = say("your record")
        return f"{done} ({whole})"
    shown, more = ", ".join(names[:_MOST_NAMED]), len(names) - _MOST_NAMED
    return f"{done}: " + (say("{shown} and {more} more kinds").format(shown=shown, more=more) if more > 0 else shown)
