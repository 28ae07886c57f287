"""``twinward site serve`` as real processes over real vaults, killed with kill -9 in the middle of a study."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.cli.conftest import PASSWORD, Hospital, fill_vaults, run
from twinward.access.interfaces import Principal
from twinward.core.vocabulary import Role
from twinward.federation.coordinator import Progress
from twinward.federation.evaluation.benchmark import synthetic_benchmark
from twinward.federation.models import COHORT
from twinward.federation.site_socket import is_answering
from twinward.federation.study import StudyProtocol
from twinward.node import open_node
from twinward.node.study_approvals import AT_THIS_MACHINE, approve_embedded
from twinward.node.study_run import run_study, sites_of

pytestmark = pytest.mark.slow

HOSPITALS = ("st-anna", "northgate", "lakeside")


class Served:
    """A hospital's daemon in a process."""

    def __init__(self, home: Path, name: str, place: Path) -> None:
        self.command = [sys.executable, "-m", "twinward", "site", "serve", "--home", str(home)]
        self.command += ["--hospital", name, "--socket", str(place)]
        self.place = place
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(1200):
            if self.process.poll() is not None:
                raise AssertionError(self.process.stderr.read() if self.process.stderr else "")
            if is_answering(self.place):
                return
            time.sleep(0.05)
        pytest.fail("it did not start")

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=20)

    def stop(self) -> tuple[int, str, str]:
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


@pytest.fixture(scope="module")
def house(hospital: Hospital) -> Hospital:
    fill_vaults(hospital.home, 40)
    with open_node(hospital.home) as node:
        node.accounts.add_person(Principal("marie", Role.RESEARCHER, "Marie Research"), PASSWORD)
        for name in HOSPITALS:
            node.consortium.cap_privacy(name, COHORT, 2_000_000)
    return hospital


@pytest.fixture(scope="module")
def served(house: Hospital, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Served]]:
    folder = tmp_path_factory.mktemp("s")
    with ExitStack() as stack:
        made = {}
        for name in HOSPITALS:
            made[name] = Served(house.home, name, folder / f"{name}.sock")
            stack.callback(made[name].kill)
        yield made


def test_a_study_over_served_hospitals_goes_on_when_one_is_killed(house: Hospital, served: dict[str, Served]) -> None:
    study = StudyProtocol.for_autoencoder("served-1", HOSPITALS, rounds=3, hidden=4, epsilon=1.0)
    killed: list[int] = []

    def kill(progress: Progress) -> None:
        if progress.stage == "training" and progress.done == 1:
            served["northgate"].kill()
            served["northgate"].start()
            killed.append(progress.done)

    with open_node(house.home) as node:
        marie = node.accounts.named("marie")
        approve_embedded(node, study, marie, AT_THIS_MACHINE)
        sockets = {name: one.place for name, one in served.items()}
        with sites_of(node, HOSPITALS, marie, sockets) as sites:
            trained = run_study(node, sites, study, synthetic_benchmark(), marie, progress=kill)
    assert killed == [1]
    assert trained.model_number
    # Each hospital's own log says in whose name its stays were read: northgate's twice, for it was started anew.
    listed = house.asked("audit", "list", "--as", "olga", "--agent", "marie", "--limit", "200")["events"]
    assert sum((one["agent"], one["action"]) == ("marie", "train") for one in listed) == 40


def test_from_invitation_to_report_over_served_hospitals(
    house: Hospital, served: dict[str, Served], tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    file, out = tmp_path / "served-2.toml", tmp_path / "served-2.invitation.json"
    assert house.run("study", "new", str(file)).exit_code == 0
    assert house.run("study", "invite", str(file), "--as", "marie", "--out", str(out)).exit_code == 0
    approve = ("study", "approve", str(out), "--as", "olga", "--password-file", str(password), "--yes")
    assert house.run(*approve).exit_code == 0
    assert house.run(*approve, "--withdraw", "--hospital", "lakeside").exit_code == 0
    sites = [word for name, one in served.items() for word in ("--site", f"{name}={one.place}")]
    refused = house.run("study", "run", str(file), "--as", "marie", "--yes", *sites)
    assert (refused.exit_code, "lakeside did not approve" in refused.stderr) == (6, True)
    assert house.run(*approve, "--hospital", "lakeside").exit_code == 0
    done = house.asked("study", "run", str(file), "--as", "marie", "--yes", *sites)
    assert done["hospitals"] == list(HOSPITALS)


def test_a_socket_has_one_daemon_and_sigterm_ends_it_cleanly(house: Hospital, tmp_path: Path) -> None:
    place = tmp_path / "own.sock"
    one = Served(house.home, "st-anna", place)
    again = run("site", "serve", "--home", str(house.home), "--socket", str(place))
    assert (again.exit_code, "another process answers" in again.stderr) == (4, True)
    assert run("site", "serve", "--home", str(house.home), "--hospital", "mercy").exit_code == 2
    assert run("site", "serve", "--home", str(tmp_path / "none")).exit_code == 3
    code, out, err = one.stop()
    assert (code, err, place.exists()) == (0, "", False)
    assert "st-anna answers approved studies at" in out


def test_what_study_run_starts_ends_with_it_even_when_it_is_killed(house: Hospital, tmp_path: Path) -> None:
    script = (
        "import os, sys, json, multiprocessing\n"
        "from pathlib import Path\n"
        "from twinward.node import open_node\n"
        "from twinward.node.study_run import sites_of\n"
        "if __name__ == '__main__':\n"
        "    with open_node(Path(sys.argv[1])) as node:\n"
        "        with sites_of(node, json.loads(sys.argv[2]), node.accounts.named('marie')):\n"
        "            print(json.dumps([one.pid for one in multiprocessing.active_children()]), flush=True)\n"
        "            sys.stdin.read()\n"
    )
    path = tmp_path / "coordinator.py"
    path.write_text(script)
    arguments = [sys.executable, str(path), str(house.home), json.dumps(HOSPITALS)]
    coordinator = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert coordinator.stdout is not None
    pids = json.loads(coordinator.stdout.readline())
    assert len(pids) == 3
    coordinator.kill()
    coordinator.communicate(timeout=20)
    for _ in range(400):
        if not any(_is_running(pid) for pid in pids):
            return
        time.sleep(0.05)
    pytest.fail("a site outlived its coordinator")


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
