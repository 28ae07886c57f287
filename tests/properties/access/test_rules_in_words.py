"""What a rule says of hours and networks in words, against Cedar; and what is refused before it is proposed."""

from __future__ import annotations

import json

import cedarpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties.access.test_policy_rules import FACTS
from twinward.access.errors import PolicyInvalid
from twinward.access.hours import Hour
from twinward.access.policy import Facts, Policy
from twinward.access.policy_rules import checked, rules, warnings
from twinward.access.policy_words import Scene, holds

SHIPPED = Policy.load().text
_ATOMS = st.sampled_from([
    "context.hour >= 7", "context.hour < 19", "3 == context.hour", "context.weekday <= 5", "context.weekday != 3",
    "[6, 7].contains(context.weekday)", 'context.network == Network::"ward"', 'context.network in Network::"vpn"',
    'context.network in [Network::"ward", Network::"vpn"]', '[Network::"node"].contains(context.network)',
    "context.own",
    'principal.role == "officer"', "context has hour", "context.hour + 1 > 5", "context.absent", "true",
])  # fmt: skip
_CONDITIONS = st.recursive(
    _ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["&&", "||"]), inner).map(lambda one: f"({' '.join(one)})"),
        inner.map(lambda one: f"!({one})"),
        st.tuples(inner, inner, inner).map(lambda one: "(if {} then {} else {})".format(*one)),
    ),
    max_leaves=6,
)


@given(when=_CONDITIONS, unless=_CONDITIONS, facts=FACTS)
def test_a_rule_holds_at_no_hour_and_from_no_network_that_its_words_leave_out(
    when: str, unless: str, facts: Facts
) -> None:
    text = f'@id("a") permit (principal, action, resource) when {{ {when} }} unless {{ {unless} }};'
    (rule,) = json.loads(cedarpy.policies_to_json_str(text))["staticPolicies"].values()
    if Policy(text).evaluate(facts).permitted:
        assert holds(rule["conditions"], Scene(Hour(facts.hour, facts.weekday), facts.network))
        assert rules(text)[0].scene != "holds never"


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("when { context.weekday <= 5 && context.hour >= 7 && context.hour < 19 }", "Monday to Friday, 7:00 to 19:00"),
        (
            "unless { context.weekday <= 5 && context.hour >= 7 && context.hour < 19 }",
            "Monday to Friday, 0:00 to 7:00, 19:00 to 24:00; Saturday to Sunday",
        ),
        ("when { [1, 3].contains(context.weekday) }", "Monday, Wednesday"),
        ('when { context.network == Network::"ward" && context.hour > 21 }', "22:00 to 24:00, from network ward"),
        ('unless { [Network::"ward", Network::"node"].contains(context.network) }', "from any network but node, ward"),
        (
            'when { context.own && context.hour < 6 || context.network == Network::"vpn" }',
            "from network vpn; 0:00 to 6:00, from any network but vpn",
        ),
    ],
)
def test_a_rule_says_when_and_from_where_alone_it_can_hold(condition: str, said: str) -> None:
    (rule,) = rules(f'@id("a") @say("b") permit (principal, action, resource) {condition};')
    assert rule.scene == f"holds {said}"


def test_a_rule_that_asks_for_neither_says_nothing_of_them() -> None:
    assert {one.scene for one in rules(SHIPPED)} == {""}
    assert rules("permit (principal, action, resource) when { context.hour > 23 };")[0].scene == "holds never"
    assert rules("permit (principal, action, resource) when { context.hour > 3 || context.own };")[0].scene == ""
    many = " && ".join(["context.hour > 3"] * 340)
    assert rules(f"permit (principal, action, resource) when {{ {many} }};")[0].scene in ("", "holds 4:00 to 24:00")


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("context.huor >= 7", "no request has huor"),
        ('context.hour >= "7"', "String stands where Long is expected"),
        ('context.network == "ward"', "a network is written Network"),
        ('context.network == Network::"wrad"', "rule a: the settings name no network wrad"),
    ],
)
def test_a_slip_of_the_pen_is_refused_in_a_sentence(condition: str, said: str) -> None:
    rule = f'@id("a") @say("b") permit (principal, action == Action::"read", resource) when {{ {condition} }};'
    with pytest.raises(PolicyInvalid, match=said):
        checked(SHIPPED + rule, ["ward", "node", "outside"])


def test_officers_are_kept_out_at_no_hour_altogether_and_at_some_only_with_a_warning() -> None:
    forbid = '@id("a") @say("b") forbid (principal, action == Action::"policy", resource) when { context.hour'
    with pytest.raises(PolicyInvalid, match="no officer could change the policy back"):
        checked(f"{SHIPPED}{forbid} >= 0 }};")
    said = warnings(checked(f"{SHIPPED}{forbid} >= 20 }};"))
    assert said == ["not at every hour and from every network could an officer change the policy back"]
    late = '@id("a") @say("b") permit (principal, action == Action::"policy", resource)'
    late += ' when { principal.role == "vendor" && context.hour == 3 };'
    assert "a vendor may change this policy" in warnings(checked(SHIPPED + late))
