"""A served node under 32 clients over sockets, beside the same server with a handler that does nothing."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.benchmarks.harness import Benchmark, Figure, Ratio, Row, Scale, Target, percentile
from tests.benchmarks.http import FHIR, observation, transaction
from twinward.access.interfaces import Principal
from twinward.core.vocabulary import Role
from twinward.node import open_node

CLIENTS: Final = 32
ROOT: Final = Path(__file__).resolve().parents[2]
_NOTHING: Final = """
from fastapi import FastAPI, Request
from twinward.cli.server import listen, server_of

app = FastAPI()

@app.api_route("/fhir/{path:path}", methods=["GET", "POST"])
async def nothing(request: Request) -> dict[str, bool]:
    return {"read": bool(await request.body())}

listener = listen("127.0.0.1", 0)
print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
server_of(app).run(sockets=[listener])
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A process that serves."""

    pid: int
    port: int

    def cpu_s(self) -> float:
        """What it has used, all its threads, in user and kernel."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mb(self) -> float:
        """What it holds in memory."""
        said = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text(encoding="ascii"))
        return int(said[1]) / 1024 if said else 0.0


@contextmanager
def served(*command: str) -> Iterator[Server]:
    """A process that says where it listens in its first line."""
    # As installed: with what was compiled the first time.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT, env=env
    )
    try:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:(\d+)", process.stdout.readline())
        assert found
        yield Server(process.pid, int(found[1]))
    finally:
        process.kill()
        process.communicate()


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of all clients measured."""

    requests: int
    wall_s: float
    cpu_s: float
    latencies_s: Sequence[float]


def load(server: Server, requests: Sequence[bytes], clients: int = CLIENTS) -> Load:
    """Send these requests, so many at a time, each client one after the other on its connection."""
    latencies: list[float] = []

    async def one_client(some: Sequence[bytes]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for request in some:
            began = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head[9:12])
            if status not in (200, 201):
                raise RuntimeError(f"the server answered {status}")
            length = re.search(rb"content-length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
            latencies.append(time.perf_counter() - began)
        writer.close()

    async def all_clients() -> None:
        await asyncio.gather(*(one_client(requests[start::clients]) for start in range(clients)))

    cpu, wall = server.cpu_s(), time.perf_counter()
    asyncio.run(all_clients())
    return Load(len(requests), time.perf_counter() - wall, server.cpu_s() - cpu, latencies)


def request(method: str, path: str, token: str, body: bytes = b"") -> bytes:
    """The bytes of one request."""
    head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n"
    kind = f"content-type: {FHIR.decode()}\r\ncontent-length: {len(body)}\r\n" if body else ""
    return f"{head}{kind}\r\n".encode() + body


@dataclass(frozen=True, slots=True)
class Home:
    """A node's folder, with accounts for a ward's system and a clinician's program."""

    folder: Path
    writer: str
    reader: str

    @classmethod
    def made(cls, folder: Path) -> Home:
        """A new one."""
        options = ["--home", str(folder), "--tenant", "bench", "--hospital", "Bench"]
        subprocess.run(
            [sys.executable, "-m", "twinward", "node", "init", *options], check=True, stdout=subprocess.DEVNULL
        )
        with open_node(folder) as node:
            tokens = [node.accounts.add_system(Principal(role.value, role)) for role in (Role.SYSTEM, Role.CLINICIAN)]
        return cls(folder, *tokens)

    def serve(self) -> tuple[str, ...]:
        """The command that serves it."""
        return "-m", "twinward", "node", "serve", "--port", "0", "--checkpoint-every", "0", "--home", str(self.folder)


def serving(scale: Scale) -> list[Row]:
    count, times = scale.pick(1_600, 320), scale.pick(5, 2)
    home = Home.made(scale.folder / "home")
    patients = [str(uuid.uuid4()) for _ in range(CLIENTS)]
    creates = [
        request("POST", "/fhir/Observation", home.writer, json.dumps(observation(one)).encode()) for one in patients
    ] * (count // CLIENTS)
    reads = [request("GET", f"/fhir/Patient/{one}", home.reader) for one in patients] * (count // CLIENTS)
    taken: dict[str, list[Load]] = {"read": [], "create": [], "nothing": []}
    with served(*home.serve()) as node, served("-c", _NOTHING) as nothing:
        for one in patients:
            load(node, [request("POST", "/fhir", home.writer, transaction({"resourceType": "Patient", "id": one}))], 1)
        for number in range(times + 1):
            loads = {"read": load(node, reads), "create": load(node, creates), "nothing": load(nothing, creates)}
            for name, one in loads.items():
                if number:  # the first one warms
                    taken[name].append(one)
    return [row for name, least in (("read", 1_200.0), ("create", 500.0)) for row in _rows(name, least, taken)]


def _rows(name: str, least: float, taken: dict[str, list[Load]]) -> list[Row]:
    work = f"{name} at {CLIENTS} clients over sockets"
    ours, theirs = taken[name], taken["nothing"]
    costs, baseline = ([one.cpu_s / one.requests for one in some] for some in (ours, theirs))
    slowest = [percentile(one.latencies_s, 0.99) for one in ours]
    at_least, at_most = f"≥{least:,.0f} a second", "≤150 ms"
    return [
        Row(
            f"{work}, a second",
            Figure.of([one.requests / one.wall_s for one in ours], "/s"),
            Figure.of([one.requests / one.wall_s for one in theirs], "/s"),
            "no-op handler",
            target=Target(at_least, "value", "least", least),
        ),
        Row(
            f"{work}, the server's CPU",
            Figure.of(costs, "µs", 1e6),
            Figure.of(baseline, "µs", 1e6),
            "no-op handler",
            Ratio.between(costs, baseline, "times"),
        ),
        Row(
            f"{work}, 99th percentile",
            Figure.of(slowest, "ms", 1e3),
            target=Target(at_most, "value", "most", 150.0),
        ),
    ]


def starting(scale: Scale) -> list[Row]:
    times = scale.pick(5, 2)
    home = Home.made(scale.folder / "home")
    cpu: list[float] = []
    memory: list[float] = []
    for number in range(times + 1):
        with served(*home.serve()) as node:
            load(node, [request("GET", "/ready", home.reader)])
            if number:  # the first one compiles
                cpu.append(node.cpu_s())
                memory.append(node.resident_mb())
    return [
        Row("node serve until it answers, CPU", Figure.of(cpu, "s"), target=Target("≤1.0 s", "value", "most", 1.0)),
        Row("its memory then", Figure.of(memory, "MB"), target=Target("≤120 MB", "value", "most", 120.0)),
    ]


BENCHMARKS = (
    Benchmark(
        "vault.served",
        "twinward node serve in a process of its own, its heartbeat and log check as usual, 32 clients in this process"
        " (the same two cores): a Patient read, and a new Observation of one of 32 patients; against the same server"
        " with a FastAPI handler that reads the body",
        serving,
        in_quick=False,
    ),
    Benchmark(
        "vault.start",
        "twinward node serve of a new home until /ready answers, all compiled before; no baseline",
        starting,
        in_quick=False,
    ),
)
