"""Invariants of datatypes. ``ref-1``, which asks the resource around it, is the walk's own."""

from __future__ import annotations

from twinward.fhir.validation.invariants.terms import (
    UCUM,
    Object,
    Rule,
    any_there,
    at_most,
    chosen,
    in_order,
    needs,
    not_both,
    one_there,
    there,
)


def _is_measured(one: Object) -> bool:
    return (there(one, "code") or not there(one, "value")) and one.get("system", UCUM) == UCUM


def _is_timed(one: Object) -> bool:
    return not there(one, "code") or (one.get("system", UCUM) == UCUM and there(one, "value"))


def _is_ratio(one: Object) -> bool:
    return (("numerator" in one) == ("denominator" in one)) and ("numerator" in one or "extension" in one)


def _is_triggered(one: Object) -> bool:
    kind = one.get("type", "")
    return (
        (kind != "named-event" or there(one, "name"))
        and (kind != "periodic" or chosen(one, "timing"))
        and (not kind.startswith("data-") or "data" in one)
    )


_BEFORE_A_MEAL = frozenset({"C", "CM", "CD", "CV"})

_QUANTITY: dict[str, Rule] = {"qty-3": needs("code", "system")}

RULES: dict[str, dict[str, Rule]] = {
    "Age": _QUANTITY | {"age-1": lambda one: _is_measured(one) and one.get("value", 1) > 0},
    "Attachment": {"att-1": needs("data", "contentType")},
    "ContactPoint": {"cpt-2": needs("value", "system")},
    "Count": _QUANTITY
    | {"cnt-3": lambda one: _is_measured(one) and one.get("code", "1") == "1" and "." not in str(one.get("value", ""))},
    "DataRequirement.codeFilter": {"drq-1": one_there("path", "searchParam")},
    "DataRequirement.dateFilter": {"drq-2": one_there("path", "searchParam")},
    "Distance": _QUANTITY | {"dis-1": _is_measured},
    "Duration": _QUANTITY | {"drt-1": _is_timed},
    "Expression": {"exp-1": any_there("expression", "reference")},
    "Period": {"per-1": lambda one: in_order(one.get("start"), one.get("end"))},
    "Quantity": _QUANTITY,
    "Range": {"rng-2": lambda one: at_most(one.get("low"), one.get("high"))},
    "Ratio": {"rat-1": _is_ratio},
    "Timing.repeat": {
        "tim-1": needs("duration", "durationUnit"),
        "tim-2": needs("period", "periodUnit"),
        "tim-4": lambda one: one.get("duration", 0) >= 0,
        "tim-5": lambda one: one.get("period", 0) >= 0,
        "tim-6": needs("periodMax", "period"),
        "tim-7": needs("durationMax", "duration"),
        "tim-8": needs("countMax", "count"),
        "tim-9": lambda one: (
            not there(one, "offset") or (there(one, "when") and _BEFORE_A_MEAL.isdisjoint(one.get("when", ())))
        ),
        "tim-10": not_both("timeOfDay", "when"),
    },
    "TriggerDefinition": {
        "trd-1": lambda one: "data" not in one or not chosen(one, "timing"),
        "trd-2": needs("condition", "data"),
        "trd-3": _is_triggered,
    },
}
