"""Consents in a patient's words: what each allows, which choices there are, what was said before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from twinward.access.consent import Consent, KeptConsent, Provision
from twinward.access.consent_choices import CHOICES, is_over, offered
from twinward.audit.events.plain_words import WHATS, WHYS
from twinward.console.viewer import day, gettext
from twinward.core.vocabulary import SENSITIVE, Action, Purpose, Role
from twinward.overview.consents import ConsentChange

SAID: Final = {
    "similar": (
        "Companies may search for patients like me",
        "Figures computed from your record are compared with their encrypted question. They learn that somebody fits, "
        "not who. Without this nobody outside searches among your figures.",
    ),
    "records": (
        "A company whose search I fit may receive my record",
        "All but mental health, addiction, HIV, sexual health and genetics. It then knows you as your record does.",
    ),
    "contact": (
        "The hospital may tell me of studies that look for patients like me",
        "The company asks the hospital, the hospital tells you. Unless you agree the company learns nothing of you.",
    ),
    "research": (
        "Research here may learn from my figures and monitor recordings",
        "A study's model is trained inside this hospital, with noise, so that little can be learnt of any one patient.",
    ),
    "counts": (
        "The hospital may count me when it watches for outbreaks with others",
        "Your diagnoses are looked at for a few infectious diseases. Only a daily number leaves, with noise, in a sum.",
    ),
    "no-research": ("Nobody may use my record for research", "This also stops searches by companies. Care goes on."),
    "own": (
        "My own download contains mental health, addiction, HIV, sexual health and genetics",
        "These are given out, even to you here, by your explicit consent only.",
    ),
    **{
        f"treat-{one.value}": (
            f"Clinicians who treat me may see: {WHATS[one]}",
            "Without this they see it in an emergency only, with a reason that is reviewed.",
        )
        for one in SENSITIVE
    },
}
ROLES: Final = {
    Role.OFFICER: "the hospital's data office",
    Role.CLINICIAN: "clinicians",
    Role.RESEARCHER: "researchers",
    Role.VENDOR: "companies",
    Role.OPERATOR: "whoever runs the computers",
    Role.PATIENT: "me",
    Role.PEER_HOSPITAL: "other hospitals",
    Role.SYSTEM: "the hospital's machines",
    Role.NODE: "the hospital's own system",
}


ASKERS: Final = {
    Role.CLINICIAN: {Action.READ: "those who treat you"},
    Role.RESEARCHER: {Action.TRAIN: "studies in this hospital"},
    Role.VENDOR: {
        Action.MATCH: "companies that look for patients like you",
        Action.EXPORT: "companies that receive records",
    },
    Role.NODE: {Action.COUNT: "the hospital when it watches for outbreaks with others"},
}
"""Who would have more or less of a record, by what they would do (``overview.consents``)."""


def would_change(found: ConsentChange) -> dict[str, Any]:
    """What another consent would change, in the patient's words."""
    return {
        "effects": [
            {
                "who": gettext(ASKERS[one.role][one.action]),
                "gained": ", ".join(gettext(WHATS[each]) for each in one.gained),
                "lost": ", ".join(gettext(WHATS[each]) for each in one.lost),
            }
            for one in found.effects
        ],
        "looked_at": found.decisions.looked_at,
        "changed": found.decisions.changed,
        "differences": [
            {
                "count": one.count,
                "who": gettext(ROLES[Role(one.role)]),
                "why": gettext(WHYS[Purpose(one.purpose)]),
                "then": one.then,
            }
            for one in found.decisions.differences
        ],
    }


def kept(consent: Consent, at_ms: int) -> list[dict[str, Any]]:
    """What the consent in force says, each with its place; what is over is said as over."""
    return [
        {"place": place, "say": said(one), "hint": _hint(one), "over": is_over(one, at_ms)}
        for place, one in enumerate(consent.provisions)
    ]


def choices(consent: Consent) -> list[dict[str, str]]:
    """What may be said besides."""
    return [{"name": name, "say": gettext(SAID[name][0]), "hint": gettext(SAID[name][1])} for name in offered(consent)]


def earlier(versions: Sequence[KeptConsent]) -> list[dict[str, Any]]:
    """Every version, the newest first."""
    return [
        {
            "version": one.consent.version,
            "at": one.at_ms,
            "says": [said(each) for each in one.consent.provisions],
        }
        for one in versions
    ]


def said(one: Provision) -> str:
    """One rule of a consent, as the patient who said it would."""
    for name, provision in CHOICES.items():
        if one == provision:
            return gettext(SAID[name][0])
    who = ", ".join([*one.actors, *(gettext(ROLES[role]) for role in one.roles if not one.actors)])
    what = ", ".join(gettext(WHATS[category]) for category in one.categories)
    why = gettext(" or ").join(gettext(WHYS[purpose]) for purpose in one.purposes)
    parts = [who or gettext("everybody"), what or gettext("everything"), why or gettext("for any purpose")]
    if one.valid_from_ms:
        parts.append(gettext("from %s") % day(one.valid_from_ms).striptags())
    if one.valid_until_ms is not None:
        parts.append(gettext("until %s") % day(one.valid_until_ms).striptags())
    yes = gettext("Yes") if one.effect == "permit" else gettext("No")
    return f"{yes}: {' · '.join(parts)}"


def _hint(one: Provision) -> str:
    return next((gettext(SAID[name][1]) for name, provision in CHOICES.items() if provision == one), "")
