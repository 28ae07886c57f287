"""One hospital's part in periods of daily counts: agreed, paid for, counted once, released the same for ever.

The order of a release, of which each step is durable before the next:

1. An officer approved this very invitation (the log has the last word), and a live reservation on the ledger, which
   this hospital signed, pays for exactly these terms.
2. What was counted before stands, and is what was answered before: the store says the days, ``studies.db``, which is in
   no backup, says how many were answered and the very bytes. A store that lacks one of them releases nothing more.
3. The Conditions of patients who consent are read, each under a permit of its own; who is a case on a new day counts.
4. Noise is drawn once for each node, the numbers are masked, and days, patients and masked numbers are written down in
   one transaction; then the answer in ``studies.db``.
5. The event, with a hash of the masked numbers, is in the log, and witnesses cosigned a log that holds it: a home that
   was turned back as a whole has a log that they refuse, so nothing of it leaves.
6. The share is handed over. Asked again, steps 3 and 4 are left out.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from datetime import UTC, date, datetime

import numpy as np

from twinward.access.interfaces import AccessContext
from twinward.core.errors import Conflict
from twinward.federation.aggregation.answered_rounds import AnsweredRound
from twinward.federation.aggregation.secure_aggregation import RoundSecret
from twinward.federation.errors import RoundRefused
from twinward.outbreak.agreeing import Agreeing, forgotten, require_pays
from twinward.outbreak.agreement import ATTEMPT, AgreedPeriod, PeriodTerms
from twinward.outbreak.cases import new_cases
from twinward.outbreak.continual import noisy_sums
from twinward.outbreak.errors import OutbreakInvalid, ReleaseRefused
from twinward.outbreak.period_store import CountedDay, CountedPatient, KeptSum
from twinward.outbreak.shares import Share, SummedDays, added_up, masked_day


class Releases(Agreeing):
    """The part. Not for several threads at once."""

    def release(self, by: AccessContext, agreed: AgreedPeriod, day: int | None = None) -> bytes:
        """This hospital's share of the days up to one; a file. What was released before is in it as it was.

        Args:
            by: who has it made.
            agreed: what all approved.
            day: up to which day of the period, from 1; the newest that is over where it is not said.

        Raises:
            NotApproved: no officer approved this invitation, or took it back.
            NotPaid: no live reservation pays for these terms.
            ReleaseForgotten: this home lacks what it released of the period.
            ReleaseRefused: the day is not over, or days were released for hospitals with other keys.
            AccessDenied, NotCosigned, Unavailable: nothing left.
        """
        parts, terms = self._parts, agreed.terms
        period = terms.fingerprint()
        agreed.invitation.require_own(parts.identity)
        self._require_approved(terms)
        until = self._until(terms, day)
        self._require_paid(terms)
        days, before = self._counted_before(agreed)
        if until > len(days):
            self._decide(by, "count", terms, ("days", f"{len(days) + 1}-{until}"))
            days = self._count(agreed, days, until, by)
        if len(days) > before:
            self._answer(terms, days)
        said = days[:until]
        digest = hashlib.sha256(b"".join(one.masked for one in said)).hexdigest()
        step = "release" if until > before else "repeat"
        self._decide(by, step, terms, ("days", f"1-{until}"), ("sha256", digest))
        parts.publish()
        if len(days) == terms.days:
            parts.store.finish(period)
        masked = tuple(np.frombuffer(one.masked, "<u8").astype(np.uint64) for one in said)
        return Share(self._hospital, masked).signed(agreed, parts.identity)

    def add_up(self, by: AccessContext, agreed: AgreedPeriod, shares: Sequence[Share]) -> SummedDays:
        """The sum of all hospitals' shares; it is kept. Raises as ``added_up``, ``AccessDenied``, ``Unavailable``."""
        found = added_up(agreed, shares)
        self._decide(by, "sum", agreed.terms, ("days", f"1-{found.days}"))
        self._parts.store.keep_sum(agreed.terms.fingerprint(), KeptSum(found.days, found.content()))
        return found

    def _require_paid(self, terms: PeriodTerms) -> None:
        try:
            found = self._parts.reservations.of_study(terms.fingerprint())
        except RoundRefused:
            raise forgotten(terms, "it was paid for before this home's memory of its answers began") from None
        require_pays(found, self._hospital, terms)

    def _counted_before(self, agreed: AgreedPeriod) -> tuple[list[CountedDay], int]:
        """The days that were counted, and how many of them were answered. Raises ``ReleaseRefused``."""
        terms, period = agreed.terms, agreed.terms.fingerprint()
        days, answered = self._parts.store.days(period), self._parts.memory.newest(period)
        before = 0 if answered is None else answered.number
        if answered is not None and b"".join(one.masked for one in days[:before]) != answered.masked:
            raise forgotten(terms, f"its first {before} days were released, and this home lacks what was said")
        if any(one.keys != agreed.keys_digest for one in days):
            raise ReleaseRefused(
                f"days of {terms.name} were released for hospitals with other keys than these",
                hint="give the agreed period that the first day was released under",
            )
        return days, before

    def _count(self, agreed: AgreedPeriod, days: list[CountedDay], until: int, by: AccessContext) -> list[CountedDay]:
        """Count and draw the days that follow; what was counted, by whichever process was first."""
        parts, terms, period = self._parts, agreed.terms, agreed.terms.fingerprint()
        first, key = len(days) + 1, parts.memory.next_key(period)
        if key is None:
            raise forgotten(terms, "this home lost the key of its masks")
        secret = RoundSecret(parts.identity, agreed.invitation.roster, period, ATTEMPT, key.private)
        counted, patients = parts.store.patients(period), list[CountedPatient]()
        counts = np.zeros((len(terms.syndromes), terms.days), np.int64)
        for number, one in enumerate(days):
            counts[:, number] = one.counts
        reader = parts.conditions((("study", terms.name), ("asked_by", by.principal.id)))
        with parts.reading(terms.name) as logged:
            try:
                for twin, contents in reader.conditions():
                    new = new_cases(terms, contents, counted(twin), first, until)
                    if new:
                        patients.append(CountedPatient(twin, new))
                    for name, day in new.items():
                        counts[terms.syndromes.index(name), day - 1] += 1
            finally:
                logged.append(reader.decided)
        drawn = []
        for day in range(first, until + 1):
            noisy = [noisy_sums(terms, one, day, terms.share, os.urandom) for one in counts]
            masked = masked_day(agreed, secret, day, np.concatenate(noisy))
            exact = tuple(int(one) for one in counts[:, day - 1])
            drawn.append(CountedDay(agreed.keys_digest, masked.astype("<u8").tobytes(), exact))
        if parts.store.count(period, len(days), drawn, patients):
            return [*days, *drawn]
        found, _ = self._counted_before(agreed)
        if len(found) < until:
            raise Conflict("another process counted days of this period meanwhile", hint="ask again")
        return found

    def _answer(self, terms: PeriodTerms, days: Sequence[CountedDay]) -> None:
        """Write down in what is in no backup that these days are about to leave."""
        period, memory = terms.fingerprint(), self._parts.memory
        masked, key = b"".join(one.masked for one in days), memory.next_key(period)
        answer = AnsweredRound(len(days), hashlib.sha256(masked).digest(), masked)
        keeps = key is not None and len(days) < terms.days
        memory.keep(period, answer, next_key=key.private if key is not None and keeps else None)

    def _until(self, terms: PeriodTerms, day: int | None) -> int:
        """Up to which day is released. Raises ``OutbreakInvalid``, ``ReleaseRefused``."""
        over = terms.day_of(self._today()) - 1
        if day is not None and not 1 <= day <= terms.days:
            raise OutbreakInvalid(f"the period {terms.name} has days 1 to {terms.days}")
        until = min(over, terms.days) if day is None else day
        if until < 1 or until > over:
            when = terms.date_of(max(until, 1))
            raise ReleaseRefused(f"{when} is not over yet (UTC)", hint="a day is released once, when it is over")
        return until

    def _today(self) -> date:
        return datetime.fromtimestamp(self._parts.clock.now_ms() / 1000, UTC).date()
