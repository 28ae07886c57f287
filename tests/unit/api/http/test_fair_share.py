"""Threads are shared: whoever sends much at once leaves places to others, waits without one, and is told in time."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from threading import Event
from typing import Any

import anyio.to_thread
import httpx
import pytest
from fastapi import FastAPI, Request
from hypothesis import given
from hypothesis import strategies as st

from twinward.api.http import fair_share, problems
from twinward.api.http.fair_share import GREED, THREADS, FairShare, FullError, Places, TooManyError, asked_by

AT_ONCE = 2 * THREADS


def served(scenario: Callable[[httpx.AsyncClient], Awaitable[None]], **options: Any) -> Counter[str]:
    """Run a scenario against an app that knows accounts by their token; returns how many each had under way at most."""
    app, under_way, most, opened = FastAPI(), Counter[str](), Counter[str](), Event()
    app.state.opened = opened

    @app.get("/slow")
    def slow(request: Request) -> str:
        account = request.headers.get("authorization", "")
        under_way[account] += 1
        most[account] = max(most[account], under_way[account])
        assert opened.wait(30)
        under_way[account] -= 1
        return account

    @app.get("/quick")
    def quick(request: Request) -> str:
        if account := request.headers.get("authorization", ""):
            asked_by(request, account)
        return "quick"

    app.add_middleware(FairShare, **options)

    async def run() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://node", timeout=60) as client:
            client.headers["x-test"] = "1"
            try:
                await scenario(client)
            finally:
                opened.set()

    asyncio.run(run())
    return most


def by(account: str) -> dict[str, str]:
    return {"authorization": account}


async def known(client: httpx.AsyncClient, *accounts: str) -> None:
    for account in accounts:
        assert (await client.get("/quick", headers=by(account))).json() == "quick"


def opened_by(client: httpx.AsyncClient) -> Event:
    transport: Any = client._transport
    app = transport.app
    found: Event = app.state.opened
    return found


def test_there_are_as_many_places_as_threads() -> None:
    async def tokens() -> float:
        return anyio.to_thread.current_default_thread_limiter().total_tokens

    assert asyncio.run(tokens()) == THREADS


def test_another_account_is_answered_while_one_waits_for_all_it_asked() -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        await known(client, "greedy")
        many = [asyncio.create_task(client.get("/slow", headers=by("greedy"))) for _ in range(AT_ONCE)]
        await asyncio.sleep(0.3)
        for other in ("another", "a third", ""):  # known, unknown and a stranger alike
            assert (await asyncio.wait_for(client.get("/quick", headers=by(other)), 20)).status_code == 200
        assert not any(one.done() for one in many)
        opened_by(client).set()
        assert {one.status_code for one in await asyncio.gather(*many)} == {200}

    assert served(scenario)["greedy"] == THREADS * GREED // (GREED + 1)


def test_two_that_send_all_they_can_leave_places_to_a_third() -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        await known(client, "a", "b")
        many = []
        for account in ("a", "b"):
            many += [asyncio.create_task(client.get("/slow", headers=by(account))) for _ in range(AT_ONCE)]
        await asyncio.sleep(0.3)
        assert (await asyncio.wait_for(client.get("/quick", headers=by("third")), 20)).status_code == 200
        opened_by(client).set()
        assert {one.status_code for one in await asyncio.gather(*many)} == {200}

    served(scenario)


def test_strangers_of_one_network_are_one_sender() -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        await known(client, "known")
        many = [asyncio.create_task(client.get("/slow", headers=by(f"made up {n}"))) for n in range(AT_ONCE)]
        await asyncio.sleep(0.3)
        assert (await asyncio.wait_for(client.get("/quick", headers=by("known")), 20)).status_code == 200
        opened_by(client).set()
        await asyncio.gather(*many)

    assert sum(served(scenario).values()) <= AT_ONCE


@pytest.mark.parametrize(
    "beside",
    [
        lambda n: [("authorization", "Bearer greedy"), ("cookie", f"theme=dark; n={n}")],
        lambda n: [("authorization", "Bearer greedy"), ("authorization", f"Bearer {n}")],
        lambda n: [("authorization", f"bearer{' ' * n} greedy ")],
        lambda n: [("authorization", "Bearer greedy"), ("cookie", f"twinward_session={n}")],
        lambda n: [("authorization", f"Bearer {n}"), ("cookie", f"n={n}; __Host-twinward_session=greedy")],
    ],
)
def test_words_beside_its_token_or_session_make_an_account_nobody_new(
    beside: Callable[[int], list[tuple[str, str]]],
) -> None:
    """Its requests would count as its network's, and leave nothing to whoever else comes from there."""

    async def scenario(client: httpx.AsyncClient) -> None:
        session = {"cookie": "__Host-twinward_session=greedy"}
        for good in (by("Bearer greedy"), by("any") | session):
            await client.get("/quick", headers=good)
        many = [asyncio.create_task(client.get("/slow", headers=beside(n))) for n in range(AT_ONCE)]
        await asyncio.sleep(0.3)
        assert (await asyncio.wait_for(client.get("/quick"), 10)).status_code == 200
        opened_by(client).set()
        await asyncio.gather(*many)

    served(scenario)


def test_words_beside_a_good_token_have_no_other_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_share, "_REMEMBERED", 4)

    async def scenario(client: httpx.AsyncClient) -> None:
        await known(client, "kept", "greedy")
        for number in range(8):
            await client.get("/quick", headers=by("greedy") | {"cookie": f"n={number}; twinward_session={number}"})
        many = [asyncio.create_task(client.get("/slow")) for _ in range(AT_ONCE)]  # all of their network's
        await asyncio.sleep(0.3)
        assert (await asyncio.wait_for(client.get("/quick", headers=by("kept")), 10)).status_code == 200
        opened_by(client).set()
        await asyncio.gather(*many)

    served(scenario)


def test_a_place_that_comes_at_the_moment_its_waiter_leaves_is_not_lost() -> None:
    """Another thread's loop gives it, after the one that leaves has seen that it has none."""

    class Interrupted:
        """A lock that somebody else has just had whenever it is taken once armed."""

        def __init__(self) -> None:
            self.first: Callable[[], None] | None = None
            self._lock = threading.Lock()

        def __enter__(self) -> None:
            first, self.first = self.first, None
            if first:
                first()
            self._lock.acquire()

        def __exit__(self, *_: object) -> None:
            self._lock.release()

    async def scenario() -> None:
        places, lock = Places(1), Interrupted()
        places._mutex = lock  # type: ignore[assignment]
        await places.take("a")
        leaving = asyncio.create_task(places.take("b"))
        await asyncio.sleep(0)
        lock.first = lambda: places.give_back("a")
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert (places.held("a"), places.held("b")) == (0, 0)
        await asyncio.wait_for(places.take("c"), 5)

    asyncio.run(scenario())


def test_who_waits_too_long_is_told_when_to_come_again() -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        await known(client, "greedy")
        many = [asyncio.create_task(client.get("/slow", headers=by("greedy"))) for _ in range(AT_ONCE)]
        async with asyncio.timeout(20):  # until nobody waits: a place that came free would be one more's
            while sum(one.done() for one in many) < AT_ONCE - 32:
                await asyncio.sleep(0.01)
        answer = next(one for one in many if one.done()).result()
        assert answer.status_code == 429
        assert answer.headers["retry-after"].isdigit()
        assert answer.headers["content-type"] == "application/problem+json"
        opened_by(client).set()
        said = Counter(one.status_code for one in await asyncio.gather(*many))
        assert said == {200: 32, 429: AT_ONCE - 32}
        assert (await client.get("/slow", headers=by("greedy"))).status_code == 200, "its places are its again"

    served(scenario, places=Places(THREADS, wait_s=0.2))


@pytest.mark.parametrize("waits_for_body", [False, True])
def test_fhirs_doors_say_it_in_fhirs_words(waits_for_body: bool) -> None:
    """Before a route is looked for, and once the place that a slow body gave back is another's."""

    async def scenario() -> None:
        app, places = FastAPI(), Places(1, wait_s=0)
        problems.install(app)
        app.add_middleware(FairShare, places=places)

        @app.post("/fhir/Patient")
        async def create(request: Request) -> None:
            await request.body()

        async def sent() -> AsyncIterator[bytes]:
            await places.take("another")
            yield b"{}"

        if not waits_for_body:
            await places.take("another")
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
            answer = await client.post("/fhir/Patient", content=sent() if waits_for_body else b"{}")
        assert answer.status_code == 429
        assert answer.headers["retry-after"].isdigit()
        assert answer.headers["content-type"] == "application/fhir+json"
        assert answer.json()["resourceType"] == "OperationOutcome"
        assert [one["code"] for one in answer.json()["issue"]] == ["throttled"]

    asyncio.run(scenario())


def test_one_that_goes_while_it_waits_takes_no_place_along() -> None:
    async def scenario() -> None:
        places = Places(5)
        for _ in range(4):
            await places.take("a")
        waiting = [asyncio.create_task(places.take("a")) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        places.give_back("a")  # called for the one that is gone, or the next: never lost
        waiting[1].cancel()
        with suppress(asyncio.CancelledError):
            await waiting[1]
        await asyncio.wait_for(waiting[2], 5)
        for _ in range(4):
            places.give_back("a")
        assert places.held("a") == 0
        for _ in range(4):
            await asyncio.wait_for(places.take("b"), 1)

    asyncio.run(scenario())


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=120), st.integers(2, 12))
def test_no_sender_has_more_than_its_share_and_no_place_is_lost(steps: list[tuple[str, bool]], count: int) -> None:
    async def scenario() -> None:
        places, held = Places(count, wait_s=0), Counter[str]()
        for sender, takes in steps:
            if takes:
                free = count - held.total()
                try:
                    await places.take(sender)
                except FullError:
                    assert held[sender] >= GREED * free
                else:
                    assert held[sender] < GREED * free
                    held[sender] += 1
            elif held[sender]:
                places.give_back(sender)
                held[sender] -= 1
            assert places.held(sender) == held[sender]

    asyncio.run(scenario())


def test_slow_bodies_from_everywhere_hold_no_place() -> None:
    read, places = [], Places(3)

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        read.append(await receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def scenario() -> None:
        shared, sent, answered = FairShare(app, places=places), asyncio.Event(), []

        async def slowly() -> dict[str, Any]:
            await sent.wait()
            return {"type": "http.request", "body": b"x", "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            answered.append(message["type"])

        def come(number: int) -> Awaitable[None]:
            scope = {"type": "http", "path": "/", "headers": [], "client": (f"10.0.0.{number}", 1)}
            return shared(scope, slowly, send)  # type: ignore[arg-type]

        coming = [asyncio.ensure_future(come(number)) for number in range(50)]
        await asyncio.sleep(0)
        await asyncio.wait_for(places.take("another"), 5)
        places.give_back("another")
        sent.set()
        await asyncio.gather(*coming)
        assert answered.count("http.response.start") == len(read) == 50
        await asyncio.wait_for(places.take("all"), 5)
        assert places.held("all") == 1

    asyncio.run(scenario())


def test_at_the_console_it_is_a_sentence() -> None:
    async def scenario() -> None:
        app, places = FastAPI(), Places(1, wait_s=0)
        app.add_middleware(FairShare, places=places)
        await places.take("another")
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://node") as client:
            answer = await client.get("/console/accesses")
        assert (answer.status_code, answer.headers["content-type"]) == (429, "text/plain; charset=utf-8")
        assert answer.text == f"{TooManyError().detail}\n"

    asyncio.run(scenario())


@pytest.mark.parametrize("fails", [RuntimeError, asyncio.CancelledError])
def test_a_place_comes_back_however_its_request_ends(fails: type[BaseException]) -> None:
    places = Places(1)

    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise fails

    async def scenario() -> None:
        shared = FairShare(app, places=places)
        for _ in range(3):
            with pytest.raises(fails):
                await shared({"type": "http", "path": "/", "headers": [], "client": ("10.0.0.1", 1)}, None, None)  # type: ignore[arg-type]

    asyncio.run(scenario())
    assert places.held("network 10.0.0.1") == 0
