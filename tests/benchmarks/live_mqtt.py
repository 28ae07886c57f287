"""Readings through a real broker: how many a second until each is committed here and acknowledged to it."""

from __future__ import annotations

import json
import ssl
from collections.abc import Sequence
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter, process_time
from typing import Final

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from tests.benchmarks.harness import Benchmark, Figure, Row, Scale, Target
from tests.certificates import Authority
from tests.mosquitto import brokering
from twinward.access.interfaces import NODE, AccessContext
from twinward.core.clock import iso
from twinward.core.config import Settings
from twinward.core.vocabulary import Purpose
from twinward.fhir.bulk.synthetic_patients import generate_cohort
from twinward.live.mqtt.broker import broker_at, topic_of
from twinward.live.mqtt.subscriber import Subscriber
from twinward.node import create_node, open_node
from twinward.twins.models import DIRECTORY

_DEVICES: Final = 20
_IN_MESSAGE: Final = 20
_FILING: Final = AccessContext(NODE, Purpose.RECORD_MANAGEMENT)
_USUAL: Final = {"8867-4": (72, "/min"), "59408-5": (97, "%"), "9279-1": (16, "/min"), "8480-6": (120, "mm[Hg]")}
_PROCESSES: Final = get_context("spawn")
Message = tuple[str, bytes]


def delivering(scale: Scale) -> list[Row]:
    home = scale.folder / "home"
    begin = _furnished(home)
    files = Authority(scale.folder / "pki")
    broker_files, ours = files.issue("broker", server=True), files.issue("node")
    tls = [f"cafile {files.cert}", f"certfile {broker_files.cert}", f"keyfile {broker_files.key}"]
    sides = (str(files.cert), str(ours.cert), str(ours.key))
    batched, singly = scale.pick(200_000, 20_000), scale.pick(20_000, 2_000)
    rows = []
    with brokering(scale.folder, *tls, "require_certificate true", "use_identity_as_username true") as broker:
        first = 1
        for name, topic, count, in_message, least in (
            ("20 a message, a topic a device", "icu/+/readings", batched, _IN_MESSAGE, 20_000),
            ("one a message, a topic a device", "icu/+/readings", singly, 1, 2_000),
            ("one a message, one topic of a gateway", "gateway/readings", singly, 1, 2_000),
        ):
            figures, cpu = [], []
            for _ in range(scale.pick(3, 1)):
                messages = _messages(begin, first, count, in_message, topic)
                took_s, spent_s = _through(home, broker.port, sides, topic, messages, count)
                figures.append(count / took_s)
                cpu.append(spent_s / count * 1e6)
                first += count
            target = Target(f"≥ {least:,} readings/s", "value", "least", least)
            raw = {"readings": count, "node_cpu_us_a_reading": cpu}
            rows.append(Row(f"MQTT readings/s, {name}", Figure.of(figures, "/s"), target=target, raw=raw))
    return rows


def _furnished(home: Path) -> int:
    """A home with patients and a device each; from when on."""
    node = create_node(Settings(home=home))
    imported = [(one, node.twins.ingest(_FILING, one).twin) for one in generate_cohort(_DEVICES, 1)]
    begin = node.clock.now_ms() - 3_000_000
    twins = [twin for one, twin in imported if one.reference != DIRECTORY]
    for number, twin in enumerate(twins):
        node.live.assign(_FILING, f"m-{number}", twin, begin)
    node.close()
    return begin


def _messages(begin: int, first: int, count: int, in_message: int, topic: str) -> list[Message]:
    """Each device's readings in turn; each device numbers its own, or the gateway all of them."""
    codes, found = list(_USUAL), []
    numbers = iter(range(first, first + count))
    for place in range(count // in_message):
        device = f"m-{place % _DEVICES}"
        lines = []
        for seq in islice(numbers, in_message):
            code = codes[seq % len(codes)]
            value, unit = _USUAL[code]
            own = (
                seq
                if "+" not in topic
                else first + (seq - first) // in_message // _DEVICES * in_message + (seq - first) % in_message
            )
            reading = {"seq": own, "device": device, "code": code, "unit": unit, "value": value + seq % 3}
            lines.append(json.dumps(reading | {"time": iso(begin + seq)}))
        found.append((topic.replace("+", device), "\n".join(lines).encode()))
    return found


def _through(
    home: Path, port: int, sides: tuple[str, str, str], topic: str, messages: Sequence[Message], count: int
) -> tuple[float, float]:
    """Seconds from the first message's sending until the node has acknowledged the last, and the node's CPU."""
    ours, theirs = _PROCESSES.Pipe()
    node = _PROCESSES.Process(target=follow, args=(home, port, sides, topic, count, theirs))
    node.start()
    theirs.close()
    assert ours.recv() == "ready"
    sender_end, sender_own = _PROCESSES.Pipe()
    sender = _PROCESSES.Process(target=send, args=(port, sides, messages, sender_own))
    sender.start()
    sender_own.close()
    assert sender_end.recv() == "ready"
    begun = perf_counter()
    sender_end.send("go")
    spent_s, duplicates = ours.recv()
    took_s = perf_counter() - begun
    assert duplicates == 0
    sender.join()
    node.join()
    return took_s, spent_s


def follow(home: Path, port: int, sides: tuple[str, str, str], topic: str, count: int, pipe: Connection) -> None:
    """The node: follows until so many are stored and acknowledged."""
    with open_node(home) as node:
        authority, certificate, key = map(Path, sides)
        there = broker_at(f"mqtts://127.0.0.1:{port}", authority=authority, certificate=certificate, key=key)
        source = "icu" if "+" in topic else "gateway"
        made = Subscriber(node.live, _FILING, there, topic_of(topic, source), lambda _: None)
        made._client.on_subscribe = lambda *_: pipe.send("ready")
        spent_s = process_time()
        made.follow(lambda: made.tally.stored >= count)
        pipe.send((process_time() - spent_s, made.tally.duplicates))


def send(port: int, sides: tuple[str, str, str], messages: Sequence[Message], pipe: Connection) -> None:
    """The senders, as one: publishes at QoS 1."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    trusted = ssl.create_default_context(cafile=sides[0])
    trusted.load_cert_chain(sides[1], sides[2])
    client.tls_set_context(trusted)
    client.max_inflight_messages_set(500)
    client.connect("127.0.0.1", port)
    client.loop_start()
    pipe.send("ready")
    pipe.recv()
    for topic, payload in messages:
        last = client.publish(topic, payload, qos=1)
    last.wait_for_publish(300)
    client.disconnect()
    client.loop_stop()


BENCHMARKS = (
    Benchmark(
        "live.mqtt",
        "readings of 20 devices and 4 signals published at QoS 1 by another process, through mosquitto as shipped, TLS"
        " and client certificates both ways, to a node that follows: parsed, placed, permitted, sealed, rules followed,"
        " committed durably, acknowledged; from the first sent to the last acknowledged",
        delivering,
        in_quick=False,
    ),
)
