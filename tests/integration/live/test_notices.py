"""A hospital's own system is told of alerts: signed, until it took them, and never of whom."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.live.test_alerts import MINUTE, spo2
from tests.integration.live.ward import CARING, Ward
from tests.receiver import Receiver, receiver
from twinward.core.errors import NotFound, Unavailable
from twinward.core.receiver import post
from twinward.live.alerts.delivery import Delivery
from twinward.live.alerts.notices import KEPT_MS, RETRY_S
from twinward.live.alerts.webhook import signature
from twinward_ledger.storage.sqlite import SqliteFile


@pytest.fixture
def server() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture
def told(tmp_path: Path, server: Receiver) -> Iterator[Ward]:
    made = Ward(tmp_path, url=server.url)
    yield made
    made.close()


def test_raised_and_escalated_are_told_once_signed_and_without_a_patient(told: Ward, server: Receiver) -> None:
    ann = told.admit("ann")
    spo2(told, 86, 85, 91, 84)
    told.live.delivery.carry_on()
    told.live.delivery.carry_on()
    told.clock.advance(10 * MINUTE)
    told.live.watch.tick()
    told.live.delivery.carry_on()
    (alert,) = told.live.alerts.of(CARING, ann)
    assert [one["type"] for one in server.got] == ["alert.raised", "alert.escalated"]
    assert [one["data"] for one in server.got] == 2 * [
        {"alert": alert.id, "severity": "emergency", "hospital": "St. Anna"}
    ]
    webhook = told.live.webhook
    assert webhook is not None
    key = base64.b64decode(webhook.secret.removeprefix("whsec_"))
    for headers, body in server.raw:
        name, at_s = headers["webhook-id"], int(headers["webhook-timestamp"])
        assert headers["webhook-signature"] == signature(key, name, at_s, body)
        assert at_s <= told.clock.now_ms() // 1000
    assert len({headers["webhook-id"] for headers, _ in server.raw}) == 2
    assert told.live.delivery.counts() == (0, 0)


def test_what_fails_is_sent_later_under_its_id_and_is_dead_in_the_end_until_it_is_revived(
    told: Ward, server: Receiver
) -> None:
    told.admit("ann")
    server.status = 503
    spo2(told, 86)
    told.live.delivery.carry_on()
    for tried, wait_s in enumerate(RETRY_S, start=1):
        told.clock.advance(wait_s * 1000 - 1)
        told.live.delivery.carry_on()
        assert len(server.got) == tried, "not before its time"
        told.clock.advance(1)
        told.live.delivery.carry_on()
        assert len(server.got) == tried + 1
    assert len({headers["webhook-id"] for headers, _ in server.raw}) == 1
    assert told.live.delivery.counts() == (0, 1)
    told.clock.advance(86_400_000)
    told.live.delivery.carry_on()
    assert len(server.got) == 1 + len(RETRY_S)
    (letter,) = told.live.delivery.dead()
    assert "503" in letter.notice.problem
    server.status = 204
    assert told.live.delivery.revive() == 1
    told.live.delivery.carry_on()
    assert told.live.delivery.counts() == (0, 0)


def test_a_dead_letter_is_kept_for_a_month(told: Ward, server: Receiver) -> None:
    told.admit("ann")
    told.admit("bob")
    server.status = 410
    spo2(told, 86)
    for wait_s in (0, *RETRY_S):
        told.clock.advance(wait_s * 1000)
        told.live.delivery.carry_on()
    told.clock.advance(KEPT_MS - 2 * MINUTE)
    spo2(told, 86, who="bob")
    told.live.delivery.carry_on()
    assert told.live.delivery.counts() == (1, 1)
    told.clock.advance(2 * MINUTE)
    told.live.delivery.carry_on()
    assert told.live.delivery.counts() == (1, 0)


def test_what_another_process_took_is_not_sent_twice_unless_it_died(told: Ward, server: Receiver) -> None:
    told.admit("ann")
    spo2(told, 86)
    first = Delivery(told.database, told.live.webhook, told.clock)
    assert first._take() is not None  # and is killed
    told.live.delivery.carry_on()
    assert server.got == []
    told.clock.advance(MINUTE)
    told.live.delivery.carry_on()
    assert len(server.got) == 1


def test_a_notice_comes_with_its_alert_or_not_at_all(told: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    told.admit("ann")
    monkeypatch.setattr("twinward.live.storage.notices.TenantSeal.seal", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        spo2(told, 86)
    assert told.live.alerts.everywhere(CARING) == []
    assert told.live.delivery.counts() == (0, 0)


def test_a_row_that_this_node_did_not_write_is_sent_to_nobody_and_holds_up_no_other(
    told: Ward, server: Receiver
) -> None:
    told.admit("ann")
    spo2(told, 86)
    database = told.database._database
    assert isinstance(database, SqliteFile)
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE live_notice SET due_ms = due_ms - 1")
    told.admit("ben")
    spo2(told, 86, who="ben")
    told.live.delivery.carry_on()
    (ben,) = [one for one in told.live.alerts.everywhere(CARING) if one.twin != told.twins.all()[0]]
    assert [one["data"]["alert"] for one in server.got] == [ben.id]
    assert (told.live.delivery.counts(), told.live.delivery.set_aside(), told.live.delivery.dead()) == ((0, 0), 1, [])
    assert told.live.delivery.revive() == 0


def test_nothing_is_kept_where_nobody_is_told(ward: Ward) -> None:
    ward.admit("ann")
    spo2(ward, 86)
    assert ward.live.delivery.counts() == (0, 0)
    with pytest.raises(NotFound, match="no receiver"):
        ward.live.delivery.revive()


@pytest.mark.parametrize("url", ["http://a..b/", "http://xn--a/", f"http://{'a' * 64}.example/"])
def test_an_address_with_a_name_that_cannot_be_is_one_that_does_not_answer(url: str) -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        post(url, b"{}")
