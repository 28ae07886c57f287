"""A file of all accesses to a patient, told of while it is made: the same bytes, the same permits, errors in words."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Response
from fastapi.testclient import TestClient

from tests.integration.console.fixtures import PASSWORD, House
from twinward.access.errors import SignInEnded
from twinward.access.interfaces import AccessContext, Principal
from twinward.api.audit import MOST_AT_ONCE, AccessesFiles, MadeFile, made_in_turn
from twinward.audit.exports import ExportFormat
from twinward.audit.queries import AccessQuery
from twinward.audit.rows import row_of
from twinward.console.accesses import _csv
from twinward.console.file_stream import KIND, FileInTheMaking, Told, streamed
from twinward.console.sessions import SESSION_COOKIE
from twinward.core.clock import FixedClock
from twinward.core.errors import Busy
from twinward.core.vocabulary import Action, Purpose, Role
from twinward.overview.log import permit_to_examine

TOLD = {"accept": KIND}


@pytest.fixture
def olga(web: TestClient, console_house: House) -> TestClient:
    session = console_house.node.sign_ins.by_password("officer", PASSWORD)
    web.cookies.set(SESSION_COOKIE, session, path="/console")
    return web


def lines_and_file(content: bytes) -> tuple[list[dict[str, Any]], bytes]:
    lines = []
    while True:
        line, _, content = content.partition(b"\n")
        lines.append(json.loads(line))
        if "size" in lines[-1] or "error" in lines[-1]:
            return lines, content


@pytest.mark.parametrize("form", ["csv", "proof", "fhir", "pdf"])
def test_what_is_told_of_and_what_is_downloaded_are_the_same_file(
    olga: TestClient, console_house: House, form: str
) -> None:
    twin = console_house.twins[0]
    page = olga.get(f"/console/exports/{twin}/{form}")
    file = f"/console/exports/{twin}?format={form}"
    assert f'href="{file}" download' in page.text, "without scripts it is a link"
    before = console_house.size()
    answer, plain = olga.get(file, headers=TOLD), olga.get(file)
    lines, content = lines_and_file(answer.content)
    assert lines[-1] == {
        "name": plain.headers["content-disposition"].split('"')[1],
        "type": plain.headers["content-type"],
        "size": len(content),
    }
    assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-store", "no")
    if form != "pdf":  # which names the moment of its making in its own way
        assert content == plain.content
    assert console_house.size() == before + 2
    newest, audit = console_house.size() - 1, console_house.node.audit
    event = row_of(audit.sealer, audit.log.origin, newest, audit.log.store.entry(newest)).event
    assert event is not None
    assert (event.action, dict(event.detail)["page"]) == (Action.AUDIT, f"export {form}")


def test_it_asks_who_it_is_and_says_what_is_wrong_in_the_viewers_language(
    olga: TestClient, console_house: House, clock: FixedClock
) -> None:
    nobody = "0190a000-0000-7000-8000-000000000000"
    lines, rest = lines_and_file(
        olga.get(f"/console/exports/{nobody}?format=csv", headers=TOLD | {"accept-language": "de"}).content
    )
    assert rest == b""
    assert lines[-1]["error"].startswith("Einen Patienten mit dieser Kennung gibt es nicht"), lines
    assert olga.get(f"/console/exports/{console_house.twins[0]}/secret").status_code == 400
    clock.advance(console_house.node.settings.fresh_sign_in_s * 1000 + 1)
    for path in (f"/console/exports/{nobody}/pdf", f"/console/exports/{nobody}?format=pdf"):
        asked = olga.get(path, headers=TOLD)
        assert (asked.status_code, asked.headers["location"][:21]) == (303, "/console/confirm?next")
    olga.cookies.clear()
    assert olga.get(f"/console/exports/{nobody}/pdf").headers["location"] == "/console/sign-in"


def test_who_leaves_ends_the_work_and_a_defect_says_no_more_than_that() -> None:
    begun, ended = threading.Event(), threading.Event()

    def endless(told: Told) -> MadeFile:
        begun.set()
        try:
            while True:
                told("proven", 1, 2)
        finally:
            ended.set()

    async def leave() -> None:
        lines = FileInTheMaking(endless, str).lines()
        assert json.loads(await anext(lines)) == {"step": "proven", "done": 1, "of": 2}
        assert isinstance(lines, AsyncGenerator)
        await lines.aclose()

    asyncio.run(leave())
    assert ended.wait(5), "nobody waits for it any more"

    def broken(told: Told) -> MadeFile:
        raise RuntimeError("a patient's name")

    async def all_of(file: FileInTheMaking) -> list[bytes]:
        return [line async for line in file.lines()]

    (line,) = asyncio.run(all_of(FileInTheMaking(broken, str)))
    assert "something failed in the node" in json.loads(line)["error"]
    assert b"patient" not in line


def test_others_are_served_while_many_wait_for_files() -> None:
    made_too, app = threading.Event(), FastAPI()

    def make(_told: Told) -> MadeFile:
        assert made_too.wait(20)
        return MadeFile("a.csv", "text/csv", b"content")

    @app.get("/file")
    def file() -> Response:
        return streamed(make, str)

    @app.get("/other")
    def other() -> str:
        return "other"

    async def come() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://node", timeout=30) as client:
            coming = [asyncio.create_task(client.get("/file")) for _ in range(60)]  # more than there are threads
            await asyncio.sleep(0.5)
            answer = await asyncio.wait_for(client.get("/other"), 10)
            made_too.set()
            return [answer, *await asyncio.gather(*coming)]

    other_answer, *files = asyncio.run(come())
    assert other_answer.json() == "other"
    assert all(one.content.endswith(b"content") for one in files)


def test_one_account_leaves_places_to_others() -> None:
    with ExitStack() as making:
        for _ in range(MOST_AT_ONCE // 2):
            making.enter_context(made_in_turn("greedy"))
        with pytest.raises(Busy), made_in_turn("greedy"):
            pass
        for _ in range(MOST_AT_ONCE // 2):
            making.enter_context(made_in_turn("another"))
        with pytest.raises(Busy), made_in_turn("third"):
            pass
    with made_in_turn("greedy"):
        pass


def test_files_are_made_a_few_at_once_and_for_nobody_who_was_shut_out_meanwhile(console_house: House) -> None:
    node, twin = console_house.node, console_house.twins[0]
    node.accounts.add_person(Principal("leaver", Role.OFFICER, "Lea Leaver"), PASSWORD)
    context = AccessContext(node.accounts.named("leaver"), Purpose.COMPLIANCE)
    by = AccessContext(node.accounts.named("officer"), Purpose.COMPLIANCE)
    of_twin = permit_to_examine(node.access, context, "export csv", twin)
    rows = node.access_search.stream(permit_to_examine(node.access, context, "list as CSV"), AccessQuery())[1]

    def leaves(_step: str, _done: int, _of: int) -> None:
        if not node.accounts.record("leaver").disabled:
            node.account_desk.disable("leaver", by)

    def within(*_: object) -> None:
        AccessesFiles.of(node).made(of_twin, twin, ExportFormat.CSV, within)

    with pytest.raises(Busy):  # each is wholly in memory: only so many are made at once
        within()
    with pytest.raises(SignInEnded):
        AccessesFiles.of(node).made(of_twin, twin, ExportFormat.CSV, leaves)
    with pytest.raises(SignInEnded):
        list(_csv(rows, lambda: node.access.require(of_twin.request)))
