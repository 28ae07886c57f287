"""Feasibility counts on the vendor's side: what is sent, what it is likely to be off by, what came back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from twinward.client.errors import AnswerMalformed
from twinward.core.errors import BadInput
from twinward.features.facets import require_known
from twinward.protocol.criteria import Criteria
from twinward.protocol.criteria_costs import Costs, costs_of
from twinward.protocol.feasibility import CountReply, FeasibilityQuestion, FeasibilityTerms, feasibility_binding
from twinward.protocol.fields import where_of
from twinward.protocol.proofs import new_query_id
from twinward.protocol.terms import Terms
from twinward_crypto.errors import MalformedBundle
from twinward_crypto.feasibility.noise import GeometricNoise, half_width
from twinward_crypto.feasibility.query import Answer, FeasibilityKey, answer_bytes

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class PreparedCount:
    """A question that is ready to leave: look at it, then send it. Sent again it gets the same answer, free of charge.

    Attributes:
        hospital: who would get it.
        epsilon: what it costs each patient's privacy, and you.
        half_width: with 95 % probability the count is off by no more.
        reading: each criterion as it is counted.
        upload_bytes, download_bytes: of the encrypted parts.
        hospital_seconds: how long the hospital takes, about, by its own word.
        epsilon_left: before it is sent.
        leakage: who learns what, in the hospital's words.
    """

    hospital: str
    epsilon: float
    half_width: int
    reading: tuple[str, ...] = field(repr=False)
    upload_bytes: int
    download_bytes: int
    seconds: float
    hospital_seconds: int
    epsilon_left: float
    leakage: str
    query_id: str
    own: OwnCount = field(repr=False)
    """What is sent, and the key that reads the answer."""
    send: Callable[[], Any] = field(repr=False)
    """The steps of sending, for the client that prepared it."""


@dataclass(frozen=True, slots=True)
class Count:
    """What came back.

    Attributes:
        hospital: whose.
        epoch: of the cohort that was counted.
        noisy: the count with its noise: below zero where few match, and not to be cut there before it is summed.
        half_width: with 95 % probability it is off by no more.
        epsilon, delta: what the answer tells of any one patient, at most.
        epsilon_left: yours in this epoch, or the hospital's for all vendors if that is less.
        upload_bytes, download_bytes: of the encrypted parts.
        query_id: what it can be fetched again by, free of charge.
    """

    hospital: str
    epoch: int
    noisy: int
    half_width: int
    epsilon: float
    delta: float
    epsilon_left: float
    upload_bytes: int
    download_bytes: int
    query_id: str

    @property
    def low(self) -> int:
        """The interval's lower end; nobody is counted less than not at all."""
        return max(0, self.noisy - self.half_width)

    @property
    def high(self) -> int:
        """The interval's upper end."""
        return max(0, self.noisy + self.half_width)


@dataclass(frozen=True, slots=True)
class OwnCount:
    """A question with the key that reads its answer, which stays here."""

    message: FeasibilityQuestion
    terms: FeasibilityTerms
    criteria: Criteria = field(repr=False)
    costs: Costs = field(repr=False)
    key: FeasibilityKey = field(repr=False)
    seconds: float

    @classmethod
    def encrypted(cls, criteria: Criteria, epsilon: float | None, terms: Terms, counts: FeasibilityTerms) -> OwnCount:
        """Encrypt what each level costs. Raises ``BadInput``: see ``costs_of``; an epsilon that is not offered."""
        if epsilon is not None and not math.isfinite(epsilon):
            raise BadInput(f"epsilon {epsilon} is no number", hint="leave it out for the hospital's suggestion")
        millis = counts.epsilon_millis[0] if epsilon is None else round(epsilon * 1000)
        if millis not in counts.epsilon_millis:
            offered = ", ".join(f"{one / 1000:g}" for one in sorted(counts.epsilon_millis))
            raise BadInput(f"this hospital offers no count at epsilon {epsilon:g}", hint=f"choose one of: {offered}")
        if millis > counts.left_millis:
            raise BadInput(
                f"epsilon {counts.left_millis / 1000:g} is left for counts, and this one costs {millis / 1000:g}",
                hint="wait for the next epoch, or choose a smaller epsilon; nothing was sent"
                if counts.left_millis
                else "the hospital grants it, anew each epoch: ask there if it never did; nothing was sent",
            )
        require_known(terms.facets, criteria.where)
        costs = costs_of(criteria, terms.feature_schema, counts.code_list)
        if costs.threshold > counts.most_slots:
            raise BadInput(
                f"this group needs {costs.threshold} slots a patient, and this hospital answers {counts.most_slots}",
                hint="fewer alternatives, or a value set that holds several of them; nothing was sent",
            )
        started = time.perf_counter()
        key = FeasibilityKey()
        binding = feasibility_binding(terms.binding(), counts.code_list)
        bundle = key.query(costs.table, threshold=costs.threshold, binding=binding).encode()
        message = FeasibilityQuestion(
            epoch=counts.epoch,
            epsilon_millis=millis,
            bundle=bundle,
            where=where_of(criteria.where),
            query_id=new_query_id(),
        )
        return cls(message, counts, criteria, costs, key, time.perf_counter() - started)

    @property
    def noise(self) -> GeometricNoise:
        """What the count is blurred by."""
        return GeometricNoise.of(self.message.epsilon_millis)

    @property
    def slots(self) -> int:
        """How many an answer has."""
        return self.terms.rows * self.costs.threshold + 2 * self.noise.bound

    def prepared(self, terms: Terms, send: Callable[[], Any]) -> PreparedCount:
        """What there is to look at before it is sent."""
        return PreparedCount(
            hospital=terms.hospital,
            epsilon=self.noise.epsilon,
            half_width=self.noise.half_width(LEVEL),
            reading=(*self.costs.reading, *self._seen()),
            upload_bytes=len(self.message.bundle),
            download_bytes=answer_bytes(self.slots),
            seconds=self.seconds,
            hospital_seconds=self.terms.seconds_each[self.costs.threshold - 1],
            epsilon_left=self.terms.left_millis / 1000,
            leakage=self.terms.leakage,
            query_id=self.message.query_id or "",
            own=self,
            send=send,
        )

    def _seen(self) -> Iterator[str]:
        for name, value in self.criteria.where.items():
            yield f"only entries with {name} {value} (the hospital sees this)"

    def read(self, reply: CountReply, terms: Terms) -> Count:
        """Count an answer. Raises ``AnswerMalformed`` where it is none to this question."""
        noise = self.noise
        if (reply.epsilon_millis, reply.bound, reply.slots) != (noise.millis, noise.bound, self.slots):
            raise AnswerMalformed("an answer of another size than was agreed: its noise is not as it says")
        binding = feasibility_binding(terms.binding(), self.terms.code_list)
        try:
            found = self.key.matches(Answer.decode(reply.bundle, slots=self.slots, binding=binding))
        except MalformedBundle as error:
            raise AnswerMalformed(str(error)) from error
        if reply.left_millis < 0:
            raise AnswerMalformed("less than nothing is left")
        return Count(
            hospital=terms.hospital,
            epoch=reply.epoch,
            noisy=found - noise.bound,
            half_width=noise.half_width(LEVEL),
            epsilon=noise.epsilon,
            delta=noise.delta,
            epsilon_left=reply.left_millis / 1000,
            upload_bytes=len(self.message.bundle),
            download_bytes=len(reply.bundle),
            query_id=self.message.query_id or "",
        )


def summed(counts: Sequence[Count]) -> tuple[int, int]:
    """Several hospitals' sum and its half width at 95 %: independent noises partly cancel out."""
    noises = [GeometricNoise.of(round(one.epsilon * 1000)) for one in counts]
    return sum(one.noisy for one in counts), half_width(noises, LEVEL)
