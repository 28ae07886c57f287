"""What stands before every route, and how errors look from outside."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from twinward.api.http import problems
from twinward.api.http.guard import Guard, HeldBytes, read_body
from twinward.core.clock import FixedClock
from twinward.core.errors import Conflict, Refused
from twinward_crypto.errors import MalformedBundle, OpenError

SECRET = "Jane Doe, HbA1c 9.1"


@pytest.fixture
def client() -> Iterator[TestClient]:
    app = FastAPI()
    problems.install(app)
    app.add_middleware(Guard, clock=FixedClock(), most_body_bytes=1000)

    @app.get("/raise/{kind}")
    def fail(kind: str) -> None:
        raise {
            "conflict": Conflict("version 3 is newer", hint="read it again"),
            "refused": Refused("no"),
            "bundle": MalformedBundle("truncated"),
            "open": OpenError(),
            "defect": RuntimeError(SECRET),
        }[kind]

    @app.post("/echo")
    async def echo(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    @app.get("/number/{value}")
    def number(value: int) -> int:
        return value

    with TestClient(app, raise_server_exceptions=False) as test_client:
        yield test_client


@pytest.mark.parametrize(
    ("kind", "status", "message"),
    [
        ("conflict", 409, "version 3 is newer"),
        ("refused", 403, "no"),
        ("bundle", 400, "truncated"),
        ("open", 500, "the node could not answer; nothing was changed"),
        ("defect", 500, "the node could not answer; nothing was changed"),
    ],
)
def test_every_error_has_one_shape(client: TestClient, kind: str, status: int, message: str) -> None:
    answer = client.get(f"/raise/{kind}")
    assert answer.status_code == status
    assert answer.json()["error"]["message"] == message
    assert SECRET not in answer.text
    assert "Traceback" not in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert (answer.headers["cache-control"], answer.headers["x-content-type-options"]) == ("no-store", "nosniff")


def test_bad_input_is_named_and_never_echoed(client: TestClient) -> None:
    answer = client.get(f"/number/{SECRET}")
    assert answer.status_code == 400
    assert "value" in answer.json()["error"]["message"]
    assert SECRET not in answer.text


def test_unknown_paths_and_methods_keep_the_shape(client: TestClient) -> None:
    assert client.get("/nowhere").json()["error"]["kind"] == "HttpError"
    assert client.put("/echo").status_code == 405


def test_a_body_is_bounded_by_what_it_says_and_by_what_it_sends(client: TestClient) -> None:
    assert client.post("/echo", content=b"x" * 1000).json() == {"bytes": 1000}
    assert client.post("/echo", content=b"x" * 1001).status_code == 413

    def chunks() -> Iterator[bytes]:
        for _ in range(11):
            yield b"x" * 100

    assert client.post("/echo", content=chunks()).status_code == 413
    assert client.post("/echo", content=b"x", headers={"content-length": "-1"}).status_code in (400, 413)


def test_every_answer_carries_the_security_headers(client: TestClient) -> None:
    for path in ("/number/1", "/nowhere", "/raise/refused"):
        headers = client.get(path).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe-inline" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_the_request_log_has_the_route_and_nothing_that_was_asked(
    client: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    client.get("/number/424242?patient=Jane")
    client.get("/raise/defect")
    logged = capsys.readouterr().out
    assert "/number/{value}" in logged
    for planted in ("424242", "Jane", SECRET):
        assert planted not in logged


@pytest.mark.parametrize(
    ("room", "packed", "status"), [(2, True, 200), (2, False, 200), (1, True, 503), (0, False, 503)]
)
def test_large_bodies_are_counted_until_they_are_answered_and_before_they_are_unpacked(
    room: int, packed: bool, status: int
) -> None:
    held = HeldBytes(of_one=room << 20)
    app = FastAPI()
    problems.install(app)
    app.add_middleware(Guard, clock=FixedClock(), held=held)

    @app.post("/large")
    async def large(request: Request) -> dict[str, int]:
        return {"bytes": len(await read_body(request, 1 << 20)), "held": held.in_all}

    with TestClient(app) as client:
        body, coding = b"a" * 500_000, {"content-encoding": "gzip"}
        answer = client.post(
            "/large", content=gzip.compress(body) if packed else body, headers=coding if packed else {}
        )
        assert answer.status_code == status
        assert status == 503 or answer.json() == {"bytes": 500_000, "held": 500_000}
        assert held.in_all == 0
        assert client.post("/large", content=b"a" * 60_000).json() == {"bytes": 60_000, "held": 0}
