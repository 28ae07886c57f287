"""Decisions on studies as the log has them: the newest counts, and a log that was turned back is read anew."""

from __future__ import annotations

from collections.abc import Sequence

from twinward.audit.models import AccessEvent, Noted
from twinward.core.vocabulary import Action, Purpose, Role
from twinward.node.study_decisions import APPROVE, WITHDRAW, StudyDecisions

STUDY = bytes(32)


class Steps:
    """A log of steps."""

    def __init__(self, *steps: str) -> None:
        self.steps = list(steps)

    def size(self) -> int:
        return len(self.steps)

    def between(self, start: int, stop: int) -> Sequence[Noted]:
        return [Noted(index, bytes(32), _event(self.steps[index])) for index in range(start, stop)]


def _event(step: str) -> AccessEvent:
    return AccessEvent(
        at_ms=0,
        agent="olga",
        role=Role.OFFICER,
        unit="",
        action=Action.STUDY,
        purpose=Purpose.COMPLIANCE,
        twin=None,
        categories=(),
        decision="permit",
        reason="",
        policy_hash="",
        consent_version=0,
        detail=(("fingerprint", STUDY.hex()), ("step", step)),
    )


def _is_approved(decisions: StudyDecisions) -> bool | None:
    found = decisions.newest(STUDY)
    return None if found is None else found.approved


def test_the_newest_decision_counts() -> None:
    log = Steps()
    decisions = StudyDecisions(log)
    assert _is_approved(decisions) is None
    for step, approved in ((APPROVE, True), ("key", True), (WITHDRAW, False), (APPROVE, True)):
        log.steps.append(step)
        assert _is_approved(decisions) is approved


def test_a_log_that_was_turned_back_approves_what_it_says_now() -> None:
    log = Steps("key", "key", APPROVE)
    decisions = StudyDecisions(log)
    assert _is_approved(decisions)
    log.steps = ["key"]
    assert _is_approved(decisions) is None
    log.steps += [WITHDRAW, "key"]
    assert _is_approved(decisions) is False
