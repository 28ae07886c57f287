"""Findings folded from their events, in the order of the log: which visits were signed off, asked about, escalated.

Each step is an event of the action ``review`` about the visit's patient; its detail says ``step`` (see ``Verdict``),
``of`` (the visit's first event), ``whose`` (the account that made it) and ``note``. It is sealed under the patient's
key, and erased with it.
"""

from __future__ import annotations

from dataclasses import replace

from twinward.audit.models import Noted
from twinward.review.models import ReviewCase, Step, Verdict

_VERDICTS = {one.value: one for one in Verdict}


class ReviewRegister:
    """All reviews by the visit's first event. Not safe to share between threads: ``Reviews`` holds a lock."""

    def __init__(self) -> None:
        self.cases: dict[int, ReviewCase] = {}
        self.asked: dict[str, set[int]] = {}
        """By account: the cases of which a question waits for its answer."""
        self.answered: dict[int, None] = {}
        """Cases whose question was answered and that are not closed, the oldest answer first."""

    def note(self, noted: Noted) -> None:
        """Take one event in; what is no step of a review is passed over."""
        detail = dict(noted.event.detail)
        verdict, of = _VERDICTS.get(detail.get("step", "")), detail.get("of", "")
        if noted.event.decision != "permit" or noted.index is None or verdict is None or not of.isdecimal():
            return
        index = int(of)
        case = self.cases.get(index, ReviewCase(index, detail.get("whose", ""), ()))
        if case.is_closed:
            return  # a second officer was a moment late: the first finding stands
        step = Step(noted.index, noted.event.at_ms, noted.event.agent, verdict, detail.get("note", ""))
        self.cases[index] = case = replace(case, steps=(*case.steps, step))
        self.asked.setdefault(case.agent, set()).discard(index)
        self.answered.pop(index, None)
        if case.question is not None:
            self.asked[case.agent].add(index)
        elif case.is_answered:
            self.answered[index] = None
