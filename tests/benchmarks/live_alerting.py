"""From a reading to its alert: a served node that takes thousands of readings a second from gateways over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from tests.benchmarks.harness import Benchmark, Figure, Row, Scale, Target, percentile
from tests.benchmarks.served import Home, Server, served
from twinward.access.interfaces import NODE, AccessContext, Principal
from twinward.core.clock import iso
from twinward.core.vocabulary import Purpose, Role, TwinId
from twinward.fhir.bulk.synthetic_patients import generate_cohort
from twinward.node import open_node
from twinward.twins.models import DIRECTORY

_GATEWAYS: Final = 25
_OF_GATEWAY: Final = 12
"""Patients."""
_EACH_S: Final = 0.24
"""Between two batches of one gateway: 25 of 48 readings in that time are 5,000 a second."""
_STREAMS: Final = 16
_WARM_S: Final = 5.0
_LEAD_S: Final = 1.0
"""In which streams begin, before the first reading."""
_SIGNALS: Final = {"8867-4": (72, "/min"), "59408-5": (97, "%"), "9279-1": (16, "/min"), "8480-6": (120, "mm[Hg]")}
_SATURATION: Final = "59408-5"
_FILING: Final = AccessContext(NODE, Purpose.RECORD_MANAGEMENT)


@dataclass
class _Told:
    """What was seen, in seconds since the moment of the measurement."""

    answered: list[float] = field(default_factory=list)
    alerted: list[float] = field(default_factory=list)
    streamed: list[float] = field(default_factory=list)
    readings: int = 0
    busy: int = 0


@dataclass(frozen=True)
class _Ward:
    """A home, its patients, and a token for each gateway."""

    home: Home
    twins: Sequence[TwinId]
    gateways: Sequence[str]


def alerting(scale: Scale) -> list[Row]:
    seconds = scale.pick(60, 10)
    ward = _furnished(scale)
    with served(*ward.home.serve()) as server:
        before, begun = server.cpu_s(), time.perf_counter()
        told = asyncio.run(_loaded(ward, server, seconds))
        took_s, spent_s = time.perf_counter() - begun, server.cpu_s() - before
    wanted = _GATEWAYS * 4 * _OF_GATEWAY / _EACH_S
    reached = told.readings / (took_s - _LEAD_S)
    short = "" if reached >= 0.98 * wanted else f"{reached:,.0f} readings/s"
    second = Target("p99 ≤ 1 s", "value", "most", 1.0, short)
    raw = {"readings": told.readings, "seconds": took_s, "busy": told.busy, "load": os.getloadavg()}
    rows = [
        Row("readings/s offered and answered", Figure(reached, "/s"), raw=raw),
        Row("the node's CPU, of one core", Figure(100 * spent_s / took_s, "%")),
    ]
    for what, some, target in (
        ("reading → alert on the patient's list", told.alerted, second),
        ("reading → sample on the event stream", told.streamed, second),
        ("reading → answered, durable", told.answered, None),
    ):
        p50 = {"count": len(some), "p50_s": percentile(some, 0.5) if some else None, "max_s": max(some, default=None)}
        rows.append(Row(f"{what}, p99", Figure(percentile(some, 0.99) if some else 0.0, "s"), target=target, raw=p50))
    return rows


def _furnished(scale: Scale) -> _Ward:
    home = Home.made(scale.folder / "home")
    with open_node(home.folder) as node:
        count = _GATEWAYS * _OF_GATEWAY
        made = [(one, node.twins.ingest(_FILING, one).twin) for one in generate_cohort(count, 1)]
        twins = [twin for one, twin in made if one.reference != DIRECTORY]
        for number, twin in enumerate(twins):
            node.live.assign(_FILING, f"m-{number}", twin)
        gateways = [
            node.accounts.add_system(Principal(f"gateway-{number}", Role.SYSTEM)) for number in range(_GATEWAYS)
        ]
    return _Ward(home, twins, gateways)


async def _loaded(ward: _Ward, server: Server, seconds: float) -> _Told:
    told, begin = _Told(), time.time() + _LEAD_S
    streams = [
        asyncio.create_task(_follow(ward, server, ward.twins[place * len(ward.twins) // _STREAMS], begin, told))
        for place in range(_STREAMS)
    ]
    sending = (_gateway(ward, server, number, begin, seconds, told) for number in range(_GATEWAYS))
    await asyncio.gather(*sending)
    for one in streams:
        one.cancel()
        with suppress(asyncio.CancelledError):
            await one
    return told


async def _gateway(ward: _Ward, server: Server, number: int, begin: float, seconds: float, told: _Told) -> None:
    """Send on time, or as soon as the last was answered; from time to time a patient's saturation falls."""
    connection = await asyncio.open_connection("127.0.0.1", server.port)
    looking: list[asyncio.Task[None]] = []
    batches, seq, low = int(seconds / _EACH_S), 0, set[int]()
    for place in range(batches):
        due = begin + (place + number / _GATEWAYS) * _EACH_S
        await asyncio.sleep(max(0.0, due - time.time()))
        is_counted = due - begin >= min(_WARM_S, seconds / 2)
        falls = (
            len(low) if is_counted and place % max(1, batches // _OF_GATEWAY) == 0 and len(low) < _OF_GATEWAY else None
        )
        if falls is not None:
            low.add(falls)
        body = _batch(number, due, seq, low)
        seq += 4 * _OF_GATEWAY
        while await _answered(connection, _post(ward.gateways[number], body)) != 200:
            told.busy += 1
            await asyncio.sleep(0.05)
        told.readings += 4 * _OF_GATEWAY
        if is_counted:
            told.answered.append(time.time() - due)
        if falls is not None:
            for one in looking:
                await one
            twin = ward.twins[number * _OF_GATEWAY + falls]
            looking = [asyncio.create_task(_look(server, ward.home.reader, twin, due, told))]
    for one in looking:
        await one
    connection[1].close()


def _batch(number: int, due: float, seq: int, low: set[int]) -> bytes:
    at, lines = iso(int(due * 1000)), []
    for patient in range(_OF_GATEWAY):
        for code, (value, unit) in _SIGNALS.items():
            seq += 1
            shown = 80 if code == _SATURATION and patient in low else value + seq % 3
            reading = {"seq": seq, "device": f"m-{number * _OF_GATEWAY + patient}", "code": code, "unit": unit}
            lines.append(json.dumps(reading | {"value": shown, "time": at}))
    return "\n".join(lines).encode()


def _post(token: str, body: bytes) -> bytes:
    head = "POST /api/1/readings?source=gw HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\n"
    return f"{head}authorization: Bearer {token}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _answered(connection: Connection, request: bytes) -> int:
    return (await _asked(connection, request))[0]


async def _asked(connection: Connection, request: bytes) -> tuple[int, bytes]:
    reader, writer = connection
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    return int(head[9:12]), await reader.readexactly(int(length[1]) if length else 0)


async def _look(server: Server, token: str, twin: TwinId, due: float, told: _Told) -> None:
    """Look at a patient's alerts until the one of the saturation is there."""
    asking = f"GET /api/1/twins/{twin}/alerts HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n"
    connection = await asyncio.open_connection("127.0.0.1", server.port)
    while True:
        status, body = await _asked(connection, asking.encode())
        if status != 200:
            raise RuntimeError(f"the server answered {status}")
        if any(one["rule"] == "spo2-low" for one in json.loads(body)["alerts"]):
            told.alerted.append(time.time() - due)
            connection[1].close()
            return
        await asyncio.sleep(0.02)


async def _follow(ward: _Ward, server: Server, twin: TwinId, begin: float, told: _Told) -> None:
    """Listen to a patient's saturation."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    path = f"/api/1/twins/{twin}/features/spo2/timeseries"
    head = f"GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n"
    writer.write(f"{head}authorization: Bearer {ward.home.reader}\r\n\r\n".encode())
    try:
        while line := await reader.readline():
            if line.startswith(b"data: ["):
                now = time.time()
                for one in json.loads(line[6:]):
                    at = datetime.fromisoformat(one["time"]).timestamp()
                    if at >= begin + _WARM_S:
                        told.streamed.append(now - at)
    finally:
        writer.close()


BENCHMARKS = (
    Benchmark(
        "live.alerting",
        "a served node: 25 gateways of 12 patients and 4 signals each send 48 readings every 240 ms (5,000 readings/s)"
        " for 60 s over HTTP; 16 event streams; each patient's saturation falls once: from the moment measured to the"
        " alert on the patient's list, and to the sample on a stream; clients in one process on the same cores",
        alerting,
        in_quick=False,
    ),
)
