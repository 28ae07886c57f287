"""MQTT from a real mosquitto: acknowledged once it is durable, once in effect, nothing lost on the way."""

from __future__ import annotations

import json
import sqlite3
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from tests.flower_certificates import make_certificates
from tests.integration.live.ward import CARING, FILING, Ward
from tests.mosquitto import Mosquitto, brokering
from twinward.access.consent import Provision
from twinward.access.interfaces import AccessContext
from twinward.core.errors import BadInput, TwinwardError, Unavailable
from twinward.core.vocabulary import Category, TwinId
from twinward.live.errors import QuarantineFull
from twinward.live.intake import lines as reading_lines
from twinward.live.intake.intake import Item
from twinward.live.models import Answer
from twinward.live.mqtt.broker import broker_at, topic_of
from twinward.live.mqtt.subscriber import Subscriber
from twinward.live.storage import quarantine
from twinward.live.timeseries import Span

pytestmark = pytest.mark.slow
_WAIT_S = 30


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with brokering(tmp_path) as made:
        yield made


def subscriber(ward: Ward, broker: Mosquitto, topic: str = "icu/+/readings") -> Subscriber:
    said: list[str] = []
    return Subscriber(
        ward.live, FILING, broker_at(f"mqtt://127.0.0.1:{broker.port}"), topic_of(topic, "icu"), said.append
    )


@contextmanager
def following(made: Subscriber) -> Iterator[Subscriber]:
    stopped, failed = threading.Event(), []

    def follow() -> None:
        try:
            made.follow(stopped.is_set)
        except TwinwardError as error:
            failed.append(error)

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield made
    finally:
        stopped.set()
        thread.join(_WAIT_S)
    if failed:
        raise failed[0]


def once(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _WAIT_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def publish(broker: Mosquitto, *payloads: bytes, topic: str = "icu/monitor-7/readings", qos: int = 1) -> None:
    """Send, and wait until the broker has them."""
    sender = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    sender.connect("127.0.0.1", broker.port)
    sender.loop_start()
    for one in payloads:
        sender.publish(topic, one, qos=qos).wait_for_publish(_WAIT_S)
    sender.disconnect()
    sender.loop_stop()


def lines(*some: dict[str, Any]) -> bytes:
    return b"\n".join(json.dumps(one).encode() for one in some)


def rates(ward: Ward, twin: TwinId) -> list[float]:
    now = ward.clock.now_ms()
    return [one.value for one in ward.live.series(CARING, twin, "heart_rate", Span(now - 3_600_000, now + 1))]


def test_what_is_published_is_stored_once_and_each_device_numbers_its_own(ward: Ward, broker: Mosquitto) -> None:
    ann = ward.admit("ann")
    one = ward.line(61, subject="Patient/ann")
    other = one | {"value": 62}
    with following(subscriber(ward, broker)) as made:
        once(lambda: made._connection > 0, "connected")
        publish(broker, lines(one), lines(one))
        publish(broker, lines(other), topic="icu/monitor-8/readings")
        once(lambda: made.tally.stored == 2 and made.tally.duplicates == 1, "all of them are taken")
    assert sorted(rates(ward, ann)) == [61, 62]
    assert [one.name for one in ward.live.sources(FILING)] == ["icu.monitor-7", "icu.monitor-8"]


def test_what_came_while_it_was_away_is_fetched(ward: Ward, broker: Mosquitto) -> None:
    ann = ward.admit("ann")
    with following(subscriber(ward, broker)) as made:
        once(lambda: made._connection > 0, "connected")
    publish(broker, *(lines(ward.line(60 + n, subject="Patient/ann")) for n in range(20)))
    broker.end()
    broker.start()
    with following(subscriber(ward, broker)) as made:
        once(lambda: made.tally.stored == 20, "the broker kept them")
    assert len(rates(ward, ann)) == 20


def test_what_a_sender_would_be_told_to_mend_is_kept_apart_once(ward: Ward, broker: Mosquitto) -> None:
    ward.admit("ann")
    nameless = b'{"code": "8867-4", "value": 61}'
    gaps = [ward.line(60, subject="Patient/ann") | {"seq": 2 * n} for n in range(1_010)]
    with following(subscriber(ward, broker)) as made:
        once(lambda: made._connection > 0, "connected")
        publish(broker, b"rubbish\n" + nameless, b"rubbish\n" + nameless, lines(*gaps))
        once(lambda: made.tally.stored == 1_010 and made.tally.quarantined == 2, str(made.tally))
    held = ward.live.quarantine(FILING)
    assert {one.source for one in held} == {"icu.monitor-7.apart"}
    assert sorted(one.content for one in held) == [b"rubbish", nameless]


def test_where_nothing_can_be_taken_the_broker_keeps_it(
    ward: Ward, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = ward.admit("ann")
    monkeypatch.setattr(quarantine, "MOST_OF_SOURCE", 0)
    with following(subscriber(ward, broker)) as made:
        once(lambda: made._connection > 0, "connected")
        publish(broker, lines(ward.line(61, subject="Patient/ann"), ward.line(62, subject="Patient/nobody")))
        time.sleep(0.5)
        with pytest.raises(QuarantineFull):
            ward.send(ward.line(1, subject="Patient/nobody"))
        assert rates(ward, ann) == []
    monkeypatch.undo()
    with following(subscriber(ward, broker)) as made:
        once(lambda: made.tally.stored == 1 and made.tally.quarantined == 1, "it was never acknowledged")
    assert rates(ward, ann) == [61]


def test_what_consent_refuses_is_not_kept_and_holds_nobody_up(ward: Ward, broker: Mosquitto) -> None:
    ann, ben = ward.admit("ann"), ward.admit("ben")
    ward.consent(ann, Provision(effect="deny", categories=(Category.VITALS,)))
    with following(subscriber(ward, broker)) as made:
        once(lambda: made._connection > 0, "connected")
        publish(broker, lines(ward.line(61, subject="Patient/ann"), ward.line(62, subject="Patient/ben")))
        once(lambda: made.tally.stored == 1 and made.tally.refused == 1, "both are answered")
    assert rates(ward, ben) == [62]
    assert not ward.live.quarantine(FILING)


def test_certificates_both_ways_and_a_broker_that_lets_nobody_in(ward: Ward, tmp_path: Path) -> None:
    ann = ward.admit("ann")
    make_certificates(tmp_path, 0)
    tls = [f"cafile {tmp_path}/ca.pem", f"certfile {tmp_path}/link.pem", f"keyfile {tmp_path}/link.key"]
    with brokering(tmp_path, *tls, "require_certificate true", "use_identity_as_username true") as broker:
        files = {"authority": tmp_path / "ca.pem", "certificate": tmp_path / "link.pem", "key": tmp_path / "link.key"}
        there = broker_at(f"mqtts://127.0.0.1:{broker.port}", **files)
        said: list[str] = []
        with following(Subscriber(ward.live, FILING, there, topic_of("icu/readings", "icu"), said.append)) as made:
            once(lambda: made._connection > 0, "connected")
            sender = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
            trusted = ssl.create_default_context(cafile=files["authority"])
            trusted.load_cert_chain(files["certificate"], files["key"])
            sender.tls_set_context(trusted)
            sender.connect("127.0.0.1", broker.port)
            sender.loop_start()
            sender.publish("icu/readings", lines(ward.line(61, subject="Patient/ann")), qos=1).wait_for_publish(_WAIT_S)
            sender.disconnect()
            sender.loop_stop()
            once(lambda: made.tally.stored == 1, "it came through TLS")
        assert rates(ward, ann) == [61]
    with brokering(tmp_path, "allow_anonymous false") as broker:
        made = subscriber(ward, broker)
        with pytest.raises(Unavailable, match="refuses"):
            made.follow(lambda: False)


def test_what_cannot_be_a_broker_or_a_topic_is_refused(tmp_path: Path) -> None:
    for url in ("http://h", "mqtt://elsewhere", "mqtts://", "mqtts://u@h", "mqtts://h/topic", "mqtts://h:99999"):
        with pytest.raises(BadInput):
            broker_at(url)
    with pytest.raises(BadInput):
        broker_at("mqtts://h", authority=tmp_path / "none")
    for topic in ("", "#", "a/#", "+/+", "a+/b", "$SYS/a", "x" * 2_000):
        with pytest.raises(BadInput):
            topic_of(topic, "icu")
    assert topic_of("a/+/b", "icu").source_of("a/m-1/b") == "icu.m-1"


def test_a_device_that_publishes_at_qos_0_throws_nobody_out(ward: Ward, broker: Mosquitto) -> None:
    ann = ward.admit("ann")
    with following(subscriber(ward, broker)) as made:
        once(lambda: made._connection > 0, "connected")
        publish(broker, lines(ward.line(61, subject="Patient/ann")), qos=0)
        once(lambda: made.tally.stored == 1, "taken")
        publish(broker, lines(ward.line(62, subject="Patient/ann")))
        once(lambda: made.tally.stored == 2, "what can be lost holds up nothing that cannot")
        assert made._connection == 1, "an acknowledgement of what has no number ends the connection"
    assert sorted(rates(ward, ann)) == [61, 62]


def test_who_is_told_that_another_took_its_session_does_not_take_it_back(ward: Ward, broker: Mosquitto) -> None:
    made = subscriber(ward, broker)
    made._on_disconnect(made._client, None, None, ReasonCode(PacketTypes.DISCONNECT, "Session taken over"), None)
    with pytest.raises(Unavailable, match="taken over"):
        made.follow(lambda: False)


def test_a_source_that_is_full_holds_up_no_other(
    ward: Ward, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = ward.admit("ann")
    monkeypatch.setattr(quarantine, "MOST_OF_SOURCE", 0)
    with following(subscriber(ward, broker)) as made:
        once(lambda: made._connection > 0, "connected")
        publish(broker, lines(ward.line(61, subject="Patient/nobody")), topic="icu/m-1/readings")
        once(lambda: bool(made._aside), "it is full")
        publish(broker, lines(ward.line(62, subject="Patient/ann")), topic="icu/m-2/readings")
        once(lambda: made.tally.stored == 1, "another one's is taken meanwhile")
        monkeypatch.undo()
        once(lambda: made.tally.quarantined == 1, "it is tried again")
    assert rates(ward, ann) == [62]


def test_messages_of_several_devices_that_make_more_than_one_batch_are_taken_whole(
    ward: Ward, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = ward.admit("ann")
    monkeypatch.setattr(reading_lines, "MAX_VALUES", 7)
    with following(subscriber(ward, broker)) as made:
        once(lambda: made._connection > 0, "connected")
    for number in range(10):  # few lines, and more values than a batch has
        at_ms, wave = ward.clock.now_ms() - 1_000 * (number + 1), {"periodMs": 4, "values": [number] * 3}
        publish(broker, lines(ward.line(None, subject="Patient/ann", at_ms=at_ms, series=wave)))
        other = ward.line(100 + number, subject="Patient/ann", at_ms=at_ms + 500)
        publish(broker, lines(other), topic="icu/monitor-8/readings")
    with following(subscriber(ward, broker)) as made:
        once(lambda: made.tally.stored == 20, "what is acknowledged is stored")
    assert sorted(rates(ward, ann)) == [number for number in range(10) for _ in range(3)] + list(range(100, 110))


def test_what_has_no_room_apart_holds_up_no_other_device_that_comes_with_it(
    ward: Ward, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = ward.admit("ann")
    monkeypatch.setattr(quarantine, "MOST_OF_SOURCE", 0)
    with following(subscriber(ward, broker)) as made:
        once(lambda: made._connection > 0, "connected")
    for number in range(5):
        publish(broker, lines(ward.line(60 + number, subject="Patient/ann")), topic="icu/monitor-8/readings")
        publish(broker, b"rubbish %d" % number)
    with following(subscriber(ward, broker)) as made:
        once(lambda: bool(made._aside), "what has no room waits")
        once(lambda: sorted(rates(ward, ann)) == [60, 61, 62, 63, 64], "the other is taken")
        monkeypatch.undo()
        once(lambda: made.tally.quarantined == 5, "it is tried again")


def test_a_source_whose_row_was_altered_holds_up_no_other(ward: Ward, broker: Mosquitto, tmp_path: Path) -> None:
    ann = ward.admit("ann")
    with following(subscriber(ward, broker)) as made:
        once(lambda: made._connection > 0, "connected")
        publish(broker, lines(ward.line(60, subject="Patient/ann")))
        once(lambda: made.tally.stored == 1, "its row is there")
        (path,) = tmp_path.rglob("live.db")
        with closing(sqlite3.connect(path)) as database, database:
            ((sealed,),) = database.execute("SELECT sealed FROM live_source").fetchall()
            database.execute("UPDATE live_source SET sealed = x'00'")
        publish(broker, lines(ward.line(61, subject="Patient/ann", at_ms=ward.clock.now_ms() - 2)))
        once(lambda: bool(made._aside), "it waits")
        other = ward.line(62, subject="Patient/ann", at_ms=ward.clock.now_ms() - 1)
        publish(broker, lines(other), topic="icu/monitor-8/readings")
        once(lambda: made.tally.stored == 2, "another one's is taken meanwhile")
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("UPDATE live_source SET sealed = ? WHERE sealed = x'00'", (sealed,))
        once(lambda: made.tally.stored == 3, "it is tried again")
    assert sorted(rates(ward, ann)) == [60, 61, 62]


def test_devices_together_are_no_more_than_a_batch(
    ward: Ward, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    ward.admit("ann")
    monkeypatch.setattr(reading_lines, "_OF_FILE", 6)
    together: list[int] = []
    taken = ward.live.intake.take_several

    def watched(context: AccessContext, several: Mapping[str, Sequence[Item]]) -> dict[str, list[Answer]]:
        together.append(sum(len(some) for some in several.values()))
        return taken(context, several)

    monkeypatch.setattr(ward.live.intake, "take_several", watched)
    with following(subscriber(ward, broker)) as made:
        once(lambda: made._connection > 0, "connected")
    for number in range(6):  # a line each, of three hours
        hours = {"periodMs": 3_600_000, "values": [number] * 3}
        one = ward.line(None, subject="Patient/ann", at_ms=ward.clock.now_ms() - 10_000_000 + number, series=hours)
        publish(broker, lines(one), topic=f"icu/monitor-{number}/readings")
    with following(subscriber(ward, broker)) as made:
        once(lambda: made.tally.stored == 6, "all are taken")
    assert max(together) <= 2
