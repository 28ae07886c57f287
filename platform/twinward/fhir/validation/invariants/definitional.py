"""Invariants of bundles, and of resources that define: structures, questionnaires, terminologies, measures, tests."""

from __future__ import annotations

import re
from collections.abc import Iterator

from twinward.fhir.validation.invariants.terms import (
    Object,
    Rule,
    any_there,
    chosen,
    distinct,
    needs,
    not_both,
    one_there,
    parts,
    there,
    values,
)

_WHOLE = re.compile(r"[0-9]{1,9}")
_SLICE_NAME = re.compile(r"[a-zA-Z0-9/\-_\[\]@]+")
_NAME = r"[^\s.,:;'\"/|?!@#$%&*()\[\]{}]{1,64}"
_PATH = re.compile(rf"{_NAME}(?:\.{_NAME}(?:\[x\])?(?::[^\s.]+)?)*")
_HL7S = "http://hl7.org/fhir/StructureDefinition"
_HL7S_TYPE = re.compile(r"[a-zA-Z0-9.]+|http://hl7\.org/fhirpath/System\.[A-Z][A-Za-z]+")
_HL7S_CHANGED_TYPE = re.compile(r"[a-zA-Z0-9]+|http://hl7\.org/fhirpath/System\.[A-Z][A-Za-z]+")

# Bundles: https://hl7.org/fhir/R4/bundle.html

_REQUESTED = ("batch", "transaction", "history")
_RESPONDED = ("batch-response", "transaction-response", "history")


def _has_distinct_urls(one: Object) -> bool:
    if one.get("type") == "history":
        return True
    addressed = [entry for entry in parts(one, "entry") if entry.get("fullUrl") is not None]
    versions = [entry.get("resource", {}).get("meta", {}).get("versionId", "") for entry in addressed]
    return distinct(zip(values(addressed, "fullUrl"), versions, strict=True))


def _begins_with(kind: str, resource_type: str) -> Rule:
    def rule(one: Object) -> bool:
        first = next(parts(one, "entry"), {})
        return one.get("type") != kind or first.get("resource", {}).get("resourceType") == resource_type

    return rule


def _is_identified(one: Object) -> bool:
    identifier = one.get("identifier", {})
    return one.get("type") != "document" or (there(identifier, "system") and there(identifier, "value"))


_BUNDLES: dict[str, dict[str, Rule]] = {
    "Bundle": {
        "bdl-1": lambda one: not there(one, "total") or one.get("type") in ("searchset", "history"),
        "bdl-2": lambda one: (
            one.get("type") == "searchset" or not any("search" in entry for entry in parts(one, "entry"))
        ),
        "bdl-3": lambda one: all(
            ("request" in entry) == (one.get("type") in _REQUESTED) for entry in parts(one, "entry")
        ),
        "bdl-4": lambda one: all(
            ("response" in entry) == (one.get("type") in _RESPONDED) for entry in parts(one, "entry")
        ),
        "bdl-7": _has_distinct_urls,
        "bdl-9": _is_identified,
        "bdl-10": lambda one: one.get("type") != "document" or one.get("timestamp") is not None,
        "bdl-11": _begins_with("document", "Composition"),
        "bdl-12": _begins_with("message", "MessageHeader"),
    },
    "Bundle.entry": {
        "bdl-5": any_there("resource", "request", "response"),
        "bdl-8": lambda one: "/_history/" not in (one.get("fullUrl") or ""),
    },
}

# Structures: https://hl7.org/fhir/R4/structuredefinition.html, https://hl7.org/fhir/R4/elementdefinition.html


def _elements(one: Object, *views: str) -> Iterator[Object]:
    for view in views or ("snapshot", "differential"):
        yield from parts(one, view, "element")


def _is_root(element: Object) -> bool:
    return "." not in element.get("path", ".")


def _roots_without(*names: str) -> Rule:
    return lambda one: (
        not any(_is_root(element) and any(there(element, name) for name in names) for element in _elements(one))
    )


def _first(one: Object, view: str) -> Object:
    return next(_elements(one, view), {})


def _is_its_own_snapshot(one: Object) -> bool:
    """sdf-8."""
    paths = [element.get("path", "") for element in _elements(one, "snapshot")]
    if not paths:
        return True
    return (one.get("kind") == "logical" or paths[0] == one.get("type")) and all(
        path.startswith(f"{paths[0]}.") for path in paths[1:]
    )


def _is_its_own_differential(one: Object) -> bool:
    """sdf-8a."""
    paths = [element.get("path", "") for element in _elements(one, "differential")]
    if not paths:
        return True
    return (one.get("kind") == "logical" or paths[0].startswith(one.get("type", ""))) and all(
        path.startswith(f"{paths[0].split('.')[0]}.") for path in paths[1:]
    )


def _all_have(view: str, *names: str) -> Rule:
    return lambda one: all(there(element, name) for element in _elements(one, view) for name in names)


def _identifies(view: str) -> Rule:
    all_have = _all_have(view, "id")
    return lambda one: all_have(one) and distinct(values(_elements(one, view), "id"))


def _is_bound(element: Object) -> bool:
    binding = element.get("binding")
    return binding is None or there(binding, "valueSet") or there(binding, "description")


def _uses_hl7s_types(one: Object) -> bool:
    if not one.get("url", "").startswith(_HL7S):
        return True
    return all(
        pattern.fullmatch(code) is not None
        for view, pattern in (("differential", _HL7S_CHANGED_TYPE), ("snapshot", _HL7S_TYPE))
        for code in values(parts(one, view, "element", "type"), "code")
    )


def _defaults(one: Object, *views: str) -> bool:
    return any(chosen(element, "defaultValue") for element in _elements(one, *views))


def _min_fits_max(one: Object) -> bool:
    least, most = one.get("min"), one.get("max")
    return least is None or most is None or _WHOLE.fullmatch(most) is None or least <= int(most)


_NOT_BESIDE_CONTENT = ("type", "example", "maxLength", "binding")
_CHOICES_NOT_BESIDE_CONTENT = ("defaultValue", "fixed", "pattern", "minValue", "maxValue")


def _has_content_of_one_kind(one: Object) -> bool:
    return not there(one, "contentReference") or not (
        any(there(one, name) for name in _NOT_BESIDE_CONTENT)
        or any(chosen(one, name) for name in _CHOICES_NOT_BESIDE_CONTENT)
    )


def _is_of_one_type(choice: str) -> Rule:
    return lambda one: len(one.get("type", ())) <= 1 or not chosen(one, choice)


_STRUCTURES: dict[str, dict[str, Rule]] = {
    "ElementDefinition": {
        "eld-2": _min_fits_max,
        "eld-3": lambda one: one.get("max") in (None, "*") or _WHOLE.fullmatch(one["max"]) is not None,
        "eld-5": _has_content_of_one_kind,
        "eld-6": _is_of_one_type("fixed"),
        "eld-7": _is_of_one_type("pattern"),
        "eld-8": lambda one: not (chosen(one, "pattern") and chosen(one, "fixed")),
        "eld-13": lambda one: distinct(values(parts(one, "type"), "code")),
        "eld-14": lambda one: distinct(values(parts(one, "constraint"), "key")),
        "eld-15": lambda one: not (chosen(one, "defaultValue") and there(one, "meaningWhenMissing")),
        "eld-16": lambda one: one.get("sliceName") is None or _SLICE_NAME.fullmatch(one["sliceName"]) is not None,
        "eld-18": lambda one: one.get("isModifier") is not True or there(one, "isModifierReason"),
        "eld-19": lambda one: one.get("path") is None or _PATH.fullmatch(one["path"]) is not None,
        "eld-22": needs("sliceIsConstraining", "sliceName"),
    },
    "ElementDefinition.binding": {
        "eld-12": lambda one: one.get("valueSet") is None or one["valueSet"].startswith(("http:", "https", "urn:"))
    },
    "ElementDefinition.slicing": {"eld-1": any_there("discriminator", "description")},
    "ElementDefinition.type": {
        "eld-4": lambda one: (
            not there(one, "aggregation") or one.get("code", "Reference") in ("Reference", "canonical")
        ),
        "eld-17": lambda one: (
            not there(one, "targetProfile") or one.get("code", "Reference") in ("Reference", "canonical")
        ),
    },
    "StructureDefinition": {
        "sdf-1": lambda one: (
            one.get("derivation") == "constraint" or distinct(values(_elements(one, "snapshot"), "path"))
        ),
        "sdf-4": lambda one: one.get("abstract") is True or there(one, "baseDefinition"),
        "sdf-5": lambda one: (
            one.get("type") != "Extension" or one.get("derivation") == "specialization" or "context" in one
        ),
        "sdf-6": any_there("snapshot", "differential"),
        "sdf-9": _roots_without("label", "code", "requirements"),
        "sdf-11": lambda one: (
            one.get("kind") == "logical"
            or "snapshot" not in one
            or _first(one, "snapshot").get("path") == one.get("type")
        ),
        "sdf-14": lambda one: all(there(element, "id") for element in _elements(one)),
        "sdf-15": lambda one: one.get("kind") == "logical" or "type" not in _first(one, "snapshot"),
        "sdf-15a": lambda one: (
            one.get("kind") == "logical"
            or not _is_root(_first(one, "differential"))
            or "type" not in _first(one, "differential")
        ),
        "sdf-16": _identifies("snapshot"),
        "sdf-17": _identifies("differential"),
        "sdf-18": lambda one: not there(one, "contextInvariant") or one.get("type", "Extension") == "Extension",
        "sdf-19": _uses_hl7s_types,
        "sdf-21": lambda one: not _defaults(one, "differential") or one.get("derivation") == "specialization",
        "sdf-22": lambda one: not one.get("url", "").startswith(_HL7S) or not _defaults(one),
        "sdf-23": _roots_without("sliceName"),
        # HL7 hangs these on the snapshot and the differential; the structure has both in sight.
        "sdf-3": _all_have("snapshot", "definition", "min", "max"),
        "sdf-8": _is_its_own_snapshot,
        "sdf-8a": _is_its_own_differential,
        "sdf-8b": _all_have("snapshot", "base"),
        "sdf-10": lambda one: all(map(_is_bound, _elements(one, "snapshot"))),
        "sdf-20": lambda one: (
            not any(_is_root(element) and "slicing" in element for element in _elements(one, "differential"))
        ),
    },
    "StructureDefinition.mapping": {"sdf-2": any_there("name", "uri")},
    "StructureMap.group.rule.target": {
        "smp-1": needs("element", "context"),
        "smp-2": needs("context", "contextType"),
    },
}

# Questionnaires: https://hl7.org/fhir/R4/questionnaire.html

_SHORT = ("boolean", "decimal", "integer", "string", "text", "url", "open-choice")
_OPTIONAL = ("choice", "open-choice", "decimal", "integer", "date", "dateTime", "time", "string", "quantity")


def _items(one: Object) -> Iterator[Object]:
    for item in parts(one, "item"):
        yield item
        yield from _items(item)


def _is_if_shown(*names: str) -> Rule:
    """Nothing of what an item that is only displayed cannot have."""
    return lambda one: one.get("type") != "display" or not any(there(one, name) for name in names)


def _is_nested(one: Object) -> bool:
    return {"group": "item" in one, "display": "item" not in one}.get(one.get("type", ""), True)


_QUESTIONNAIRES: dict[str, dict[str, Rule]] = {
    "Questionnaire": {"que-2": lambda one: distinct(values(_items(one), "linkId"))},
    "Questionnaire.item": {
        "que-1": _is_nested,
        "que-3": _is_if_shown("code"),
        "que-4": not_both("answerOption", "answerValueSet"),
        "que-5": lambda one: (
            one.get("type", "choice") in _OPTIONAL or not (there(one, "answerValueSet") or "answerOption" in one)
        ),
        "que-6": _is_if_shown("required", "repeats"),
        "que-8": lambda one: one.get("type") not in ("group", "display") or "initial" not in one,
        "que-9": _is_if_shown("readOnly"),
        "que-10": lambda one: one.get("type", "text") in _SHORT or not there(one, "maxLength"),
        "que-11": not_both("answerOption", "initial"),
        "que-12": lambda one: len(one.get("enableWhen", ())) <= 2 or there(one, "enableBehavior"),
        "que-13": lambda one: one.get("repeats") is True or len(one.get("initial", ())) <= 1,
    },
    "Questionnaire.item.enableWhen": {
        "que-7": lambda one: one.get("operator") != "exists" or there(one, "answerBoolean")
    },
}

# What servers can do: https://hl7.org/fhir/R4/capabilitystatement.html, terminologycapabilities.html


def _is_described(one: Object) -> bool:
    return there(one, "description") or "software" in one or "implementation" in one


def _is_instance(one: Object) -> bool:
    return one.get("kind") != "instance" or "implementation" in one


def _is_capability(one: Object) -> bool:
    return one.get("kind") != "capability" or ("implementation" not in one and "software" in one)


def _is_requirement(one: Object) -> bool:
    return one.get("kind") != "requirements" or ("implementation" not in one and "software" not in one)


_SERVERS: dict[str, dict[str, Rule]] = {
    "CapabilityStatement": {
        "cpb-1": any_there("rest", "messaging", "document"),
        "cpb-2": _is_described,
        "cpb-3": lambda one: one.get("kind") == "instance" or not any(parts(one, "messaging", "endpoint")),
        "cpb-7": lambda one: distinct((each.get("profile"), each.get("mode")) for each in parts(one, "document")),
        "cpb-14": _is_instance,
        "cpb-15": _is_capability,
        "cpb-16": _is_requirement,
    },
    "CapabilityStatement.rest": {"cpb-9": lambda one: distinct(values(parts(one, "resource"), "type"))},
    "CapabilityStatement.rest.resource": {"cpb-12": lambda one: distinct(values(parts(one, "searchParam"), "name"))},
    "TerminologyCapabilities": {
        "tcp-2": _is_described,
        "tcp-3": _is_instance,
        "tcp-4": _is_capability,
        "tcp-5": _is_requirement,
    },
    "TerminologyCapabilities.codeSystem": {
        "tcp-1": lambda one: len(one.get("version", ())) <= 1 or all(there(each, "code") for each in one["version"])
    },
}

# Terminologies, guides, operations, measures, messages, searches


def _concepts(one: Object) -> Iterator[Object]:
    for concept in parts(one, "concept"):
        yield concept
        yield from _concepts(concept)


def _is_one_stratifier(one: Object) -> bool:
    return ("component" in one) != any(there(one, name) for name in ("code", "description", "criteria"))


_DEFINITIONS: dict[str, dict[str, Rule]] = {
    "CodeSystem": {"csd-1": lambda one: distinct(values(_concepts(one), "code"))},
    "ConceptMap.group.element.target": {
        "cmd-1": lambda one: one.get("equivalence") not in ("narrower", "inexact") or there(one, "comment")
    },
    "ConceptMap.group.unmapped": {
        "cmd-2": lambda one: one.get("mode") != "fixed" or there(one, "code"),
        "cmd-3": lambda one: one.get("mode") != "other-map" or there(one, "url"),
    },
    "ImplementationGuide": {
        "ig-2": lambda one: (
            {
                version
                for resource in parts(one, "definition", "resource")
                for version in resource.get("fhirVersion", ())
                if version is not None
            }
            <= set(one.get("fhirVersion", ()))
        )
    },
    "ImplementationGuide.definition": {
        "ig-1": lambda one: (
            set(values(parts(one, "resource"), "groupingId")) <= set(values(parts(one, "grouping"), "id"))
        )
    },
    "Measure": {"mea-1": lambda one: all(map(_is_one_stratifier, parts(one, "group", "stratifier")))},
    "MessageDefinition.focus": {
        "md-1": lambda one: (
            one.get("max") in (None, "*") or (_WHOLE.fullmatch(one["max"]) is not None and int(one["max"]) > 0)
        )
    },
    "NamingSystem": {
        "nsd-1": lambda one: one.get("kind") != "root" or "uuid" not in values(parts(one, "uniqueId"), "type"),
        "nsd-2": lambda one: distinct(
            values((each for each in parts(one, "uniqueId") if each.get("preferred") is True), "type")
        ),
    },
    "OperationDefinition.parameter": {
        "opd-1": any_there("type", "part"),
        "opd-2": lambda one: not there(one, "searchType") or one.get("type") == "string",
        "opd-3": lambda one: not there(one, "targetProfile") or one.get("type") in ("Reference", "canonical"),
    },
    "SearchParameter": {
        "spd-1": needs("xpath", "xpathUsage"),
        "spd-2": lambda one: not there(one, "chain") or one.get("type", "reference") == "reference",
    },
    "ValueSet.compose.include": {
        "vsd-1": any_there("valueSet", "system"),
        "vsd-2": lambda one: there(one, "system") or not ("concept" in one or "filter" in one),
        "vsd-3": not_both("concept", "filter"),
    },
    "ValueSet.expansion.contains": {
        "vsd-6": any_there("code", "display"),
        "vsd-9": lambda one: there(one, "code") or one.get("abstract") is True,
        "vsd-10": needs("code", "system"),
    },
}

# Test scripts: https://hl7.org/fhir/R4/testscript.html

_ASSERTED = (
    *("contentType", "expression", "headerField", "minimumId", "navigationLinks", "path", "requestMethod"),
    *("resource", "responseCode", "response", "validateProfileId"),
)
_WITHOUT_TARGET = ("capabilities", "search", "transaction", "history")


def _asserts_once(one: Object) -> bool:
    return "extension" in one or sum(there(one, name) for name in _ASSERTED) <= 1


def _compares(one: Object) -> bool:
    return there(one, "compareToSourceId") == any(
        there(one, name) for name in ("compareToSourceExpression", "compareToSourcePath")
    )


def _answers(one: Object) -> bool:
    return one.get("direction") != "request" or not (there(one, "response") or there(one, "responseCode"))


def _is_aimed(one: Object) -> bool:
    aims = sum(there(one, name) for name in ("targetId", "url", "params"))
    return there(one, "sourceId") or aims == 1 or one.get("type", {}).get("code") in _WITHOUT_TARGET


_IS_ONE: Rule = one_there("operation", "assert")

_TESTS: dict[str, dict[str, Rule]] = {
    "TestReport.setup.action": {"inv-1": _IS_ONE},
    "TestReport.test.action": {"inv-2": _IS_ONE},
    "TestScript.metadata": {
        "tst-4": lambda one: any(
            there(each, "required") or there(each, "validated") for each in parts(one, "capability")
        )
    },
    "TestScript.setup.action": {"tst-1": _IS_ONE},
    # The operations and assertions of a test and a teardown are of the same types; HL7 numbers theirs anew
    # (tst-6, tst-8, tst-9, tst-11, tst-13) with the same expressions.
    "TestScript.setup.action.assert": {"tst-5": _asserts_once, "tst-10": _compares, "tst-12": _answers},
    "TestScript.setup.action.operation": {"tst-7": _is_aimed},
    "TestScript.test.action": {"tst-2": _IS_ONE},
    "TestScript.variable": {
        "tst-3": lambda one: not all(there(one, name) for name in ("expression", "headerField", "path"))
    },
}

RULES: dict[str, dict[str, Rule]] = _BUNDLES | _STRUCTURES | _QUESTIONNAIRES | _SERVERS | _DEFINITIONS | _TESTS
