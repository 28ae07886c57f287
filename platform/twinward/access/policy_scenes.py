"""When and from where a policy could be asked: every hour of the week and network that its rules tell apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from twinward.access.hours import EVERY_HOUR, NO_HOUR, Hour
from twinward.access.policy import NOT_COVERED, TIME, Facts, Policy
from twinward.core.network_settings import OUTSIDE
from twinward.core.sentences import sentence


def scenes(policy: Policy, facts: Facts) -> Iterator[Facts]:
    """The same facts in every hour and network that the rules on the action tell apart; once where they ask neither."""
    asked = policy.asks(facts.action)
    hours: tuple[Hour, ...] = (NO_HOUR,) if TIME.isdisjoint(asked) else EVERY_HOUR
    networks = policy.networks | {OUTSIDE} if "network" in asked else {facts.network}
    for network in sorted(networks):
        for one in hours:
            yield replace(facts, network=network, hour=one.hour, weekday=one.weekday)


def ever(policy: Policy, facts: Facts) -> bool:
    """Whether the policy permits this at some hour, from somewhere."""
    return any(policy.evaluate(one).permitted for one in scenes(policy, facts))


def lacking(policy: Policy, facts: Facts) -> str:
    """Why no rule permits this, as far as another hour or network would do."""
    found = [one for one in scenes(policy, facts) if policy.evaluate(one).permitted]
    if any(one.network == facts.network for one in found):
        return sentence("no rule permits this at this hour")
    if any((one.hour, one.weekday) == (facts.hour, facts.weekday) for one in found):
        return sentence("no rule permits this from network {network}", network=facts.network)
    if found:
        return sentence("no rule permits this from network {network} at this hour", network=facts.network)
    return NOT_COVERED


def always(policy: Policy, facts: Facts) -> bool:
    """Whether it permits this at every hour, from everywhere."""
    return all(policy.evaluate(one).permitted for one in scenes(policy, facts))
