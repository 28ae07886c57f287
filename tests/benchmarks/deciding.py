"""A decision of the policy: facts that it has not met yet, and facts that it has."""

from __future__ import annotations

import itertools
import random

import cedarpy

from tests.benchmarks.harness import Arm, Benchmark, Figure, Row, Scale, Target, race, versus
from tests.properties.access.test_policy_rules import whole
from twinward.access.policy import Facts, Policy
from twinward.core.vocabulary import Action, Purpose, Role


def deciding(scale: Scale) -> list[Row]:
    """Distinct facts in no order, on a policy that was asked one thing about each action; then the same again."""
    count = scale.pick(1000, 200)
    words = ([one.value for one in kind] for kind in (Role, Action, Purpose))
    all_facts = itertools.product(*words, ("permit", "deny", "none"), *[(False, True)] * 5)
    facts = [Facts(*one) for one in random.Random(1).sample(list(all_facts), count)]
    fresh = [Policy.load()]

    def anew() -> None:
        fresh[0] = Policy.load()
        for action in Action:
            fresh[0].evaluate(Facts("nobody", action.value, "", "none", *[False] * 5))

    def each() -> None:
        evaluate = fresh[0].evaluate
        for one in facts:
            evaluate(one)

    def all_rules() -> None:
        for one in facts:
            whole(every_rule, one)

    met = Policy.load()
    every_rule = cedarpy.PolicySet.from_str(met.text)
    cold, cached, plain = "the rules of its action", "met before", "all rules at once, whoever asks read anew"
    arms = [
        Arm(cold, each, count, prepare=anew),
        Arm(plain, all_rules, count),
        Arm(cached, lambda: [met.evaluate(one) for one in facts * 20], count * 20),
    ]
    timed = race(arms, scale.pick(7, 3))
    target = Target("≤50 µs cold", "value", "most", 50.0)
    return [
        versus(
            "a decision on facts not met before", timed, cold, plain, clock="cpu", unit="µs", scale=1e6, target=target
        ),
        Row(
            "a decision on facts met before",
            Figure.of(timed[cached].per_item("cpu"), "µs", 1e6),
            target=Target("≤1 µs cached", "value", "most", 1.0),
        ),
    ]


BENCHMARKS = (
    Benchmark(
        "vault.decision",
        "the shipped policy's verdict on distinct facts drawn from all there are, each action's rules parsed, against"
        " handing Cedar all rules, parsed, and whoever asks as text (until ADR 113); then on the same facts again; CPU",
        deciding,
    ),
)
