"""Policy: Cedar rules an officer can read, evaluated by the ``cedarpy`` engine.

The facts a rule sees are few and categorical, so decisions are cached by those facts: a cold one costs a Cedar
evaluation, a cached one a dictionary look-up.

The hour and the network are facts of a decision only where a rule on its action asks for them: a policy that does not
has one verdict for the whole week, and for wherever requests come from.

A cold one asks Cedar about the rules whose scope names the action, or any action, and no others: those of another
action's decide nothing and cannot fail, whatever the facts. Rules and whoever asks are parsed once and kept.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from importlib import resources
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import cedarpy
import msgspec

from twinward.access import justification
from twinward.access.consent import ConsentOutcome
from twinward.access.errors import PolicyInvalid
from twinward.access.hours import NO_HOUR, Hour
from twinward.access.interfaces import AccessRequest
from twinward.access.policy_faults import fault
from twinward.core.sentences import sentence
from twinward.core.vocabulary import DERIVED_FROM, SENSITIVE, Category, Role

NOT_COVERED = "no rule permits this"
_CACHE_LIMIT = 100_000
_KEPT_ASKING = 1024
_KEPT_TEXTS = 4
_TWIN = {"type": "Twin", "id": "asked"}
_CONTEXT = {"Var": "context"}
_NOTHING: Final[dict[str, Any]] = {}
_PRINCIPAL = {"type": "Principal", "id": "asking"}

NETWORK: Final = "Network"
"""What Cedar calls the hospital's networks: ``Network::"ward"``."""
RARE: Final[Mapping[str, object]] = {
    "units": (),
    "network": "",
    "hour": NO_HOUR.hour,
    "weekday": NO_HOUR.weekday,
}
"""Facts that few rules ask for -> what stands in their place where none on the action does."""
TIME: Final = frozenset({"hour", "weekday"})

MOST_NESTED: Final = 700
"""Of a policy as JSON, two a condition: more could not be read everywhere that it is decided by."""
_STRINGS: Final = re.compile(r'"(?:\\.|[^"\\])*"')


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything a rule may look at. Two requests with the same facts get the same verdict."""

    role: str
    action: str
    purpose: str
    consent: str
    sensitive: bool
    justified: bool
    own: bool
    derived: bool
    identity: bool
    units: tuple[str, ...] = ()
    """Of the principal, in order."""
    network: str = ""
    hour: int = NO_HOUR.hour
    weekday: int = NO_HOUR.weekday

    @classmethod
    def of(cls, request: AccessRequest, consent: ConsentOutcome, hour: Hour) -> Facts:
        """The facts of a request, in an hour; ``NO_HOUR`` where none of the rules on its action asks for it."""
        return cls(
            role=request.principal.role.value,
            action=request.action.value,
            purpose=request.purpose.value,
            consent=consent.value,
            sensitive=bool(SENSITIVE & request.categories),
            justified=bool(request.justification) and justification.is_sufficient(request.justification),
            own=is_own(request),
            derived=bool(request.categories) and request.categories <= DERIVED_FROM.keys(),
            identity=request.categories == {Category.DEMOGRAPHICS},
            units=request.principal.units,
            network=request.principal.network,
            hour=hour.hour,
            weekday=hour.weekday,
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rules say, and in whose words."""

    permitted: bool
    rules: tuple[str, ...]
    reason: str


def _nesting(written: str) -> int:
    """How deep JSON nests. Each process answers the same, whatever it lets Python recurse to."""
    depth = accumulate(1 if one in "{[" else -1 for one in re.findall(r"[][{}]", _STRINGS.sub("", written)))
    return max(depth, default=0)


def is_own(request: AccessRequest) -> bool:
    """Whether a patient asks for the record that an officer tied the account to; what an account is called says no."""
    return (
        request.principal.role is Role.PATIENT
        and request.twin is not None
        and request.twin == request.principal.own_twin
    )


class PolicySource(Protocol):
    """What says which policy is in force."""

    def current(self) -> Policy:
        """The policy that decides now. Raises ``Unavailable``, ``StoreAltered``."""
        ...

    @property
    def base(self) -> Policy:
        """The settings' own: what emergencies are decided by where nobody can say which is in force."""
        ...


class Policy:
    """A parsed policy set. It is a ``PolicySource`` that never changes.

    Raises:
        PolicyInvalid: the text does not parse as Cedar.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.hash = hashlib.sha256(text.encode()).hexdigest()
        try:
            self._parsed, self._by_action = _parsed(text)
        except (ValueError, RecursionError) as error:
            hint = "compare it with the default policy; split a rule of hundreds of conditions"
            raise PolicyInvalid(
                sentence("the policy does not parse: {error}", error=fault(str(error))), hint=hint
            ) from error
        self._verdicts: dict[Facts, Verdict] = {}

    @classmethod
    def load(cls, path: Path | None = None) -> Policy:
        """The policy at a path, or the one that ships with Twinward."""
        if path is None:
            return cls((resources.files("twinward.access") / "policies" / "default.cedar").read_text(encoding="utf-8"))
        try:
            return cls(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise PolicyInvalid(
                sentence("the policy file {path} cannot be read: {error}", path=path, error=str(error))
            ) from error

    def current(self) -> Policy:
        """Itself."""
        return self

    @property
    def base(self) -> Policy:
        """Itself."""
        return self

    def evaluate(self, facts: Facts) -> Verdict:
        """Permit or deny, with the sentences of the rules that decided. An engine error denies."""
        verdict = self._verdicts.get(facts)
        if verdict is None:
            if len(self._verdicts) >= _CACHE_LIMIT:
                self._verdicts.clear()
            seen = self._seen(facts)
            verdict = self._verdicts[seen] = self._verdicts.get(seen) or self._ask(seen)
            if (facts.hour, facts.weekday) == (seen.hour, seen.weekday):  # else every hour would fill the cache anew
                self._verdicts[facts] = verdict
        return verdict

    def asks(self, action: str) -> frozenset[str]:
        """Which of the facts that most rules leave alone some rule on an action looks at: ``RARE`` at most."""
        return self._rules_on(action).names

    def asks_hour(self, action: str) -> bool:
        """Whether a rule on an action asks for the hour or the day of the week."""
        return not TIME.isdisjoint(self._rules_on(action).names)

    def _seen(self, facts: Facts) -> Facts:
        """The facts as the rules on the action see them: the same for all that they do not tell apart."""
        asked = self._rules_on(facts.action).names
        blank = {name: kept for name, kept in RARE.items() if name not in asked and getattr(facts, name) != kept}
        return replace(facts, **blank) if blank else facts  # type: ignore[arg-type]

    def _ask(self, facts: Facts) -> Verdict:
        on_action = self._rules_on(facts.action)
        context: dict[str, Any] = {
            "purpose": facts.purpose,
            "consent": facts.consent,
            "sensitive": facts.sensitive,
            "justified": facts.justified,
            "own": facts.own,
            "derived": facts.derived,
            "identity": facts.identity,
        }
        if on_action.names:  # else nothing looks at them: the engine reads less
            context["network"] = {"__entity": {"type": NETWORK, "id": facts.network}}
            context["hour"], context["weekday"] = facts.hour, facts.weekday
        request = {
            "principal": _PRINCIPAL,
            "action": {"type": "Action", "id": facts.action},
            "resource": _TWIN,
            "context": msgspec.json.encode(context).decode(),
        }
        result = cedarpy.is_authorized(request, on_action.rules, _asking(facts.role, facts.units))
        diagnostics = result.diagnostics
        rules = tuple(sorted(diagnostics.id_annotations_by_reason.values()))
        if diagnostics.errors:
            return Verdict(False, rules, "a rule could not be evaluated, so the request is refused")
        sentences = [self._sentences.get(rule, rule) for rule in rules]
        return Verdict(result.allowed, rules, "; ".join(sentences) or NOT_COVERED)

    def _rules_on(self, action: str) -> _Asked:
        """The rules that may decide on an action: all but those whose scope names others only."""
        found = self._by_action.get(action)
        if found is None:
            kept = {name: rule for name, rule in self._parsed.items() if _may_decide(rule["action"], action)}
            whole = {"staticPolicies": kept, "templates": {}, "templateLinks": []}  # a template alone permits nothing
            try:
                rules = cedarpy.PolicySet.from_json_str(json.dumps(whole))
            except (ValueError, RecursionError):  # Cedar writes JSON that it doesn't read: it nests 128 deep at most
                rules = cedarpy.PolicySet.from_str(self.text)  # all rules say the same, and take longer
            found = self._by_action[action] = _Asked(rules, rare_in([rule["conditions"] for rule in kept.values()]))
        return found

    @cached_property
    def networks(self) -> frozenset[str]:
        """The networks that rules name. All others are alike to them: a network has nothing but its name."""
        return networks_in([rule["conditions"] for rule in self._parsed.values()])

    @cached_property
    def _sentences(self) -> dict[str, str]:
        """Rule id -> its ``@say`` annotation."""
        found = (rule.get("annotations", {}) for rule in self._parsed.values())
        return {note["id"]: note.get("say", note["id"]) for note in found if "id" in note}


class _Asked(NamedTuple):
    """The rules on an action, and which of the rare facts they may look at."""

    rules: cedarpy.PolicySet
    names: frozenset[str]


def rare_in(rules: Any) -> frozenset[str]:
    """Which of the rare facts conditions in JSON may look at, however they were written; all if they take the context
    whole."""
    words, whole = set[str](), 0
    for one in _nodes(rules):
        if isinstance(one, str):
            words.add(one)
        elif isinstance(one, dict):
            whole += one.get("Var") == "context"
            whole -= any(one.get(by, _NOTHING).get("left") == _CONTEXT for by in (".", "has"))
    return frozenset(RARE if whole else words & RARE.keys())


def networks_in(rules: Any) -> frozenset[str]:
    """The networks that conditions in JSON name."""
    every = (one for one in _nodes(rules) if isinstance(one, dict) and one.get("type") == NETWORK)
    return frozenset(one["id"] for one in every if isinstance(one.get("id"), str))


def _nodes(rules: Any) -> Iterator[Any]:
    """Everything in rules as JSON. A loop: they nest deeper than Python may recurse."""
    left = [rules]
    while left:
        one = left.pop()
        yield one
        if isinstance(one, dict):
            left += one.values()
        elif isinstance(one, list):
            left += one


@lru_cache(maxsize=_KEPT_TEXTS)
def _parsed(text: str) -> tuple[dict[str, dict[str, Any]], dict[str, _Asked]]:
    """A text's rules, and those on each action as far as they were asked for: a node reads its text in many places."""
    written = cedarpy.policies_to_json_str(text)
    if _nesting(written) > MOST_NESTED:
        raise ValueError("a rule has too many conditions in a row")
    return json.loads(written)["staticPolicies"], {}


def _may_decide(scope: dict[str, Any], action: str) -> bool:
    """Whether a rule's scope takes an action in. No action is in another here: requests say of none that it is."""
    if scope["op"] == "All":
        return True
    named = scope["entities"] if "entities" in scope else [scope["entity"]]
    return any(one["id"] == action and one["type"] == "Action" for one in named)


@lru_cache(maxsize=_KEPT_ASKING)
def _asking(role: str, units: tuple[str, ...]) -> cedarpy.Entities:
    """Whoever asks, and the twin, as Cedar holds them. The same for everybody of a role and units."""
    return cedarpy.Entities.from_json_str(
        json.dumps(
            [
                {"uid": _PRINCIPAL, "attrs": {"role": role, "units": list(units)}, "parents": []},
                {"uid": _TWIN, "attrs": {}, "parents": []},
            ]
        )
    )
