"""A private round on the real deployment: Flower's SuperLink, SuperNodes and runners, and a daemon a hospital."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from tests.benchmarks.harness import Benchmark, Figure, Row, Scale, Target, percentile
from tests.flower_network import Network
from tests.integration.federation.kit import AllPaid, MemoryBudget, MemoryRegistry
from tests.tools import ROOT
from twinward.core.clock import FixedClock
from twinward.federation.aggregation.answered_rounds import AnsweredRounds
from twinward.federation.aggregation.secure_aggregation import HospitalIdentity
from twinward.federation.approval import Approvals
from twinward.federation.coordinator import Coordinator, Progress
from twinward.federation.daemon_site import DaemonSite
from twinward.federation.detectors import build_detector
from twinward.federation.invitation import Invitation
from twinward.federation.site import HospitalSite
from twinward.federation.site_socket import SocketChannel, SocketServer
from twinward.federation.stays.sources import SimulatedStays
from twinward.federation.study import StudyProtocol
from twinward.federation.study_desk import StudyDesk

FLOWER = ROOT / ".venv-flower/bin/python"
NAMES = ("anna", "bert", "cora", "dana", "emil")
STAYS = 2700
ROUNDS = 20
STOCK_ROUNDS = 3
_WAIT_S = 300


def rounds(scale: Scale) -> list[Row]:
    """Three and five hospitals; beside five, stock SecAgg+ of as long a vector over the same network."""
    three, five = (_rounds(scale.folder / str(hospitals), NAMES[:hospitals]) for hospitals in (3, 5))
    stock = _stock(scale.folder / "stock", len(NAMES), build_detector(_study(NAMES)).dimension)
    name = f"stock SecAgg+, zeros, TLS and authentication: median of {len(stock)}"
    beside = replace(five, baseline=Figure.of(stock, "s"), baseline_name=name)
    return [three, replace(beside, raw={**five.raw, "secagg_plus_rounds_s": stock})]


def _stock(folder: Path, hospitals: int, length: int) -> list[float]:
    folder.mkdir()
    command = [str(FLOWER), "-m", "tests.benchmarks.secagg_rounds", str(folder)]
    command += [str(hospitals), str(length), str(STOCK_ROUNDS)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    found: list[float] = json.loads(done.stdout.strip().splitlines()[-1])["rounds_s"]
    return found


def _study(names: Sequence[str]) -> StudyProtocol:
    return StudyProtocol.for_autoencoder("over-flower", tuple(names), rounds=ROUNDS)


def simulated(_: Scale) -> list[Row]:
    """A round of five hospitals on Flower's simulation engine: ours, and stock SecAgg+ of as long a vector."""
    ours, stock = (_on_ray(which) for which in ("ours", "stock"))
    stock_figure, measured = Figure.of(stock, "s"), Figure.of(ours, "s")
    tails = f"p95 {percentile(ours, 0.95):.2f} s; SecAgg+ {percentile(stock, 0.95):.2f} s"
    work = f"DP-VAR, 5 hospitals × 540 stays, side by side: median of {len(ours)} rounds, with noise; {tails}"
    raw = {"rounds_s": ours, "secagg_plus_rounds_s": stock}
    return [Row(work, measured, baseline=stock_figure, baseline_name="stock SecAgg+, zeros", raw=raw)]


def _on_ray(which: str) -> list[float]:
    python = ROOT / ".venv-simulation/bin/python"
    if not python.exists():
        raise RuntimeError("Flower's simulation engine is not installed: make simulation")
    command = [str(python), "-m", "tests.benchmarks.ray_rounds", which, "5", "5"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    found: list[float] = json.loads(done.stdout.strip().splitlines()[-1])["rounds_s"]
    return found


def _rounds(folder: Path, names: Sequence[str]) -> Row:
    folder.mkdir()
    study = _study(names)
    roster = {name: _identity(name).public_key for name in names}
    invitation = folder / "i.json"
    invitation.write_bytes(Invitation(study, roster, names[0], "marie").signed(_identity(names[0])))
    took: list[float] = []
    last = [0.0]

    def note(progress: Progress) -> None:
        now = time.perf_counter()
        if progress.stage == "training":
            took.append(now - last[0])
        last[0] = now

    with ExitStack() as stack:
        for name in names:
            _start_daemon(stack, folder, name, len(names))
        network = Network(folder, invitation, {name: folder / f"{name}.sock" for name in names})
        stack.callback(network.end)
        network.start()
        known = Approvals(folder / names[0], _identity(names[0]))
        sites = []
        for name in names:
            channel = SocketChannel(network.socket_of(name), _WAIT_S, _WAIT_S)
            stack.callback(channel.close)
            sites.append(DaemonSite(name, channel, _identity(names[0]), known))
        for site in sites:
            site.prepare(study)
        Coordinator(sites, MemoryBudget(), MemoryRegistry(), FixedClock(), progress=note).train(study)
        memory = max(network.memory_mib(name) for name in names)
    tail = percentile(took, 0.95)
    work = (
        f"LSTM autoencoder, {len(names)} hospitals × {STAYS // len(names)} stays over Flower, TLS and authentication: "
        f"median round of {ROUNDS} (one exchange each); p95 {tail:.2f} s; a runner holds {memory:.0f} MiB"
    )
    target = Target(
        "≤3 s median, ≤6 s p95, runner ≤150 MiB", "value", "most", 3, "" if len(names) == 5 else "3 hospitals"
    )
    return Row(work, Figure.of(took, "s"), target=target, raw={"rounds_s": took, "p95_s": tail, "runner_mib": memory})


def _start_daemon(stack: ExitStack, folder: Path, name: str, hospitals: int) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(folder, name, hospitals), daemon=True)
    process.start()
    stack.callback(process.kill)
    deadline = time.monotonic() + _WAIT_S
    while not (folder / f"{name}.sock").is_socket():
        if not process.is_alive() or time.monotonic() > deadline:
            raise RuntimeError(f"the daemon of {name} did not start")
        time.sleep(0.1)


def _serve(folder: Path, name: str, hospitals: int) -> None:
    """A hospital's daemon over simulated stays, everything paid: in a process of its own."""
    import torch

    torch.set_num_threads(1)
    home, identity = folder / name, _identity(name)
    home.mkdir()
    approvals = Approvals(home, identity)
    approved = approvals.keep((folder / "i.json").read_bytes(), "olga", 1)
    memory = AnsweredRounds(home / "studies.db")
    stays = SimulatedStays(STAYS // hospitals, NAMES.index(name))
    roster = approved.invitation.roster
    paid = AllPaid(tuple(roster))
    desk = StudyDesk(
        identity,
        approvals,
        lambda _: HospitalSite(identity, roster, stays, reservations=paid, answered=memory),
        pace_s=0.01,
    )
    SocketServer(folder / f"{name}.sock", desk.answer).serve()


def _identity(name: str) -> HospitalIdentity:
    return HospitalIdentity(name, hashlib.sha256(name.encode()).digest())


BENCHMARKS = (
    Benchmark(
        "federation.flower",
        "SuperLink, relay, SuperNodes and runners in flwr's environment (make flower), a daemon a hospital, all on this"
        " machine: from the model to the opened sum, real noise and masks; joining not timed; stock"
        " SecAgg+ (Flower's way: a process a message) trains nothing and adds no noise",
        rounds,
        in_quick=False,
    ),
    Benchmark(
        "federation.simulation",
        "Flower's simulation engine (make simulation), all hospitals on this machine: from the model to the opened sum;"
        " stock SecAgg+ trains nothing and adds no noise",
        simulated,
        in_quick=False,
    ),
)
