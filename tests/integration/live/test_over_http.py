"""Readings and series over HTTP, on a real node: answers line by line, refusals, what a second process sees."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.integration.cli.conftest import run
from tests.integration.console.fixtures import OFFICER, House, build
from tests.integration.live.ward import FILING
from twinward.api.app import create_app
from twinward.core.clock import iso
from twinward.live.intake.lines import read_lines
from twinward.live.service import Live


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    built = build(tmp_path_factory.mktemp("live") / "home", patients=2)
    yield built
    built.node.close()


@pytest.fixture(scope="module")
def web(house: House) -> Iterator[TestClient]:
    with TestClient(create_app(house.node), raise_server_exceptions=False) as client:
        yield client


def ask(house: House, who: str = "clinician", **more: str) -> dict[str, str]:
    return {"authorization": f"Bearer {house.tokens[who]}"} | more


def send(web: TestClient, house: House, *lines: dict[str, Any], who: str = "system", source: str = "gw") -> Any:
    body = b"\n".join(json.dumps(one).encode() for one in lines)
    headers = ask(house, who, **{"content-type": "application/x-ndjson"})
    return web.post(f"/api/1/readings?source={source}", content=body, headers=headers)


def line(house: House, seq: int, value: float = 61, **more: Any) -> dict[str, Any]:
    time = iso(house.node.clock.now_ms())
    return {"seq": seq, "device": "m-1", "code": "8867-4", "value": value, "unit": "/min", "time": time} | more


def test_a_reading_goes_in_and_comes_out(web: TestClient, house: House) -> None:
    twin = house.twins[0]
    home = str(house.node.settings.home)
    assert run("device", "assign", "m-1", twin, "--as", "ward-3", "--home", home).exit_code == 0
    said = send(web, house, line(house, 1), line(house, 1), line(house, 2, code="nothing"))
    assert said.status_code == 200
    assert [json.loads(one)["outcome"] for one in said.text.splitlines()] == ["stored", "duplicate", "quarantined"]
    path = f"/api/1/twins/{twin}/features/heart_rate/timeseries"
    before = house.size()
    shown = web.get(path, headers=ask(house)).json()
    assert ([one["value"] for one in shown["points"]], shown["unit"]) == ([61], "/min")
    assert house.size() == before + 1
    stepped = web.get(path, params={"step": "60000", "agg": "count"}, headers=ask(house)).json()
    assert [one["value"] for one in stepped["points"]] == [1]
    assert web.get(path + "/value", headers=ask(house)).json()["value"] == 61
    newest = web.get(f"/api/1/twins/{twin}/live", headers=ask(house)).json()
    assert newest["signals"]["heart_rate"]["value"] == 61
    assert web.get(path + "/value", params={"at-time": "2001-01-01T00:00:00Z"}, headers=ask(house)).status_code == 404
    quarantine = run("live", "quarantine", "--as", "ward-3", "--home", home)
    assert "unknown-code" in quarantine.stdout
    listed = json.loads(run("live", "sources", "--as", "ward-3", "--home", home, "--json").stdout)
    assert listed["sources"][0]["stored"] == 1, "another process sees the same"


def test_a_new_token_writes_at_once_where_the_old_one_was_revoked(web: TestClient, house: House) -> None:
    """Permits kept for a minute are the old token's: they end with it, and are asked for anew."""
    home = str(house.node.settings.home)
    twin = house.twins[0]
    assert run("device", "assign", "m-token", twin, "--as", "ward-3", "--home", home).exit_code == 0
    assert send(web, house, line(house, 1, device="m-token"), source="g9").status_code == 200
    made = json.loads(run("account", "new-token", "ward-3", "--as", OFFICER.id, "--home", home, "--json").stdout)
    revoked = run("account", "revoke-token", "ward-3", "1", "--as", OFFICER.id, "--home", home)
    assert revoked.exit_code == 0, revoked.output
    assert send(web, house, line(house, 2, device="m-token"), source="g9").status_code == 401
    house.tokens["system"] = made["token"]
    said = send(web, house, line(house, 2, device="m-token"), source="g9")
    assert (said.status_code, json.loads(said.text)["outcome"]) == (200, "stored")


def test_an_alert_that_a_command_silences_and_acknowledges_is_seen_over_http(web: TestClient, house: House) -> None:
    home = str(house.node.settings.home)
    assert run("device", "assign", "m-2", house.twins[1], "--as", "ward-3", "--home", home).exit_code == 0
    assert send(web, house, line(house, 1, 80, device="m-2", code="59408-5", unit="%"), source="g2").status_code == 200
    (alert,) = json.loads(run("alerts", "list", "--as", "dr-lee", "--home", home, "--json").stdout)["alerts"]
    why = "the probe is being changed right now"
    done = run("alerts", "silence", alert["id"], "--as", "dr-lee", "--reason", why, "--home", home)
    assert done.exit_code == 0, done.output
    assert run("alerts", "acknowledge", alert["id"], "--as", "dr-lee", "--home", home).exit_code == 0
    (shown,) = web.get("/api/1/alerts", headers=ask(house)).json()["alerts"]
    assert (shown["id"], shown["acknowledgedBy"], bool(shown["silencedUntil"])) == (alert["id"], "dr-lee", True)
    path, records = f"/api/1/alerts/{alert['id']}/silence", {"X-Purpose-Of-Use": "RECORDMGT"}
    body = {"minutes": 5, "reason": why}
    assert web.post(path, json=body, headers=ask(house, "system", **records)).status_code == 403


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", 400),
        ("?from=yesterday", 400),
        ("?agg=max", 400),
        ("?agg=best&step=1000", 422),
        ("?step=-1", 422),
        ("?from=2026-01-01T00:00:00Z&to=2026-01-31T00:00:00Z&step=1", 400),
    ],
)
def test_a_span_that_cannot_be_is_told_what_is_wrong(web: TestClient, house: House, query: str, status: int) -> None:
    path = f"/api/1/twins/{house.twins[0]}/features/heart_rate/timeseries"
    assert web.get(path + query, headers=ask(house)).status_code in (400, status)


def test_what_is_not_there_and_who_may_not(web: TestClient, house: House) -> None:
    path = "/api/1/twins/{}/features/{}/timeseries"
    assert web.get(path.format(house.twins[0], "mood"), headers=ask(house)).status_code == 404
    nobody = "0" * 8 + "-0000-7000-8000-" + "0" * 12
    assert web.get(path.format(nobody, "heart_rate"), headers=ask(house)).status_code == 404
    for who in ("vendor", "researcher", "officer", "system", "peer"):
        assert web.get(path.format(house.twins[0], "heart_rate"), headers=ask(house, who)).status_code == 403
        assert web.get(path.format(nobody, "heart_rate"), headers=ask(house, who)).status_code == 403
    for who in ("vendor", "researcher", "officer", "peer"):
        assert send(web, house, line(house, 9), who=who).status_code == 403
    assert send(web, house, line(house, 9), source="a%20b").status_code in (400, 422)
    headers = ask(house, "system", **{"content-type": "application/json"})
    assert web.post("/api/1/readings?source=gw", content=b"{}", headers=headers).status_code == 415
    headers = ask(house, "system", **{"content-type": "application/x-ndjson"})
    assert web.post("/api/1/readings?source=gw", content=b"\n{}" * 20_001, headers=headers).status_code == 400
    assert (
        web.post("/api/1/readings?source=gw", content=b" " * (8 * 1024 * 1024 + 1), headers=headers).status_code == 413
    )


def test_a_source_is_shown_whatever_waits_of_others(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    home = str(house.node.settings.home)
    monkeypatch.setattr(Live, "quarantine", partialmethod(Live.quarantine, most=1))
    for source in ("loud", "quiet"):
        lines = [line(house, seq, code="nothing", device="m-77") for seq in range(1, 4)]
        house.node.live.intake.take(FILING, source, read_lines("\n".join(map(json.dumps, lines)).encode()))
    shown = run("live", "quarantine", "--as", "ward-3", "--source", "quiet", "--json", "--home", home)
    found = [(one["source"], one["seq"]) for one in json.loads(shown.stdout)["quarantine"]]
    assert found == [("quiet", 1), ("quiet", 2), ("quiet", 3)]


def test_a_file_is_taken_as_http_takes_it(house: House, tmp_path: Path) -> None:
    home = str(house.node.settings.home)
    file = tmp_path / "readings.ndjson"
    patient = {key: one for key, one in line(house, 1).items() if key != "device"} | {"subject": "Patient/nobody"}
    file.write_text(json.dumps(patient) + "\n")
    done = run("live", "take", str(file), "--source", "file", "--as", "ward-3", "--home", home)
    assert (done.exit_code, "unknown-subject" in done.output) == (1, True)
    assert run("live", "take", str(file), "--source", "file", "--as", "ward-3", "--home", home).exit_code == 0
    assert run("live", "take", str(file), "--source", "file", "--as", "acme", "--home", home).exit_code == 6
    assert run("live", "replay", "--as", "ward-3", "--home", home).exit_code == 0
    dropped = run("live", "quarantine", "--as", "ward-3", "--source", "file", "--drop", "--home", home)
    assert "1 deleted" in dropped.stdout
    assert run("live", "close", "--now", "--home", home).exit_code == 0
    shown = run("live", "series", house.twins[0], "heart_rate", "--as", "dr-lee", "--home", home)
    assert (shown.exit_code, "61.0" in shown.stdout) == (6, False) or shown.exit_code == 0
    assert run("device", "release", "m-9", "--as", "ward-3", "--home", home).exit_code == 3
    assert run("device", "list", "--as", "ward-3", "--home", home, "--json").exit_code == 0
