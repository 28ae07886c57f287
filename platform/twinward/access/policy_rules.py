"""A policy's text before it may be proposed: parsed, checked against what requests are made of, read out in sentences.

Refused is what nobody can have meant: Cedar that does not parse, a rule that looks at something that no request has, a
rule without a name or a sentence, a policy under which no officer could read the log or change it back. What a hospital
may mean, and an officer should think about, is a warning.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, get_type_hints

import cedarpy

from twinward.access.errors import PolicyInvalid
from twinward.access.hours import NO_HOUR
from twinward.access.policy import NETWORK, Facts, Policy, networks_in, rare_in
from twinward.access.policy_faults import faults
from twinward.access.policy_scenes import always, ever
from twinward.access.policy_words import scene_of
from twinward.core.network_settings import INSIDE, OUTSIDE
from twinward.core.sentences import sentence
from twinward.core.vocabulary import Action, Purpose, Role

MAX_POLICY_BYTES: Final = 30_000
"""A proposal stands in the log as one event, which holds 64 KiB."""


PLACES: Final = (INSIDE, OUTSIDE)
"""The networks that there are where the settings name none."""
_KEPT_TO_OFFICERS: Final = (
    (Action.AUDIT, sentence("read the log")),
    (Action.POLICY, sentence("change the policy back")),
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its name, whether it permits or forbids, its sentence, and when and from where alone it can hold."""

    name: str
    permits: bool
    sentence: str
    scene: str = ""


def schema(networks: Sequence[str] = PLACES) -> str:
    """What requests are made of, as a Cedar schema; ``networks`` are all that there are."""
    actions = ", ".join(f'"{action.value}"' for action in Action)
    kinds = {str: "String", bool: "Bool", int: "Long"}
    of_the_principal = ("role", "action", "units")
    types = get_type_hints(Facts).items()
    seen = {name: kinds[kind] for name, kind in types if name not in of_the_principal} | {"network": NETWORK}
    names = ", ".join(f'"{one}"' for one in networks)
    asked = ", ".join(f"{name}: {kind}" for name, kind in seen.items())
    return (
        f"entity {NETWORK} enum [{names}];\n"
        "entity Principal = { role: String, units: Set<String> };\nentity Twin;\n"
        f"type Asked = {{ {asked} }};\n"
        f"action {actions} appliesTo {{ principal: [Principal], resource: [Twin], context: Asked }};\n"
    )


def checked(text: str, networks: Sequence[str] = PLACES) -> Policy:
    """The policy of a text that may be proposed, where there are these networks (``Networks.names``).

    Raises:
        PolicyInvalid: with what is wrong, and in which rule.
    """
    if any("\ud800" <= one <= "\udfff" for one in text) or len(text.encode()) > MAX_POLICY_BYTES:
        raise PolicyInvalid(sentence("a policy is text in UTF-8 of {most} bytes at most", most=MAX_POLICY_BYTES))
    policy = Policy(text)
    notes = [one.get("annotations", {}) for one in _parsed(text)]
    names = [str(one.get("id", "")) for one in notes]
    if not notes:
        raise PolicyInvalid("a policy has rules: without one nobody may do anything")
    for name, one in zip(names, notes, strict=True):
        if not name or not one.get("say"):
            hint = 'write @id("…") and @say("…") above the rule: the sentence is what people are told'
            raise PolicyInvalid(
                sentence("a rule has no name or no sentence ({name})", name=name or "unnamed"), hint=hint
            )
    if len(set(names)) != len(names):
        raise PolicyInvalid("two rules have one name", hint="give each its own @id")
    found = cedarpy.validate_policies(text, schema(networks))
    if not found.validation_passed:
        said = faults([str(one) for one in found.errors], names)
        raise PolicyInvalid(
            sentence("the policy looks at what no request has: {said}", said=said),
            hint="compare it with the present one",
        )
    for action, what in _KEPT_TO_OFFICERS:
        if not ever(policy, _facts(Role.OFFICER, action, Purpose.COMPLIANCE)):
            raise PolicyInvalid(
                sentence("under this policy no officer could {what}", what=sentence(what)),
                hint="permit officers that for HCOMPL",
            )
    return policy


def rules(text: str) -> list[Rule]:
    """The rules of a policy, in their order, in its own sentences."""
    return [
        Rule(
            str(note.get("id", "unnamed")),
            one.get("effect") == "permit",
            str(note.get("say", note.get("id", ""))),
            _scene(one["conditions"]),
        )
        for one in _parsed(text)
        for note in [one.get("annotations", {})]
    ]


def _scene(conditions: Any) -> str:
    asks = rare_in(conditions) - {"units"}
    return scene_of(conditions, sorted(networks_in(conditions))) if asks else ""


def warnings(policy: Policy) -> list[str]:
    """What a policy permits that an officer should have thought about."""
    found = [
        sentence("not at every hour and from every network could an officer {what}", what=what)
        for action, what in _KEPT_TO_OFFICERS
        if not always(policy, _facts(Role.OFFICER, action, Purpose.COMPLIANCE))
    ]
    return found + [said for facts, said in _doubtful() if ever(policy, facts)]


def _doubtful() -> Iterator[tuple[Facts, str]]:
    for role in Role:
        named = sentence(role.value)
        if role not in (Role.OFFICER, Role.NODE):  # the node examines days for the data office, and shows nobody
            yield (
                _facts(role, Action.AUDIT, Purpose.COMPLIANCE),
                sentence("a {role} may read the access log", role=named),
            )
        if role is not Role.OFFICER:
            yield (
                _facts(role, Action.POLICY, Purpose.COMPLIANCE),
                sentence("a {role} may change this policy", role=named),
            )
        if role is not Role.PATIENT:
            against = _facts(role, Action.READ, Purpose.TREATMENT, consent="deny")
            yield against, sentence("a {role} may read against the patient's consent, outside emergencies", role=named)
            sensitive = _facts(role, Action.READ, Purpose.TREATMENT, sensitive=True)
            yield (
                sensitive,
                sentence("a {role} may read sensitive records without the patient's explicit consent", role=named),
            )
    emergency = _facts(Role.CLINICIAN, Action.READ, Purpose.EMERGENCY, consent="deny")
    yield emergency, sentence("a clinician may read in an emergency without a justification")
    for action in (Action.MATCH, Action.EXPORT, Action.COHORT):
        told = _facts(Role.VENDOR, action, Purpose.SIMILARITY)
        yield (
            told,
            sentence("a vendor is given something without the patient's consent ({action})", action=action.value),
        )
    trained = _facts(Role.RESEARCHER, Action.TRAIN, Purpose.RESEARCH)
    yield trained, sentence("patients are trained on without their consent")


def _facts(role: Role, action: Action, purpose: Purpose, *, consent: str = "none", sensitive: bool = False) -> Facts:
    return Facts(
        role=role.value,
        action=action.value,
        purpose=purpose.value,
        consent=consent,
        sensitive=sensitive,
        justified=False,
        own=False,
        derived=False,
        identity=False,
        network=OUTSIDE,
        hour=NO_HOUR.hour,
        weekday=NO_HOUR.weekday,
    )


@lru_cache(maxsize=16)
def _parsed(text: str) -> list[dict[str, Any]]:
    parsed = json.loads(cedarpy.policies_to_json_str(text))
    found = parsed.get("staticPolicies", {})
    order = sorted(found, key=lambda name: int(name.removeprefix("policy")) if name[6:].isdigit() else 0)
    return [found[name] for name in order]
