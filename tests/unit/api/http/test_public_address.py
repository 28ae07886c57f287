"""Under which address a node answers, and which address its links carry."""

from __future__ import annotations

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from twinward.api.http.guard import Guard
from twinward.api.http.pipeline import PublicAddress, is_loopback
from twinward.core.clock import FixedClock
from twinward.core.config import Settings
from twinward.core.errors import BadInput

PUBLIC = "https://twins.hospital.example"


def web(public_url: str = "", listens: str = "127.0.0.1") -> TestClient:
    app = FastAPI()
    app.add_middleware(PublicAddress, public_url=public_url, listens=listens)
    app.add_middleware(Guard, clock=FixedClock())

    @app.get("/link")
    def link(request: Request) -> str:
        return str(request.base_url)

    return TestClient(app, base_url="http://127.0.0.1:8040")


@pytest.mark.parametrize(
    "host",
    ["twins.hospital.example", "TWINS.hospital.example:443", "127.0.0.1:8040", "localhost", "[::1]:80", "10.0.0.7"],
)
def test_links_carry_the_public_address_whatever_is_sent(host: str) -> None:
    answer = web(PUBLIC).get("/link", headers={"host": host})
    assert (answer.status_code, answer.json()) == (200, f"{PUBLIC}/")
    assert answer.headers["strict-transport-security"] == "max-age=31536000"


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "twins.hospital.example.evil.example", "evil.example:8040", "user@twins.hospital.example"),
        *(
            "twins.hospital.example/evil",
            "twins.hospital.example?",
            "twins.hospital.example#",
            "127.0.0.1.evil.example",
        ),
        *("", ":80", "twins.hospital.example:port", "[::1", "twins.hospital.example, evil.example", "localhost.evil"),
    ],
)
def test_another_name_is_misdirected(host: str) -> None:
    answer = web(PUBLIC).get("/link", headers={"host": host})
    assert answer.status_code == 421
    assert answer.json()["error"]["kind"] == "Misdirected"
    assert "evil" not in answer.text


def test_without_a_public_address_links_go_where_the_request_went() -> None:
    for host in ("127.0.0.1:8040", "localhost:8040", "node.intern"):
        answer = web(listens="node.intern").get("/link", headers={"host": host})
        assert answer.json() == f"http://{host}/"
        assert "strict-transport-security" not in answer.headers


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8040"])
def test_a_name_that_nobody_gave_the_node_is_in_no_link(host: str) -> None:
    assert web().get("/link", headers={"host": host}).json() == "http://127.0.0.1:8040/"


@pytest.mark.parametrize("host", ["", ":80", "[::1", "a b", "user@evil.example", "evil.example/path"])
def test_what_is_no_name_is_misdirected_anyway(host: str) -> None:
    assert web().get("/link", headers={"host": host}).status_code == 421


def test_over_tls_the_next_visit_is_too() -> None:
    client = web()
    client.base_url = "https://127.0.0.1"
    assert client.get("/link").headers["strict-transport-security"] == "max-age=31536000"


@pytest.mark.parametrize(
    "url",
    [
        "twins.example",
        "ftp://twins.example",
        "https://",
        "https://a.example/path",
        "https://u@a.example",
        "https://a?b",
    ],
)
def test_what_is_no_address_is_no_setting(url: str) -> None:
    with pytest.raises(BadInput, match="public_url"):
        Settings.load(public_url=url)


def test_a_public_address_is_kept_without_its_slash() -> None:
    assert Settings.load(public_url=f"{PUBLIC}/").public_url == PUBLIC


def test_this_machine_alone() -> None:
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "10.0.0.1", "::", "node.example"))
