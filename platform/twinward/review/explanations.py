"""Templates by which an access is explained: a path in care data from who looked to whose record it is.

After Fabbri and LeFevre (PVLDB 5(1), 2011, section 3; PVLDB 6(14), 2013): an access is explained where a path through
the hospital's own data joins user and patient. Templates are tried in this order, the most telling first; each says in
plain words what it found. What no template explains is not wrong: it is what an officer looks at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from twinward.access.interfaces import UNITS_JOINED
from twinward.core.sentences import sentence
from twinward.core.vocabulary import Purpose, Role
from twinward.review.care import folded
from twinward.review.models import CareContext, Explained, LinkKind, Staff, Visit

_Template = Callable[[Visit, CareContext, Staff], str]


def explain(visit: Visit, care: CareContext, staff: Staff) -> Explained | None:
    """The first template that explains a visit; None where none does."""
    for name, template in TEMPLATES.items():
        said = template(visit, care, staff)
        if said:
            return Explained(visit, name, said)
    return None


def _own_record(visit: Visit, care: CareContext, staff: Staff) -> str:
    is_own = visit.role is Role.PATIENT and staff.ties.get(visit.agent) == care.twin
    return sentence("the patient looked at their own record") if is_own else ""


def _node(visit: Visit, _: CareContext, __: Staff) -> str:
    return sentence("the hospital's own node did this by itself") if visit.role is Role.NODE else ""


def _system(visit: Visit, _: CareContext, __: Staff) -> str:
    purposes = {one.purpose for one in visit.accesses}
    if visit.role in (Role.SYSTEM, Role.OPERATOR) and purposes == {Purpose.RECORD_MANAGEMENT}:
        return sentence("{agent} files what wards and imports deliver", agent=visit.agent)
    return ""


def _by_consent(visit: Visit, _: CareContext, __: Staff) -> str:
    if visit.role in (Role.VENDOR, Role.RESEARCHER, Role.PEER_HOSPITAL) and all(
        one.permitted for one in visit.accesses
    ):
        return sentence("the patient's consent permits it; without it, policy refuses")
    return ""


def _data_office(visit: Visit, _: CareContext, __: Staff) -> str:
    return sentence("the data office examined, exported or erased as its duty is") if visit.role is Role.OFFICER else ""


def _linked(kind: LinkKind, words: str) -> _Template:
    def template(visit: Visit, care: CareContext, _: Staff) -> str:
        met = any(
            one.kind is kind and one.to == visit.agent and _covers(one.from_ms, one.until_ms, visit)
            for one in care.links
        )
        return sentence(words, agent=visit.agent) if met else ""

    return template


def _unit(visit: Visit, care: CareContext, _: Staff) -> str:
    mine = _units_in(visit.unit)
    met = any(
        one.kind is LinkKind.UNIT and one.to in mine and _covers(one.from_ms, one.until_ms, visit) for one in care.links
    )
    return (
        sentence("the patient was treated on {unit}, where {agent} works", unit=visit.unit, agent=visit.agent)
        if met
        else ""
    )


def _team(visit: Visit, care: CareContext, staff: Staff) -> str:
    mine = _units_in(visit.unit)
    for one in care.links:
        works_there = one.kind is not LinkKind.UNIT and bool(_units_in(staff.units.get(one.to, "")) & mine)
        if works_there and _covers(one.from_ms, one.until_ms, visit):
            return sentence("{to}, of the same unit as {agent}, treats the patient", to=one.to, agent=visit.agent)
    return ""


def _units_in(said: str) -> frozenset[str]:
    """The units that an event or an account names, as they are compared."""
    return frozenset(folded(one) for one in said.split(UNITS_JOINED)) - {""}


def _covers(from_ms: int, until_ms: int, visit: Visit) -> bool:
    return from_ms <= visit.at_ms < until_ms


TEMPLATES: Final[Mapping[str, _Template]] = {
    "own record": _own_record,
    "the node itself": _node,
    "record keeping": _system,
    "consent": _by_consent,
    "data office": _data_office,
    "encounter": _linked(LinkKind.ENCOUNTER, "{agent} took part in an encounter with the patient"),
    "appointment": _linked(LinkKind.APPOINTMENT, "{agent} had an appointment with the patient"),
    "order": _linked(LinkKind.ORDER, "{agent} ordered something for the patient"),
    "referral": _linked(LinkKind.REFERRAL, "{agent} was asked to do something for the patient"),
    "care team": _linked(LinkKind.CARE_TEAM, "{agent} is one of the patient's care team"),
    "unit": _unit,
    "same unit as a treating colleague": _team,
}
"""By name, in the order they are tried. Those of care explain whatever is in their time: before it by a week, after it
by a month (``care.BEFORE_MS``, ``care.AFTER_MS``)."""
