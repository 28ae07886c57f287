"""A large log is derived beside the page: it says how far, once for all who look, and what came of it."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.integration.console.fixtures import PASSWORD, House, build
from twinward.api.app import create_app
from twinward.audit.errors import LogTampered
from twinward.audit.service import Audit
from twinward.audit.status import VerifyReport
from twinward.console import mount, pages
from twinward.console.derivation import Derivation
from twinward.console.sessions import SESSION_COOKIE
from twinward.core.clock import FixedClock


def ended(client: TestClient) -> None:
    until = time.monotonic() + 30
    while client.get("/console/verify/progress").json()["running"]:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_the_page_says_how_far_it_is_and_then_what_came_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "AT_ONCE", 0)
    goes_on, verify = threading.Event(), Audit.verify

    def slowly(self: Audit, **how: Any) -> VerifyReport:
        if "told" in how:
            how["told"](7, 9)
            goes_on.wait(30)
        return verify(self, **how)

    monkeypatch.setattr(Audit, "verify", slowly)
    house: House = build(tmp_path / "home", patients=2)
    app = create_app(house.node)
    mount(app, house.node)
    session = house.node.sign_ins.by_password("officer", PASSWORD)
    with TestClient(app, follow_redirects=False, cookies={SESSION_COOKIE: session}) as web:
        page = web.get("/console/verify").text
        assert "Every leaf of the log is being hashed again" in page
        assert 'class="card light' not in page, "nothing is said before it is known"
        size = house.size()
        assert web.get("/console/verify/progress").json() == {"running": True, "done": 7, "of": 9}
        assert house.size() == size, "how far it is shows no event"
        goes_on.set()
        ended(web)
        page = web.get("/console/verify").text
        assert "give every root that was ever signed" in page
        assert "Begun at" in page
        csrf = re.search(r'action="/console/verify"><input type="hidden" name="csrf" value="([^"]+)"', page)
        assert csrf is not None
        assert web.post("/console/verify", data={"csrf": "x"}).status_code == 403

        database = tmp_path / "home/log.db"
        _alter(database)
        assert web.post("/console/verify", data={"csrf": csrf[1]}).headers["location"] == "/console/verify"
        ended(web)
        page = web.get("/console/verify").text
        assert 'class="card light bad"' in page
        assert re.search(r"First bad leaf</dt><dd[^>]*>3<", page)
        assert house.node.log_check.last.fault, "Home's light turns red with it"
    with TestClient(app, follow_redirects=False) as stranger:
        assert stranger.get("/console/verify/progress").status_code == 401
    house.node.close()


def test_one_at_a_time_and_a_defect_is_no_verdict() -> None:
    goes_on, begun = threading.Event(), []

    def verify(*, told: Any) -> VerifyReport:
        begun.append(1)
        goes_on.wait(30)
        raise RuntimeError("a patient's name")

    found: list[LogTampered] = []
    derivation = Derivation(verify, FixedClock(5), found.append)
    for _ in range(3):
        derivation.begin(9)
    goes_on.set()
    until = time.monotonic() + 30
    while derivation.now.running and time.monotonic() < until:
        time.sleep(0.01)
    assert (len(begun), derivation.now.report, derivation.now.fault, found) == (1, None, None, [])
    assert derivation.now.trouble == "something failed in the node"


def _alter(database: Path) -> None:
    import sqlite3

    with sqlite3.connect(database) as one:
        (leaf,) = one.execute("SELECT leaf FROM leaves WHERE idx = 3").fetchone()
        one.execute("UPDATE leaves SET leaf = ? WHERE idx = 3", (leaf[:-1] + bytes([leaf[-1] ^ 1]),))
