"""Several hospitals at once: one question to all, what each answered, who did not answer and why."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from twinward.client.asynchronous import AsyncVendorClient
from twinward.client.question import Question
from twinward.client.results import Matches, Prepared
from twinward.client.vendor import VendorClient
from twinward.core.errors import BadInput, TwinwardError

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
