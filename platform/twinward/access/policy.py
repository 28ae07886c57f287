"""Policy: Cedar rules an officer can read, evaluated by the ``cedarpy`` engine.

The facts a rule sees are few and categorical, so decisions are cached by those facts: a cold one costs a Cedar
evaluation, a cached one a dictionary look-up.

A cold one asks Cedar about the rules whose scope names the action, or any action, and no others: those of another
action's decide nothing and cannot fail, whatever the facts. Rules and whoever asks are parsed once and kept.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from importlib import resources
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, Protocol

import cedarpy
import msgspec

from twinward.access import justification
from twinward.access.consent import ConsentOutcome
from twinward.access.errors import PolicyInvalid
from twinward.access.interfaces import AccessRequest
from twinward.access.policy_faults import fault
from twinward.core.sentences import sentence
from twinward.core.vocabulary import DERIVED_FROM, SENSITIVE, Category, Role

NOT_COVERED = "no rule permits this"
_CACHE_LIMIT = 100_000
_KEPT_ASKING = 1024
_KEPT_TEXTS = 4
_TWIN = {"type": "Twin", "id": "asked"}
_PRINCIPAL = {"type": "Principal", "id": "asking"}

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

    @classmethod
    def of(cls, request: AccessRequest, consent: ConsentOutcome) -> Facts:
        """The facts of a request."""
        return cls(
            role=request.principal.role.value,
            action=request.action.value,
            purpose=request.purpose.value,
            consent=consent.value,
            sensitive=bool(SENSITIVE & request.categories),
            justified=bool(request.justification) and justification.is_sufficient(request.justification),
            own=_is_own(request),
            derived=bool(request.categories) and request.categories <= DERIVED_FROM.keys(),
            identity=request.categories == {Category.DEMOGRAPHICS},
            units=request.principal.units,
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


def _is_own(request: AccessRequest) -> bool:
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
        # Else no rule can look at them, and one verdict is everybody's; an escape could spell the name otherwise.
        self._sees_units = "units" in text or "\\" in text

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
            seen = replace(facts, units=()) if facts.units and not self._sees_units else facts
            verdict = self._verdicts.get(seen) or self._ask(seen)
            self._verdicts[seen] = self._verdicts[facts] = verdict
        return verdict

    def _ask(self, facts: Facts) -> Verdict:
        context = {
            "purpose": facts.purpose,
            "consent": facts.consent,
            "sensitive": facts.sensitive,
            "justified": facts.justified,
            "own": facts.own,
            "derived": facts.derived,
            "identity": facts.identity,
        }
        request = {
            "principal": _PRINCIPAL,
            "action": {"type": "Action", "id": facts.action},
            "resource": _TWIN,
            "context": msgspec.json.encode(context).decode(),
        }
        result = cedarpy.is_authorized(request, self._rules_on(facts.action), _asking(facts.role, facts.units))
        diagnostics = result.diagnostics
        rules = tuple(sorted(diagnostics.id_annotations_by_reason.values()))
        if diagnostics.errors:
            return Verdict(False, rules, "a rule could not be evaluated, so the request is refused")
        sentences = [self._sentences.get(rule, rule) for rule in rules]
        return Verdict(result.allowed, rules, "; ".join(sentences) or NOT_COVERED)

    def _rules_on(self, action: str) -> cedarpy.PolicySet:
        """The rules that may decide on an action: all but those whose scope names others only."""
        found = self._by_action.get(action)
        if found is None:
            kept = {name: rule for name, rule in self._parsed.items() if _may_decide(rule["action"], action)}
            whole = {"staticPolicies": kept, "templates": {}, "templateLinks": []}  # a template alone permits nothing
            try:
                found = cedarpy.PolicySet.from_json_str(json.dumps(whole))
            except (ValueError, RecursionError):  # Cedar writes JSON that it doesn't read: it nests 128 deep at most
                found = cedarpy.PolicySet.from_str(self.text)  # all rules say the same, and take longer
            self._by_action[action] = found
        return found

    @cached_property
    def _sentences(self) -> dict[str, str]:
        """Rule id -> its ``@say`` annotation."""
        found = (rule.get("annotations", {}) for rule in self._parsed.values())
        return {note["id"]: note.get("say", note["id"]) for note in found if "id" in note}


@lru_cache(maxsize=_KEPT_TEXTS)
def _parsed(text: str) -> tuple[dict[str, dict[str, Any]], dict[str, cedarpy.PolicySet]]:
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
