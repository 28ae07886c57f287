"""Policy: Cedar rules an officer can read, evaluated by the ``cedarpy`` engine.

The facts a rule sees are few and categorical, so decisions are cached by those facts: a cold one costs a Cedar
evaluation, a cached one a dictionary look-up.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

import cedarpy

from twinward.access import justification
from twinward.access.consent import ConsentOutcome
from twinward.access.errors import PolicyInvalid
from twinward.access.interfaces import AccessRequest
from twinward.core.vocabulary import DERIVED_FROM, SENSITIVE, Category, Role

NOT_COVERED = "no rule permits this"
_CACHE_LIMIT = 100_000


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
            justified=justification.is_sufficient(request.justification),
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
            self._set = cedarpy.PolicySet.from_str(text)
        except ValueError as error:
            raise PolicyInvalid(
                f"the policy does not parse: {error}", hint="compare it with the default policy"
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
            raise PolicyInvalid(f"the policy file {path} cannot be read: {error}") from error

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
            seen = facts if self._sees_units else replace(facts, units=())
            verdict = self._verdicts.get(seen) or self._ask(seen)
            self._verdicts[seen] = self._verdicts[facts] = verdict
        return verdict

    def _ask(self, facts: Facts) -> Verdict:
        request = {
            "principal": 'Principal::"asking"',
            "action": f'Action::"{facts.action}"',
            "resource": 'Twin::"asked"',
            "context": {
                "purpose": facts.purpose,
                "consent": facts.consent,
                "sensitive": facts.sensitive,
                "justified": facts.justified,
                "own": facts.own,
                "derived": facts.derived,
                "identity": facts.identity,
            },
        }
        asking = {"role": facts.role, "units": list(facts.units)}
        entities: list[dict[str, Any]] = [
            {"uid": {"type": "Principal", "id": "asking"}, "attrs": asking, "parents": []},
            {"uid": {"type": "Twin", "id": "asked"}, "attrs": {}, "parents": []},
        ]
        result = cedarpy.is_authorized(request, self._set, entities)
        rules = tuple(sorted(result.diagnostics.id_annotations_by_reason.values()))
        if result.diagnostics.errors:
            return Verdict(False, rules, "a rule could not be evaluated, so the request is refused")
        sentences = [self._sentences.get(rule, rule) for rule in rules]
        return Verdict(result.allowed, rules, "; ".join(sentences) or NOT_COVERED)

    @cached_property
    def _sentences(self) -> dict[str, str]:
        """Rule id -> its ``@say`` annotation."""
        parsed = json.loads(cedarpy.policies_to_json_str(self.text))
        found = (policy.get("annotations", {}) for policy in parsed.get("staticPolicies", {}).values())
        return {note["id"]: note.get("say", note["id"]) for note in found if "id" in note}
