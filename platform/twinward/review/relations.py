"""What connects whoever accessed a record with its patient, as the patient may be told it: in the patient's words.

The same templates explain an access to an officer (``explanations``). Here each names nobody but who accessed, and what
nothing explains is not told: that is for an officer to look at, and no accusation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from twinward.review.explanations import explain
from twinward.review.models import CareContext, Staff, Visit

RELATIONS: Final[Mapping[str, str]] = {
    "encounter": "took part in a visit or stay of yours",
    "appointment": "had an appointment with you",
    "order": "ordered something for you",
    "referral": "was asked to do something for you",
    "care team": "is one of your care team",
    "unit": "works on a ward or in a clinic where you were treated",
    "same unit as a treating colleague": "works with somebody who treats you",
}
"""By the template's name. What is not here says of an access no more than its role and purpose do."""


def relation(visit: Visit, care: CareContext, staff: Staff) -> str:
    """How care connects a visit's account with the patient; empty where nothing does that may be told."""
    found = explain(visit, care, staff)
    return "" if found is None else RELATIONS.get(found.template, "")
