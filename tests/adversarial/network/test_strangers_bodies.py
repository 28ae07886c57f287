"""No stranger has a body read; whoever may send one sends it within bounds, and no JSON freezes the node."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import zstandard
from fastapi.testclient import TestClient

from tests.integration.api.test_every_route import PUBLIC, filled, operations, require_shape
from tests.integration.console.fixtures import PASSWORD, House, build
from twinward.api.app import create_app
from twinward.api.http import guard
from twinward.console import mount
from twinward.console.sessions import SESSION_COOKIE

FHIR = "application/fhir+json"
FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    built = build(tmp_path_factory.mktemp("network") / "home", patients=1)
    yield built
    built.node.close()


@pytest.fixture(scope="module")
def web(house: House) -> Iterator[TestClient]:
    app = create_app(house.node)
    mount(app, house.node)
    with TestClient(app, raise_server_exceptions=False, follow_redirects=False) as client:
        yield client


class Sender:
    """A request by hand: how often the node asked for more of its body, and what it answered."""

    def __init__(self, method: str, path: str, token: str = "", media: str = "application/json", **header: str) -> None:
        self.asked = 0
        self.status = 0
        self.said = b""
        self.headers: dict[str, str] = {}
        headers = {"host": "node", "content-type": media, "authorization": f"Bearer {token}"} | header
        self.scope = {
            **{"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "root_path": ""},
            **{"method": method, "path": path.partition("?")[0], "raw_path": path.encode(), "query_string": b""},
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            **{"client": ("203.0.113.9", 5), "server": ("node", 80)},
        }

    async def receive(self) -> dict[str, Any]:
        self.asked += 1
        return {"type": "http.request", "body": b"[" * 1000, "more_body": True}

    async def send(self, message: dict[str, Any]) -> None:
        self.status = message.get("status", self.status)
        self.said += message.get("body", b"")
        self.headers |= {name.decode(): value.decode() for name, value in message.get("headers", ())}

    def run(self, app: Any) -> Sender:
        asyncio.run(app(self.scope, self.receive, self.send))
        return self


class Slow(Sender):
    """Sends a little, and keeps the node waiting for the rest."""

    async def receive(self) -> dict[str, Any]:
        if self.asked:
            await asyncio.sleep(30)
        return await super().receive()


def test_no_route_reads_a_byte_of_a_stranger(web: TestClient, house: House) -> None:
    routes = set(operations(web.get("/openapi.json").json())) - PUBLIC
    for method, path in sorted(routes):
        for token in ("", "twk_dr-lee_wrong"):
            sent = Sender(method, filled(path, house), token).run(web.app)
            assert (sent.status, sent.asked) == (401, 0), (method, path)


@pytest.mark.parametrize("path", ["/console/sign-in", "/console/account/password", "/console/sign-out"])
@pytest.mark.parametrize("media", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_a_form_of_a_stranger_is_a_small_one(web: TestClient, path: str, media: str) -> None:
    sent = Sender("POST", path, media=media).run(web.app)
    assert sent.status in (400, 413)  # at the bound, or where it is no such form
    assert sent.asked <= guard.USUAL_BYTES // 1000 + 1


def test_a_declared_length_is_believed_before_a_byte_is_read(web: TestClient, house: House) -> None:
    for path, media, who in (("/fhir/Patient", FHIR, "clinician"), ("/api/1/similarity/gated", FHIR[:0], "vendor")):
        sent = Sender("POST", path, house.tokens[who], media or "application/json", **{"content-length": str(1 << 40)})
        assert (sent.run(web.app).status, sent.asked) == (413, 0)


BOUNDS = pytest.mark.parametrize(
    ("who", "method", "path", "media", "most"),
    [
        ("officer", "PUT", "/api/1/twins/{twin}/consent", "application/json", 64),
        ("officer", "POST", "/api/1/accounts/acme/tokens", "application/json", 64),
        ("officer", "POST", "/api/1/emergencies/0000000000000000/review", "application/json", 64),
        ("vendor", "POST", "/api/1/similarity/matrix/search", "application/json", 64),
        ("vendor", "POST", "/api/1/similarity/records", "application/json", 64),
        ("clinician", "POST", "/fhir/Patient/_search", "application/x-www-form-urlencoded", 64),
        ("clinician", "POST", "/fhir/Patient", FHIR, 16 * 1024),
        ("clinician", "POST", "/fhir", FHIR, 16 * 1024),
    ],
)
"""What a route takes, in KiB."""


@BOUNDS
def test_each_route_reads_as_much_as_it_takes(
    web: TestClient, house: House, who: str, method: str, path: str, media: str, most: int
) -> None:
    sent = Sender(method, path.format(twin=house.twins[0]), house.tokens[who], media).run(web.app)
    assert sent.status == 413
    assert sent.asked <= most * 1024 // 1000 + 2


@BOUNDS
def test_a_bomb_is_refused_at_each_routes_bound(
    web: TestClient, house: House, who: str, method: str, path: str, media: str, most: int
) -> None:
    headers = {"authorization": f"Bearer {house.tokens[who]}", "content-type": media}
    for coding, pack in (("gzip", gzip.compress), ("zstd", zstandard.compress)):
        bomb = pack(b" " * (most * 1024 + 1))
        assert len(bomb) < most * 32
        where, packed = path.format(twin=house.twins[0]), headers | {"content-encoding": coding}
        answer = web.request(method, where, content=bomb, headers=packed)
        assert answer.status_code == 413, coding
        require_shape(answer)
        stranger = web.request(method, where, content=bomb, headers=packed | {"authorization": "Bearer twk_x_y"})
        assert stranger.status_code == 401
        for damaged in (bomb[:-1], b"{}"):
            assert web.request(method, where, content=damaged, headers=packed).status_code in (400, 413)


def test_a_refusal_for_its_size_has_the_shape_of_any(web: TestClient, house: House) -> None:
    headers = {"authorization": f"Bearer {house.tokens['clinician']}", "content-type": FHIR}
    for path in ("/fhir", "/fhir/Patient"):
        answer = web.post(path, content=b"x" * (17 << 20), headers=headers)
        assert answer.status_code == 413
        assert answer.json()["issue"][0]["code"] == "too-long"
    headers["authorization"] = f"Bearer {house.tokens['officer']}"
    answer = web.put(f"/api/1/twins/{house.twins[0]}/consent", content=b" " * 70_000, headers=headers)
    assert answer.json()["error"]["kind"] == "TooLarge"
    require_shape(answer)


def test_a_sender_that_keeps_the_node_waiting_is_told_so(
    web: TestClient, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "FIRST_S", 0.05)

    assert Slow("POST", "/fhir/Patient", house.tokens["clinician"], FHIR).run(web.app).status == 408


@pytest.mark.parametrize("path", ["/console/sign-in", "/console/account/password"])
def test_a_form_that_is_not_read_to_its_end_is_answered_with_a_page(
    web: TestClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def page(sent: Sender, status: int, *words: str) -> None:
        sent.run(web.app)
        assert (sent.status, sent.headers["content-type"]) == (status, "text/html; charset=utf-8")
        said = sent.said.decode()
        assert all(word in said for word in ("<html", *words)), said

    page(Sender("POST", path, media=FORM), 413, "larger than can be taken", "enter less")
    page(Sender("POST", path, media=FORM, **{"content-length": "9" * 30}), 413)
    page(Sender("POST", path, media=FORM, **{"content-encoding": "br"}), 415)
    page(Sender("POST", path, media="multipart/form-data"), 400, "change what you entered")
    monkeypatch.setattr(guard, "FIRST_S", 0.05)
    slow = Slow("POST", path, media=FORM)
    page(slow, 408, "too slowly", "send it again")
    assert slow.headers["connection"] == "close"


class Holding(Sender):
    """Sends nearly as much as a message may have, then keeps the node waiting until it hangs up."""

    gone: asyncio.Event

    async def receive(self) -> dict[str, Any]:
        self.asked += 1
        if self.asked <= 15:
            return {"type": "http.request", "body": b" " * (4 << 20), "more_body": True}
        await self.gone.wait()
        return {"type": "http.disconnect"}


def test_one_account_fills_no_memory_and_stands_in_nobodys_way(web: TestClient, house: House) -> None:
    def sender(who: str, path: str, media: str = "application/json") -> Holding:
        made = Holding("POST", path, house.tokens[who], media)
        made.gone = asyncio.Event()
        return made

    async def attack() -> tuple[list[int], int, int]:
        hogs = [sender("vendor", "/api/1/similarity/gated") for _ in range(8)]
        tasks = [asyncio.create_task(web.app(one.scope, one.receive, one.send)) for one in hogs]
        while sum(task.done() for task in tasks) < 6:
            await asyncio.sleep(0.01)
        other = sender("clinician", "/fhir/Patient", FHIR)
        await web.app(other.scope, other.receive, other.send)
        for one in hogs:
            one.gone.set()
        await asyncio.gather(*tasks)
        again = sender("vendor", "/api/1/similarity/matrix")
        again.gone.set()
        await web.app(again.scope, again.receive, again.send)
        return sorted(one.status for one in hogs), other.status, again.status

    statuses, other, again = asyncio.run(asyncio.wait_for(attack(), 60))
    assert statuses == [0, 0] + [503] * 6  # two hung up before they were answered
    assert other == 413  # more than a resource may have, not more than there is room for
    assert again != 503


@pytest.mark.parametrize("by", ["token", "session"])
def test_one_account_leaves_threads_to_others(house: House, by: str) -> None:
    app, opened, begun = create_app(house.node), threading.Event(), threading.Semaphore(0)
    mount(app, house.node)

    @app.get("/slow")
    def slow() -> str:
        begun.release()
        assert opened.wait(60)
        return "slow"

    session = house.node.sign_ins.by_password("officer", PASSWORD)
    ways = {
        "token": ({"authorization": f"Bearer {house.tokens['clinician']}"}, "/fhir/Patient?_count=1"),
        "session": ({"cookie": f"{SESSION_COOKIE}={session}"}, "/console/accesses"),
    }
    (own, known), (others, read) = ways.pop(by), next(iter(ways.values()))

    async def attack() -> set[int]:
        transport = httpx.ASGITransport(app, client=("203.0.113.9", 5))
        async with httpx.AsyncClient(transport=transport, base_url="http://node", timeout=60) as client:
            assert (await client.get(known, headers=own)).status_code == 200
            many = [asyncio.create_task(client.get("/slow", headers=own)) for _ in range(60)]
            while not begun.acquire(blocking=False):
                await asyncio.sleep(0.01)
            for path, headers in (("/ready", {}), (read, others), ("/console/sign-in", {})):
                assert (await asyncio.wait_for(client.get(path, headers=headers), 30)).status_code == 200
            assert not any(one.done() for one in many)
            opened.set()
            return {one.status_code for one in await asyncio.gather(*many)}

    try:
        assert asyncio.run(attack()) == {200}
    finally:
        opened.set()


def test_a_client_that_hangs_up_is_no_defect(web: TestClient, house: House, capsys: pytest.CaptureFixture[str]) -> None:
    class Gone(Sender):
        async def receive(self) -> dict[str, Any]:
            return {"type": "http.disconnect"} if self.asked else await super().receive()

    ways = [("clinician", "/fhir/Patient", FHIR), ("vendor", "/api/1/similarity/gated", "application/json")]
    ways += [("clinician", "/fhir/$import", "application/fhir+ndjson"), ("", "/console/sign-in", FORM)]
    for who, path, media in ways:
        Gone("POST", path, house.tokens.get(who, ""), media).run(web.app)
    logged = capsys.readouterr().out
    assert "defect" not in logged
    assert logged.count("status=499") == len(ways)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/fhir/Observation", b'{"resourceType":"Observation","extension":[' + b"[]," * 5_000_000 + b"[]]}"),
        ("/fhir/Observation", b'{"resourceType":"Observation","extension":[' + b"{}," * 40_000 + b"{}]}"),
        ("/fhir/Observation", b'{"resourceType":"Observation","note":[' + b"1," * 200_000 + b"1]}"),
        ("/fhir", b'{"resourceType":"Bundle","type":"batch","entry":[' + b"0," * 5_000_000 + b"0]}"),
        ("/fhir", b'{"resourceType":"Bundle","type":"transaction","entry":[' + b"0," * 5_000_000 + b"0]}"),
    ],
    ids=["lists", "objects", "numbers", "batch", "transaction"],
)
def test_cheap_bytes_do_not_become_dear_values(web: TestClient, house: House, path: str, content: bytes) -> None:
    headers = {"authorization": f"Bearer {house.tokens['clinician']}", "content-type": FHIR}
    answer = web.post(path, content=content, headers=headers)
    assert answer.status_code == 400
    assert len(answer.json()["issue"]) <= 20


QUOTES = b'\\"' * 30_000
LINK = "http://a" + "/Ab/c/_history/" * 6_000 + " "
MARKS = "e" + "\u0301" * 20_000 + "\u0316" * 20_000


def about(patient: str, **more: Any) -> bytes:
    body = {"resourceType": "Observation", "status": "final", "code": {"text": "weight"}}
    return json.dumps(body | {"subject": {"reference": f"Patient/{patient}"}} | more).encode()


@pytest.mark.parametrize(
    ("who", "path", "content", "status"),
    [
        ("vendor", "/fhir/Patient", b'{"resourceType":"Patient","id":"' + QUOTES, 403),
        ("vendor", "/fhir/Patient", b'{"resourceType":"Patient","x":[' + b"," * 800_001 + b'"' + QUOTES, 400),
        ("vendor", "/fhir", b'{"resourceType":"Bundle","type":"batch","x":[' + b"," * 800_001 + b'"' + QUOTES, 400),
        ("vendor", "/fhir/Observation", about(LINK), 403),
        ("vendor", "/fhir/Observation", about("p", focus=[{"reference": LINK}]), 403),
        ("clinician", "/fhir/Observation", about("p", note=[{"text": MARKS}]), 404),
        ("clinician", "/fhir/Observation", about("p", note=[{"text": MARKS.replace("\u0316", "\u0f73")}]), 404),
        ("clinician", "/fhir/Observation", about("p", note=[{"text": "\uff9e\u0301" * 20_000}]), 404),
    ],
    ids=["string", "values", "batch", "subject", "reference", "text", "hidden marks", "kana"],
)
def test_no_body_takes_time_by_its_square(
    web: TestClient, house: House, who: str, path: str, content: bytes, status: int
) -> None:
    """Patterns and normal forms hold Python's lock while they work: whoever makes them slow stops everybody."""
    headers = {"authorization": f"Bearer {house.tokens[who]}", "content-type": FHIR}
    began = time.process_time()
    answer = web.post(path, content=content, headers=headers)
    assert time.process_time() - began < 0.6
    assert answer.status_code == status


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 5_000_000,
        b'{"epoch":1,"threshold_squared":1,"bundle":[' + b"[]," * 5_000_000 + b"[]]}",
        b'{"epoch":NaN,"threshold_squared":1,"bundle":"AAAA"}',
        b'{"epoch":' + b"9" * 4000 + b"}",
        json.dumps({"epoch": 1, "threshold_squared": 1, "bundle": "AAAA", "more": [[]] * 5000}).encode(),
    ],
    ids=["deep", "wide", "NaN", "digits", "members"],
)
def test_a_vendors_message_is_counted_before_it_is_built(web: TestClient, house: House, content: bytes) -> None:
    headers = {"authorization": f"Bearer {house.tokens['vendor']}", "content-type": "application/json"}
    answer = web.post("/api/1/similarity/gated", content=content, headers=headers)
    assert answer.status_code == 400
    require_shape(answer)


def test_a_large_file_of_an_operator_is_not_a_request() -> None:
    from twinward.fhir.errors import InvalidResource
    from twinward.fhir.json.strict_json import REQUEST_LIMITS, decode

    wide = b'{"text":"' + b",[{" * 1000 + b'","x":[' + b"1," * 900_000 + b"1]}"
    assert len(decode(wide)["x"]) == 900_001
    with pytest.raises(InvalidResource, match="800000 values"):
        decode(wide, limits=REQUEST_LIMITS)
    assert decode(b'{"text":"' + b",[{" * 1_000_000 + b'"}', limits=REQUEST_LIMITS)
