"""Names and sentences that steer a terminal, turn a line around or show nothing: spelled out wherever people read."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import shutil
import subprocess
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from html import unescape
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

import pytest
import structlog
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from tests.access_events import read_by_a_clinician
from tests.integration.audit.pdf_text import text_of
from tests.integration.cli.conftest import run
from twinward.access.interfaces import AccessContext, Principal
from twinward.api.app import create_app
from twinward.cli.logs import configure_logs
from twinward.cli.output import err, out, table
from twinward.console import mount
from twinward.core.config import Settings
from twinward.core.visible_text import visible, visible_json, visible_line
from twinward.core.vocabulary import Purpose, Role, TwinId
from twinward.fhir.bulk.synthetic_patients import generate_cohort
from twinward.node import SYSTEM, create_node
from twinward.twins.models import DIRECTORY

PASSWORD = "correct horse battery"
HOSTILE = "\u202e\u2066\x1b]0;owned\x07\x9b31m\u200f\u061c\u2028\ufeff\u200b\u3164\U000e0041\u0085\ue000 [red]=1"
SPELLED = r"\u202e\u2066\x1b]0;owned\x07\x9b31m\u200f\u061c\u2028\ufeff\u200b\u3164\U000e0041\x85\ue000"
PAGES = ("", "/accesses", "/emergencies", "/account", "/verify", "/check", f"/{quote(HOSTILE)}")


def unseen(text: str) -> set[str]:
    """What this test takes for unseen, from Unicode's own categories: another source than the product's list."""
    return {
        one
        for one in text
        if unicodedata.category(one) in {"Cc", "Cf", "Zl", "Zp", "Cs", "Co"} and one not in "\n\t\u200c\u200d"
    } | ({"\u3164"} & set(text))


@dataclass(frozen=True)
class Mercy:
    """A node where everything that people name is hostile."""

    home: Path
    twin: TwinId
    web: TestClient


@pytest.fixture(scope="module")
def mercy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mercy]:
    home = tmp_path_factory.mktemp("shown") / "home"
    node = create_node(Settings(home=home, hospital=f"Mercy {HOSTILE}"))
    node.accounts.add_person(Principal("officer", Role.OFFICER, f"Olga {HOSTILE}", f"office {HOSTILE}"), PASSWORD)
    twin = node.twins.ingest(
        AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT),
        next(one for one in generate_cohort(1, 1) if one.reference != DIRECTORY),
    ).twin
    plain = read_by_a_clinician(twin)
    said = replace(plain, agent=f"=dr {HOSTILE}", unit=f"+ward {HOSTILE}", reason=f"@ {HOSTILE}")
    node.audit.record([plain, replace(said, detail=(("justification", f"-he fell {HOSTILE}"),))])
    node.audit.checkpoint_and_anchor()
    app = create_app(node)
    mount(app, node)
    with TestClient(app, raise_server_exceptions=False) as web:
        token = re.search(r'name="csrf" value="([^"]+)"', web.get("/console/sign-in").text)
        assert token
        answer = {"account": "officer", "password": PASSWORD, "csrf": token[1]}
        assert web.post("/console/sign-in", data=answer).status_code == 200
        yield Mercy(home, twin, web)
    node.close()


@pytest.mark.parametrize("page", PAGES)
def test_no_page_of_the_console_shows_what_cannot_be_seen(mercy: Mercy, page: str) -> None:
    shown = mercy.web.get(f"/console{page}").text
    assert not unseen(shown)
    assert f"Mercy {SPELLED}" in shown


def test_the_console_spells_out_each_cell_of_an_access_and_of_a_problem(mercy: Mercy) -> None:
    shown = unescape(mercy.web.get("/console/accesses").text)
    for start in ("=dr ", "+ward ", "@ ", "-he fell "):
        assert start + SPELLED in shown
    assert not unseen(mercy.web.get("/console/accesses", params={"agent": HOSTILE, "twin": HOSTILE}).text)
    assert not unseen(mercy.web.post("/console/sign-in", data={"account": HOSTILE, "password": "x", "csrf": "x"}).text)


@pytest.mark.parametrize(
    "command",
    [
        "node status",
        "audit list --as officer",
        "account list",
        "account show officer",
        "access emergencies --as officer",
        "twin list --as officer",
        f"audit list --as {shlex.quote(HOSTILE)}",
        f"twin import {shlex.quote(HOSTILE)}",
        f"account show {shlex.quote(HOSTILE)}",
        f"access check --role vendor --action query --purpose CLINTRCH --principal {shlex.quote(HOSTILE)}",
    ],
    ids=range(10),
)
def test_no_command_shows_what_cannot_be_seen(mercy: Mercy, command: str) -> None:
    done = run(*shlex.split(command), "--home", str(mercy.home))
    assert done.output
    assert not unseen(done.output)
    as_json = run(*shlex.split(command), "--home", str(mercy.home), "--json")
    assert not unseen(as_json.output)


def test_the_list_of_accesses_and_the_status_spell_it_out(mercy: Mercy) -> None:
    assert SPELLED in run("audit", "list", "--as", "officer", "--home", str(mercy.home), env={"COLUMNS": "900"}).output
    assert SPELLED in run("node", "status", "--home", str(mercy.home), env={"COLUMNS": "900"}).output


def test_a_table_cell_is_one_line_and_never_markup(capsys: pytest.CaptureFixture[str]) -> None:
    rows = table("file", "why")
    rows.add_row("a.json", "bad\nb.json  imported [bold]:warning:[/] \u202e")
    with out.capture() as taken:
        out.print(rows)
    assert r"bad\x0ab.json  imported [bold]:warning:[/] \u202e" in taken.get()
    with err.capture() as taken:
        err.print("[red]refused[/] \x1b[2J\u202e :warning:")
    assert r"refused \x1b[2J\u202e :warning:" in taken.get()


@pytest.mark.parametrize("form", ["csv", "pdf"])
@pytest.mark.parametrize("door", ["command", "console"])
def test_exports_for_people_spell_it_out(mercy: Mercy, tmp_path: Path, form: str, door: str) -> None:
    if door == "console":
        content = mercy.web.get(f"/console/exports/{mercy.twin}?format={form}").content
    else:
        told = ("--patient", mercy.twin, "--as", "officer", "--format", form, "--out", str(tmp_path / "x"))
        assert run("audit", "export", *told, "--home", str(mercy.home)).exit_code == 0
        content = (tmp_path / "x").read_bytes()
    if form == "pdf":
        shown = text_of(content)
        assert not unseen(shown)
        assert r"\u202e\u2066\x1b" in shown
        return
    assert content.startswith(b"\xef\xbb\xbf")
    shown = content.decode("utf-8-sig")
    assert not unseen(shown.replace("\r\n", "\n"))
    row = next(one for one in csv.DictReader(io.StringIO(shown, newline="")) if SPELLED in one["agent"])
    for name in ("agent", "unit", "reason", "justification"):
        assert row[name].startswith("'")


def test_a_log_line_is_one_line_without_anything_unseen(capsys: pytest.CaptureFixture[str]) -> None:
    before = structlog.get_config()
    try:
        configure_logs()
        structlog.get_logger("x").warning("asked\nlevel=info", path=HOSTILE)
    finally:
        structlog.configure(**before)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert not unseen(said)


@given(st.text(), st.text())
def test_what_is_spelled_out_once_stays_and_hides_nothing(text: str, other: str) -> None:
    shown = visible(text)
    assert visible(shown) == shown
    assert visible(text + other) == shown + visible(other)
    assert not {one for one in shown if unicodedata.category(one) in {"Cc", "Zl", "Zp", "Cs", "Co"}} - {"\n", "\t"}
    assert "\n" not in visible_line(text)
    assert json.loads(visible_json(json.dumps(text, ensure_ascii=False))) == text


@pytest.mark.parametrize("kept", ["می‌خواهم", "क्‍ष", "👩‍⚕️", "葛󠄀", "Größe ≥ 3 Ω", "العربية", "עברית", "a\nb\tc"])
def test_what_people_write_stays_as_it_is(kept: str) -> None:
    assert visible(kept) == kept


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_browser_spells_out_the_same_characters() -> None:
    script = files("twinward.console").joinpath("static/visible.js").read_text(encoding="utf-8")
    every = "Array.from({length: 0x110000}, (_, point) => visible(String.fromCodePoint(point)))"
    ask = f"console.log(JSON.stringify({every}.join('')))"
    command = ["node", "--input-type=module", "--eval", f"{script}\n{ask}"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert json.loads(said) == visible("".join(map(chr, range(0x110000))))
