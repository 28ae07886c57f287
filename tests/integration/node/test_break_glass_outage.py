"""The log cannot be written: everything is refused but an emergency, and that is in the log once it is back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.integration.console.fixtures import CLINICIAN, OFFICER, House, build
from tests.integration.console.test_console import sign_in
from twinward.access.interfaces import AccessRequest
from twinward.api.app import create_app
from twinward.audit.break_glass import journal
from twinward.audit.errors import LogNotWritten
from twinward.console import mount
from twinward.core.clock import FixedClock
from twinward.core.errors import Refused, Unavailable
from twinward.core.vocabulary import Action, Category, Purpose, TwinId
from twinward.node import open_node
from twinward.node.background import Pulse
from twinward_ledger.stores.sqlite import SqliteLogStore

WHY = "unconscious in the ambulance"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = build(tmp_path / "home", patients=2, clock=FixedClock())
    yield made
    made.node.close()


@contextmanager
def log_down(house: House) -> Iterator[None]:
    store = house.node.log.store
    assert isinstance(store, SqliteLogStore)
    store._writer.execute("PRAGMA query_only = ON")
    try:
        yield
    finally:
        store._writer.execute("PRAGMA query_only = OFF")


def emergency(twin: TwinId, action: Action = Action.READ, why: str = WHY) -> AccessRequest:
    return AccessRequest(CLINICIAN, action, Purpose.EMERGENCY, twin, frozenset(Category), why)


def treatment(twin: TwinId) -> AccessRequest:
    return AccessRequest(CLINICIAN, Action.READ, Purpose.TREATMENT, twin, frozenset({Category.LABS}))


def console(house: House) -> str:
    house.node.clock.advance(120_000)  # type: ignore[attr-defined]
    app = create_app(house.node)
    mount(app, house.node)
    with TestClient(app, follow_redirects=False) as web:
        sign_in(web)
        return web.get("/console").text


def test_only_an_emergency_gets_through_and_it_is_logged_after(house: House) -> None:
    node, twin = house.node, house.twins[0]
    size = house.size()
    with log_down(house):
        with pytest.raises(LogNotWritten):
            node.access.decide(treatment(twin))
        with pytest.raises(LogNotWritten):
            node.access.decide_many([emergency(twin)] * 2)
        with pytest.raises((Refused, Unavailable)):
            node.access.decide(emergency(twin, why=""))  # no justification: no emergency
        with pytest.raises((Refused, Unavailable)):
            node.access.decide(emergency(twin, Action.EXPORT))
        permits = [node.access.decide(emergency(twin)) for _ in range(3)]
        assert [permit.log_index for permit in permits] == [-1, -2, -3]
        node.authority.require(permits[0], action=Action.READ, twin=twin, category=Category.LABS)
        status = node.audit.status()
        assert (status.size, status.journal.waiting) == (size, 3)
        assert node.settings.home.joinpath("break-glass.journal").read_bytes().find(b"ambulance") == -1
        assert str(twin).encode() not in node.settings.home.joinpath("break-glass.journal").read_bytes()
    node.access.decide(treatment(twin))  # the first access after takes them along
    assert house.size() == size + 4
    assert node.audit.status().journal.waiting == 0
    officer = node.access.decide(AccessRequest(OFFICER, Action.AUDIT, Purpose.COMPLIANCE))
    rows = [node.audit_reader.event(officer, index) for index in range(size + 1, size + 4)]
    for row in rows:
        assert row.event is not None
        assert (row.event.purpose, row.event.twin) == (Purpose.EMERGENCY, twin)
        assert dict(row.event.detail)["justification"] == WHY
        assert "break-glass journal" in dict(row.event.detail)["journal"]
    node.audit.checkpoint_and_anchor()
    report = node.audit.verify(deep=True)
    assert report.size == house.size()


def test_the_pulse_brings_them_in_and_the_console_tells(house: House) -> None:
    node = house.node
    Pulse(node.audit, 1.0).beat()
    size = house.size()
    with log_down(house):
        node.access.decide(emergency(house.twins[0]))
        node.access.decide(emergency(house.twins[1]))
        Pulse(node.audit, 1.0).beat()
        assert house.size() == size
    Pulse(node.audit, 1.0).beat()
    status = node.audit.status()
    assert (status.journal.waiting, status.pending) == (0, 0)
    page = console(house)
    assert "3 events of emergencies between" in page  # one twin was open already; the other's emergency began
    assert f"they are events {size} to {size + 2} now" in page


def test_they_outlive_the_process(house: House) -> None:
    node = house.node
    size = house.size()
    with log_down(house):
        node.access.decide(emergency(house.twins[0]))
    node.close()
    with open_node(node.settings.home, clock=FixedClock()) as again:
        assert again.audit.status().journal.waiting == 1
        again.audit.checkpoint_and_anchor()
        assert again.audit.status().journal.waiting == 0
        assert again.log.store.size() >= size + 1


def test_what_another_process_kept_comes_in_at_this_ones_next_access(house: House) -> None:
    node, twin = house.node, house.twins[0]
    node.access.decide(treatment(twin))
    with open_node(node.settings.home, clock=FixedClock()) as other:
        node.access.decide(treatment(twin))
        size = house.size()
        store = other.log.store
        assert isinstance(store, SqliteLogStore)
        store._writer.execute("PRAGMA query_only = ON")
        other.access.decide(emergency(twin))
        assert house.size() == size
        node.access.decide(treatment(twin))
    assert house.size() == size + 2
    assert node.audit.status().journal.waiting == 0


def test_a_full_journal_refuses_an_emergency_too(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MAX_RECORDS", 1)
    with log_down(house):
        house.node.access.decide(emergency(house.twins[0]))
        with pytest.raises(LogNotWritten, match="full"):
            house.node.access.decide(emergency(house.twins[0]))


@pytest.mark.slow
def test_a_journal_that_was_altered_is_refused_reported_and_kept(house: House) -> None:
    node = house.node
    with log_down(house):
        for _ in range(3):
            node.access.decide(emergency(house.twins[0]))
    path = node.settings.home / "break-glass.journal"
    content = bytearray(path.read_bytes())
    content[-200] ^= 1
    path.write_bytes(content)
    size = house.size()
    node.audit.checkpoint_and_anchor()
    replayed = node.audit.status().journal.replayed
    assert replayed is not None
    assert (replayed.count, replayed.first_index, replayed.last_index) == (2, size, size + 1)
    page = console(house)
    assert "The break-glass journal was tampered with" in page
    assert "the file is kept" in page
    (evidence,) = node.audit.status().journal.evidence
    assert evidence.read_bytes() == content
