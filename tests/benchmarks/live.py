"""Live readings: taken in by batches and one at a time, bytes at rest, a day read by the minute."""

from __future__ import annotations

import json
import random
import selectors
import socket
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import count
from multiprocessing import get_context
from threading import Event, Thread
from time import perf_counter
from typing import cast

from tests.benchmarks.harness import Arm, Benchmark, Figure, Row, Scale, Target, race, versus
from tests.integration.live.test_hl7 import Interface, pid, rate
from tests.integration.live.ward import CARING, FILING, Ward
from twinward.core.clock import iso
from twinward.live.hl7.framing import FrameReader, framed
from twinward.live.hl7.listener import MllpListener
from twinward.live.intake.lines import read_lines
from twinward.live.timeseries import Span

_DAY_MS = 86_400_000
_USUAL = {"8867-4": (72, "/min"), "59408-5": (97, "%"), "9279-1": (16, "/min"), "8480-6": (120, "mm[Hg]")}
_PATIENTS = 20


def _plain(scale: Scale) -> sqlite3.Connection:
    """What a platform without permits, places and keys would do: a row a reading, every commit on the disk."""
    plain = sqlite3.connect(scale.folder / "plain.db")
    plain.execute("PRAGMA journal_mode = WAL")
    plain.execute("PRAGMA synchronous = FULL")
    plain.execute("CREATE TABLE reading (source, seq, device, code, value, unit, time, PRIMARY KEY (source, seq))")
    return plain


def taking(scale: Scale) -> list[Row]:
    size = scale.pick(2_000, 500)
    ward, plain, numbers = Ward(scale.folder), _plain(scale), count(1)
    begin = ward.clock.now_ms() - 3_000_000
    for patient in range(_PATIENTS):
        ward.live.assign(FILING, f"m-{patient}", ward.admit(f"p{patient}"), begin)
    codes = list(_USUAL)

    def batch(lines: int) -> bytes:
        made = []
        for place in range(lines):
            seq, code = next(numbers), codes[place % len(codes)]
            value, unit = _USUAL[code]
            reading = {"seq": seq, "device": f"m-{place // len(codes) % _PATIENTS}", "code": code, "unit": unit}
            made.append(json.dumps(reading | {"value": value + seq % 3, "time": iso(begin + seq)}))
        return "\n".join(made).encode()

    def sealed(lines: int) -> object:
        return ward.live.intake.take(FILING, "gateway", read_lines(batch(lines)))

    def in_the_clear(lines: int) -> None:
        fields = ("seq", "device", "code", "value", "unit", "time")
        rows = [["gateway", *map(json.loads(one).get, fields)] for one in batch(lines).splitlines()]
        with plain:
            plain.executemany("INSERT INTO reading VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    arms = [Arm("intake", lambda: sealed(size), size), Arm("plain rows", lambda: in_the_clear(size), size)]
    timed = race(arms, scale.pick(9, 3))
    singly = [Arm("intake, singly", lambda: sealed(1)), Arm("plain rows, singly", lambda: in_the_clear(1))]
    timed |= race(singly, scale.pick(200, 50), collect=False)
    ward.close()
    plain.close()
    many = Target("≥20,000 readings/s in batches (≤ 50 µs each)", "value", "most", 50)
    one = Target("≥2,000 readings/s singly (≤ 500 µs each)", "value", "most", 500)
    unit = {"unit": "µs", "scale": 1e6, "kind": "times"}
    return [
        versus(f"batches of {size}, a reading", timed, "intake", "plain rows", clock="wall", target=many, **unit),  # type: ignore[arg-type]
        versus("one reading, durable", timed, "intake, singly", "plain rows, singly", clock="wall", target=one, **unit),  # type: ignore[arg-type]
    ]


def reading(scale: Scale) -> list[Row]:
    seconds = scale.pick(86_400, 7_200)
    ward = Ward(scale.folder)
    twin = ward.admit("ann")
    now = ward.clock.now_ms()
    chance, beats = random.Random(1), [70.0]
    while len(beats) < seconds:  # a walk that comes back to 70, rounded to a whole beat and noisy by one
        beats.append(beats[-1] + chance.gauss(0, 0.5) + (70 - beats[-1]) / 50)
    beats = [float(round(one + chance.gauss(0, 1))) for one in beats]
    for start in range(0, seconds, 3_600):
        series = {"periodMs": 1000, "values": beats[start : start + 3_600]}
        ward.send(ward.line(subject="Patient/ann", value=None, series=series, at_ms=now - (seconds - start) * 1000))
    ward.live.closing.run(now=True)
    with ward.database.reading() as tables:
        size = tables.series.size_bytes() / seconds
    span = Span(now - seconds * 1000, now, 60_000)
    listed = [(now - (seconds - place) * 1000, value) for place, value in enumerate(beats)]

    def plainly() -> object:
        sums: dict[int, list[float]] = {}
        for time, value in listed:
            sums.setdefault(time // 60_000, []).append(value)
        return [sum(some) / len(some) for some in sums.values()]

    arms = [
        Arm("timeseries by minutes", lambda: ward.live.series(CARING, twin, "heart_rate", span)),
        Arm("means of a list in memory", plainly),
    ]
    timed = race(arms, scale.pick(11, 3))
    ward.close()
    short = "" if seconds == 86_400 else f"{seconds:,} s, not a day"
    day = Target("≤ 50 ms", "value", "most", 50, short_of=short)
    pair = ("timeseries by minutes", "means of a list in memory")
    return [
        versus(f"{seconds:,} s at 1 Hz by minutes", timed, *pair, clock="wall", unit="ms", scale=1e3, target=day),
        Row("bytes a sample at rest, 1 Hz", Figure(size, "B"), target=Target("≤ 4 B", "value", "most", 4)),
    ]


def messaging(scale: Scale) -> list[Row]:
    """HL7 results of many senders at once, and of one: each answered once it is durable."""
    size, senders = scale.pick(1_600, 160), 32
    ward = Ward(scale.folder)
    interface = Interface(ward)
    desk = interface.desk
    for number in range(20):
        desk.answer(interface.message("ADT^A04", pid(str(number + 1))))

    def messages() -> list[bytes]:
        times = [interface.at(1_000 * (size - number)) for number in range(size)]
        return [
            interface.message("ORU^R01", *rate(60 + number % 40, str(number % 20 + 1), at))
            for number, at in enumerate(times)
        ]

    def at_once() -> float:
        some, begun = messages(), perf_counter()
        with ThreadPoolExecutor(senders) as pool:
            answers = list(pool.map(desk.answer, some))
        assert all(b"MSA|AA" in one for one in answers)
        return size / (perf_counter() - begun)

    def one_by_one() -> float:
        some, begun = messages()[: size // 8], perf_counter()
        assert all(b"MSA|AA" in desk.answer(one) for one in some)
        return len(some) / (perf_counter() - begun)

    def over_sockets() -> float:
        listener, stopped = MllpListener("127.0.0.1", 0, desk), Event()
        serving = Thread(target=listener.serve, args=(stopped.is_set,))
        serving.start()
        with ProcessPoolExecutor(1, get_context("spawn")) as elsewhere:
            took_s = elsewhere.submit(send_all, listener.port, messages(), senders).result()
        stopped.set()
        serving.join()
        return size / took_s

    rounds = range(scale.pick(3, 1))
    found = [max(measured() for _ in rounds) for measured in (at_once, one_by_one, over_sockets)]
    ward.close()
    most = Target("≥ 500 messages/s", "value", "least", 500)
    return [
        Row(f"HL7 messages/s, {senders} senders at once", Figure(found[0], "/s"), target=most),
        Row(f"HL7 messages/s over MLLP, {senders} senders that wait each", Figure(found[2], "/s"), target=most),
        Row("HL7 messages/s, one sender that waits for each answer", Figure(found[1], "/s")),
    ]


def send_all(port: int, some: Sequence[bytes], connections: int) -> float:
    """Seconds in which messages are sent and acknowledged, each connection waiting for each answer."""
    waiting, answered = list(reversed(some)), 0
    lines = selectors.DefaultSelector()
    for number in range(connections):  # 16 of one address
        line = socket.create_connection(("127.0.0.1", port), source_address=(f"127.0.0.{2 + number // 16}", 0))
        lines.register(line, selectors.EVENT_READ, FrameReader())
    begun = perf_counter()
    for key in list(lines.get_map().values()):
        cast("socket.socket", key.fileobj).sendall(framed(waiting.pop()))
    while answered < len(some):
        for key, _ in lines.select():
            line = cast("socket.socket", key.fileobj)
            for answer in key.data.feed(line.recv(65_536)):
                assert b"MSA|AA" in answer
                answered += 1
                if waiting:
                    line.sendall(framed(waiting.pop()))
    took_s = perf_counter() - begun
    for key in list(lines.get_map().values()):
        cast("socket.socket", key.fileobj).close()
    return took_s


def watching(scale: Scale) -> list[Row]:
    """A ward's page and one patient's, as the console makes them but for HTML: every patient an access."""
    ward, patients = Ward(scale.folder), scale.pick(40, 8)
    twins = []
    for number in range(patients):
        twins.append(ward.admit(f"p{number}"))
        ward.live.assign(FILING, f"m-{number}", twins[-1])
        lines = [ward.line(70, device=f"m-{number}"), ward.line(86, code="59408-5", device=f"m-{number}")]
        ward.send(*lines)
    now = ward.clock.now_ms()

    def first() -> object:
        ward.clock.advance(11 * 60_000)  # what was given for ten minutes has ended
        return ward.live.ward.patients(CARING)

    ward.live.ward.patients(CARING)
    timed = race(
        [
            Arm("ward page, first look", first),
            Arm("ward page, shown anew", lambda: ward.live.ward.patients(CARING)),
            Arm("one patient's page", lambda: ward.live.ward.patient(CARING, twins[0], now - 6 * 3_600_000, now + 1)),
        ],
        scale.pick(11, 3),
    )
    ward.close()
    pairs = (("ward page, first look", "ward page, shown anew"), ("one patient's page", "ward page, shown anew"))
    return [
        versus(f"{one}, {patients} patients", timed, one, other, clock="wall", unit="ms", scale=1e3)
        for one, other in pairs
    ]


BENCHMARKS = (
    Benchmark(
        "live.hl7",
        "ORU^R01 of one heart rate, 20 patients: read, looked up, placed, permitted, sealed, rules followed, committed"
        " durably, answered; 32 senders at once share commits; over MLLP: senders in a process of their own, loopback",
        messaging,
    ),
    Benchmark(
        "live.ward",
        "40 patients with a monitor and an alert each: leave to see each decided and logged (first look), and opened;"
        " without HTML",
        watching,
    ),
    Benchmark(
        "live.intake",
        "readings of 20 devices and 4 signals from NDJSON: parsed, placed, permitted, sealed, committed durably; in"
        " plaintext: rows in SQLite, WAL, synchronous",
        taking,
    ),
    Benchmark(
        "live.series",
        "a noisy walk of heart beats at 1 Hz, in whole numbers, its hours closed: decided, logged, opened, aggregated;"
        " the size of its envelopes",
        reading,
    ),
)
