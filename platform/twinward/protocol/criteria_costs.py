"""Criteria as costs: for each level of each feature a number, so that a patient matches whose sum is below ``T``.

What must hold costs ``T`` where it does not, so one breach is enough. In ``at_least`` each criterion costs its points
where it does not hold, and ``T`` is one more than the points that may be missing; in ``at_most`` each costs one where
it holds. ``T`` slots a patient are sent back: that is what a group costs, and why there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from twinward.core.errors import BadInput
from twinward.features.codes import CodedFeature, CodeList, Kind, Recorded
from twinward.features.schema import FeatureSchema
from twinward.protocol.criteria import Criteria, Group, Rule
from twinward_crypto.feasibility.query import MAX_THRESHOLD

_STATES = {
    "current": (Recorded.CURRENT,),
    "past": (Recorded.PAST,),
    "ever": (Recorded.PAST, Recorded.CURRENT),
}


@dataclass(frozen=True, slots=True)
class Costs:
    """What is encrypted.

    Attributes:
        table: of each feature, numeric then coded, what each level costs.
        threshold: patients with a sum below it match.
        reading: each criterion as it is counted, in words: ranges as levels tell them apart.
    """

    table: tuple[tuple[int, ...], ...] = field(repr=False)
    threshold: int
    reading: tuple[str, ...] = field(repr=False)


def costs_of(criteria: Criteria, schema: FeatureSchema, codes: CodeList) -> Costs:
    """Criteria in a hospital's features.

    Raises:
        BadInput: a feature, code or unit that this hospital does not count by; a range that it cannot tell apart; a
            group that needs more slots than there are.
    """
    levels = schema.model_copy(update={"codes": codes}).eligibility_levels
    table = [[0] * size for size in levels]
    threshold, group = _threshold(criteria)
    reading: list[str] = []

    def charge(rule: Rule, cost: int, *, where_met: bool, words: str) -> None:
        place, met, unknown, told = _met(rule, schema, codes)
        unknown_costs = rule.unknown == "exclude" if where_met else rule.unknown != "include"
        for level in range(levels[place]):
            breach = unknown_costs if level == unknown else (level in met) == where_met
            table[place][level] += cost * breach
        reading.append(f"{words} {told}" + ("" if rule.unknown is None else f" (unknown: {rule.unknown})"))

    for rule in criteria.include:
        charge(rule, threshold, where_met=False, words="include")
    for rule in criteria.exclude:
        charge(rule, threshold, where_met=True, words="exclude")
    at_most = criteria.at_most is not None
    for rule in group.of if group is not None else ():
        words = f"at {'most' if at_most else 'least'} {group.count if group is not None else 0} of:"
        charge(rule, 1 if at_most else rule.points, where_met=at_most, words=words)
    return Costs(tuple(tuple(some) for some in table), threshold, tuple(reading))


def _threshold(criteria: Criteria) -> tuple[int, Group | None]:
    if criteria.at_most is not None:
        threshold, group = criteria.at_most.count + 1, criteria.at_most
    elif criteria.at_least is not None:
        group = criteria.at_least
        threshold = sum(rule.points for rule in group.of) - group.count + 1
        if group.count < 1 or threshold < 1:
            raise BadInput(f"at_least: {group.count} of {len(group.of)} criteria cannot be met, or always is")
    else:
        return 1, None
    if threshold > MAX_THRESHOLD:
        raise BadInput(
            f"this group needs {threshold} slots a patient, and {MAX_THRESHOLD} are the most",
            hint="fewer alternatives, or a value set that holds several of them",
        )
    return threshold, group


def _met(rule: Rule, schema: FeatureSchema, codes: CodeList) -> tuple[int, frozenset[int], int, str]:
    """The feature's place, the levels that meet a rule, the level "not known", and the rule in words."""
    if rule.coded is not None:
        kind, name = rule.coded
        place, found = _coded(kind, name, codes)
        state = rule.state or ("ever" if kind is Kind.PROCEDURE else "current")
        told = f"{kind} {found.name}, {state}"
        return schema.dimension + place, frozenset(map(int, _STATES[state])), int(Recorded.UNKNOWN), told
    name = rule.feature or ""
    feature = schema.feature(name)
    place = schema.features.index(feature)
    if rule.known:
        return place, frozenset(range(schema.levels)), schema.levels, f"{name} is known"
    if rule.values:
        levels = sorted({_level(schema, name, value, rule.unit) for value in rule.values})
        told = f"{name} is one of " + ", ".join(_spread(schema, name, one, one) for one in levels)
        return place, frozenset(levels), schema.levels, told
    low = 0 if rule.low is None else _level(schema, name, rule.low, rule.unit, side="from")
    high = schema.levels - 1 if rule.high is None else _level(schema, name, rule.high, rule.unit, side="to")
    return place, frozenset(range(low, high + 1)), schema.levels, f"{name} {_spread(schema, name, low, high)}"


def _level(schema: FeatureSchema, name: str, value: float, unit: str, *, side: str = "") -> int:
    feature = schema.feature(name)
    number = schema.in_own_units({name: (value, unit) if unit else value})[name]
    beyond = (number > feature.high and side != "to") or (number < feature.low and side != "from")
    if beyond:
        raise BadInput(
            f"{name}: {value:g} {unit or feature.unit} is beyond what this hospital tells apart, "
            f"{feature.low:g} to {feature.high:g} {feature.unit}: values outside count as its ends",
            hint="is it in the right unit?",
        )
    return schema.quantise({name: number})[schema.features.index(feature)]


def _spread(schema: FeatureSchema, name: str, low: int, high: int) -> str:
    """The values that count as these levels."""
    feature, step = schema.feature(name), schema.step(name)
    first = "any" if low == 0 else f"{feature.low + (low - 0.5) * step:.4g}"
    last = "any" if high == schema.levels - 1 else f"{feature.low + (high + 0.5) * step:.4g}"
    return f"from {first} to {last} {feature.unit}"


def _coded(kind: Kind, name: str, codes: CodeList) -> tuple[int, CodedFeature]:
    here = [(place, one) for place, one in enumerate(codes.features) if one.kind is kind]
    for place, one in here:
        if name and name in (one.name, one.url):
            return place, one
    for place, one in here if "|" in name else ():
        if codes.codes_of(one) == frozenset({name}):
            return place, one
    wider = [one.name for _, one in here if "|" in name and _holds(codes.codes_of(one), name)]
    if wider:
        raise BadInput(
            f"this hospital counts {name[:120]} only as part of {' and '.join(wider)}", hint="name one of those"
        )
    known = ", ".join(one.name for _, one in here) or "none"
    raise BadInput(f"this hospital counts by no {kind} {name[:120]!r}", hint=f"it knows: {known}")


def _holds(codes: frozenset[str], code: str) -> bool:
    return code in codes or any(one.endswith("*") and code.startswith(one[:-1]) for one in codes)


def matches(costs: Costs, rows: Sequence[Sequence[int]]) -> int:
    """How many rows of levels match, in the clear: what an answer is held against in tests and demonstrations."""
    return sum(
        sum(table[level] for table, level in zip(costs.table, row, strict=True)) < costs.threshold for row in rows
    )
