"""Routes that are made when somebody comes: as if they had been there all along, made once, whole or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient
from starlette.responses import PlainTextResponse
from starlette.routing import Mount

from twinward.api import openapi
from twinward.api.http.doors import Door, Opening
from twinward.api.http.pipeline import Methods

BEDS = "/api/beds"
ASKED = [
    ("GET", BEDS),
    ("GET", f"{BEDS}/7"),
    ("POST", f"{BEDS}/7"),
    ("PUT", f"{BEDS}/7"),
    ("GET", f"{BEDS}/7/"),
    ("GET", f"{BEDS}/seven"),
    ("GET", f"{BEDS}/7/nothing"),
    ("GET", f"{BEDS}/files/a/b"),
    ("HEAD", f"{BEDS}/7"),
    ("OPTIONS", f"{BEDS}/7"),
    ("GET", f"{BEDS}side"),
    ("GET", "/api/other"),
    ("GET", "/"),
]


def add_beds(router: APIRouter) -> None:
    beds = APIRouter(prefix=BEDS, tags=["Beds"])

    @beds.get("")
    def every() -> list[int]:
        return [7]

    @beds.get("/{number}")
    def one(number: int) -> dict[str, int]:
        return {"number": number}

    @beds.post("/{number}", status_code=201)
    async def made(number: int) -> dict[str, int]:
        return {"made": number}

    router.include_router(beds)
    router.routes.append(Mount(f"{BEDS}/files", app=PlainTextResponse("a file")))


def app_with(add: Callable[[FastAPI], Any]) -> FastAPI:
    app = FastAPI()

    @app.get("/api/other")
    def other() -> str:
        return "other"

    add(app)
    openapi.complete(app)
    app.add_middleware(Methods)
    app.add_middleware(Opening)
    return app


def behind(fill: Callable[[APIRouter], None]) -> tuple[FastAPI, Door]:
    door = Door([BEDS], fill)
    return app_with(lambda app: app.router.routes.append(door)), door


def added(app: FastAPI) -> None:
    add_beds(app.router)


@pytest.mark.parametrize("asked", ASKED, ids=" ".join)
def test_what_is_behind_a_door_answers_as_if_there_was_none(asked: tuple[str, str]) -> None:
    app, _ = behind(add_beds)
    there, plain = TestClient(app), TestClient(app_with(added))
    for _ in range(2):  # the first opens it
        got, wanted = (client.request(*asked, follow_redirects=False) for client in (there, plain))
        assert (got.status_code, got.content, dict(got.headers)) == (
            wanted.status_code,
            wanted.content,
            dict(wanted.headers),
        )


def test_a_door_stays_closed_until_somebody_comes_to_it() -> None:
    app, door = behind(add_beds)
    client = TestClient(app)
    for path in ("/api/other", f"{BEDS}side", "/nothing"):
        client.get(path)
    assert not door.is_open
    client.get(f"{BEDS}/7")
    assert door.is_open


def test_many_who_come_at_once_open_it_once() -> None:
    calls = []
    together = Barrier(8)

    def fill(router: APIRouter) -> None:
        calls.append(router)
        add_beds(router)

    door = Door([BEDS], fill)

    def come(_: int) -> APIRouter:
        together.wait()
        return door.original_router

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(come, range(8)))
    assert calls == [found[0]]
    assert all(one is found[0] for one in found)


def test_what_could_not_be_made_whole_is_not_there_and_is_made_anew_by_the_next() -> None:
    faults = [RuntimeError("half way")]

    def fill(router: APIRouter) -> None:
        add_beds(router)
        if faults:
            raise faults.pop()

    app, door = behind(fill)
    client = TestClient(app, raise_server_exceptions=False)
    assert client.get(f"{BEDS}/7").status_code == 500
    assert not door.is_open
    assert client.get(f"{BEDS}/7").json() == {"number": 7}


def test_the_document_describes_what_nobody_came_to_yet() -> None:
    app, door = behind(add_beds)
    assert app.openapi() == app_with(added).openapi()
    assert door.is_open
    assert TestClient(app).get(f"{BEDS}/7").json() == {"number": 7}


@pytest.mark.parametrize("path", [f"{BEDS}/7", "/openapi.json"])
def test_others_are_served_while_many_wait_for_a_door(path: str) -> None:
    served, waited = Event(), []

    def fill(router: APIRouter) -> None:
        waited.append(served.wait(20))
        add_beds(router)

    app, _ = behind(fill)

    async def come() -> list[int]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://node") as client:
            coming = [asyncio.create_task(client.get(path)) for _ in range(60)]  # more than there are threads
            await asyncio.sleep(0.2)
            other = await client.get("/api/other")
            served.set()
            return [other.status_code, *(one.status_code for one in await asyncio.gather(*coming))]

    assert asyncio.run(come()) == [200] * 61
    assert waited == [True]
