"""``kill -9`` of what listens to HL7 and of what follows MQTT: what was acknowledged is there, once, on its patient."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.kills import kills
from tests.mosquitto import Mosquitto, brokering
from twinward.access.interfaces import NODE, AccessContext
from twinward.core.clock import iso
from twinward.core.config import Settings
from twinward.core.vocabulary import Category, Purpose, TwinId
from twinward.fhir.bulk.synthetic_patients import generate_cohort
from twinward.live.hl7.desk import Hl7Source
from twinward.live.hl7.framing import FrameReader, framed
from twinward.live.hl7.listener import MllpListener
from twinward.live.mqtt.broker import broker_at, topic_of
from twinward.live.mqtt.subscriber import Subscriber
from twinward.live.storage.database import LiveDatabase
from twinward.live.storage.series import SeriesSealer
from twinward.live.storage.tables import LIVE
from twinward.node import create_node, open_node
from twinward.node.hl7 import hl7_desk
from twinward.twins.models import DIRECTORY

pytestmark = pytest.mark.slow
KILLS = kills(4, 200)
FILING = AccessContext(NODE, Purpose.RECORD_MANAGEMENT)
_PROCESSES = multiprocessing.get_context("forkserver")
_MESSAGES = 12
"""Sent between two kills."""
JOURNAL, BEGAN = "acknowledged", "began"
_SNAPSHOT_S = 0.25
"""In which mosquitto writes one, at most: what it holds was acknowledged before that began."""
_ORDER = ("node", "sender", "broker", "node", "sender")


def listen(home: Path, port: int, pipe: Connection) -> None:
    """A victim: listens to HL7."""
    with open_node(home) as node:
        listener = MllpListener("127.0.0.1", port, hl7_desk(node, FILING, Hl7Source("lab")))
        pipe.send(listener.port)
        listener.serve(lambda: False)


def follow(home: Path, port: int, pipe: Connection) -> None:
    """A victim: follows a broker."""
    with open_node(home) as node:
        subscriber = Subscriber(
            node.live, FILING, broker_at(f"mqtt://127.0.0.1:{port}"), topic_of("icu/readings", "icu"), lambda _: None
        )
        pipe.send(port)
        subscriber.follow(lambda: False)


def send(home: Path, port: int, pipe: Connection) -> None:
    """A victim: a sender that keeps what it sent until the broker has acknowledged it, as one that must lose nothing.

    What it was told of is in a journal, with when; it begins anew with the number behind the last.
    """
    journal = os.open(home.parent / JOURNAL, os.O_CREAT | os.O_APPEND | os.O_RDWR)
    told_of = os.read(journal, 1 << 24).split()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    told = threading.Event()
    client.on_publish = lambda *_: told.set()
    client.connect_async("127.0.0.1", port)
    client.loop_start()
    pipe.send(port)
    number, began_ms, chance = (
        int(told_of[-2]) if told_of else 0,
        int((home.parent / BEGAN).read_text()),
        random.Random(),
    )
    while not pipe.poll():
        number += 1
        told.clear()
        client.publish("icu/readings", line(began_ms, number), qos=1)  # kept by the client where no broker is there
        told.wait()
        os.write(journal, b"%d %.3f\n" % (number, time.time()))
        time.sleep(chance.random() * 0.01)
    client.disconnect()
    client.loop_stop()


def line(began_ms: int, number: int) -> bytes:
    """A reading as one of the two devices publishes it."""
    reading = {"seq": number, "device": f"m-{number % 2}", "code": "8867-4", "unit": "/min", "value": 60}
    return json.dumps(reading | {"time": iso(began_ms + number * 10)}).encode()


@contextmanager
def victim(target: Callable[[Path, int, Connection], None], home: Path, port: int) -> Iterator[tuple[BaseProcess, int]]:
    """A process that is killed at the end."""
    ours, theirs = _PROCESSES.Pipe()
    process = _PROCESSES.Process(target=target, args=(home, port, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield process, ours.recv()
    finally:
        process.kill()
        process.join()
        ours.close()


class Bedside:
    """A home with two patients, a device each, and what was sent by each."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        node = create_node(Settings(home=self.home))
        imported = [(one, node.twins.ingest(FILING, one).twin) for one in generate_cohort(2, 1)]
        self.twins: list[TwinId] = [twin for one, twin in imported if one.reference != DIRECTORY]
        self.began_ms = node.clock.now_ms() - 600_000
        for number, twin in enumerate(self.twins):
            node.live.assign(FILING, f"m-{number}", twin, self.began_ms)
        node.close()
        self.sent = 0

    def next(self) -> tuple[int, int]:
        """The next measurement's number, and whose it is."""
        self.sent += 1
        return self.sent, self.sent % 2

    def stored(self) -> list[list[int]]:
        """Each patient's measurements, by their times."""
        found: list[list[int]] = [[], []]
        with open_node(self.home) as node, LiveDatabase(node.state(LIVE), node.keyring).reading() as tables:
            for number, twin in enumerate(self.twins):
                keys = node.keyring.keys(twin)
                tag = keys.category_tag(Category.VITALS)
                for row in tables.series.of(twin, tag, b"", first_ms=0, last_ms=self.began_ms + 10**9):
                    for run in SeriesSealer().open(keys, row):
                        times = [one.time_ms for one in run.columns().samples()]
                        found[number] += [(one - self.began_ms) // 10 for one in times]
        return found


def told(port: int, message: bytes, *, wait_s: float) -> bool:
    """Whether a message was answered AA in time."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=wait_s) as connection:
        connection.sendall(message)
        reader = FrameReader()
        while some := connection.recv(4096):
            if found := reader.feed(some):
                assert b"MSA|AA" in found[0], found[0]
                return True
    return False


@pytest.fixture
def bedside(tmp_path: Path) -> Bedside:
    made = Bedside(tmp_path)
    loaded = [one for one in sys.modules if one.startswith("twinward")]  # so that a victim is quickly on its feet
    _PROCESSES.set_forkserver_preload([__name__, *loaded])
    return made


def hl7(bedside: Bedside, number: int, device: int) -> bytes:
    stamp = iso(bedside.began_ms + number * 10)
    time_ = stamp[:23].replace("-", "").replace("T", "").replace(":", "") + "+0000"
    obx = f"OBX|1|NM|8867-4^^LN||{number % 100 + 50}|/min|||||F|||{time_}||||m-{device}"
    return framed(f"MSH|^~\\&|LAB|H|TW|H|{time_}||ORU^R01|{number}|P|2.5.1\r{obx}\r".encode())


def test_hl7(bedside: Bedside) -> None:
    chance, acknowledged, port, waiting = random.Random(3), set[int](), 0, b""
    number = 0
    for _ in range(KILLS):
        with victim(listen, bedside.home, port) as (_process, port):
            for place in range(chance.randrange(1, _MESSAGES)):
                if not waiting:
                    number, device = bedside.next()
                    waiting = hl7(bedside, number, device)
                if not told(port, waiting, wait_s=30 if place == 0 else chance.random() * 0.03 + 0.001):
                    break
                acknowledged.add(number)
                waiting = b""
    found = bedside.stored()
    everything = sorted(found[0] + found[1])
    assert len(everything) == len(set(everything)), "doubled"
    assert acknowledged <= set(everything), "lost"
    assert all(one % 2 == number for number, some in enumerate(found) for one in some), "misplaced"
    assert len(acknowledged) >= KILLS


def test_mqtt(bedside: Bedside, tmp_path: Path) -> None:
    with brokering(tmp_path) as broker:
        _begin_session(broker)
        published = _kill_while_publishing(bedside, broker, random.Random(4))
        with victim(follow, bedside.home, broker.port):
            deadline = time.monotonic() + 60
            while len(published.difference(*bedside.stored())) and time.monotonic() < deadline:
                time.sleep(0.2)
    found = bedside.stored()
    everything = sorted(found[0] + found[1])
    assert len(everything) == len(set(everything)), "doubled"
    assert set(everything) == published, "lost"
    assert all(one % 2 == number for number, some in enumerate(found) for one in some), "misplaced"


def _begin_session(broker: Mosquitto) -> None:
    """As the follower does when it first connects: from then on the broker keeps what it is not there for."""
    name = f"twinward-{FILING.principal.id}-icu"
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
    lasting = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    lasting.SessionExpiryInterval = 3600
    subscribed = threading.Event()
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect("127.0.0.1", broker.port, clean_start=False, properties=lasting)
    client.loop_start()
    client.subscribe("icu/readings", qos=1)
    assert subscribed.wait(30)
    client.disconnect()
    client.loop_stop()


def _kill_while_publishing(bedside: Bedside, broker: Mosquitto, chance: random.Random) -> set[int]:
    sender = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    sender.connect("127.0.0.1", broker.port)
    sender.loop_start()
    published = set[int]()
    for _ in range(KILLS):
        with victim(follow, bedside.home, broker.port):
            for _ in range(chance.randrange(1, _MESSAGES)):
                number, _device = bedside.next()
                sender.publish("icu/readings", line(bedside.began_ms, number), qos=1).wait_for_publish(30)
                published.add(number)
                time.sleep(chance.random() * 0.05)
    sender.disconnect()
    sender.loop_stop()
    return published


def test_mqtt_where_node_broker_and_sender_are_killed(bedside: Bedside, tmp_path: Path) -> None:
    """What mosquitto had acknowledged and not yet written when it was killed is its own loss, and nothing else is."""
    (tmp_path / BEGAN).write_text(str(bedside.began_ms))
    with brokering(tmp_path) as broker:
        _begin_session(broker)
        time.sleep(2.5)  # for a snapshot: a broker that is killed before forgets the session, and so all that comes
        risked = _kill_each(bedside, broker, random.Random(5))
        told_of = [one.split() for one in (tmp_path / JOURNAL).read_text().splitlines()]
        acknowledged = {int(number): float(at_s) for number, at_s in told_of}
        at_risk = {
            number for number, at_s in acknowledged.items() if any(first <= at_s <= last for first, last in risked)
        }
        with victim(follow, bedside.home, broker.port):
            deadline = time.monotonic() + 60
            while acknowledged.keys() - at_risk - set().union(*bedside.stored()) and time.monotonic() < deadline:
                time.sleep(0.2)
    found = bedside.stored()
    everything = sorted(found[0] + found[1])
    lost = acknowledged.keys() - set(everything)
    sys.stdout.write(
        f"{KILLS} kills, {len(risked)} of the broker; {len(acknowledged)} acknowledged, {len(everything)} stored;"
        f" {len(lost)} lost, of {len(at_risk)} acknowledged since a killed broker's last snapshot\n"
    )
    assert len(everything) == len(set(everything)), "doubled"
    ends = [last for _, last in risked]
    assert lost <= at_risk, [(one, [round(acknowledged[one] - end, 2) for end in ends]) for one in lost - at_risk]
    assert all(one % 2 == number for number, some in enumerate(found) for one in some), "misplaced"
    assert len(acknowledged) >= KILLS


def _kill_each(bedside: Bedside, broker: Mosquitto, chance: random.Random) -> list[tuple[float, float]]:
    """Kill one of the three at a time; since when and until when a killed broker may have told what it had not kept."""
    risked: list[tuple[float, float]] = []
    alive: dict[str, ExitStack] = {}
    targets = {"node": follow, "sender": send}
    with ExitStack() as everything:

        def start(name: str) -> None:
            alive[name] = everything.enter_context(ExitStack())
            alive[name].enter_context(victim(targets[name], bedside.home, broker.port))

        for name in targets:
            start(name)
        for place in range(KILLS):
            time.sleep(0.1 + chance.random() * 0.5)
            name = _ORDER[place % len(_ORDER)]
            if name != "broker":
                alive[name].close()
                start(name)
                continue
            broker.end(signal.SIGKILL)
            kept = broker.folder / "kept/mosquitto.db"
            since_s = kept.stat().st_mtime - _SNAPSHOT_S if kept.exists() else 0.0
            broker.start()
            risked.append((since_s, time.time()))  # the sender may note what it was told before with some delay
    return risked
