"""Counting who is affected beside whoever asks: the log says that it was asked for, so that no crash forgets it.

    1. ask        an event with the size of the log that is counted; the page is there at once
    2. go_on      the count, beside, in the name of whoever asked; a served node begins it again after a crash
    3. assessed   an event with what came of it

A count within one size of the log comes out alike however often it is begun.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from twinward.access.errors import PermitInvalid
from twinward.access.interfaces import AccessContext, AccessControl, Permit, Principal
from twinward.breach.affected import Affected
from twinward.breach.errors import BreachConflict
from twinward.breach.models import BreachCase
from twinward.breach.service import Breaches
from twinward.core.beside import MOMENT_S, Beside, Standing, Told
from twinward.core.sentences import sentence
from twinward.core.vocabulary import Action, Purpose


class Counting:
    """The counts of one node's cases.

    Args:
        breaches: the cases.
        beside: does the counting.
        access: decides, and logs, each officer's leave to read the log for a count.
        officer_of: an account that is in use, as an officer; None where it is none any more.
    """

    def __init__(
        self,
        breaches: Breaches,
        beside: Beside,
        access: AccessControl,
        officer_of: Callable[[str], Principal | None],
    ) -> None:
        self._breaches, self._beside, self._access, self._officer_of = breaches, beside, access, officer_of

    def ask(self, permit: Permit, name: str) -> None:
        """Have the log counted as it is now. One that is under way is not begun anew.

        Raises:
            NoSuchBreach: there is no such case.
            BreachConflict: it is closed.
        """
        case = self._breaches.case(permit, name)
        if case.asked is None or not self._beside.standing(_counts(name)).running:
            case = self._breaches.ask(permit, name)
        self._begin(case)

    def go_on(self) -> None:
        """Begin what was asked for and is not counted yet, unless it failed here. Raises ``Unavailable``."""
        for case in self._breaches.asked():
            if self._beside.standing(_counts(case.name)).may_begin:
                self._begin(case)

    def read(self, permit: Permit, name: str) -> tuple[BreachCase, Affected | None]:
        """A case, and who is affected as of its assessment; None where that is not known here yet.

        After a restart the log says how many they are, and who they are is read off it once more, which is begun here;
        so is a count that a crash left undone. What is quick is waited for.

        Raises:
            NoSuchBreach: there is no such case.
        """
        case = self._breaches.case(permit, name)
        found = self._breaches.held(permit, case)
        waits = case.asked is not None and case.is_open
        if not waits and (case.assessment is None or found is not None):
            return case, found
        if waits:
            self.go_on()
        elif case.assessment is not None and self.standing(name).may_begin:
            read, by = case, permit.request.principal.id
            self._beside.begin(_reads(name), case.assessment.size, lambda told: self._read(permit, read, told), by=by)
        self.standing(name, MOMENT_S)
        case = self._breaches.case(permit, name)
        return case, self._breaches.held(permit, case)

    def standing(self, name: str, wait_s: float = 0.0) -> Standing:
        """How a case's count stands, or the reading of who was counted; once it is done, or so long has passed."""
        counts = self._beside.standing(_counts(name), wait_s)
        return counts if counts.running or counts.trouble else self._beside.standing(_reads(name), wait_s)

    def _read(self, permit: Permit, case: BreachCase, told: Told) -> None:
        """By the permit of the page; where it grew old, before its turn or within it, one that lasts is decided."""
        try:
            self._breaches.affected(permit, case, told)
        except PermitInvalid:
            self._breaches.affected(self._access.decide(replace(permit.request, lasting=True)), case, told)

    def _begin(self, case: BreachCase) -> None:
        asked = case.asked
        if asked is None:
            return

        def count(told: Told) -> None:
            officer = self._officer_of(asked.by)
            if officer is None:
                raise BreachConflict(
                    sentence("{account} asked for the count and is no officer any more", account=asked.by),
                    hint="ask for it again",
                )
            context = AccessContext(officer, Purpose.COMPLIANCE, detail=(("page", "breach count"),))
            permit = self._access.decide(context.request(Action.AUDIT, lasting=True))
            self._breaches.assess(permit, case.name, told, size=asked.size)

        self._beside.begin(_counts(case.name), asked.size, count, by=asked.by)


def _counts(name: str) -> str:
    return f"count of breach {name}"


def _reads(name: str) -> str:
    return f"subjects of breach {name}"
