"""What the rules say of an object, in words: an element is there, one of a choice is, codes are distinct.

A rule is asked only of an object whose own parts are well formed, so a list is a list and a number a number; a
primitive may still be missing where only its extension (``_value``) is there, and a place in an array be null.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any

from twinward.fhir.json.values import interval

Object = dict[str, Any]
Rule = Callable[[Object], bool]
"""Whether an object keeps an invariant. Where values cannot be compared (other units, other precision), it does."""

WHOLE = re.compile(r"[0-9]{1,9}")
"""A number of times, as ``max`` writes it."""

UCUM = "http://unitsofmeasure.org"
_ZONES_MS = 14 * 3_600_000


def there(one: Object, name: str) -> bool:
    """Whether an element is there, be it by its extension only."""
    return name in one or f"_{name}" in one


def any_there(*names: str) -> Rule:
    """At least one of these elements is there."""
    return lambda one: any(there(one, name) for name in names)


def one_there(first: str, second: str) -> Rule:
    """Exactly one of two elements is there."""
    return lambda one: there(one, first) != there(one, second)


def not_both(first: str, second: str) -> Rule:
    """Two elements are not there together."""
    return lambda one: not (there(one, first) and there(one, second))


def needs(element: str, other: str) -> Rule:
    """Where one element is there, the other is."""
    shadow = f"_{element}"
    return lambda one: other in one or not (element in one or shadow in one) or f"_{other}" in one


def chosen(one: Object, name: str) -> bool:
    """Whether ``name[x]`` is there, of whatever type."""
    return any(key.startswith((name, f"_{name}")) for key in one)


def parts(one: Object, *names: str) -> Iterator[Object]:
    """The objects at a path, through lists; those that are not there are left out."""
    found = one.get(names[0])
    for each in found if isinstance(found, list) else [found]:
        if isinstance(each, dict):
            if len(names) == 1:
                yield each
            else:
                yield from parts(each, *names[1:])


def values(objects: Iterable[Object], name: str) -> Iterator[Any]:
    """The values of an element of some objects, where it has one."""
    return (one[name] for one in objects if one.get(name) is not None)


def distinct(some: Iterable[Hashable]) -> bool:
    """Whether no two are equal."""
    listed = list(some)
    return len(listed) == len(set(listed))


def is_coded(concept: object, system: str, *codes: str) -> bool:
    """Whether a CodeableConcept has one of these codes of a system."""
    return isinstance(concept, dict) and any(
        coding.get("system") == system and coding.get("code") in codes for coding in parts(concept, "coding")
    )


def in_order(earlier: object, later: object) -> bool:
    """Whether one moment may be no later than another. A date covers all of its days, in whatever zone those are."""
    if type(earlier) is type(later) is str and earlier[19:] == later[19:] and earlier <= later:
        return True  # in the same zone and to the same fraction, the texts are in order
    first, last = interval(earlier), interval(later)
    if first is None or last is None:
        return True
    told = isinstance(earlier, str) and "T" in earlier, isinstance(later, str) and "T" in later
    if all(told):
        return first[0] <= last[0]
    return first[0] < last[1] + (_ZONES_MS if any(told) else 0)


def at_most(low: Object | None, high: Object | None) -> bool:
    """Whether one Quantity is no more than another of the same unit."""
    if low is None or high is None or low.get("value") is None or high.get("value") is None:
        return True
    unit = "code" if "code" in low or "code" in high else "unit"
    if (low.get("system"), low.get(unit)) != (high.get("system"), high.get(unit)):
        return True
    return bool(low["value"] <= high["value"])
