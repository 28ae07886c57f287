"""ADT and ORM as FHIR R4: patients, visits and orders, as entries of a transaction.

HL7 v2.5.1 chapters 3 and 4; the mapping follows HL7's v2-to-FHIR guide (PID→Patient, PV1→Encounter, ORC/OBR→
ServiceRequest). A visit and an order are the sender's own: each message says all of it, and takes the place of what the
one before said. A patient may be known from elsewhere: made where there is none, and otherwise changed member by
member, so that what PID does not say stays. Done twice, each comes to the same.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Final
from urllib.parse import quote

from twinward.core.clock import iso
from twinward.live.hl7.errors import MISSING, Hl7Fault
from twinward.live.hl7.message import Message, Segment
from twinward.live.hl7.people import Authorities, Identifier
from twinward.live.hl7.times import day, moment_ms, usual_offset

Json = dict[str, Any]
_GENDERS: Final = {"F": "female", "M": "male", "O": "other", "A": "other", "U": "unknown", "N": "other"}
"""Table 0001."""
_CLASSES: Final = {"I": "IMP", "O": "AMB", "E": "EMER", "P": "PRENC", "R": "AMB", "B": "IMP"}
"""Table 0004 as v3 ActCode."""
_ACT_CODE: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_ORDERS: Final = {"NW": "active", "XO": "active", "CA": "revoked", "DC": "revoked", "HD": "on-hold", "RL": "active"}
"""Table 0119, order control."""
_SLUG: Final = re.compile(r"[^a-z0-9]+")
_SYSTEMS: Final = {"LN": "http://loinc.org", "SCT": "http://snomed.info/sct"}


@dataclass(frozen=True, slots=True)
class PatientSaid:
    """What a message says of a patient.

    Attributes:
        identifier: what they are found by.
        made: the resource, where there is none.
        members: what is changed of one that is there.
    """

    identifier: Identifier
    made: Json
    members: Json


def patient_said(pid: Segment, known: Sequence[Identifier]) -> PatientSaid:
    """PID as a Patient; ``known`` are its identifiers, the first is what it is found by."""
    said: Json = {}
    family, given = pid.text(5), [one for one in (pid.text(5, 2), pid.text(5, 3)) if one]
    if family or given:
        said["name"] = [
            {"use": "official", **({"family": family} if family else {}), **({"given": given} if given else {})}
        ]
    if day(pid.text(7)):
        said["birthDate"] = day(pid.text(7))
    if pid.text(8):
        said["gender"] = _GENDERS.get(pid.text(8).upper(), "unknown")
    address = _address(pid)
    if address:
        said["address"] = [address]
    if pid.text(30) == "Y":
        said["deceasedBoolean"] = True
    identifiers = [{"system": one.system, "value": one.value} for one in known]
    made = {"resourceType": "Patient", "identifier": identifiers, "active": True, **said}
    return PatientSaid(known[0], made, said)


def visit_entry(message: Message, visit: Identifier, patient: Identifier, zone: tzinfo | None) -> Json:
    """PV1 as an Encounter: where the patient is, since when, and until when where it is over. Raises ``Hl7Fault``."""
    pv1 = message.first("PV1")
    usual = usual_offset(message.header.text(7), zone)
    event, is_over = message.kind.partition("^")[2], message.kind.endswith("A03")
    start = _moment(pv1, 44, usual) or (_event(message, usual) if event == "A01" else "")
    period: Json = {"start": start} if start else {}
    if is_over:
        period["end"] = _moment(pv1, 45, usual) or _event(message, usual)
    made: Json = {
        "resourceType": "Encounter",
        "identifier": [{"system": visit.system, "value": visit.value}],
        "status": "finished" if is_over else "in-progress",
        "class": {"system": _ACT_CODE, "code": _CLASSES.get(pv1.text(2), "AMB")},
        "subject": {"reference": condition_of("Patient", patient)},
    }
    if period:
        made["period"] = period
    places = _places(pv1, is_over=is_over)
    if places:
        made["location"] = places
    return put_entry(visit, made)


def beds_of(message: Message) -> list[str]:
    """What a bed's twin may be called by PV1-3 (PL: point of care, room, bed), the most exact first; [] for no bed."""
    ward, room, bed = (_SLUG.sub("-", message.first("PV1").text(3, part).lower()).strip("-") for part in (1, 2, 3))
    if not bed:
        return []
    return list(dict.fromkeys("-".join(filter(None, parts)) for parts in ((ward, room, bed), (ward, bed), (bed,))))


def order_entries(message: Message, patient: Identifier, authorities: Authorities) -> list[Json]:
    """Each ORC with its OBR as a ServiceRequest. Raises ``Hl7Fault``."""
    found, orc = [], None
    for segment in message.segments:
        if segment.where.segment not in ("ORC", "OBR"):
            continue
        if (segment.where.segment == "ORC") != (orc is None):
            raise Hl7Fault(MISSING, segment.where, "each order has an ORC and one OBR behind it")
        if orc is None:
            orc = segment
            continue
        found.append(_order(orc, segment, patient, authorities))
        orc = None
    if not found or orc is not None:
        raise Hl7Fault(MISSING, message.header.at(9), "an order has an ORC and an OBR")
    return found


def create_entry(said: PatientSaid) -> Json:
    """A patient, where there is none."""
    condition = condition_of("Patient", said.identifier).partition("?")[2]
    return {"resource": said.made, "request": {"method": "POST", "url": "Patient", "ifNoneExist": condition}}


def amend_entry(said: PatientSaid) -> Json:
    """A patient who is there, as a message says."""
    return _patch_entry(said.identifier, said.members)


def merge_entry(survivor: Identifier, prior: Identifier) -> Json:
    """A40: who is gone is inactive, and says by whom it is replaced. Nothing of either record is moved."""
    link = {"other": {"identifier": {"system": survivor.system, "value": survivor.value}}, "type": "replaced-by"}
    return _patch_entry(prior, {"active": False, "link": [link]})


def put_entry(identifier: Identifier, resource: Json) -> Json:
    """A resource as it is to be, under an id of its identifier's: so it is found without being looked for."""
    digest = hashlib.sha256(f"{identifier.system}|{identifier.value}".encode()).hexdigest()
    kind, name = str(resource["resourceType"]), f"hl7-{digest[:40]}"
    return {"resource": {**resource, "id": name}, "request": {"method": "PUT", "url": f"{kind}/{name}"}}


def _patch_entry(identifier: Identifier, members: Json) -> Json:
    """A conditional JSON Patch (RFC 6902) as FHIR carries it in a transaction."""
    operations = [{"op": "add", "path": f"/{name}", "value": value} for name, value in members.items()]
    data = base64.b64encode(json.dumps(operations, ensure_ascii=False).encode()).decode()
    return {
        "resource": {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": data},
        "request": {"method": "PATCH", "url": condition_of("Patient", identifier)},
    }


def condition_of(kind: str, identifier: Identifier) -> str:
    """What finds a resource by an identifier, as a reference and a URL carry it."""
    return f"{kind}?identifier={quote(identifier.system, safe='')}|{quote(identifier.value, safe='')}"


def _order(orc: Segment, obr: Segment, patient: Identifier, authorities: Authorities) -> Json:
    number = orc.text(2) or obr.text(2)
    if not number:
        raise Hl7Fault(MISSING, orc.at(2), f"{orc.at(2)} and OBR-2 are empty: the placer's order number")
    obr.required(4, "what was ordered")
    placer = orc.text(2, 2) or obr.text(2, 2)
    # Two placers count each their own.
    of_placer = f"{patient.system}/orders/{quote(placer, safe='')}".removesuffix("/")
    identifier = Identifier(authorities.systems.get(placer, of_placer) if placer else of_placer, number)
    system = _SYSTEMS.get(obr.text(4, 3))
    coding = {"system": system, "code": obr.text(4), "display": obr.text(4, 2)}
    made: Json = {
        "resourceType": "ServiceRequest",
        "identifier": [{"system": identifier.system, "value": identifier.value}],
        "status": _ORDERS.get(orc.text(1), "unknown"),
        "intent": "order",
        "code": {"coding": [{name: value for name, value in coding.items() if value}]},
        "subject": {"reference": condition_of("Patient", patient)},
    }
    return put_entry(identifier, made)


def _moment(segment: Segment, number: int, usual: tzinfo | None) -> str:
    return iso(moment_ms(segment.text(number), segment.at(number), usual)) if segment.text(number) else ""


def _event(message: Message, usual: tzinfo | None) -> str:
    """When it happened, or was written down: EVN-6, EVN-2, MSH-7."""
    for event in message.all("EVN"):
        for number in (6, 2):
            if event.text(number):
                return _moment(event, number, usual)
    message.header.required(7, "when the message was made")
    return _moment(message.header, 7, usual)


def _places(pv1: Segment, *, is_over: bool) -> list[Json]:
    """Where the patient was (PV1-6) and is (PV1-3)."""
    now, before = _place(pv1, 3), _place(pv1, 6)
    found = [{"location": {"display": before}, "status": "completed"}] if before and before != now else []
    if now:
        found.append({"location": {"display": now}, "status": "completed" if is_over else "active"})
    return found


def _place(pv1: Segment, number: int) -> str:
    """PL as people read it: facility, point of care, room, bed."""
    return " / ".join(one for one in (pv1.text(number, part) for part in (4, 1, 2, 3)) if one)[:200]


def _address(pid: Segment) -> Json:
    parts = {"city": pid.text(11, 3), "state": pid.text(11, 4), "postalCode": pid.text(11, 5)}
    found: Json = {name: value for name, value in parts.items() if value}
    line = pid.text(11)
    return {"line": [line], **found} if line else found
