"""Resources that break one invariant of R4, where a search finds none: what the others of their type ask is kept."""

from __future__ import annotations

from typing import Any

from tests.r4_specimens import Object, holding

_STRUCTURE: Object = {
    "resourceType": "StructureDefinition",
    "url": "http://e.example/a",
    "name": "A",
    "status": "draft",
    "kind": "logical",
    "abstract": True,
    "type": "A",
    "baseDefinition": "http://e.example/b",
    "derivation": "specialization",
}
_HL7S = {"url": "http://hl7.org/fhir/StructureDefinition/A"}
_CAPABILITIES: Object = {
    "resourceType": "CapabilityStatement",
    "status": "draft",
    "date": "2020-01-01",
    "kind": "requirements",
    "fhirVersion": "4.0.1",
    "format": ["json"],
    "description": "a",
    "rest": [{"mode": "server"}],
}
_ENTRY: Object = {"fullUrl": "http://e.example/Basic/a", "resource": {"resourceType": "Basic", "code": {"text": "a"}}}
_COMPOSITION: Object = {
    "resourceType": "Composition",
    "status": "final",
    "type": {"text": "a"},
    "date": "2020-01-01",
    "author": [{"display": "a"}],
    "title": "a",
}
_DOCUMENT: Object = {
    "resourceType": "Bundle",
    "type": "document",
    "identifier": {"system": "urn:a", "value": "a"},
    "timestamp": "2020-01-01T10:00:00Z",
    "entry": [{"fullUrl": "http://e.example/Composition/a", "resource": _COMPOSITION}],
}
_PATIENT: Object = {"resourceType": "Patient", "managingOrganization": {"reference": "#a"}}
_INNER: Object = {"resourceType": "Organization", "id": "a", "name": "a"}
_PANEL: Object = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"coding": [{"system": "urn:a", "code": "a"}]},
}
_NARRATIVE = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'
_EXPECTED = {"label": "a", "direction": "response", "warningOnly": False}
_AIMLESS = {"type": {"code": "read"}, "encodeRequestUrl": True}
_QUANTITY = {"value": 2, "unit": "mg", "system": "http://unitsofmeasure.org", "code": "mg"}


def _defined(path: str, **more: Any) -> Object:
    base = {"base": {"path": path, "min": 0, "max": "1"}, "definition": "a", "min": 0, "max": "1"}
    return {"id": path, "path": path} | base | more


def _snapshot(*elements: Object, **more: Any) -> Object:
    return _STRUCTURE | {"snapshot": {"element": list(elements)}} | more


def _differential(*elements: Object, **more: Any) -> Object:
    return _STRUCTURE | {"differential": {"element": list(elements)}} | more


def _element(**more: Any) -> Object:
    return _differential({"id": "A.b", "path": "A.b"} | more)


def _without(one: Object, name: str) -> Object:
    return {key: value for key, value in one.items() if key != name}


def _item(**more: Any) -> Object:
    return {"resourceType": "Questionnaire", "status": "draft", "item": [{"linkId": "a"} | more]}


def _test(step: str, **action: Any) -> Object:
    return holding(f"TestScript.{step}.action", action)


BY_HAND: dict[str, Object] = {
    "bdl-8": {"resourceType": "Bundle", "type": "collection"}
    | {"entry": [_ENTRY | {"fullUrl": "http://e.example/Basic/a/_history/1"}]},
    "bdl-10": _without(_DOCUMENT, "timestamp"),
    "bdl-11": _DOCUMENT | {"entry": [_ENTRY]},
    "cpb-3": _CAPABILITIES
    | {"messaging": [{"endpoint": [{"protocol": {"code": "a"}, "address": "http://e.example/a"}]}]},
    "cpb-9": _CAPABILITIES | {"rest": [{"mode": "server", "resource": [{"type": "Patient"}, {"type": "Patient"}]}]},
    "cpb-15": _CAPABILITIES | {"kind": "capability"},
    "ctm-1": {"resourceType": "CareTeam"}
    | {"participant": [{"member": {"reference": "Patient/a"}, "onBehalfOf": {"reference": "Organization/a"}}]},
    "dom-2": _PATIENT | {"contained": [_INNER | {"contained": [_INNER | {"id": "b"}]}]},
    "dom-3": {"resourceType": "Patient", "contained": [_INNER]},
    "dom-4": _PATIENT | {"contained": [_INNER | {"meta": {"versionId": "1"}}]},
    "dom-5": _PATIENT | {"contained": [_INNER | {"meta": {"security": [{"system": "urn:a", "code": "a"}]}}]},
    "eld-1": _element(slicing={"rules": "open"}),
    "eld-2": _element(min=2, max="1"),
    "eld-3": _element(max="-1"),
    "eld-5": _element(contentReference="#A.c", maxLength=1),
    "eld-6": _element(fixedString="a", type=[{"code": "string"}, {"code": "code"}]),
    "eld-7": _element(patternString="a", type=[{"code": "string"}, {"code": "code"}]),
    "eld-13": _element(type=[{"code": "string"}, {"code": "string"}]),
    "eld-14": _element(constraint=[{"key": "a-1", "severity": "error", "human": "a"}] * 2),
    "eld-15": _element(defaultValueString="a", meaningWhenMissing="a"),
    "eld-16": _element(sliceName="a b"),
    "eld-18": _element(isModifier=True),
    "eld-19": _element(path="A.b?"),
    "eld-22": _element(sliceIsConstraining=True),
    "md-1": holding("MessageDefinition.focus", {"code": "Patient", "min": 0, "max": "0"}),
    "mdd-1": {"resourceType": "MedicationDispense", "status": "completed", "medicationCodeableConcept": {"text": "a"}}
    | {"whenPrepared": "2020-01-02", "whenHandedOver": "2020-01-01"},
    "mea-1": holding("Measure.group", {"stratifier": [{"id": "a"}]}),
    "nsd-2": {"resourceType": "NamingSystem", "name": "A", "status": "draft", "kind": "codesystem", "date": "2020"}
    | {"uniqueId": [{"type": "oid", "value": value, "preferred": True} for value in ("1.2", "1.3")]},
    "obs-7": _PANEL | {"valueInteger": 1, "component": [{"code": _PANEL["code"], "valueInteger": 1}]},
    "opd-3": holding(
        "OperationDefinition.parameter",
        {"name": "a", "use": "in", "min": 0, "max": "1", "type": "string", "targetProfile": ["http://e.example/a"]},
    ),
    "org-3": {"resourceType": "Organization", "name": "a"}
    | {"telecom": [{"system": "phone", "value": "1", "use": "home"}]},
    "per-1": {"resourceType": "Encounter", "status": "finished", "class": {"code": "AMB"}}
    | {"period": {"start": "2020-01-02", "end": "2020-01-01"}},
    "que-3": _item(type="display", code=[{"code": "a"}]),
    "que-6": _item(type="display", required=True),
    "que-9": _item(type="display", readOnly=True),
    "que-12": _item(type="text", enableWhen=[{"question": "b", "operator": "exists", "answerBoolean": True}] * 3),
    "que-13": _item(type="text", repeats=False, initial=[{"valueString": "a"}, {"valueString": "b"}]),
    "ref-1": _without(_PATIENT, "contained"),
    "rng-2": {"resourceType": "RiskAssessment", "status": "final", "subject": {"display": "a"}}
    | {"prediction": [{"whenRange": {"low": _QUANTITY, "high": _QUANTITY | {"value": 1}}}]},
    "sdf-1": _snapshot(_defined("A"), _defined("A.b"), _defined("A.b", id="A.c")),
    "sdf-2": _differential({"id": "A", "path": "A"}, mapping=[{"identity": "a"}]),
    "sdf-3": _snapshot(_without(_defined("A"), "definition")),
    "sdf-4": _without(_differential({"id": "A", "path": "A"}, abstract=False), "baseDefinition"),
    "sdf-5": _differential({"id": "Extension", "path": "Extension"}, type="Extension", derivation="constraint"),
    "sdf-6": _STRUCTURE,
    "sdf-8": _snapshot(_defined("A"), _defined("B.c")),
    "sdf-8a": _differential({"id": "A", "path": "A"}, {"id": "B.c", "path": "B.c"}),
    "sdf-8b": _snapshot(_without(_defined("A"), "base")),
    "sdf-9": _differential({"id": "A", "path": "A", "label": "a"}),
    "sdf-10": _snapshot(_defined("A", binding={"strength": "example"})),
    "sdf-11": _snapshot(_defined("B"), kind="resource"),
    "sdf-14": _snapshot(_without(_defined("A"), "id")),
    "sdf-15": _snapshot(_defined("A", type=[{"code": "A"}]), kind="resource"),
    "sdf-15a": _differential({"id": "A", "path": "A", "type": [{"code": "A"}]}, kind="resource"),
    "sdf-16": _snapshot(_defined("A"), _defined("A.b", id="A")),
    "sdf-17": _differential({"id": "A", "path": "A"}, {"id": "A", "path": "A.b"}),
    "sdf-18": _differential({"id": "A", "path": "A"}, contextInvariant=["true"]),
    "sdf-19": _element(type=[{"code": "a-b"}]) | _HL7S,
    "sdf-20": _differential({"id": "A", "path": "A", "slicing": {"rules": "open", "description": "a"}}),
    "sdf-21": _element(defaultValueString="a") | {"derivation": "constraint"},
    "sdf-22": _element(defaultValueString="a") | _HL7S,
    "sdf-23": _differential({"id": "A", "path": "A", "sliceName": "a"}),
    "sqty-1": _PANEL | {"referenceRange": [{"low": {"value": 1, "comparator": "<"}}]},
    "tst-6": _test("test", **{"assert": _EXPECTED | {"path": "a", "resource": "Patient"}}),
    "tst-8": _test("test", operation=_AIMLESS),
    "tst-9": _test("teardown", operation=_AIMLESS),
    "tst-11": _test("test", **{"assert": _EXPECTED | {"compareToSourceId": "a"}}),
    "tst-13": _test("test", **{"assert": _EXPECTED | {"direction": "request", "responseCode": "200"}}),
    "txt-1": _without(_PATIENT, "managingOrganization")
    | {"text": {"status": "generated", "div": _NARRATIVE.format("<script>a</script>")}},
    "txt-2": _without(_PATIENT, "managingOrganization")
    | {"text": {"status": "generated", "div": _NARRATIVE.format(" ")}},
    "vsd-9": {"resourceType": "ValueSet", "status": "draft"}
    | {"expansion": {"timestamp": "2020-01-01", "contains": [{"display": "a", "abstract": False}]}},
}
