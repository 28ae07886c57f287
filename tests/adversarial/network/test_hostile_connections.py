"""What a client may do to a connection: slowly, twice over, a hundred times at once, and never a traceback."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import pytest

from twinward.cli.connections import Bounds, LoopFaults
from twinward.cli.server import listen, server_of

QUICK = Bounds(connections=6, head_s=0.3, idle_s=1, answer_s=0.5, linger_s=0.3)
OK = b"HTTP/1.1 200 OK"
GET = b"GET / HTTP/1.1\r\nHost: node\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n"


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """``/``: ok. ``/read``: once the body came whole. ``/unread``: at once, whatever comes. ``/big``: for ever."""
    if scope["path"] == "/read":
        while (await receive()).get("more_body", False):
            pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    if scope["path"] == "/wait":
        while (await receive())["type"] != "http.disconnect":
            pass
    await send({"type": "http.response.body", "body": b"ok"})


async def endless(_scope: dict[str, Any], _receive: Any, send: Any) -> None:
    """An answer without an end."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    ended.clear()
    try:
        for _ in range(10_000):
            await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
    finally:
        ended.set()


ended = threading.Event()


@contextmanager
def served(application: Any = app, bounds: Bounds = QUICK) -> Iterator[int]:
    listener = listen("127.0.0.1", 0)
    server = server_of(application, bounds=bounds)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    yield int(listener.getsockname()[1])
    server.should_exit = True
    thread.join(10)
    listener.close()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with served() as number:
        yield number


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def said(client: socket.socket) -> bytes:
    """All until the server closes."""
    found = b""
    while piece := client.recv(65536):
        found += piece
    return found


def asked(port: int, *pieces: bytes) -> bytes:
    with connected(port) as client:
        for piece in pieces:
            client.sendall(piece)
        return said(client)


@pytest.mark.parametrize("half", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: node\r\n"])
def test_a_head_that_does_not_end_is_held_for_a_moment_only(port: int, half: bytes) -> None:
    answer = asked(port, half)
    assert answer.startswith(b"HTTP/1.1 408 ") or not answer
    assert asked(port, half, LAST[len(half) :]).startswith(OK)


def test_a_head_that_drips_is_no_longer_held_for_it(port: int) -> None:
    began = time.monotonic()
    with connected(port) as client, suppress(OSError):  # a reset or a broken pipe
        for letter in b"GET / HTTP/1.1\r\nX-Drip: " + b"x" * 2000:
            client.sendall(bytes([letter]))
            time.sleep(0.02)
    assert time.monotonic() - began < 20, "it was held until the head's end"


def test_the_second_request_of_a_connection_has_no_more_time(port: int) -> None:
    assert asked(port, GET, GET[:20]).count(OK) == 1


@pytest.mark.parametrize(
    "head",
    [
        b"POST /read HTTP/1.1\r\nHost: node\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /read HTTP/1.1\r\nHost: node\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n",
        b"POST /read HTTP/1.1\r\nHost: node\r\ntransfer-encoding:chunked\r\ncontent-length:4\r\n\r\n",
        b"POST /read HTTP/1.1\r\nHost: node\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n",
        b"POST /read HTTP/1.1\r\nHost: node\r\nContent-Length: 4, 5\r\n\r\n",
        b"POST /read HTTP/1.1\r\nHost: node\r\nContent-Length: +4\r\n\r\n",
        b"POST /read HTTP/1.1\r\nHost: node\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
        b"POST /read HTTP/1.1\r\nHost: node\r\nTransfer-Encoding : chunked\r\n\r\n",
        b"POST /read HTTP/1.0\r\nHost: node\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: node\r\nHost: other\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=range(11),
)
def test_a_request_that_two_readers_could_read_differently_ends_the_connection(port: int, head: bytes) -> None:
    answer = asked(port, head, b"4\r\nabcd\r\n0\r\n\r\n", GET)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.split(b" ")[1] in (b"400", b"501")
    assert b"connection: close" in answer.lower()


def test_a_body_of_tiny_chunks_is_refused(port: int) -> None:
    head = b"POST /read HTTP/1.1\r\nHost: node\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    fair = b"40\r\n" + b"x" * 64 + b"\r\n"
    assert asked(port, head, fair * 6000, b"0\r\n\r\n").startswith(OK)
    assert asked(port, head, b"1\r\nx\r\n" * 6000, b"0\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def test_an_answered_request_whose_body_never_comes_holds_nothing(port: int) -> None:
    head = b"POST /unread HTTP/1.1\r\nHost: node\r\nContent-Length: 1000\r\n\r\nx"
    assert asked(port, head).count(OK) == 1


@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n"])
def test_who_still_sends_is_told_that_nothing_more_is_answered_and_reads_it(port: int, more: bytes) -> None:
    """A close with bytes unread is a reset, after which a client may not read what it was told before."""
    with connected(port) as client:
        client.sendall(b"POST /unread HTTP/1.1\r\nHost: node\r\nContent-Length: 1000000\r\n" + more + b"\r\n")
        for _ in range(20):
            client.sendall(bytes(20_000))
            time.sleep(0.005)
        answer = said(client)
    assert answer.startswith(OK)
    assert answer.endswith(b"ok")
    assert answer.lower().count(b"\r\nconnection: close\r\n") == 1


def test_a_client_that_keeps_its_connections_asks_on_another(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10, trust_env=False) as client:
        for _ in range(30):
            assert client.post("/unread", content=bytes(200_000)).headers["connection"] == "close"
            assert client.get("/").text == "ok"


def test_a_body_that_came_whole_keeps_the_connection(port: int) -> None:
    request = b"POST /unread HTTP/1.1\r\nHost: node\r\nContent-Length: 1\r\n\r\nx"
    with connected(port) as client:
        for _ in range(3):
            client.sendall(request)
            answer = client.recv(4096)
            while not answer.endswith(b"ok"):
                answer += client.recv(4096)
            assert answer.startswith(OK)


def test_an_answer_that_nobody_reads_is_dropped() -> None:
    with served(endless) as port, connected(port) as client:
        client.sendall(GET)
        assert client.recv(10)
        assert ended.wait(10)


def test_who_asks_nothing_makes_room_for_who_asks(port: int) -> None:
    idle = [connected(port) for _ in range(20)]
    assert asked(port, LAST).startswith(OK)
    for one in idle:
        one.close()


def test_where_all_are_at_work_the_newest_is_told_so() -> None:
    with served(bounds=Bounds(connections=4, head_s=5, linger_s=0.3)) as port:
        busy = [connected(port) for _ in range(4)]
        for one in busy:
            one.sendall(GET.replace(b"/", b"/wait", 1))
            assert one.recv(4096).startswith(OK)
        assert asked(port).startswith(b"HTTP/1.1 503 ")
        for one in busy:
            one.close()


def test_no_more_connections_than_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (200, 200))
    few = Bounds().fitting()
    assert few.connections + few.accepted_at_once < 200 - 64
    monkeypatch.setattr("resource.getrlimit", lambda _: (10, 10))
    assert Bounds().fitting().connections >= 1
    monkeypatch.setattr("resource.getrlimit", lambda _: (65536, 65536))
    assert Bounds().fitting() == Bounds()


def test_a_fault_of_the_loop_is_a_line_a_minute_and_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    faults = LoopFaults(lambda: now)
    for _ in range(1000):
        faults(None, {"message": "Jane Doe", "exception": OSError(errno.EMFILE, "Jane Doe")})  # type: ignore[arg-type]
        faults(None, {"message": "Jane Doe", "exception": ValueError("Jane Doe")})  # type: ignore[arg-type]
    logged = capsys.readouterr().out
    assert (logged.count("out_of_descriptors"), logged.count("defect")) == (1, 1)
    assert "Jane" not in logged
    now = 61.0
    faults(None, {"exception": OSError(errno.EMFILE, "")})  # type: ignore[arg-type]
    assert capsys.readouterr().out.count("out_of_descriptors") == 1
