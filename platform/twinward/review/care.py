"""Who treats whom, read off FHIR resources. Pure: resources in, links out; what is not understood links nobody.

An account is known in care data by an identifier with the system of the access log, ``urn:twinward:principal``: on a
``Practitioner`` (or a ``Patient``, who then works here), or in place of a reference.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from twinward.core.clock import instant_ms
from twinward.core.errors import BadInput
from twinward.core.vocabulary import TwinId
from twinward.review.models import CareContext, CareLink, Kin, LinkKind, Staff

PRINCIPAL_SYSTEM: Final = "urn:twinward:principal"
CARE_TYPES: Final = (
    "Patient",
    "Encounter",
    "Appointment",
    "CareTeam",
    "ServiceRequest",
    "MedicationRequest",
)
"""What is opened of a patient to explain accesses."""

STAFF_TYPE: Final = "Practitioner"

DAY_MS: Final = 24 * 3600 * 1000
BEFORE_MS: Final = 7 * DAY_MS
"""Care is prepared before it begins."""
AFTER_MS: Final = 30 * DAY_MS
"""Letters, results and follow-up come after it ends."""
_EVER: Final = 2**62
_VIP: Final = frozenset({"CEL", "VIP", "PRS"})
"""ActCode's information sensitivity policies CEL (celebrity) and PRS (patient-requested), and HL7 v2's VIP."""

Resource = dict[str, Any]


class Directory:
    """Accounts by the Practitioner resources that name them."""

    def __init__(self, practitioners: Iterable[Resource]) -> None:
        found = list(practitioners)
        self._accounts: dict[str, str] = {}
        kin: dict[str, Kin] = {}
        for one in found:
            for account in accounts_in(one):
                self._accounts[f"{STAFF_TYPE}/{one.get('id')}"] = account
                kin[account] = kin_of(one)
        self.staff = Staff(kin)

    def account(self, reference: object) -> str | None:
        """Whose account a reference is to; None where nobody says."""
        if not isinstance(reference, dict):
            return None
        identifier = reference.get("identifier")
        if isinstance(identifier, dict) and identifier.get("system") == PRINCIPAL_SYSTEM:
            return str(identifier.get("value", "")) or None
        return self._accounts.get(str(reference.get("reference", "")))


def care_of(twin: TwinId, resources: Iterable[Resource], directory: Directory) -> CareContext:
    """What some resources of one patient say about who treats them."""
    links: list[CareLink] = []
    kin, is_vip = Kin(), False
    for resource in resources:
        kind = resource.get("resourceType")
        if kind == "Patient":
            kin, is_vip = kin_of(resource), _is_vip(resource)
            links += _named(LinkKind.CARE_TEAM, _list(resource.get("generalPractitioner")), (0, _EVER), directory)
        elif kind in _READERS:
            links += _READERS[str(kind)](resource, directory)
    return CareContext(twin, tuple(dict.fromkeys(links)), kin, is_vip)


def folded(text: str) -> str:
    """A unit or a name as it is compared: letter case, accents and spaces at its ends aside."""
    plain = unicodedata.normalize("NFKD", text.casefold().strip())
    return "".join(char for char in plain if not unicodedata.combining(char))


def accounts_in(resource: Resource) -> list[str]:
    """The accounts that a resource says it is of."""
    return [
        str(one["value"])
        for one in _dicts(resource.get("identifier"))
        if one.get("system") == PRINCIPAL_SYSTEM and one.get("value")
    ]


def kin_of(resource: Resource) -> Kin:
    """Family names and addresses of a Patient or a Practitioner."""
    names = (one.get("family") for one in _dicts(resource.get("name")))
    return Kin(
        frozenset(folded(one) for one in names if isinstance(one, str) and one.strip()),
        frozenset(filter(None, map(_address, _dicts(resource.get("address"))))),
        frozenset(accounts_in(resource)),
    )


def _address(one: Resource) -> str:
    lines = [line for line in _list(one.get("line")) if isinstance(line, str)]
    parts = [*lines, *(one.get(name) for name in ("postalCode", "city"))]
    said = [folded(part) for part in parts if isinstance(part, str) and part.strip()]
    return "|".join(said) if lines and len(said) > 1 else ""


def _is_vip(patient: Resource) -> bool:
    security = _dicts(_dict(patient.get("meta")).get("security"))
    return any(one.get("code") in _VIP for one in security)


def _encounter(resource: Resource, directory: Directory) -> Iterator[CareLink]:
    span = _span(resource.get("period"))
    people = [_dict(one).get("individual") for one in _list(resource.get("participant"))]
    yield from _named(LinkKind.ENCOUNTER, people, span, directory)
    places = [_dict(_dict(one).get("location")).get("display") for one in _list(resource.get("location"))]
    places.append(_dict(resource.get("serviceProvider")).get("display"))
    places.append(_dict(resource.get("serviceType")).get("text"))
    for place in places:
        if isinstance(place, str) and place.strip():
            yield CareLink(LinkKind.UNIT, folded(place), *span)


def _appointment(resource: Resource, directory: Directory) -> Iterator[CareLink]:
    if resource.get("status") in ("cancelled", "entered-in-error"):
        return
    span = _span({"start": resource.get("start"), "end": resource.get("end")})
    actors = [_dict(one).get("actor") for one in _list(resource.get("participant"))]
    yield from _named(LinkKind.APPOINTMENT, actors, span, directory)


def _care_team(resource: Resource, directory: Directory) -> Iterator[CareLink]:
    members = [_dict(one).get("member") for one in _list(resource.get("participant"))]
    yield from _named(LinkKind.CARE_TEAM, members, _span(resource.get("period"), 0), directory)


def _order(resource: Resource, directory: Directory) -> Iterator[CareLink]:
    moment = resource.get("occurrenceDateTime") or resource.get("authoredOn")
    span = _span({"start": moment, "end": moment})
    yield from _named(LinkKind.ORDER, [resource.get("requester"), resource.get("recorder")], span, directory)
    performers = _list(resource.get("performer")) or [resource.get("performer")]
    yield from _named(LinkKind.REFERRAL, performers, span, directory)
    for one in performers:
        if isinstance(display := _dict(one).get("display"), str) and display.strip():
            yield CareLink(LinkKind.UNIT, folded(display), *span)


_READERS: Final = {
    "Encounter": _encounter,
    "Appointment": _appointment,
    "CareTeam": _care_team,
    "ServiceRequest": _order,
    "MedicationRequest": _order,
}


def _named(
    kind: LinkKind, references: Iterable[object], span: tuple[int, int], directory: Directory
) -> Iterator[CareLink]:
    for reference in references:
        account = directory.account(reference)
        if account is not None:
            yield CareLink(kind, account, *span)


def _span(period: object, otherwise_from: int | None = None) -> tuple[int, int]:
    """When care of a period explains an access; one without a beginning explains none, unless it is said since when."""
    start, end = _moment(_dict(period).get("start")), _moment(_dict(period).get("end"), last=True)
    if start is None:
        if otherwise_from is None:
            return (0, 0) if end is None else (end - BEFORE_MS, end + AFTER_MS)
        start = otherwise_from
    return max(0, start - BEFORE_MS), _EVER if end is None else end + AFTER_MS


def _moment(value: object, *, last: bool = False) -> int | None:
    """A dateTime in milliseconds; a day, a month or a year by its first moment, or its last one's day."""
    if not isinstance(value, str) or len(value) < 4:
        return None
    try:
        if len(value) > 10:
            return instant_ms(value)
        year, month, day = (int(part) for part in (value + "-01-01")[:10].split("-"))
        found = round(datetime(year, month, day, tzinfo=UTC).timestamp() * 1000)
    except (BadInput, ValueError, OverflowError):
        return None
    return found + (DAY_MS * {4: 366, 7: 31}.get(len(value), 1) if last else 0)


def resources_of(contents: Iterable[Mapping[str, Any] | object]) -> list[Resource]:
    """Those that are JSON objects."""
    return [one for one in contents if isinstance(one, dict)]


def _dict(value: object) -> Resource:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _dicts(value: object) -> list[Resource]:
    return [one for one in _list(value) if isinstance(one, dict)]
