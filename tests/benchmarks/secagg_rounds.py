"""Rounds of Flower's own SecAgg+ over its own network, run in its environment (``make flower``).

SuperLink with TLS, SuperNodes with authentication, each in a process that starts another for every message, as Flower
ships: ``python -m tests.benchmarks.secagg_rounds FOLDER HOSPITALS LENGTH COUNT`` prints the rounds' seconds as JSON.
What is added up are zeros: no training, no noise, no signed keys, 22 bits a number, seeds folded to 32.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from tests.flower_certificates import make_certificates
from twinward.federation.flower.runner import QUIET
from twinward.federation.flower.superlink import SuperLink, admit, running

_APP = Path(__file__).parent / "secagg_app"
_BESIDE = Path(sys.executable).parent
_ROUND_S = 300.0


def rounds(folder: Path, hospitals: int, length: int, count: int) -> list[float]:
    """The seconds of each round, from the model to the opened sum, after a first in which nodes are waited for."""
    make_certificates(folder, hospitals)
    times = folder / "times.json"
    pem = [folder / name for name in ("link.pem", "link.key", "ca.pem")]
    link = SuperLink(folder / "link", "127.0.0.1", _free_port(), *pem)
    with ExitStack() as stack:
        stack.enter_context(running(link))
        for number in range(hospitals):
            admit(link, folder / f"node{number}.pub")
            stack.callback(_end, _supernode(link, folder, number))
        values = f'length={length} hospitals={hospitals} rounds={count + 1} times="{times}"'
        command = [str(_BESIDE / "flwr"), "run", str(_APP), "twinward", "--run-config", values]
        subprocess.run(command, env=link.environment(), check=True, stdout=sys.stderr)
        deadline = time.monotonic() + _ROUND_S * (count + 1)
        while time.monotonic() < deadline:
            found = json.loads(times.read_text()) if times.exists() else {"rounds_s": []}
            if len(found["rounds_s"]) == count + 1:
                if found["failures"] or found["results"] != hospitals:
                    raise RuntimeError(f"a round had {found['results']} of {hospitals} answers")
                return list(map(float, found["rounds_s"][1:]))
            time.sleep(0.5)
    raise RuntimeError("stock SecAgg+ did not finish its rounds")


def _supernode(link: SuperLink, folder: Path, number: int) -> subprocess.Popen[bytes]:
    path = f"{_BESIDE}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    environment = {**os.environ, **QUIET, "FLWR_HOME": str(folder / f"home{number}"), "PATH": path}
    command = [str(_BESIDE / "flower-supernode"), "--superlink", link.own_address, "--host", "127.0.0.1"]
    command += ["--root-certificates", str(link.root_certificates), "--port", str(_free_port())]
    command += ["--auth-supernode-private-key", str(folder / f"node{number}")]
    return subprocess.Popen(command, env=environment, stdout=sys.stderr)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    took = rounds(Path(sys.argv[1]), *map(int, sys.argv[2:5]))
    sys.stdout.write(json.dumps({"rounds_s": took}) + "\n")
