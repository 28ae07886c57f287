"""The node's own log, after every route of API and console was given names, numbers and secrets in every place it has.

A route that is added is walked without being named. What is planted is looked for in the lines as they are written:
through the real processors, as JSON, with whatever other libraries log beside.
"""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import pytest
import structlog
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.integration.api.test_reason import api_routes
from tests.integration.console.fixtures import PASSWORD, House, build
from twinward.api.app import create_app
from twinward.cli.logs import configure_logs
from twinward.console import mount
from twinward.console.sessions import SESSION_COOKIE
from twinward.core.clock import FixedClock

pytestmark = pytest.mark.slow

NAME, NUMBER, SECRET = "Abernathy-Quux", "MRN-4711-0815", "tok_hunter2_s3cret"
PLANTED = (NAME, NUMBER, SECRET)
WORDS = {"timestamp", "level", "event", "method", "route", "status", "ms", "kind", "reference", "fault", "unusable"}
"""What a line may have: a new word is looked at by whoever adds it here."""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    built = build(tmp_path_factory.mktemp("logs") / "home", patients=2, clock=FixedClock())
    yield built
    built.node.close()


@pytest.fixture(scope="module")
def app(house: House) -> FastAPI:
    made = create_app(house.node)
    mount(made, house.node)
    return made


@contextmanager
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """All that the process logs meanwhile, as ``node serve`` would with ``log_format = "json"``."""
    lines = io.StringIO()
    monkeypatch.setattr("sys.stderr", lines)
    root = logging.getLogger()
    handler = logging.StreamHandler(lines)
    root.addHandler(handler)
    configure_logs(logging.DEBUG, "json")
    try:
        yield lines
    finally:
        root.removeHandler(handler)
        structlog.reset_defaults()


def callers(house: House) -> Iterator[dict[str, str]]:
    yield {}
    yield {"authorization": f"Bearer {SECRET}"}
    yield {"authorization": f"Bearer {house.tokens['clinician']}"}
    yield {"cookie": f"{SESSION_COOKIE}={house.node.sign_ins.by_password('officer', PASSWORD)}"}


def test_no_line_has_what_a_request_brought(app: FastAPI, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    form = dict.fromkeys(
        ("account", "password", "csrf", "code", "name", "reason", "note", "text", "title", "twin"), NAME
    )
    with written(monkeypatch) as lines, TestClient(app, raise_server_exceptions=False, follow_redirects=False) as web:
        for headers in callers(house):
            brought = {
                "user-agent": f"{NAME}/{NUMBER}", "referer": f"https://x.example/{NUMBER}", "x-forwarded-for": NAME,
                "x-request-id": NUMBER, "traceparent": SECRET, "if-match": f'W/"{NUMBER}"', "prefer": SECRET, **headers,
            }  # fmt: skip
            for route in api_routes(app.routes):
                for method in sorted(route.methods or ()):
                    streams = method == "GET" and re.search(r"event|stream", route.path)
                    path = re.sub(r"{[^}]+}", lambda one: quote((NAME, NUMBER)[one.start() % 2]), route.path)
                    names = [*(one.alias for one in route.dependant.query_params), "name", "identifier", "token"]
                    asked = {name: PLANTED[place % 3] for place, name in enumerate(names)}
                    body = {"data": form} if "/console" in path else {"json": {"resourceType": NAME, "id": NUMBER}}
                    sent = {} if method == "GET" else body
                    web.request("HEAD" if streams else method, path, params=asked, headers=brought, **sent)
            web.request(NAME.upper(), f"/{NAME}/{NUMBER}?{SECRET}", headers=brought)
    text = lines.getvalue()
    assert text.count("\n") > 400
    for word in (*PLANTED, *house.twins, *house.tokens.values()):
        assert word.lower() not in text.lower(), word
    for line in text.splitlines():
        told = json.loads(line)
        assert set(told) <= WORDS, line
        assert told["event"] in {"request", "defect", "readiness", "provider"}, line
    assert "defect" not in {json.loads(line)["event"] for line in text.splitlines()}
