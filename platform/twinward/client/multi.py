"""Several hospitals at once: one question to all, what each answered, who did not answer and why."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from twinward.client.asynchronous import AsyncVendorClient
from twinward.client.counts import Count, PreparedCount, summed
from twinward.client.question import Question
from twinward.client.results import Matches, Prepared
from twinward.client.vendor import VendorClient
from twinward.core.errors import BadInput, TwinwardError
from twinward.protocol.criteria import Criteria

MAX_AT_ONCE = 16

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Found:
    """One patient somewhere. ``distance`` is squared and blurred, and known in vendor-key mode only."""

    hospital: str
    handle: str
    distance: int | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Failure:
    """A hospital that gave no answer, and why."""

    hospital: str
    error: TwinwardError


@dataclass(frozen=True, slots=True)
class Answers:
    """What several hospitals said.

    Attributes:
        matches: each hospital's answer, by address, in the order they were asked.
        failures: who gave none; the others' answers stand.
        found: all matches together; by blurred distance where every answer has them, else by hospital.
    """

    matches: dict[str, Matches]
    failures: tuple[Failure, ...]
    found: tuple[Found, ...] = field(repr=False)

    @property
    def complete(self) -> bool:
        """Whether every hospital answered."""
        return not self.failures


def ask_hospitals(clients: Sequence[VendorClient], question: Question) -> Answers:
    """Ask several hospitals the same, side by side.

    A question for the nearest k is put to each. Where distances are known (vendor-key mode) the answer is cut to the
    nearest k of all, by blurred distance; in the other modes nobody tells distances, so each hospital's k are kept.

    Raises:
        BadInput: no hospital, or one twice.
        TwinwardError: every single one failed: the first one's error.
    """
    return _sent([client.base_url for client in clients], _each(clients, lambda one: one.ask(question)), question)


def prepare_hospitals(clients: Sequence[VendorClient], question: Question) -> dict[str, Prepared | TwinwardError]:
    """Encrypt for each hospital, nothing of the query leaves. What failed stands in its place."""
    return dict(
        zip(
            [client.base_url for client in clients],
            _each(clients, lambda one: one.prepare(question)),
            strict=True,
        )
    )


def send_hospitals(
    clients: Sequence[VendorClient], prepared: dict[str, Prepared | TwinwardError], question: Question
) -> Answers:
    """Send what ``prepare_hospitals`` made of the same question."""

    def send(client: VendorClient) -> Matches:
        ready = prepared[client.base_url]
        if isinstance(ready, TwinwardError):
            raise ready
        return client.send(ready)

    return _sent([client.base_url for client in clients], _each(clients, send), question)


@dataclass(frozen=True, slots=True)
class Counts:
    """Several hospitals' counts, and their sum where they answered: its interval is narrower than theirs together."""

    counts: dict[str, Count]
    failures: tuple[Failure, ...]

    @property
    def noisy(self) -> int:
        """The sum, with its noise."""
        return summed(list(self.counts.values()))[0]

    @property
    def half_width(self) -> int:
        """With 95 % probability the sum is off by no more."""
        return summed(list(self.counts.values()))[1]

    @property
    def low(self) -> int:
        """The interval's lower end."""
        return max(0, self.noisy - self.half_width)

    @property
    def high(self) -> int:
        """The interval's upper end."""
        return max(0, self.noisy + self.half_width)


def prepare_counts(
    clients: Sequence[VendorClient], criteria: Criteria, epsilon: float | None = None
) -> dict[str, PreparedCount | TwinwardError]:
    """Encrypt criteria for each hospital, nothing of them leaves. What failed stands in its place."""
    made = _each(clients, lambda one: one.prepare_count(criteria, epsilon=epsilon))
    return dict(zip([client.base_url for client in clients], made, strict=True))


def send_counts(clients: Sequence[VendorClient], prepared: dict[str, PreparedCount | TwinwardError]) -> Counts:
    """Send what ``prepare_counts`` made.

    Raises:
        TwinwardError: every single hospital failed: the first one's error.
    """

    def send(client: VendorClient) -> Count:
        ready = prepared[client.base_url]
        if isinstance(ready, TwinwardError):
            raise ready
        return client.send_count(ready)

    names, outcomes = [client.base_url for client in clients], _each(clients, send)
    failures = tuple(Failure(n, one) for n, one in zip(names, outcomes, strict=True) if isinstance(one, TwinwardError))
    if len(failures) == len(names):
        raise failures[0].error
    return Counts({n: one for n, one in zip(names, outcomes, strict=True) if isinstance(one, Count)}, failures)


def count_hospitals(
    clients: Sequence[VendorClient], criteria: Criteria | Mapping[str, Any], *, epsilon: float | None = None
) -> Counts:
    """Count at several hospitals, side by side: each is charged, and one that does not answer is named.

    Raises as ``send_counts``; ``BadInput``: no hospital, one twice, or criteria that make no sense.
    """
    chosen = criteria if isinstance(criteria, Criteria) else Criteria.of(dict(criteria))
    return send_counts(clients, prepare_counts(clients, chosen, epsilon))


async def ask_hospitals_async(clients: Sequence[AsyncVendorClient], question: Question) -> Answers:
    """``ask_hospitals``, with await."""
    _require_different([client.base_url for client in clients])

    async def one(client: AsyncVendorClient) -> Matches | TwinwardError:
        try:
            return await client.ask(question)
        except TwinwardError as error:
            return error

    outcomes = await asyncio.gather(*(one(client) for client in clients))
    return _sent([client.base_url for client in clients], outcomes, question)


def _each(clients: Sequence[VendorClient], do: Callable[[VendorClient], Made]) -> list[Made | TwinwardError]:
    _require_different([client.base_url for client in clients])

    def outcome(client: VendorClient) -> Made | TwinwardError:
        try:
            return do(client)
        except TwinwardError as error:
            return error

    with ThreadPoolExecutor(max_workers=min(len(clients), MAX_AT_ONCE), thread_name_prefix="hospital") as pool:
        return list(pool.map(outcome, clients))


def _require_different(names: Sequence[str]) -> None:
    if not names or len(set(names)) != len(names):
        raise BadInput("at least one hospital is asked, and each once")


def _sent(names: Sequence[str], outcomes: Sequence[Matches | TwinwardError], question: Question) -> Answers:
    failures = tuple(Failure(n, one) for n, one in zip(names, outcomes, strict=True) if isinstance(one, TwinwardError))
    if len(failures) == len(names):
        raise failures[0].error
    matches = {name: one for name, one in zip(names, outcomes, strict=True) if isinstance(one, Matches)}
    return Answers(matches, failures, _merged(matches, question.nearest))


def _merged(matches: dict[str, Matches], nearest: int | None) -> tuple[Found, ...]:
    known = all(len(one.distances) == len(one.handles) for one in matches.values())
    found = [
        Found(hospital, handle, one.distances[place] if known else None)
        for hospital, one in matches.items()
        for place, handle in enumerate(one.handles)
    ]
    if not known:
        return tuple(found)
    found.sort(key=lambda one: (one.distance or 0, one.hospital, one.handle))
    if nearest is not None and nearest < len(found):
        last = found[nearest - 1].distance or 0
        found = [one for one in found if (one.distance or 0) <= last]
    return tuple(found)
