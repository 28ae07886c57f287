"""Days examined beside whoever looks: yesterday by the node itself, any other once somebody asks for it."""

from __future__ import annotations

from datetime import date, timedelta

from twinward.access.interfaces import NODE, AccessContext, AccessControl, Permit
from twinward.audit.queries import day_of
from twinward.core.beside import MOMENT_S, Beside, Standing, Told
from twinward.core.clock import Clock
from twinward.core.vocabulary import Action, Purpose
from twinward.review.models import DayReview
from twinward.review.service import Reviews


class Examinations:
    """The examinations of one node, in whichever process.

    Args:
        reviews: what examines.
        beside: where it is done.
        access: decides who may read the log for it; a look of the node's own is logged as well.
        clock: the node's time.
    """

    def __init__(self, reviews: Reviews, beside: Beside, access: AccessControl, clock: Clock) -> None:
        self._reviews, self._beside, self._access, self._clock = reviews, beside, access, clock

    def day(self, permit: Permit, day: date) -> tuple[DayReview | None, int]:
        """A day as it is examined, and how many accesses came since; begun beside where it was not, or is not whole.

        A day that is not over is examined again when that is asked for only (``begin``): it is never whole. What is
        quick is waited for. ``permit`` is one to audit, naming no twin. Raises ``Unavailable``.
        """
        found, newer = self._reviews.held(permit, day)
        is_over = day < day_of(self._clock.now_ms())
        if found is not None and not (newer and is_over):
            return found, newer
        if self.standing(day).may_begin:
            self.begin(permit, day)
        self._beside.standing(_named(day), MOMENT_S)
        return self._reviews.held(permit, day)

    def begin(self, permit: Permit, day: date) -> None:
        """Examine a day by an officer's permit; one that is under way is not begun anew.

        Where the permit grew old before its turn came, it is decided, and logged, anew.
        """

        def examine(told: Told) -> None:
            self._access.opened(permit, lambda one: self._reviews.day(one, day, told))

        self._beside.begin(_named(day), 0, examine, by=permit.request.principal.id)

    def yesterday(self) -> None:
        """Examine the newest day that is over, in the node's own name and where policy lets it; once a process."""
        day = day_of(self._clock.now_ms()) - timedelta(days=1)
        context = AccessContext(NODE, Purpose.COMPLIANCE, detail=(("page", f"review of {day.isoformat()}"),))
        asked = context.request(Action.AUDIT)
        if not self._reviews.has_examined(day) and self._access.may(asked):
            self._beside.begin(_named(day), 0, lambda told: self._reviews.day(self._access.decide(asked), day, told))

    def standing(self, day: date) -> Standing:
        """How the examination of a day stands: patients whose care data are opened."""
        return self._beside.standing(_named(day))


def _named(day: date) -> str:
    return f"review of {day.isoformat()}"
