"""Subscriptions told over the event stream: a real node over TCP, and a second process of the same home beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.integration.console.fixtures import House, build
from tests.integration.fhir.subscribing import EXTENSION, observation, subscription, told
from twinward.demo.serving import served
from twinward.node import open_node

FHIR = "application/fhir+json"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    built = build(tmp_path_factory.mktemp("subscriptions") / "home", patients=1)
    yield built
    built.node.close()


@pytest.fixture(scope="module")
def webs(house: House) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """The same home served twice: what one is told, the other knows."""
    headers = {"authorization": f"Bearer {house.tokens['clinician']}", "content-type": FHIR}
    with (
        open_node(house.node.settings.home) as other,
        served(house.node) as url,
        served(other) as second,
        httpx.Client(base_url=f"{url}/fhir", headers=headers, timeout=20) as one,
        httpx.Client(base_url=f"{second}/fhir", headers=headers, timeout=20) as two,
    ):
        one.put("/Patient/p", content=json.dumps({"resourceType": "Patient", "id": "p"})).raise_for_status()
        yield one, two


class Stream:
    """A stream as any client reads it: (event, id, data)."""

    def __init__(self, response: httpx.Response) -> None:
        assert response.headers["content-type"].startswith("text/event-stream")
        self._lines = response.iter_lines()

    def next(self) -> tuple[str, str, Any]:
        said: dict[str, str] = {}
        for line in self._lines:
            name, _, value = line.partition(": ")
            if not line and "event" in said:
                return said["event"], said.get("id", ""), json.loads(said["data"])
            if name:
                said[name] = value
        raise AssertionError("the stream ended")


@contextmanager
def stream(web: httpx.Client, name: str, **headers: str) -> Iterator[Stream]:
    accept = {"accept": "text/event-stream"} | headers
    with web.stream("GET", f"/Subscription/{name}/$stream", headers=accept) as response:
        assert response.status_code == 200, response.read()
        yield Stream(response)


def made(web: httpx.Client, *said: str, **more: Any) -> str:
    answer = web.post("/Subscription", content=json.dumps(subscription(*said, **more)))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def put(web: httpx.Client, name: str, **more: Any) -> None:
    web.put(f"/Observation/{name}", content=json.dumps(observation(name, **more))).raise_for_status()


def test_a_stream_shakes_hands_tells_and_goes_on_where_it_stopped(webs: tuple[httpx.Client, httpx.Client]) -> None:
    web, other = webs
    name = made(web, "observation", "Observation?code=8867-4", content="full-resource")
    with stream(web, name) as told_here, stream(other, name) as told_there:
        for one in (told_here, told_there):
            event, number, data = one.next()
            assert (event, number, told(data)) == ("subscription-notification", "0", ("handshake", 0, []))
        put(other, "other", code="8480-6")
        put(other, "first")
        for one in (told_here, told_there):
            event, number, data = one.next()
            assert (event, number, told(data)) == (
                "subscription-notification",
                "1",
                ("event-notification", 1, [(1, "Observation/first")]),
            ), "both processes tell it, under one number"
            assert data["entry"][1]["resource"]["id"] == "first"
    put(web, "second")
    with stream(other, name, **{"last-event-id": "0"}) as again:
        again.next()
        found: list[tuple[int, str]] = []
        while len(found) < 2:
            found += told(again.next()[2])[2]
    assert found == [(1, "Observation/first"), (2, "Observation/second")]
    assert told(web.get(f"/Subscription/{name}/$events").json())[1:] == (2, found)


@pytest.mark.slow
def test_a_notification_has_so_many_events_and_silence_has_a_heart(webs: tuple[httpx.Client, httpx.Client]) -> None:
    web, _ = webs
    bounds = [
        {"url": EXTENSION + "max-count", "valuePositiveInt": 2},
        {"url": EXTENSION + "heartbeat-period", "valueUnsignedInt": 1},
        {"url": EXTENSION + "timeout", "valueUnsignedInt": 30},
    ]
    name = made(web, channel={"extension": bounds})
    with stream(web, name) as following:
        following.next()
        assert told(following.next()[2])[0] == "heartbeat"
    entries = [
        {"resource": observation(f"many{n}"), "request": {"method": "PUT", "url": f"Observation/many{n}"}}
        for n in range(5)
    ]
    body = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    web.post(str(web.base_url).rstrip("/"), content=json.dumps(body)).raise_for_status()
    sizes, numbers = [], []
    with stream(web, name) as following:
        following.next()
        while len(numbers) < 5:
            kind, count, events = told(following.next()[2])
            if kind == "event-notification":
                sizes.append(len(events))
                numbers += [number for number, _ in events]
                assert count == 5
    assert (sizes, numbers) == ([2, 2, 1], [1, 2, 3, 4, 5])


def test_a_stream_ends_with_its_subscription_in_every_process(webs: tuple[httpx.Client, httpx.Client]) -> None:
    web, other = webs
    name = made(web)
    with stream(other, name) as following:
        following.next()
        off = web.get(f"/Subscription/{name}").json() | {"status": "off"}
        web.put(f"/Subscription/{name}", content=json.dumps(off)).raise_for_status()
        event, _, data = following.next()
        assert (event, data["resourceType"], data["issue"][0]["code"]) == ("end", "OperationOutcome", "conflict")
    put(web, "unheard")
    web.put(f"/Subscription/{name}", content=json.dumps(off | {"status": "active"})).raise_for_status()
    with stream(other, name) as following:
        following.next()
        web.delete(f"/Subscription/{name}").raise_for_status()
        event, _, data = following.next()
        assert (event, data["issue"][0]["code"]) == ("end", "not-found")


def test_a_request_that_is_refused_begins_no_stream(webs: tuple[httpx.Client, httpx.Client], house: House) -> None:
    web, _ = webs
    headers = {"authorization": f"Bearer {house.tokens['vendor']}"}
    name = made(web)
    for path in (f"/Subscription/{name}/$stream", "/Subscription/$status"):
        assert web.get(path, headers=headers).status_code == 403
    assert web.get(f"/Subscription/{name}/$stream", headers={"last-event-id": "x"}).status_code == 400
    assert web.get(f"/Subscription/{name}/$stream?criteria=x").status_code == 400
