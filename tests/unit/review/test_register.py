"""What waits for an answer and what was answered, beside the cases themselves, after any steps in any order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twinward.audit.models import AccessEvent, Noted
from twinward.core.vocabulary import Action, Purpose, Role
from twinward.review.models import Verdict
from twinward.review.register import ReviewRegister

STEPS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(Verdict), st.sampled_from(["permit", "permit", "deny"])))


def noted(index: int, of: int, verdict: Verdict, decision: str) -> Noted:
    detail = (("step", verdict.value), ("of", str(of)), ("whose", f"dr-{of % 2}"), ("note", "why?"))
    event = AccessEvent(
        index, "officer", Role.OFFICER, "", Action.REVIEW, Purpose.COMPLIANCE, None, (), decision, "", "", 0, detail
    )
    return Noted(index, bytes(32), event)


@given(steps=STEPS)
def test_counts_are_what_the_cases_say(steps: list[tuple[int, Verdict, str]]) -> None:
    register = ReviewRegister()
    for index, (of, verdict, decision) in enumerate(steps):
        register.note(noted(index, of, verdict, decision))
    for account in ("dr-0", "dr-1"):
        waiting = {one.index for one in register.cases.values() if one.agent == account and one.question}
        assert register.asked.get(account, set()) == waiting
    answered = [
        one for one in register.cases.values() if not one.is_closed and one.steps[-1].verdict is Verdict.ANSWERED
    ]
    answered.sort(key=lambda one: one.steps[-1].index)
    assert list(register.answered) == [one.index for one in answered]
