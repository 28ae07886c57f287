"""A study over Flower's own network in real processes: TLS, SuperNode authentication, kill -9 of each part."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from tests.flower_network import Network, python
from tests.integration.federation.daemons import EAST, Daemons, invitation_to, protocol
from tests.integration.federation.kit import HOSPITALS, MemoryBudget, MemoryRegistry
from tests.tools import ROOT
from twinward.core.clock import FixedClock
from twinward.core.errors import TwinwardError
from twinward.federation.coordinator import Coordinator, Progress
from twinward.federation.daemon_site import DaemonSite
from twinward.federation.errors import RoundAborted
from twinward.federation.site_socket import SocketChannel

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

_GRID = """
import threading, time
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity
from twinward.federation.aggregation.secure_aggregation import HospitalIdentity
from twinward.federation.flower import server_app
from twinward.federation.flower.mail import Mail
from twinward.federation.flower.private_runner import ANSWER, DATA, REQUEST
from twinward.federation.site_envelope import greet, is_greeting

server_app._LOOK_AGAIN_S = 0.05
TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
there = HospitalIdentity("there", bytes(32))

class TwoNodes:
    nodes, answering, sent = [1, 2], {2}, {}

    def push_messages(self, messages):
        for one in messages:
            one.metadata.__dict__["_message_id"] = one.object_id
            self.sent[one.object_id] = one
        return [one.metadata.message_id for one in messages]

    def pull_messages(self, wanted):
        for number in wanted:
            asked = self.sent[number]
            data = asked.content[REQUEST][DATA]
            if asked.metadata.dst_node_id in self.answering:
                said = greet(there, data) if is_greeting(data) else b"answer"
                yield Message(RecordDict({ANSWER: ConfigRecord({DATA: said})}), reply_to=asked)

def looking(hospitals):
    while True:
        hospitals.look()
        time.sleep(0.05)

grid = TwoNodes()
"""

STUDY = protocol("over-flower", rounds=5)


SILENT = protocol("one-is-silent")


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[Daemons]:
    with ExitStack() as stack:
        made = Daemons(tmp_path)
        for name in HOSPITALS:
            stack.callback(lambda name=name: made.servers[name].close())
        yield made


def test_a_study_over_flower_goes_on_when_each_part_is_killed(daemons: Daemons, tmp_path: Path) -> None:
    daemons.approve(STUDY)
    invitation = tmp_path / "i.json"
    invitation.write_bytes(invitation_to(STUDY))
    network = Network(tmp_path, invitation, {name: tmp_path / f"{name}.sock" for name in HOSPITALS})
    killed = []

    def kill(progress: Progress) -> None:
        step = (progress.stage, progress.done)
        if step == ("training", 1):
            daemons.restart("north")
        elif step == ("training", 2):
            network.kill_runner("south")
            network.start_node("south")
        elif step == ("training", 3):
            os.kill(network.superlink(), signal.SIGKILL)
        else:
            return
        killed.append(step)

    channels = [SocketChannel(network.socket_of(name), 300, 300) for name in HOSPITALS]
    try:
        network.start()
        sites = [
            DaemonSite(name, channel, EAST, daemons.approvals("east"))
            for name, channel in zip(HOSPITALS, channels, strict=True)
        ]
        for site in sites:
            site.prepare(STUDY)
        assert max(network.memory_mib(name) for name in HOSPITALS) < 150
        budget = MemoryBudget()
        model = Coordinator(sites, budget, MemoryRegistry(), FixedClock(), progress=kill).train(STUDY).model
    except TwinwardError as error:
        said = "\n".join(f"--- {name}\n{network.said(name)[-3000:]}" for name in network.processes)
        pytest.fail(f"after {killed}: {error}\n{said}")
    finally:
        for channel in channels:
            channel.close()
        network.end()
    assert len(killed) == 3
    assert budget.settled == {1: "committed"}
    assert np.isfinite(model.parameters).all()


def test_a_supernode_that_stays_connected_and_never_answers_stops_a_study_by_name(
    daemons: Daemons, tmp_path: Path
) -> None:
    daemons.approve(SILENT)
    invitation = tmp_path / "i.json"
    invitation.write_bytes(invitation_to(SILENT))
    network = Network(tmp_path, invitation, {name: tmp_path / f"{name}.sock" for name in HOSPITALS})
    with ExitStack() as stack:
        stack.callback(network.end)
        network.start()

        def sites(answer_s: float) -> list[DaemonSite]:
            channels = {name: SocketChannel(network.socket_of(name), answer_s, 300) for name in HOSPITALS}
            for channel in channels.values():
                stack.callback(channel.close)
            return [DaemonSite(name, one, EAST, daemons.approvals("east")) for name, one in channels.items()]

        for site in sites(120):
            site.prepare(SILENT)
        stopped = network.supernode("south")
        os.kill(stopped, signal.SIGSTOP)
        stack.callback(os.kill, stopped, signal.SIGCONT)
        with pytest.raises(RoundAborted, match=r"^south dropped out.*: 3 of 3 hospitals are needed"):
            Coordinator(sites(15), MemoryBudget(), MemoryRegistry(), FixedClock()).train(SILENT)


def test_a_node_that_is_silent_holds_up_nobody_and_one_that_went_is_waited_for_a_bounded_time() -> None:
    """A grid of two nodes: one answers nothing, the other greets, and then goes in the middle of a message."""
    done = subprocess.run([python(), "-c", _SILENT_NODE], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split("\n")[:-1] == ["there: True", "b'answer'", "deaf is not connected", "there did not answer"]


_SILENT_NODE = (
    _GRID
    + """
server_app._CONNECTED_S = 0.3
roster = {"there": there.public_key, "deaf": bytes(32)}
hospitals = server_app.Hospitals(Mail(grid), roster, lambda: grid.nodes)
threading.Thread(target=looking, args=(hospitals,), daemon=True).start()
deadline = time.monotonic() + 30
while hospitals._node("there", 0) is None and time.monotonic() < deadline:
    time.sleep(0.02)
print("there:", hospitals._node("there", 0) == 2)
print(hospitals.ask("there", b"question"))
for name in ("deaf", "there"):
    grid.answering = set()
    threading.Timer(0.2, lambda: grid.nodes.clear()).start()
    try:
        hospitals.ask(name, b"question")
    except ConnectionError as error:
        print(error)
    grid.nodes[:] = [1, 2]
    grid.answering = {2}
    hospitals._node("there", 10)
"""
)


def test_of_two_nodes_that_sign_for_one_hospital_the_first_keeps_the_seat_until_it_is_silent() -> None:
    """Both answer everything: nothing alternates. Then the first is silent, or goes; then the second sits."""
    done = subprocess.run([python(), "-c", _TWO_SEATS], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split("\n")[:-1] == [
        *(
            "{1}",
            "two SuperNodes sign for there: 1 was first and has its seat; 2 is refused until that one is silent 1",
        ),
        *("while at a question: {1}", "while silent: {1}", "after: {2}", "back: {2}", "gone: {None}", "after: {1}"),
    ]


_TWO_SEATS = (
    _GRID
    + """
server_app._STRANGE_S = 0.2
server_app.SILENT_S = 1.0
told = []
grid.nodes, grid.answering = [1], {1, 2}
hospitals = server_app.Hospitals(Mail(grid), {"there": there.public_key}, lambda: list(grid.nodes), told.append)
threading.Thread(target=looking, args=(hospitals,), daemon=True).start()

def sits(wanted=None, within_s=30.0):
    seen, deadline = set(), time.monotonic() + within_s
    while time.monotonic() < deadline:
        seen.add(hospitals._node("there", 0))
        if wanted is not None and wanted in seen:
            return {wanted}
        time.sleep(0.01)
    return seen

sits(1, 10)
grid.nodes = [1, 2]
print(sits(within_s=2.0))
print(told[0].removesuffix(" for 1 s"), len(told))
grid.answering = {2}
asking = threading.Thread(target=hospitals.ask, args=("there", b"question"), daemon=True)
asking.start()
print("while at a question:", sits(within_s=2.5))
grid.answering = {1, 2}
asking.join(10)
grid.answering = {2}
print("while silent:", sits(within_s=0.5))
print("after:", sits(2, 10))
grid.answering = {1, 2}
print("back:", sits(within_s=1.5))
grid.nodes = [1]
sits(None, 0.3)
print("gone:", sits(within_s=0.4))
print("after:", sits(1, 10))
"""
)


def test_who_answers_as_another_hospital_does_not_keep_a_seat() -> None:
    """The first signs for one hospital once, and from then on for another: the second has the seat."""
    done = subprocess.run([python(), "-c", _OTHER_NAME], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["1", "2"]


_OTHER_NAME = (
    _GRID
    + """
server_app._STRANGE_S = 0.2
server_app.SILENT_S = 0.5
other = HospitalIdentity("other", bytes([1] * 32))

class Turning(TwoNodes):
    turned = False

    def pull_messages(self, wanted):
        for number in wanted:
            asked = self.sent[number]
            turned = self.turned and asked.metadata.dst_node_id == 1
            said = greet(other if turned else there, asked.content[REQUEST][DATA])
            yield Message(RecordDict({ANSWER: ConfigRecord({DATA: said})}), reply_to=asked)

grid = Turning()
grid.nodes = [1]
roster = {"there": there.public_key, "other": other.public_key}
hospitals = server_app.Hospitals(Mail(grid), roster, lambda: list(grid.nodes))
threading.Thread(target=looking, args=(hospitals,), daemon=True).start()

def sits(wanted):
    deadline = time.monotonic() + 20
    while hospitals._node("there", 0) != wanted and time.monotonic() < deadline:
        time.sleep(0.02)
    return hospitals._node("there", 0)

print(sits(1))
grid.turned, grid.nodes = True, [1, 2]
print(sits(2))
"""
)


def test_what_flower_does_not_promise_to_keep_is_as_it_was_read() -> None:
    """When this fails, flwr changed a function that Twinward uses though it is private: read it anew."""
    program = (
        "import hashlib, inspect, json\n"
        "from twinward.federation.flower import private_pulls, private_runner, private_waits\n"
        "read = {one.__module__ + '.' + one.__qualname__: hashlib.sha256(inspect.getsource(one).encode()).hexdigest()\n"
        "        for one in (*private_pulls.CONTRACT, *private_runner.CONTRACT, *private_waits.CONTRACT)}\n"
        "print(json.dumps(read))\n"
    )
    done = subprocess.run([python(), "-c", program], capture_output=True, text=True, check=True)
    kept = json.loads((ROOT / "tests/vectors/flower/private.json").read_text())
    assert json.loads(done.stdout) == kept


def test_the_runner_loads_no_vault_and_nothing_that_trains() -> None:
    program = (
        "import sys\n"
        "from twinward.cli.main import app\n"
        "import twinward.cli.site.flower, twinward.federation.flower.runner\n"
        "import twinward.federation.flower.private_runner\n"
        "print(' '.join(sorted(sys.modules)))\n"
    )
    done = subprocess.run([python(), "-c", program], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert [one for one in loaded if one.startswith(("torch", "twinward.vault", "twinward.node", "sqlalchemy"))] == []
