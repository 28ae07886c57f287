"""Invariants of what is defined for others: questionnaires, terminologies, guides, measures, operations, messages.

https://hl7.org/fhir/R4/questionnaire.html, https://hl7.org/fhir/R4/terminology-module.html.
"""

from __future__ import annotations

from collections.abc import Iterator

from twinward.fhir.validation.invariants.terms import (
    WHOLE,
    Object,
    Rule,
    any_there,
    distinct,
    needs,
    not_both,
    parts,
    there,
    values,
)

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
            one.get("max") in (None, "*") or (WHOLE.fullmatch(one["max"]) is not None and int(one["max"]) > 0)
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

RULES: dict[str, dict[str, Rule]] = _QUESTIONNAIRES | _DEFINITIONS
