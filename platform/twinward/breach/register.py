"""The register of all cases, folded from their events in the order of the log.

Each step is an event of the action ``breach`` whose detail carries the ``step`` and the case's name:

=========  ======================================================================================
step       says
=========  ======================================================================================
opened     a title, the scope, when the hospital became aware: the clocks run from then
concerns   which twin the case is about, where it is about one
counting   up to which size of the log somebody wants it counted
assessed   up to which size of the log was counted, and what came out
drafted    an audience and the whole text of a new version
noted      a sentence
notified   an audience, when, a reference; why it was late where it was
closed     the outcome and the reason
=========  ======================================================================================

``concerns`` is the patient's own event and is erased with the twin; the others name nobody, and the case outlives him.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from twinward.audit.models import AccessEvent, Noted
from twinward.breach.models import Asked, Assessment, Audience, BreachCase, Draft, Notice, Scope, ScopeKind, Step
from twinward.core.sentences import Moment, sentence


class BreachRegister:
    """All cases by name. Not safe to share between threads by itself: ``Breaches`` holds a lock."""

    def __init__(self) -> None:
        self.cases: dict[str, BreachCase] = {}

    def note(self, noted: Noted) -> None:
        """Take one event in; what is no step of a case is passed over."""
        event, detail = noted.event, dict(noted.event.detail)
        name, step = detail.get("breach", ""), detail.get("step", "")
        if event.decision != "permit" or noted.index is None or not name:
            return
        if step == "opened":
            if name not in self.cases:
                self.cases[name] = _opened(name, noted.index, event, detail)
            return
        case = self.cases.get(name)
        if case is not None and step == "concerns" and case.scope.twin is None:
            self.cases[name] = replace(case, scope=replace(case.scope, twin=event.twin))
        elif case is not None and case.closed_ms is None and step in _STEPS:
            case, said = _STEPS[step](case, noted.index, event, detail)
            entry = Step(noted.index, event.at_ms, event.agent, step, said)
            self.cases[name] = replace(case, steps=(*case.steps, entry))


def scope_detail(scope: Scope) -> dict[str, str]:
    """A scope as the opening event carries it, without its twin."""
    said = {"scope": scope.kind.value, "account": scope.account, "kek": str(scope.kek) if scope.kek else ""}
    times = {"from": scope.from_ms, "until": scope.until_ms}
    said |= {name: str(at_ms) if at_ms else "" for name, at_ms in times.items()}
    return {name: value for name, value in said.items() if value}


def _scope_of(detail: dict[str, str]) -> Scope:
    return Scope(
        ScopeKind(detail["scope"]),
        detail.get("account", ""),
        None,
        int(detail.get("kek", "0")),
        int(detail.get("from", "0")),
        int(detail.get("until", "0")),
    )


def _opened(name: str, index: int, event: AccessEvent, detail: dict[str, str]) -> BreachCase:
    scope, title = _scope_of(detail), detail.get("title", "")
    aware_ms = int(detail["aware"])
    said = sentence(
        "{title}: {scope}; the hospital became aware at {aware}",
        title=title,
        scope=scope.sentence(),
        aware=Moment(aware_ms),
    )
    step = Step(index, event.at_ms, event.agent, "opened", said)
    return BreachCase(name, title, scope, event.agent, event.at_ms, aware_ms, index, steps=(step,))


_Changed = tuple[BreachCase, str]


def _counting(case: BreachCase, _: int, event: AccessEvent, detail: dict[str, str]) -> _Changed:
    asked = Asked(int(detail["size"]), event.at_ms, event.agent)
    return replace(case, asked=asked), sentence("in the log's first {size} entries", size=asked.size)


def _assessed(case: BreachCase, _: int, event: AccessEvent, detail: dict[str, str]) -> _Changed:
    categories = tuple(filter(None, detail.get("categories", "").split(" ")))
    found = Assessment(int(detail["size"]), event.at_ms, int(detail["subjects"]), int(detail["accesses"]), categories)
    said = sentence(
        "{patients} patients in {accesses} accesses, in the log's first {size} entries",
        patients=found.subjects,
        accesses=found.accesses,
        size=found.size,
    )
    asked = case.asked if case.asked and case.asked.size > found.size else None
    return replace(case, assessment=found, asked=asked), said


def _drafted(case: BreachCase, index: int, event: AccessEvent, detail: dict[str, str]) -> _Changed:
    audience = Audience(detail["audience"])
    version = len(case.drafts_for(audience)) + 1
    draft = Draft(version, event.at_ms, event.agent, index, detail["text"])
    return replace(case, drafts=(*case.drafts, (audience, draft))), sentence(
        "to the {audience}, version {version}", audience=sentence(audience.value), version=version
    )


def _noted(case: BreachCase, _: int, __: AccessEvent, detail: dict[str, str]) -> _Changed:
    return case, detail.get("note", "")


def _notified(case: BreachCase, _: int, event: AccessEvent, detail: dict[str, str]) -> _Changed:
    audience, at_ms = Audience(detail["audience"]), int(detail["at"])
    notice = Notice(audience, at_ms, event.agent, detail.get("reference", ""), int(detail.get("version", "0")))
    version = sentence(", by version {version} of the draft", version=notice.version) if notice.version else ""
    late = sentence("; late, because: {late}", late=detail["late"]) if detail.get("late") else ""
    said = sentence(
        "the {audience} at {at}{version}: {reference}{late}",
        audience=sentence(audience.value),
        at=Moment(at_ms),
        version=version,
        reference=notice.reference,
        late=late,
    )
    return replace(case, notices=(*case.notices, notice)), said


def _closed(case: BreachCase, _: int, event: AccessEvent, detail: dict[str, str]) -> _Changed:
    outcome, reason = detail.get("outcome", ""), detail.get("reason", "")
    return replace(case, closed_ms=event.at_ms, outcome=outcome, reason=reason), f"{outcome}: {reason}"


_STEPS: Final[dict[str, Callable[[BreachCase, int, AccessEvent, dict[str, str]], _Changed]]] = {
    "counting": _counting,
    "assessed": _assessed,
    "drafted": _drafted,
    "noted": _noted,
    "notified": _notified,
    "closed": _closed,
}
