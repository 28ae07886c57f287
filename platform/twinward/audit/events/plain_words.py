"""Events as the patient whose record it is reads them: who, what, why, in words that nobody has to look up."""

from __future__ import annotations

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
_INVITATIONS: Final = {
    "told": "had you told of a study that looks for patients like you; the company learns nothing of it",
    "compared": "held the criteria of a study against figures of yours; nobody was told",
    "answered": "answered an invitation to a study",
}
_MOST_NAMED: Final = 6


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


def plain_words(event: AccessEvent, *, reader: str, name: str) -> PlainWords:
    """An event for the patient it is about.

    Args:
        event: about the reader's record.
        reader: the account that reads it.
        name: of the account that acted, for people; empty where it has none.
    """
    own = event.agent == reader
    unit = f", {event.unit}" if event.unit else ""
    if event.role is Role.NODE:
        who, who_is = "The hospital's system", "by itself"
    elif own:
        who, who_is = "You", "with this account"
    else:
        who, who_is = (f"{name} ({event.agent})" if name else event.agent), f"{WHOS[event.role]}{unit}"
    emergency = event.purpose is Purpose.EMERGENCY or event.action is Action.BREAK_GLASS
    note = dict(event.detail).get("justification", "") if emergency else ""
    return PlainWords(who, who_is, _what(event), WHYS[event.purpose], note, event.decision != "permit", emergency)


def _what(event: AccessEvent) -> str:
    done = deed(event)
    permitted = event.decision == "permit"
    if event.action is Action.CONSENT:
        page = dict(event.detail).get("page", "")
        looked = {
            "own consents": "looked at what you consent to",
            "change of own consents": "changed what you consent to",
        }
        done = looked.get(page, "looked at or changed what you consent to")
        return done if permitted else "tried to see or change what you consent to"
    if event.action is Action.AUDIT:
        return "looked at who accessed your record" if permitted else "tried to see who accessed your record"
    if event.action is Action.ACCOUNT:
        facts = dict(event.detail)
        return f"changed whose account sees your record: {facts.get('account', '')} was {facts.get('change', '')}"
    if event.action in (Action.COHORT, Action.QUERY, Action.MATCH):
        words = {
            Action.COHORT: "took figures of yours into the encrypted search for patients like each other",
            Action.QUERY: "compared a company's encrypted query with figures of yours",
            Action.MATCH: "was told that a patient like the one searched for is here, not who",
        }
        return words[event.action] if permitted else "tried to search for patients like you"
    if event.action is Action.CONTACT:
        said = _INVITATIONS.get(dict(event.detail).get("step", ""), "looked at studies that you are told of")
        return said if permitted else "tried to have you told of a study"
    names = [WHATS[one] for one in event.categories]
    if not names:
        return f"{done} (your record)"
    shown = ", ".join(names[:_MOST_NAMED])
    return f"{done}: {shown}" + (f" and {len(names) - _MOST_NAMED} more kinds" if len(names) > _MOST_NAMED else "")
