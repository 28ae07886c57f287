"""At which hours and from which networks a rule can hold at all, in words: read off its conditions, for people.

Nothing is decided by it. What a condition says of anything else may be true or not; an hour or a network is left out
only where no such answer would have the rule hold. A property test holds that against Cedar.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final, NamedTuple

from twinward.access.hours import EVERY_HOUR, Hour
from twinward.core.sentences import joined, listed, sentence

_ELSE: Final = ""
"""Any network that the rule does not name."""
_UNKNOWN: Final = object()
DAYS: Final = (
    sentence("Monday"),
    sentence("Tuesday"),
    sentence("Wednesday"),
    sentence("Thursday"),
    sentence("Friday"),
    sentence("Saturday"),
    sentence("Sunday"),
)
_COMPARED: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


class Scene(NamedTuple):
    """An hour of the week, and a network."""

    hour: Hour
    network: str


def scene_of(conditions: Any, networks: Collection[str]) -> str:
    """When and from where a rule with these conditions, as Cedar's JSON has them, can hold; empty: always and anywhere.

    ``networks`` are those that the conditions name.
    """
    try:
        held = {one for one in _every(networks) if holds(conditions, one)}
    except RecursionError:  # hundreds of conditions in a row: they are read in the text
        return ""
    hours: defaultdict[frozenset[Hour], set[str]] = defaultdict(set)
    for network in (*networks, _ELSE):
        hours[frozenset(one.hour for one in held if one.network == network)].add(network)
    possible = [one for one in hours.items() if one[0]]
    if not possible:
        return sentence("holds never")
    parts = [listed([*_when(one), *_where(where, networks)]) for one, where in possible]
    return sentence("holds {scene}", scene=joined(parts)) if all(parts) else ""


def holds(conditions: Any, scene: Scene) -> bool:
    """Whether conditions could be met in a scene, whatever else they ask for."""
    said = ((one["kind"], _value(one["body"], scene)) for one in conditions)
    return not any(value is (kind == "unless") for kind, value in said)


def _every(networks: Collection[str]) -> Iterator[Scene]:
    return (Scene(hour, network) for network in (*networks, _ELSE) for hour in EVERY_HOUR)


def _when(hours: frozenset[Hour]) -> list[str]:
    if len(hours) == len(EVERY_HOUR):
        return []
    days: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for weekday in range(1, 8):
        days[tuple(sorted(one.hour for one in hours if one.weekday == weekday))].append(weekday)
    found = []
    for of_day, weekdays in days.items():
        if of_day:
            named = [] if len(weekdays) == len(DAYS) else [_days(*run) for run in _runs(weekdays)]
            spans = [] if len(of_day) == 24 else [_span(*run) for run in _runs(of_day)]
            found.append(listed([*named, *spans]))
    return [joined(found)]


def _where(networks: Collection[str], named: Collection[str]) -> list[str]:
    if _ELSE not in networks:
        return [sentence("from network {networks}", networks=listed(sorted(networks)))]
    others = sorted(set(named) - set(networks))
    return [sentence("from any network but {networks}", networks=listed(others))] if others else []


def _days(first: int, last: int) -> str:
    if first == last:
        return DAYS[first - 1]
    return sentence("{first} to {last}", first=DAYS[first - 1], last=DAYS[last - 1])


def _span(first: int, last: int) -> str:
    return sentence("{first}:00 to {end}:00", first=first, end=last + 1)


def _runs(numbers: Collection[int]) -> Iterator[tuple[int, int]]:
    """Numbers in order as runs of neighbours: the first and the last of each."""
    first = last = -1
    for one in numbers:
        if first < 0:
            first = one
        elif one != last + 1:
            yield first, last
            first = one
        last = one
    yield first, last


def _value(expression: Any, scene: Scene) -> Any:
    """What an expression comes to in a scene, or ``_UNKNOWN``."""
    ((kind, parts),) = expression.items()
    if kind == "Value":
        return _literal(parts)
    if kind in ("&&", "||"):
        ends = kind == "||"
        sides = [_value(parts["left"], scene), _value(parts["right"], scene)]
        return ends if ends in sides else _UNKNOWN if _UNKNOWN in sides else not ends
    if kind == "!":
        value = _value(parts["arg"], scene)
        return _UNKNOWN if value is _UNKNOWN else not value
    if kind in _COMPARED:
        left, right = _value(parts["left"], scene), _value(parts["right"], scene)
        alike = type(left) is type(right) and _UNKNOWN not in (left, right)
        return _COMPARED[kind](left, right) if alike else _UNKNOWN
    if kind == "if-then-else":
        asked = _value(parts["if"], scene)
        if asked is _UNKNOWN:
            both = [_value(parts[one], scene) for one in ("then", "else")]
            return both[0] if both[0] is both[1] else _UNKNOWN
        return _value(parts["then" if asked else "else"], scene)
    return _of_a_fact(kind, parts, scene)


def _of_a_fact(kind: str, parts: Any, scene: Scene) -> Any:
    if kind == "." and parts["left"] == {"Var": "context"}:
        known = {"hour": scene.hour.hour, "weekday": scene.hour.weekday, "network": ("Network", scene.network)}
        return known.get(parts["attr"], _UNKNOWN)
    if kind in ("contains", "in"):
        some, one = (parts["left"], parts["right"]) if kind == "contains" else (parts["right"], parts["left"])
        members = [_value(each, scene) for each in some.get("Set", [some] if kind == "in" else ())]
        value = _value(one, scene)
        if not members or _UNKNOWN in members or value is _UNKNOWN:
            return _UNKNOWN
        return value in members
    return _UNKNOWN


def _literal(value: Any) -> Any:
    if isinstance(value, dict):
        entity = value.get("__entity", {})
        return (entity["type"], entity["id"]) if entity else _UNKNOWN
    return value
