"""Passkeys on the console's forms: bound to the browser and the session, and asked for a fresh proof."""

from __future__ import annotations

import html
import re

from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.authenticator import Device
from tests.integration.console.fixtures import House
from tests.integration.console.test_console import sign_in
from tests.integration.console.test_second_factor import field
from twinward.core.clock import FixedClock

ORIGIN = "http://localhost:8040"
"""What the default settings come to."""


def options(page: str, form: str) -> str:
    found = re.search(rf'action="{form}"[^>]* data-options="([^"]+)"', page)
    assert found
    return html.unescape(found[1])


def test_a_passkey_is_added_signs_in_confirms_and_is_removed(
    web: TestClient, console_app: FastAPI, console_house: House, clock: FixedClock
) -> None:
    device = Device(ORIGIN)
    sign_in(web)
    page = web.get("/console/account").text
    form = {
        "csrf": field(page, "csrf"),
        "name": "key <b>",
        "answer": device.create(options(page, "/console/account/passkeys")),
    }
    assert web.post("/console/account/passkeys", data=form | {"csrf": "x"}).status_code == 403
    assert web.post("/console/account/passkeys", data=form | {"answer": "{}"}).status_code == 400
    assert web.post("/console/account/passkeys", data=form).status_code == 303
    assert "key &lt;b&gt;" in web.get("/console/account").text

    with TestClient(console_app, follow_redirects=False) as other:
        page = other.get("/console/sign-in").text
        form = {"csrf": field(page, "csrf"), "answer": device.get(options(page, "/console/sign-in/passkey"))}
        web.get("/console/sign-in")
        assert web.post("/console/sign-in/passkey", data=form).status_code == 403  # it is the other browser's
        assert other.post("/console/sign-in/passkey", data=form | {"answer": "x"}).status_code == 401
        page = other.get("/console/sign-in").text
        form = {"csrf": field(page, "csrf"), "answer": device.get(options(page, "/console/sign-in/passkey"))}
        done = other.post("/console/sign-in/passkey", data=form)
        assert (done.status_code, done.headers["location"]) == (303, "/console")
        other.get("/console/sign-in")
        assert other.post("/console/sign-in/passkey", data=form).status_code in (401, 403)  # once

        clock.advance(11 * 60_000)
        assert 'data-passkey="create"' not in other.get("/console/account").text
        (kept,) = console_house.node.accounts.record("officer").passkeys
        gone = {"csrf": field(other.get("/console/account").text, "csrf"), "passkey": kept.id}
        asked = other.post("/console/account/passkeys/remove", data=gone)
        assert asked.headers["location"] == "/console/confirm?next=%2Fconsole%2Faccount"
        page = other.get(asked.headers["location"]).text
        form = {"csrf": field(page, "csrf"), "next": "//evil.example"}
        form["answer"] = device.get(options(page, "/console/confirm/passkey"))
        assert other.post("/console/confirm/passkey", data=form | {"answer": "{}"}).status_code == 401
        assert other.post("/console/confirm/passkey", data=form).headers["location"] == "/console"
        assert other.post("/console/confirm/passkey", data=form).status_code == 403  # the form's token is another now
        gone["csrf"] = field(other.get("/console/account").text, "csrf")
        assert other.post("/console/account/passkeys/remove", data=gone).status_code == 303
        assert other.get("/console").headers["location"] == "/console/sign-in"
    assert console_house.node.accounts.record("officer").passkeys == ()
