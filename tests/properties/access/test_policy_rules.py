"""Of the rules only those that an action may touch are asked: Cedar, asked about all of them, says the same."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

import cedarpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinward.access.errors import PolicyInvalid
from twinward.access.policy import Facts, Policy
from twinward.core.vocabulary import Action, Purpose, Role

SHIPPED = Policy.load()
ACTIONS = [one.value for one in Action]
FACTS = st.builds(
    Facts,
    role=st.sampled_from([one.value for one in Role]),
    action=st.sampled_from(ACTIONS),
    purpose=st.sampled_from([one.value for one in Purpose]),
    consent=st.sampled_from(["permit", "deny", "none"]),
    sensitive=st.booleans(),
    justified=st.booleans(),
    own=st.booleans(),
    derived=st.booleans(),
    identity=st.booleans(),
    units=st.sampled_from([(), ("ward 3",), ("ward 3", "ward 4")]),
    network=st.sampled_from(["ward", "vpn", "node", "outside"]),
    hour=st.integers(0, 23),
    weekday=st.integers(1, 7),
)
_NAMED = st.sampled_from(
    [*(f'Action::"{one}"' for one in ACTIONS[:4]), 'Action::"re\\u{61}d"', 'Other::Action::"read"']
)
_SCOPES = st.one_of(
    st.just("action"),
    _NAMED.map(lambda one: f"action == {one}"),
    _NAMED.map(lambda one: f"action in {one}"),
    st.lists(_NAMED, max_size=3).map(lambda some: f"action in [{', '.join(some)}]"),
)
_CONDITIONS = st.sampled_from([
    "", "when { context.own }", "unless { context.sensitive }", 'when { principal.role == "officer" }',
    'when { principal.units.contains("ward 4") }', "when { context.absent }", 'when { action == Action::"read" }',
    "when { context.hour >= 7 && context.hour < 19 }", "unless { context.weekday > 5 }",
    'when { context["h\\u{6f}ur"] < 9 }',
    'when { context.network == Network::"ward" }', 'unless { [Network::"vpn"].contains(context.network) }',
    'when { context has hour && context.hour == context.weekday }', 'unless { context == {"hour": 3} }',
    "when { principal.absent == 1 }", "when { principal in resource }", 'unless { context has "nothing" }',
])  # fmt: skip
_PRINCIPALS = st.sampled_from(
    ["principal", 'principal == Principal::"asking"', "principal is Twin", "principal == ?principal"]
)
_RULES = st.tuples(st.sampled_from(["permit", "forbid"]), _PRINCIPALS, _SCOPES, _CONDITIONS)
POLICIES = st.lists(_RULES, max_size=6).map(
    lambda rules: "\n".join(
        f'@id("rule {number}")\n{effect} ({whose}, {scope}, resource) {condition};'
        for number, (effect, whose, scope, condition) in enumerate(rules)
    )
)


def whole(text: str | cedarpy.PolicySet, facts: Facts) -> tuple[bool, tuple[str, ...]]:
    """What Cedar says when it is handed all rules, as they are written, and everything anew."""
    seen = {name: getattr(facts, name) for name in Facts.__slots__ if name not in ("role", "action", "units")}
    seen["network"] = {"__entity": {"type": "Network", "id": facts.network}}
    asked: dict[str, Any] = {
        "principal": 'Principal::"asking"', "action": f'Action::"{facts.action}"', "resource": 'Twin::"asked"',
        "context": seen,
    }  # fmt: skip
    entities: list[dict[str, Any]] = [
        {"uid": {"type": "Principal", "id": "asking"}, "attrs": {"role": facts.role, "units": [*facts.units]}},
        {"uid": {"type": "Twin", "id": "asked"}, "attrs": {}},
    ]
    said = cedarpy.is_authorized(asked, text, json.dumps([one | {"parents": []} for one in entities]))
    rules = tuple(sorted(said.diagnostics.id_annotations_by_reason.values()))
    return said.allowed and not said.diagnostics.errors, rules


@given(facts=FACTS)
def test_the_shipped_policy_decides_as_all_its_rules_do_and_by_the_same_rules(facts: Facts) -> None:
    verdict = Policy.evaluate(SHIPPED, facts)
    assert (verdict.permitted, verdict.rules) == whole(SHIPPED.text, facts)


@given(text=POLICIES, facts=st.lists(FACTS, min_size=1, max_size=4))
def test_any_policy_decides_as_all_its_rules_do_failing_ones_too(text: str, facts: list[Facts]) -> None:
    policy = Policy(text)
    for one in (*facts, *facts):
        verdict = policy.evaluate(one)
        assert (verdict.permitted, verdict.rules) == whole(text, one)


@settings(max_examples=20)
@given(wards=st.integers(50, 300), facts=FACTS)
def test_a_rule_of_more_conditions_than_cedars_json_holds_decides_all_the_same(wards: int, facts: Facts) -> None:
    listed = " || ".join(f'principal.units.contains("ward {number}")' for number in range(wards))
    text = f"""@id("listed") permit (principal, action == Action::"read", resource) when {{ {listed} }};
        @id("other") permit (principal, action == Action::"search", resource);"""
    policy = Policy(text)
    for one in (facts, replace(facts, action="read"), replace(facts, action="search")):
        verdict = policy.evaluate(one)
        assert (verdict.permitted, verdict.rules) == whole(text, one)


@pytest.mark.parametrize("recursion", [1000, 100_000])
def test_a_rule_of_thousands_is_refused_when_it_is_read_whatever_the_process(recursion: int) -> None:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(recursion)  # which libraries raise for themselves, and so for everybody
    text = f"permit (principal, action, resource) when {{ {' && '.join(['context.own'] * 3000)} }};"
    cedarpy.PolicySet.from_str(text)
    try:
        with pytest.raises(PolicyInvalid, match="does not parse"):
            Policy(text)
    finally:
        sys.setrecursionlimit(before)


def test_a_condition_that_takes_the_context_whole_sees_all_of_it() -> None:
    facts = Facts("officer", "read", "TREAT", "none", *[False] * 5, network="ward", hour=9, weekday=1)
    usual = ("purpose", "consent", "sensitive", "justified", "own", "derived", "identity")
    record = json.dumps({name: getattr(facts, name) for name in usual})
    policy = Policy(f'@id("a") permit (principal, action, resource) when {{ context == {record} }};')
    assert {"network", "hour", "weekday"} <= policy.asks("read")
    assert policy.evaluate(facts).permitted is whole(policy.text, facts)[0] is False
