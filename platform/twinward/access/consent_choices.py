"""What patients are offered to consent to, each with what it allows, and how that is kept beside what stands already.

A choice is one provision. What else a consent says, by an officer or a FHIR Consent, stays as it is until the patient
takes it back: it is kept, or taken back, by its place in the version the patient saw.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from twinward.access.consent import Consent, Provision
from twinward.access.errors import ConsentInvalid
from twinward.core.errors import Conflict
from twinward.core.vocabulary import RECORD_CATEGORIES, SENSITIVE, Category, Purpose, Role

CHOICES: Final[Mapping[str, Provision]] = {
    "similar": Provision(effect="permit", purposes=(Purpose.SIMILARITY,), categories=(Category.FEATURES,)),
    "records": Provision(
        effect="permit",
        roles=(Role.VENDOR,),
        purposes=(Purpose.SIMILARITY,),
        categories=tuple(sorted(RECORD_CATEGORIES - SENSITIVE)),
    ),
    "contact": Provision(
        effect="permit", roles=(Role.OFFICER,), purposes=(Purpose.SIMILARITY,), categories=(Category.DEMOGRAPHICS,)
    ),
    "research": Provision(
        effect="permit",
        roles=(Role.RESEARCHER,),
        purposes=(Purpose.RESEARCH,),
        categories=(Category.FEATURES, Category.MONITORING),
    ),
    "counts": Provision(effect="permit", purposes=(Purpose.PUBLIC_HEALTH,), categories=(Category.CONDITIONS,)),
    "no-research": Provision(effect="deny", purposes=(Purpose.RESEARCH,)),
    **{
        f"treat-{one.value}": Provision(
            effect="permit", roles=(Role.CLINICIAN,), purposes=(Purpose.TREATMENT,), categories=(one,)
        )
        for one in sorted(SENSITIVE)
    },
    "own": Provision(
        effect="permit",
        roles=(Role.PATIENT,),
        purposes=(Purpose.PATIENT_REQUEST,),
        categories=tuple(sorted(SENSITIVE)),
    ),
}
"""By name. Those of treatment and of one's own download are for what is given out by explicit consent only."""


_RESEARCH: Final = ("similar", "records", "contact", "research")


def offered(consent: Consent) -> list[str]:
    """The choices that a consent does not contain."""
    return [name for name, provision in CHOICES.items() if provision not in consent.provisions]


def is_over(provision: Provision, at_ms: int) -> bool:
    """Whether its period has ended."""
    return provision.valid_until_ms is not None and provision.valid_until_ms <= at_ms


def chosen(
    consent: Consent, version: int, kept: Collection[int], added: Collection[str], at_ms: int
) -> list[Provision]:
    """What a consent says next: what is kept of it, and what is added. What is over is left out.

    Args:
        consent: the one in force.
        version: the one the patient saw.
        kept: places of its provisions.
        added: names of ``CHOICES``.
        at_ms: now.

    Raises:
        Conflict: it was changed meanwhile.
        ConsentInvalid: there is no such place or choice, or a yes and a no to the same were chosen.
    """
    if version != consent.version:
        raise Conflict("your consent was changed meanwhile", hint="look at it again, then choose")
    if not set(kept) <= set(range(len(consent.provisions))) or not set(added) <= CHOICES.keys():
        raise ConsentInvalid("this is none of the choices on the page", hint="go back and choose again")
    said = [one for place, one in enumerate(consent.provisions) if place in set(kept) and not is_over(one, at_ms)]
    said += [one for name, one in CHOICES.items() if name in set(added) and one not in said]
    if CHOICES["no-research"] in said and any(CHOICES[one] in said for one in _RESEARCH):
        hint = "take one of them back: where both stand, the no decides"
        raise ConsentInvalid("you said yes to a use for research, and no to all research", hint=hint)
    return said
