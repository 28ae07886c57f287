"""The node's own page, `node status` and `node doctor` say the same of one node: from one list."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient

from tests.command_line import PROGRAM
from tests.integration.console.fixtures import House
from tests.integration.console.test_console import sign_in
from twinward.api.app import create_app
from twinward.console import mount
from twinward.core.clock import FixedClock
from twinward.node import open_node
from twinward.node.last_backup import LAST_BACKUP, LastBackup, last_backup, note_backup
from twinward.overview.condition import areas, to_do, verdict, worst
from twinward.overview.doctor import CHECKS, SLOW, Finding, Severity, examined

PAGE = "/console/node"
DAY_MS = 86_400_000


def verdict_of(page: str) -> str:
    found = re.search(r'id="verdict" role="status">([^<]*)<', page)
    assert found
    return found[1]


def findings(house: House) -> dict[str, Finding]:
    return {one.check: one for one in examined(house.node, without=SLOW)}


def test_every_check_has_its_place_on_the_page() -> None:
    made = [Finding(name, Severity.OK, "as it should be") for name in CHECKS]
    assert sorted(one.check for area in areas(made) for one in area.findings) == sorted(CHECKS)
    assert (verdict(made), to_do(made)) == ("everything is in order", [])


def test_the_worst_comes_first_and_names_the_whole() -> None:
    made = [
        Finding("log", Severity.NOTE, "a"),
        Finding("chain", Severity.BAD, "b"),
        Finding("keys", Severity.WARN, "c"),
    ]
    assert [one.check for one in to_do(made)] == ["chain", "keys", "log"]
    assert (worst(made), worst([])) == (Severity.BAD, Severity.OK)
    assert verdict(made) == "1 thing does not work, or a promise is not kept"
    assert verdict(made[2:]) == "1 thing should be done soon"


def test_what_is_found_is_on_the_page_with_what_to_do(web: TestClient, console_house: House) -> None:
    sign_in(web)
    page = web.get(PAGE).text
    for one in findings(console_house).values():
        assert one.say.split(",")[0].split(";")[0].split("'")[0] in page, one
    assert "type <code>twinward node backup FILE --keys-to FOLDER</code>" in page
    assert 'On the page <a href="/console/emergencies">' in page
    for one in console_house.node.witnesses:
        assert one.key.name in page
    assert "twins’ keys" in page


def test_a_backup_is_told_from_none_an_old_one_and_one_that_opens_nothing(
    web: TestClient, console_house: House, clock: FixedClock
) -> None:
    node = console_house.node
    home = node.settings.home
    assert findings(console_house)["backup"].severity is Severity.WARN
    keks = node.keyring.census().keks
    try:
        note_backup(home, LastBackup(clock.now_ms(), 3, keks))
        assert findings(console_house)["backup"].severity is Severity.OK
        sign_in(web)
        assert "3 events; " in web.get(PAGE).text
        note_backup(home, LastBackup(clock.now_ms() - 8 * DAY_MS, 3, keks))
        assert findings(console_house)["backup"].severity is Severity.WARN
        note_backup(home, LastBackup(clock.now_ms(), 3, (0,)))
        assert "opens nothing any more" in findings(console_house)["backup"].say
    finally:
        (home / LAST_BACKUP).unlink()


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{", "null", "[" * 5000),
        *('{"at_ms": "1", "log_size": 2, "keks": []}', '{"at_ms": -1, "log_size": 2, "keks": [1]}'),
        *('{"at_ms": 1, "log_size": 2, "keks": [true]}', '{"at_ms": 1, "log_size": 2, "keks": 3}'),
    ],
)
def test_a_note_that_somebody_else_wrote_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / LAST_BACKUP).write_text(text)
    assert last_backup(tmp_path) is None


def test_status_is_one_screen_and_says_what_the_page_says(console_house: House) -> None:
    home = str(console_house.node.settings.home)
    with open_node(Path(home)) as node:  # by the clock that the command goes by
        app = create_app(node)
        mount(app, node)
        with TestClient(app, raise_server_exceptions=False, follow_redirects=False) as web:
            sign_in(web)
            said = verdict_of(web.get(PAGE).text)
    run = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"})
    shown = run.invoke(PROGRAM, ["node", "status", "--home", home])
    assert shown.exit_code == 0
    lines = shown.output.splitlines()
    assert len(lines) <= 24
    assert lines[0].partition(" (as of ")[0].casefold().endswith(said.casefold().rstrip("."))
    machine = json.loads(run.invoke(PROGRAM, ["node", "status", "--home", home, "--json"]).output)
    told = {one["check"]: one["say"] for one in machine["findings"]}
    assert told["backup"] == findings(console_house)["backup"].say
    assert all(any(line.startswith(word) for line in lines) for word in ("twins", "log", "cosigned", "epoch"))
