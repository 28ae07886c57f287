"""The first draft of a notification, in plain language, with what the case knows filled in.

What the law wants said stands in it as a heading (GDPR, articles 33(3) and 34(2); 45 CFR 164.404(c)). What only a
person can say stands in square brackets; nobody can be noted as notified while such a place is left in the draft.
"""

from __future__ import annotations

import re
from typing import Final

from twinward.breach.models import Audience, BreachCase, ScopeKind
from twinward.core.clock import iso

_PLACE: Final = re.compile(r"\[[^\[\]\n]{3,200}\]")

_NATURE: Final = {
    ScopeKind.ACCOUNT: "Health records were accessed by somebody who may not have been allowed to.",
    ScopeKind.VENDOR: "Information about patients was given to a company that may not have been allowed to have it.",
    ScopeKind.PATIENT: "One patient's health record was accessed by somebody who may not have been allowed to.",
    ScopeKind.TIME: "Health records were accessed during a time in which our systems were not under our control.",
    ScopeKind.KEY: "A key that opens health records was lost. We do not know that anybody has used it.",
}

_AUTHORITY: Final = """\
Notification of a personal data breach to the supervisory authority (GDPR, article 33)

Controller: {hospital}
Case: {name}
Contact: [name, e-mail and telephone of the data protection officer]

1. What happened
{nature}
We became aware of it at {aware} UTC. [What is known of how it happened, and since when]

2. Who and what is affected
Patients: {subjects}
Accesses to their records: {accesses}
Categories of records: {categories}
How we know: {known}

3. What may follow from it
[What may happen to the patients: embarrassment, discrimination, identity theft, worse care]

4. What we have done and are going to do
[What was done to end it, to lessen its consequences and so that it does not happen again]

5. Whether the patients are told
[When and how they were or will be told, or why they are not: article 34(3)]
"""

_PATIENTS: Final = """\
About your health record at {hospital}

We are writing because something happened that concerns your record. We are sorry.

What happened
{nature} We found out on {day}. [In two sentences: what happened, and when]

What of your record is concerned
{categories}

What this may mean for you
[In plain words: what may happen, and how likely it is]

What we are doing
[What was done to end it, and so that it does not happen again]

What you can do
[What the patient can do: be wary of callers, change a password, ask who looked at the record]
You may ask us at any time who looked at your record, when and why. We will hand you the list, with a proof that nothing
was left out of it.

Whom you can ask
[name, a telephone number that costs nothing, e-mail and address]
You may also complain to [the supervisory authority and its address].
"""


def first_draft(case: BreachCase, audience: Audience, hospital: str) -> str:
    """What a draft begins with. ``audience`` is the authority or the patients."""
    found = case.assessment
    return (_AUTHORITY if audience is Audience.AUTHORITY else _PATIENTS).format(
        hospital=hospital,
        name=case.name,
        nature=_NATURE[case.scope.kind],
        aware=iso(case.aware_ms)[:16].replace("T", " "),
        day=iso(case.aware_ms)[:10],
        subjects="[not counted yet]" if found is None else str(found.subjects),
        accesses="[not counted yet]" if found is None else str(found.accesses),
        categories=_categories(case),
        known="[not counted yet]" if found is None else _known(case, found.size),
    )


def places(text: str) -> list[str]:
    """What is still to be filled in."""
    return _PLACE.findall(text)


def _categories(case: BreachCase) -> str:
    if case.assessment is None:
        return "[not counted yet]"
    named = ", ".join(one.replace("-", " ") for one in case.assessment.categories)
    if case.scope.kind is ScopeKind.KEY and not named:
        return "all that is kept of these patients"
    return named or "[which kinds of records]"


def _known(case: BreachCase, size: int) -> str:
    if case.scope.kind is ScopeKind.KEY:
        return "the records' keys were wrapped under the lost key; the access log shows who looked besides."
    return (
        f"every access is written into a log before anything is shown; other hospitals co-sign it. We read its first "
        f"{size} entries, and can prove each that we counted."
    )
