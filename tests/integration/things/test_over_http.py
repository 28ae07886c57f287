"""Things over HTTP and by commands, on a real node: one truth in both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.integration.cli.conftest import run
from tests.integration.console.fixtures import House, build
from twinward.api.app import create_app


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    built = build(tmp_path_factory.mktemp("things") / "home", patients=2)
    yield built
    built.node.close()


@pytest.fixture(scope="module")
def web(house: House) -> Iterator[TestClient]:
    with TestClient(create_app(house.node), raise_server_exceptions=False) as client:
        yield client


def ask(web: TestClient, house: House, method: str, path: str, who: str = "system", body: Any = None) -> Any:
    headers = {"authorization": f"Bearer {house.tokens[who]}"}
    return web.request(method, f"/api/1/things{path}", headers=headers, json=body)


def typed(house: House, *words: str, who: str = "ward-3", code: int = 0) -> Any:
    done = run("thing", *words, "--as", who, "--home", str(house.node.settings.home), "--json")
    assert done.exit_code == code, done.output
    return json.loads(done.stdout) if code == 0 else done.output


def test_what_one_door_changes_the_other_shows(web: TestClient, house: House) -> None:
    twin, other = house.twins[:2]
    typed(house, "add", "icu", "--kind", "ward", "--title", "Intensive care")
    assert ask(web, house, "POST", "", body={"name": "bed-1", "kind": "bed", "title": "Bed 1"}).status_code == 201
    typed(house, "relate", "bed-1", "part-of", "icu")
    assigned = {"relation": "assigned-to", "target": twin}
    assert ask(web, house, "POST", "/bed-1/relations", body=assigned).json()["target"] == twin
    refused = typed(house, "relate", "bed-1", "assigned-to", other, code=4)
    assert "the bed is taken" in refused
    assert {one["target"] for one in typed(house, "show", "bed-1")["relations"]} == {"icu", twin}
    assert ask(web, house, "GET", "/icu", "officer").json()["contains"] == ["bed-1"]
    question = {"arrivals": "1/day", "stay": "12h", "days": 30, "runs": 20}
    told = ask(web, house, "POST", "/icu/what-if", body=question).json()
    asked = ("what-if", "icu", "--arrivals", "1/day", "--stay", "12h", "--days", "30", "--runs", "20", "--as", "ward-3")
    done = run(*asked, "--home", str(house.node.settings.home), "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) | {"scenario": 0} == told | {"scenario": 0}, "the same question, the same answer"
    assert told["scenario"]["present"] == 1
    assert 0 < told["refused"]["mean"] < 1
    typed(house, "end", "bed-1", "assigned-to")
    history = ask(web, house, "GET", "/bed-1/history").json()["history"]
    assert [one["until"] is None for one in history] == [True, False]
    pump = {"name": "pump-1", "kind": "device", "title": "Pump", "type": "pump", "serviceHours": 10}
    assert ask(web, house, "POST", "", body=pump).status_code == 201
    typed(house, "relate", "pump-1", "assigned-to", twin)
    assert ask(web, house, "POST", "/pump-1/actions/started").json()["twinId"] == twin
    typed(house, "record", "pump-1", "stopped")
    assert [one.get("what") for one in typed(house, "history", "pump-1")["history"]] == [None, "started", "stopped"]
    described = ask(web, house, "GET", "/pump-1/description")
    assert described.headers["content-type"].startswith("application/td+json")
    from_here = typed(house, "describe", "pump-1")
    assert described.json() | {"base": ""} == from_here | {"base": ""}
    assert {one["name"] for one in typed(house, "list", "--kind", "device", who="officer")["things"]} == {"pump-1"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "", {"name": "a b", "kind": "bed", "title": "x"}, 400),
        ("POST", "", {"name": "x", "kind": "cat", "title": "x"}, 400),
        ("POST", "", {"name": "x", "kind": "bed", "title": "x", "patient": "ann"}, 400),
        ("POST", "/nothing/relations", {"relation": "part-of", "target": "icu"}, 404),
        ("POST", "/nothing/relations", {"relation": "assigned-to", "target": "icu"}, 400),
        ("POST", "/nothing/relations", {"relation": "part-of", "target": "icu", "since": "yesterday"}, 400),
        ("POST", "/nothing/relations/assigned-to/end", None, 404),
        ("POST", "/nothing/actions/used", {"amount": -1}, 400),
        ("POST", "/nothing/actions/used", {"twin": "00000000-0000-7000-8000-000000000000", "amount": 1}, 404),
        ("GET", "/nothing", None, 404),
        ("POST", "/nothing/what-if", {}, 404),
        ("POST", "/icu/what-if", {"arrivals": "many"}, 400),
        ("POST", "/icu/what-if", {"arrivals": "100/min", "stay": "1h"}, 400),
        ("POST", "/icu/what-if", {"runs": 100000}, 400),
    ],
)
def test_bad_input_is_told_what_is_wrong(
    web: TestClient, house: House, method: str, path: str, body: Any, status: int
) -> None:
    answer = ask(web, house, method, path, body=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]


def test_words_that_are_none_are_told_in_a_command(house: House) -> None:
    for words in (("add", "x", "--kind", "cat"), ("relate", "x", "near", "y"), ("record", "x", "sung")):
        assert "one of" in typed(house, *words, code=2)
