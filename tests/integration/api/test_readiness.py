"""A node whose database is dead lives and is not ready; and no answer says which database, where, for whom."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter

import pytest
from fastapi.testclient import TestClient

from tests.integration.api.test_every_route import require_shape
from tests.integration.console.fixtures import House, build
from tests.integration.console.test_console import sign_in
from twinward.core.clock import FixedClock
from twinward.node.readiness import KEPT_MS
from twinward.vault.errors import VaultUnavailable

SECRETS = ("db.hospital.example", "twinward_node", "5432", "vault.db", "psycopg")
SAID = 'postgresql://twinward_node@db.hospital.example:5432/records cannot be used: FATAL: no "vault.db"'


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    built = build(tmp_path_factory.mktemp("ready") / "home", patients=1, clock=FixedClock())
    yield built
    built.node.close()


@pytest.fixture
def web(house: House) -> Iterator[TestClient]:
    with TestClient(house.app, raise_server_exceptions=False, follow_redirects=False) as client:
        yield client


def dead(*_: object, **__: object) -> None:
    raise VaultUnavailable(SAID, hint=f"check {SAID}")


def test_a_whole_node_lives_and_is_ready(web: TestClient) -> None:
    assert (web.get("/health").text, web.get("/ready").text) == ("ok\n", "ready\n")


@pytest.mark.parametrize("part", ["store.latest", "keyring.is_shredded", "log.store.checkpoint", "accounts.role_of"])
def test_each_store_counts(web: TestClient, house: House, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(house.node.clock, FixedClock)
    house.node.clock.advance(KEPT_MS)  # what was found last is forgotten
    owner, _, name = part.rpartition(".")
    monkeypatch.setattr(attrgetter(owner)(house.node), name, dead)
    assert web.get("/health").text == "ok\n"
    answer = web.get("/ready")
    assert answer.status_code == 503
    require_shape(answer)
    assert not [one for one in SECRETS if one in answer.text]


def test_no_face_names_a_host_or_an_account(
    web: TestClient, house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sign_in(web)
    monkeypatch.setattr(house.node.store, "of_twin", dead)
    monkeypatch.setattr(house.node.vault, "locate_many", dead)
    monkeypatch.setattr(house.node.access_search, "page", dead)
    clinician = {"authorization": f"Bearer {house.tokens['clinician']}"}
    twin = house.twins[0]
    answers = [
        web.get(f"/api/1/twins/{twin}/records?category=labs", headers=clinician),
        web.get("/fhir/Observation/none", headers=clinician),
        web.get("/console/accesses"),
    ]
    assert [one.status_code for one in answers] == [503, 503, 503]
    for text in (*(one.text for one in answers), capsys.readouterr().out):
        assert not [one for one in SECRETS if one in text]
