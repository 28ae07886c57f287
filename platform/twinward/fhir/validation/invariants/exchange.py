"""Invariants of bundles, of what servers say they can do, and of tests of them.

https://hl7.org/fhir/R4/bundle.html, https://hl7.org/fhir/R4/capabilitystatement.html,
https://hl7.org/fhir/R4/terminologycapabilities.html, https://hl7.org/fhir/R4/testscript.html.
"""

from __future__ import annotations

from twinward.fhir.validation.invariants.terms import (
    Object,
    Rule,
    any_there,
    distinct,
    one_there,
    parts,
    there,
    values,
)

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

RULES: dict[str, dict[str, Rule]] = _BUNDLES | _SERVERS | _TESTS
